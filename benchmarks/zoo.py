"""Keypoint models that PaddleDetection exports, beside its own deploy scripts.

Everyone takes turns in one run on an image that is already decoded, with the same detector, the same number of threads,
DARK and PaddleDetection's crop of people, 8 at once there. ``plain`` is PaddleDetection on Paddle without oneDNN, whose
keypoints count as correct. ``oneDNN`` is what its scripts run on by default with Paddle 3. The last column is how far
keypoints that score above 0.2 are from the correct ones, in pixels of the image, 95 of 100 at most. Weights may be
random: times are those of the real ones.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from hpi import Predictor
from hpi.benchmarks.options import (
    Output,
    PaddleDetection,
    PaddleDetectionPython,
    Rounds,
    Threads,
    TurnSeconds,
    name_and_folder,
    read_file,
)
from hpi.benchmarks.peer import Peer
from hpi.benchmarks.peers.loop import times
from hpi.compat.paddlex.config import PipelineConfig
from hpi.errors import ConfigError
from hpi.evaluation.report import describe_models, write_report
from hpi.options import AUTO
from hpi.sources import Image, decode_image

ROUNDS = 5
CLEAR = 0.2
BATCH = 8
"""People at once in PaddleDetection's scripts, by default."""
HEADINGS = ("model", "people", "who", "runs on", "p50 ms", "p90 ms", "times hpi", "px off")
CORRECT = "PaddleDetection, plain"
FILES = {"json": "model.json", "pdmodel": "model.pdmodel", "pdiparams": "model.pdiparams", "yml": "infer_cfg.yml"}

Points = list[NDArray[np.float64]]
"""Keypoints of each person: ``[K, 3]``, x, y and score."""
Turn = Callable[[float], tuple[Points, list[float]]]


def main(
    image: Annotated[Path, typer.Argument(help="An image with people.")],
    model: Annotated[list[str], typer.Option("--model", help="NAME=FOLDER of a keypoint model; repeat for several.")],
    detector: Annotated[str, typer.Option(help="NAME=FOLDER of the detector, for models that crop people.")],
    paddledetection: PaddleDetection = None,
    python: PaddleDetectionPython = None,
    backend: Annotated[str, typer.Option(help="auto, or a runtime for both models.")] = AUTO,
    threads: Threads = None,
    seconds: TurnSeconds = 2,
    rounds: Rounds = ROUNDS,
    output: Output = None,
) -> None:
    """Time exported models of PaddleDetection beside its own deploy scripts."""
    if (paddledetection is None) != (python is None):
        raise ConfigError("--paddledetection and --python go together: the checkout, and an environment to run it in")
    rows: list[dict[str, Any]] = []
    for entry in model:
        with ExitStack() as stack:
            predictor = stack.enter_context(_open(entry, detector, backend, threads))
            peers: dict[str, Peer] = {}
            if paddledetection is not None and python is not None:
                peers = _start_peers(stack, paddledetection, python, predictor)
            rows += _measure(predictor, peers, image, seconds, rounds)
        if output is not None:  # what is there is kept, should the rest be interrupted
            write_report(output, "PaddleDetection's models", __doc__ or "", HEADINGS, _cells(rows), rows)
    Console().print(*(" | ".join(cells) for cells in _cells(rows)), sep="\n")


def _open(entry: str, detector: str, backend: str, threads: int | None) -> Predictor:
    """The model, after the detector where it crops people."""
    name, folder = name_and_folder(entry)
    alone = Predictor(name, model_dir=folder, backend=backend, threads=threads)
    if not alone.pipelines[0].takes_regions:
        return alone
    alone.close()
    found, where = name_and_folder(detector)
    config = {
        "pipeline_name": name,
        "SubModules": {
            "ObjectDetection": {"model_name": found, **({"model_dir": str(where)} if where else {})},
            "KeypointDetection": {"model_name": name, **({"model_dir": str(folder)} if folder else {})},
        },
    }
    content = PipelineConfig.model_validate(config).model_dump(by_alias=True, exclude_none=True)
    return Predictor(name, config=content, backend=backend, threads=threads, crop="paddledetection")


