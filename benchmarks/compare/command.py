"""Every runtime beside every other: speed, memory, start, accuracy, the pipeline's stages, and the automatic choice.

All candidates of a model take turns at each batch size, on real crops or images. Memory is what a process of its own
grows by. A start is the time to the first answer in a fresh process, Python and this package being there: with an empty
artifact cache, when what the runtime needs is built, and with all of that kept. The deviation is the largest distance
of a clear keypoint from the reference's in the reference images, in pixels of the crop. What auto takes is its choice
in FP32 where just that batch size is expected (by default it expects few people, and keeps its choice at any size), by
this machine's own measurements where there are any; its regret is its time over that of the best FP32 candidate of this
run that passes the parity gate.
"""

from __future__ import annotations

from importlib.resources import as_file
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from hpi import Predictor
from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import SessionOptions
from hpi.benchmarks.compare.cells import cells_of, summary_of
from hpi.benchmarks.compare.findings import Findings
from hpi.benchmarks.compare.measuring import Evaluate, ImageFile, Model, break_down, compare
from hpi.benchmarks.compare.report import write_compared
from hpi.benchmarks.options import (
    Backend,
    OneDevice,
    Output,
    Pipeline,
    Rounds,
    Threads,
    name_and_folder,
    one_device,
    read_file,
)
from hpi.compat.paddlex.config import read_pipeline
from hpi.errors import ConfigError, InputError
from hpi.evaluation.coco import Boxes, CocoDataset, boxes_of
from hpi.evaluation.predictions import Journal, predict
from hpi.models.reference_images import FOLDER, ReferenceImages
from hpi.options import AUTO
from hpi.selection.measure import ROUNDS, Protocol
from hpi.selection.priors import Priors
from hpi.selection.ranking import PRECISIONS
from hpi.zoo import Zoo

BATCH_SIZE = 8
"""Images of the dataset that go together."""


def main(
    model: Annotated[
        list[str], typer.Option("--model", help="NAME or NAME=FOLDER; repeat for several. By default the pipeline's.")
    ] = [],  # noqa: B006
    pipeline: Pipeline = "human_keypoint_detection_lite",
    photo: Annotated[Path | None, typer.Option(help="Image for the stages; default: the parity gate's.")] = None,
    batch: Annotated[list[int], typer.Option(min=1, help="Batch size; repeat for several.")] = [1, 2, 4, 8, 16],  # noqa: B006
    precision: Annotated[list[str], typer.Option(help="fp32, bf16, fp16; repeat for several. By default all.")] = [],  # noqa: B006
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for the runs of one model and batch.")] = 20,
    rounds: Rounds = ROUNDS,
    backend: Backend = AUTO,
    annotations: Annotated[Path | None, typer.Option(help="COCO's person_keypoints JSON, for the AP.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of its images.")] = None,
    device: OneDevice = "cpu",
    threads: Threads = None,
    output: Output = None,
) -> None:
    """Compare all runtimes in one report, which --output NAME also writes as a page, NAME.html."""
    zoo, findings, image, evaluate = Zoo.default(), Findings(), _image(photo), _evaluator(annotations, images)
    options = SessionOptions(ArtifactCache(zoo.artifacts), one_device(device), threads=threads)
    sizes = sorted(set(batch))
    protocol = Protocol(
        sizes, seconds * len(sizes), precision or PRECISIONS, backend, rounds, memory=True, complete=True
    )
    with Progress(console=Console(stderr=True)) as progress:
        try:
            for entry in progress.track(model or _models_of(pipeline), description="models"):
                name, folder = name_and_folder(entry)
                spec = zoo.find(name, folder)
                one = Model(spec, options, Priors(zoo.own_priors))
                compare(one, protocol, findings, progress, evaluate)
                _write(output, findings)
            break_down(pipeline, image, seconds, rounds, options, findings, progress)
        finally:  # what is there is kept, should the rest be interrupted
            _write(output, findings)
    Console().print(
        *(" | ".join(cells) for cells in cells_of(findings)), summary_of(findings), sep="\n", soft_wrap=True
    )


def _write(output: Path | None, findings: Findings) -> None:
    if output is not None and findings.rows:
        write_compared(output, __doc__ or "", findings)


def _models_of(pipeline: str) -> list[str]:
    modules = read_pipeline(pipeline).modules
    both = (modules.ObjectDetection, modules.KeypointDetection)
    return [f"{module.model_name}={module.model_dir}" if module.model_dir else module.model_name for module in both]


def _evaluator(annotations: Path | None, images: Path | None) -> Evaluate | None:
    """AP of keypoints, in the annotated boxes where the model needs some, or of a detector's boxes.

    None without a dataset.
    """
    if annotations is None and images is None:
        return None
    if annotations is None or images is None:
        raise ConfigError("--annotations and --images go together")
    kinds: tuple[Boxes, ...] = ("gt", "detector", "model")
    datasets = {boxes: CocoDataset(annotations, images, boxes) for boxes in kinds}

    def evaluate(predictor: Predictor) -> float | None:
        failed: list[InputError] = []
        boxes = boxes_of(predictor.pipelines[0])
        dataset = datasets[boxes]
        found = predict(predictor, dataset.images, Journal(None), BATCH_SIZE, on_error=failed.append)
        if failed:
            raise failed[0]
        return dataset.figures(found, predictor)["box AP" if boxes == "detector" else "AP"]

    return evaluate


def _image(path: Path | None) -> ImageFile:
    if path is None:
        with as_file(FOLDER / ReferenceImages.load().config.image) as reference:
            return reference.name, reference.read_bytes()
    return path.name, read_file(path)
