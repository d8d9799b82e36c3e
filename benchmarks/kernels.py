"""Crop and decode alone, microseconds a person, beside PaddleX's own functions.

``crop`` is from boxes to uint8 crops, ``decode`` from heatmaps to keypoints in pixels of the image. PaddleX's ``crop``
is what its pipeline does for each person: the whole frame to RGB, then the affine; ``affine`` is the latter alone. The
people of the image are repeated to fill the batch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from hpi import Predictor
from hpi.benchmarks.options import DetectorEntry, Output, PaddleX, Pipeline, PoseEntry, Rounds, TurnSeconds
from hpi.benchmarks.peers.loop import times
from hpi.benchmarks.pipeline import ROUNDS, pipeline_config, start_paddlex, with_folders
from hpi.errors import ConfigError
from hpi.evaluation.report import write_report
from hpi.models.topdown import TopDown
from hpi.sources import decode_image
from hpi.transforms import Regions

OURS = {"affine": "crop"}  # what a peer's part of a kernel is put in relation to
HEADINGS = ("kernel", "batch", "who", "µs a person (p50)", "p99", "times hpi")


def main(
    path: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="An image with people.")],
    detector: DetectorEntry = None,
    pose: PoseEntry = None,
    pipeline: Pipeline = "human_keypoint_detection_lite",
    batch: Annotated[int, typer.Option(help="People in a batch.")] = 16,
    paddlex: PaddleX = None,
    seconds: TurnSeconds = 0.5,
    rounds: Rounds = ROUNDS,
    output: Output = None,
) -> None:
    """Time the crop and the decoding."""
    config = pipeline_config(pipeline, detector, pose)
    taken: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as stack:
        predictor = stack.enter_context(Predictor("", config=config, backend="onnxruntime"))
        kernels, arrays = _kernels(predictor, path, batch)
        peer = start_paddlex(paddlex, with_folders(config, predictor)) if paddlex else None
        if peer is not None:
            stack.enter_context(closing(peer))
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "arrays.npz"
        np.savez(file, allow_pickle=False, **arrays)
        for _ in track(range(rounds), description="turns", console=Console(stderr=True)):
            for name, kernel in kernels.items():
                taken.setdefault((name, "hpi"), []).extend(times(kernel, seconds))
            if peer is not None:
                for name, of_peer in peer.ask(kernels=str(file), seconds=seconds).items():
                    taken.setdefault((name, "paddlex"), []).extend(of_peer)
    rows = [_row(name, who, batch, of_one, taken[OURS.get(name, name), "hpi"]) for (name, who), of_one in taken.items()]
    cells = [_cells(row) for row in rows]
    Console().print(*(" | ".join(line) for line in cells), sep="\n")
    if output is not None:
        write_report(output, "Kernels", __doc__ or "", HEADINGS, cells, rows)


def _kernels(
    predictor: Predictor, path: Path, batch: int
) -> tuple[dict[str, Callable[[], object]], dict[str, np.ndarray[Any, Any]]]:
    """The kernels on a batch, and what PaddleX's functions are called with."""
    image = decode_image(path.read_bytes(), str(path))
    estimator, (result,) = predictor.pipelines[0].models[-1], predictor.predict(image)
    if not isinstance(estimator, TopDown) or not len(result.boxes):
        raise ConfigError(f"{predictor.name} finds nobody in {path}")
    chosen = result.instances[np.arange(batch) % len(result.instances)]
    prepared = estimator.prepare([image], [chosen])
    heatmaps = estimator.raw_outputs(prepared.batch)
    kernels: dict[str, Callable[[], object]] = {
        "crop": lambda: estimator.prepare([image], [chosen]),
        "decode": lambda: estimator.decode(heatmaps, prepared),
    }
    people = estimator.transform.regions(result.boxes[np.arange(batch) % len(result.boxes)], image)
    return kernels, _arrays(image, heatmaps[0], people, estimator.spec.input_size)


def _arrays(image: Any, heatmaps: Any, people: Regions, size: tuple[int, int]) -> dict[str, np.ndarray[Any, Any]]:
    return {
        "image": image,
        "heatmaps": heatmaps,
        "center": people.center,
        "scale": people.scale,
        "size": np.array(size),
    }


def _row(name: str, who: str, batch: int, taken: list[float], ours: list[float]) -> dict[str, Any]:
    p50, p99 = np.percentile(taken, [50, 99])
    per_person = 1000 / batch
    return {
        "kernel": name,
        "batch": batch,
        "who": who,
        "p50_us": p50 * per_person,
        "p99_us": p99 * per_person,
        "times_hpi": p50 / float(np.median(ours)),
    }


def _cells(row: dict[str, Any]) -> list[str]:
    figures = (f"{row['p50_us']:.1f}", f"{row['p99_us']:.1f}", f"{row['times_hpi']:.1f}")
    return [row["kernel"], str(row["batch"]), row["who"], *figures]
