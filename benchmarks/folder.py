"""A folder of images through the pipeline: throughput beside what the models alone could do, and memory.

``saturated`` is what OpenVINO reaches when it is kept busy with one of the two models on ready tensors, as its
``benchmark_app`` does: throughput hint, as many requests as it asks for, nothing else on the machine. ``in sum`` is
the throughput if both, and the decoding of the files on all cores, take their saturated time one after the other: more
is impossible where every stage uses the same cores. Decoding is timed on one core and counted times the cores.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from hpi import Predictor
from hpi.backends.base import Feeds, cut, size_of
from hpi.backends.cpu import usable_cores
from hpi.backends.openvino import take_uint8_images, with_batch
from hpi.benchmarks.memory import growth, resident_mb
from hpi.benchmarks.options import DetectorEntry, Output, Pipeline, PoseEntry, Rounds, TurnSeconds
from hpi.benchmarks.pipeline import ROUNDS, pipeline_config, pipeline_of
from hpi.benchmarks.plots import save_memory
from hpi.evaluation.report import describe_models, write_report
from hpi.models.model import Model
from hpi.sources import decode_image

HEADINGS = ("what", "images a second", "of saturated", "of in sum")


def main(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder of images.")],
    detector: DetectorEntry = None,
    pose: PoseEntry = None,
    pipeline: Pipeline = "human_keypoint_detection_lite",
    batch_size: Annotated[int, typer.Option("--batch_size", min=1, help="Images that go together.")] = 8,
    images: Annotated[int, typer.Option(help="Images for the plot of the memory; the folder is repeated.")] = 2000,
    seconds: TurnSeconds = 3,
    rounds: Rounds = ROUNDS,
    output: Output = None,
) -> None:
    """Time a folder and watch the memory over many images."""
    config = pipeline_config(pipeline, detector, pose)
    with Predictor("", config=config, objective="throughput") as predictor:
        stages = _Stages(predictor, folder)
        rates: dict[str, list[float]] = {}
        for _ in track(range(rounds), description="turns", console=Console(stderr=True)):
            for name, rate in stages.measure(batch_size, seconds).items():
                rates.setdefault(name, []).append(rate)
        memory = _memory(predictor, stages.paths, batch_size, images)
    medians = {name: float(np.median(of_one)) for name, of_one in rates.items()}
    saturated = min(medians["detector, saturated"], medians["keypoint model, saturated"])
    in_sum = 1 / sum(1 / medians[name] for name in medians if name != "hpi")
    cells = [
        [name, f"{rate:.1f}", f"{rate / saturated:.2f}", f"{rate / in_sum:.2f}"]
        for name, rate in [*medians.items(), ("in sum", in_sum)]
    ]
    Console().print(*(" | ".join(line) for line in cells), sep="\n")
    if output is not None:
        report = {"models": describe_models(predictor), "rates": rates, "batch_size": batch_size, "memory_mb": memory}
        grown = growth(memory, batch_size, "images")
        write_report(output, "Folder", __doc__ or "", HEADINGS, cells, report, f"{grown}\n")
        save_memory(output.with_suffix(".png"), batch_size, memory)


class _Stages:
    """The folder as a whole, and each of its stages alone."""

    def __init__(self, predictor: Predictor, folder: Path) -> None:
        pipeline = pipeline_of(predictor)
        self._predictor = predictor
        results = list(predictor.predict(str(folder)))
        self.paths = [str(result.path) for result in results]
        self._files = [Path(path).read_bytes() for path in self.paths]
        images = [result.image for result in results]
        detector, estimator = pipeline.models
        people = estimator.prepare(images, [result.instances for result in results])
        self._models: dict[str, tuple[Model, dict[str, NDArray[Any]], int]] = {
            "detector": (detector, detector.feeds(detector.prepare(images)), 1),
            "keypoint model": (estimator, estimator.feeds(people), 4),
        }

    def measure(self, batch_size: int, seconds: float) -> dict[str, float]:
        """Images a second of the whole and of each stage."""
        count = len(self.paths)
        rates = {
            "hpi": _rate(lambda: list(self._predictor.predict(self.paths, batch_size=batch_size)), count, seconds),
            "decoding, all cores": usable_cores() * _rate(self._decode, count, seconds / 2),
        }
        for name, (task, feeds, batch) in self._models.items():
            rates[f"{name}, saturated"] = _saturate(task, feeds, batch, count, seconds)
        return rates

    def _decode(self) -> None:
        for data, path in zip(self._files, self.paths, strict=True):
            decode_image(data, path)


def _rate(run: Any, count: int, seconds: float) -> float:
    """Images a second of runs over all images."""
    run()
    start, runs = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        run()
        runs += 1
    return runs * count / (time.perf_counter() - start)


def _saturate(owner: Model, feeds: Feeds, batch: int, images: int, seconds: float) -> float:
    """Images a second of a model that is kept busy with the inputs of all images in batches."""
    import openvino as ov

    model = ov.Core().read_model(str(owner.session.info.loaded_path))
    if feeds["image"].dtype == np.uint8:
        model = take_uint8_images(model, owner.spec.files.normalization)
    items = size_of(feeds)
    batch = min(batch, items)
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
    queue = ov.AsyncInferQueue(ov.compile_model(with_batch(model, batch), "CPU", settings))
    endless = itertools.cycle(cut(feeds, [batch] * (items // batch)))
    for _ in range(len(queue)):
        queue.start_async(next(endless), share_inputs=True)
    queue.wait_all()
    start, runs = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        queue.start_async(next(endless), share_inputs=True)
        runs += 1
    queue.wait_all()
    return runs * batch / (time.perf_counter() - start) * images / items


def _memory(predictor: Predictor, paths: list[str], batch_size: int, images: int) -> list[float]:
    """Resident memory in MB after each batch."""
    many = list(itertools.islice(itertools.cycle(paths), max(images, batch_size)))
    resident = []
    results = predictor.predict(many, batch_size=batch_size)
    for index, _ in enumerate(track(results, "memory", total=images, console=Console(stderr=True)), 1):
        if index % batch_size == 0:
            resident.append(resident_mb(os.getpid()))
    return resident