def _start_peers(stack: ExitStack, checkout: Path, python: Path, predictor: Predictor) -> dict[str, Peer]:
    *detectors, estimator = predictor.describe()["models"]
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    config = {
        "checkout": str(checkout.absolute()),
        "detector": str(as_exported(Path(detectors[0]["model_dir"]), folder / "detector")) if detectors else None,
        "estimator": str(as_exported(Path(estimator["model_dir"]), folder / "estimator")),
        "threads": estimator["threads"],
        "batch": BATCH,
        "threshold": 0.5,
    }
    return {
        name: stack.enter_context(closing(Peer(python, "paddledetection", {**config, "onednn": onednn})))
        for name, onednn in ((CORRECT, False), ("PaddleDetection, oneDNN", True))
    }


def as_exported(folder: Path, target: Path) -> Path:
    """A copy of a model whose files have the names that the deploy scripts look for."""
    target.mkdir()
    for file in folder.iterdir():
        if name := FILES.get(file.suffix.removeprefix(".")):
            shutil.copyfile(file, target / name)
    return target


def _measure(
    predictor: Predictor, peers: Mapping[str, Peer], path: Path, seconds: float, rounds: int
) -> list[dict[str, Any]]:
    """Rows of everyone on one image."""
    image = decode_image(read_file(path), str(path))
    turns: dict[str, Turn] = {"hpi": partial(_own_turn, predictor, image)}
    turns |= {name: partial(_peer_turn, peer, path) for name, peer in peers.items()}
    own = dict.fromkeys(f"{one['backend']} {one['variant']}" for one in describe_models(predictor))
    runs_on = {name: f"paddle {peer.versions['paddlepaddle']}" for name, peer in peers.items()}
    runs_on["hpi"] = " + ".join(own)
    people: dict[str, Points] = {}
    taken: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            people[name], some = turn(seconds)
            taken[name] += some
    p50 = {name: float(np.median(of_one)) for name, of_one in taken.items()}
    return [
        {
            "model": predictor.name,
            "image": path.name,
            "people": len(people[name]),
            "who": name,
            "runs_on": runs_on[name],
            "p50_ms": p50[name],
            "p90_ms": float(np.percentile(taken[name], 90)),
            "times_hpi": p50[name] / p50["hpi"],
            "px_off": _px_off(people[name], people[CORRECT]) if CORRECT in people else None,
        }
        for name in turns
    ]


def _own_turn(predictor: Predictor, image: Image, seconds: float) -> tuple[Points, list[float]]:
    (result,) = predictor.predict(image)
    points = [np.column_stack(one) for one in zip(result.keypoints, result.keypoint_scores, strict=True)]
    return points, times(lambda: list(predictor.predict(image)), seconds)


def _peer_turn(peer: Peer, path: Path, seconds: float) -> tuple[Points, list[float]]:
    answer = peer.ask(seconds=seconds, path=str(path))
    return [np.array(person) for person in answer["people"]], answer["ms"]


def _px_off(found: Points, correct: Points) -> float | None:
    """The distance of clear keypoints from the correct ones of the nearest person; 95 of 100 are at most so far."""
    if not found:
        return None
    there = np.stack(found)[..., :2]
    off = []
    for person in correct:
        apart = np.linalg.norm(there - person[:, :2], axis=-1)
        off.append(apart[apart.mean(axis=1).argmin()][person[:, 2] > CLEAR])
    return float(np.percentile(np.concatenate(off), 95)) if off else None


def _cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [
        [
            row["model"],
            str(row["people"]),
            row["who"],
            row["runs_on"],
            *(f"{row[name]:.1f}" for name in ("p50_ms", "p90_ms", "times_hpi")),
            "-" if row["px_off"] is None else f"{row['px_off']:.2f}",
        ]
        for row in rows
    ]
