"""RTMPose-m through ``hpi.compat.rtmlib``, beside rtmlib on the same file, image, boxes and number of threads.

The network has the real one's architecture and random weights; the boxes are made up, the same ones for everybody. All
take turns in one run, and the medians over all turns are compared. rtmlib runs on each of its two runtimes.
``hpi, one by one`` gives this engine the same boxes one a call, as rtmlib does it: what it takes longer is won by
taking people together. The second table has the steps: from the image to the network's input, the network, and from
its outputs to keypoints.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from hpi.benchmarks.options import Output, Rounds, Threads, TurnSeconds, read_file
from hpi.benchmarks.peer import Peer
from hpi.benchmarks.peers.loop import times
from hpi.compat.rtmlib import RTMPose
from hpi.evaluation.report import describe_models, markdown_table, write_report
from hpi.instances import Instances
from hpi.models.topdown import TopDown
from hpi.sources import Image, decode_image

PEOPLE = (1, 4, 9, 32)
SIZE = (192, 256)
RUNTIMES = ("onnxruntime", "openvino")
OURS, ONE_BY_ONE = "hpi", "hpi, one by one"
HEADINGS = ("people", "who", "p50 ms", "p90 ms", "times hpi")
STEPS = ("prepare", "infer", "decode")
SEED = 0

Turn = Callable[[float], list[float]]


def main(
    image: Annotated[str, typer.Argument(help="An image.")],
    rtmlib: Annotated[Path, typer.Option(help="Python of an environment with rtmlib.", envvar="HPI_RTMLIB")],
    people: Annotated[list[int], typer.Option(help="How many; repeat for several.")] = list(PEOPLE),  # noqa: B006
    threads: Threads = None,
    seconds: TurnSeconds = 2,
    rounds: Rounds = 7,
    output: Output = None,
) -> None:
    """Time RTMPose-m on one image beside rtmlib."""
    from hpi.benchmarks.graphs import save_graph  # needs onnx

    decoded = decode_image(read_file(image), image)
    with ExitStack() as stack:
        graph = save_graph("rtmpose-m", Path(stack.enter_context(tempfile.TemporaryDirectory())) / "rtmpose-m.onnx")
        pose = stack.enter_context(RTMPose(graph, threads=threads))
        models = describe_models(pose.predictor)
        config = {"onnx": str(graph), "size": SIZE, "class": "RTMPose", "threads": models[0]["threads"]}
        peers = {
            f"rtmlib, {name}": stack.enter_context(closing(Peer(rtmlib, "rtmlib", {**config, "runtime": name})))
            for name in RUNTIMES
        }
        rows = [
            row
            for count in people
            for row in _measure(pose, peers, image, decoded, boxes_in(decoded, count), seconds, rounds)
        ]
        versions = {name: peer.versions for name, peer in peers.items()}
    if output is not None:
        report = {"models": models, "peers": versions, "rows": rows}
        write_report(
            output, "RTMPose-m beside rtmlib", __doc__ or "", HEADINGS, _cells(rows), report, _steps_table(rows)
        )
    Console().print(*(" | ".join(cells) for cells in _cells(rows)), _steps_table(rows), sep="\n")


def boxes_in(image: Image, count: int) -> NDArray[np.float32]:
    """``[count, 4]``: boxes in the shape of people in an image, the same ones every time.

    Example:
        >>> boxes = boxes_in(np.zeros((480, 640, 3), np.uint8), 3)
        >>> boxes.shape, bool((boxes[:, 2] <= 640).all()), bool((boxes[:, 3] <= 480).all())
        ((3, 4), True, True)
    """
    random = np.random.default_rng(SEED)
    height, width = image.shape[:2]
    tall = random.uniform(0.3, 0.8, count) * height
    wide = np.minimum(tall * random.uniform(0.3, 0.6, count), width)
    left, top = random.uniform(0, width - wide), random.uniform(0, height - tall)
    return np.stack([left, top, left + wide, top + tall], axis=1).astype(np.float32)


def _measure(
    pose: RTMPose,
    peers: Mapping[str, Peer],
    path: str,
    image: Image,
    boxes: NDArray[np.float32],
    seconds: float,
    rounds: int,
) -> list[dict[str, Any]]:
    """Rows of everyone on so many people."""
    turns: dict[str, Turn] = {
        OURS: lambda s: times(lambda: pose(image, boxes), s),
        ONE_BY_ONE: lambda s: times(lambda: [pose(image, [box]) for box in boxes], s),
        **{name: partial(_peer_turn, peer, path, boxes) for name, peer in peers.items()},
    }
    taken: dict[str, list[list[float]]] = {name: [] for name in turns}
    steps: dict[str, list[dict[str, float]]] = {name: [] for name in (OURS, *peers)}
    for _ in range(rounds):
        for name, turn in turns.items():
            taken[name].append(turn(seconds))
        steps[OURS].append(_steps(pose, image, boxes))
        for name, peer in peers.items():
            steps[name].append(peer.ask(path=path, boxes=boxes.tolist(), parts=True)["parts"])
    ours = float(np.median(np.concatenate(taken[OURS])))
    return [
        {
            "people": len(boxes),
            "who": name,
            **dict(zip(("p50_ms", "p90_ms"), np.percentile(np.concatenate(of_one), [50, 90]).tolist(), strict=True)),
            "times_hpi": float(np.median(np.concatenate(of_one))) / ours,
            "rounds_ms": [float(np.median(of_round)) for of_round in of_one],
            "steps_ms": {step: float(np.median([one[step] for one in steps[name]])) for step in STEPS}
            if name in steps
            else None,
        }
        for name, of_one in taken.items()
    ]


def _peer_turn(peer: Peer, path: str, boxes: NDArray[np.float32], seconds: float) -> list[float]:
    milliseconds: list[float] = peer.ask(path=path, boxes=boxes.tolist(), seconds=seconds)["ms"]
    return milliseconds


def _steps(pose: RTMPose, image: Image, boxes: NDArray[np.float32]) -> dict[str, float]:
    """Milliseconds of this engine's three steps."""
    model = pose.model
    assert isinstance(model, TopDown)
    people = Instances(np.ones(len(boxes), np.float32), boxes=boxes)
    start = time.perf_counter()
    prepared = model.prepare([image], [people])
    cropped = time.perf_counter()
    outputs = model.raw_outputs(prepared.batch)
    inferred = time.perf_counter()
    model.decode(outputs, prepared)
    steps = (cropped - start, inferred - cropped, time.perf_counter() - inferred)
    return {step: 1000 * seconds for step, seconds in zip(STEPS, steps, strict=True)}


def _cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [
        [str(row["people"]), row["who"], *(f"{row[name]:.2f}" for name in ("p50_ms", "p90_ms", "times_hpi"))]
        for row in rows
    ]


def _steps_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The steps, ms, as Markdown."""
    cells = (
        [str(row["people"]), row["who"], *(f"{row['steps_ms'][step]:.2f}" for step in STEPS)]
        for row in rows
        if row["steps_ms"]
    )
    return f"Steps, ms (median):\n\n{markdown_table(('people', 'who', *STEPS), cells)}\n"
