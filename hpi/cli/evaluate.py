"""Accuracy on annotated data from the command line: a column for each runtime and precision."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import cv2
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hpi.backends.artifacts import content_hash
from hpi.cli.evaluation_report import Column, Evaluation
from hpi.compat.paddlex.config import options_of, read_pipeline
from hpi.errors import ConfigError, InputError
from hpi.evaluation.coco import Boxes, CocoDataset
from hpi.evaluation.coco.results_file import RESULTS
from hpi.evaluation.environment import describe_environment
from hpi.evaluation.mpii import MpiiDataset
from hpi.evaluation.pictures import draw_case, worst
from hpi.evaluation.predictions import Case, Dataset, Journal, Predictions, predict
from hpi.evaluation.report import describe_models
from hpi.evaluation.tracks.mot import MotDataset
from hpi.evaluation.tracks.posetrack import PosetrackDataset
from hpi.instances import Skeleton
from hpi.io.files import check_folder, save
from hpi.io.validation import is_yaml
from hpi.models.description import NAME
from hpi.models.readers import Hints
from hpi.options import AUTO, Options, resolve
from hpi.predictor import Predictor
from hpi.sources import read_items
from hpi.zoo import Zoo

WORST = 8
PUBLISHED = "keypoint AP"
"""The metric in model configs that is comparable to AP."""


@dataclass(frozen=True)
class EvaluationRequest:
    """What to evaluate, and how.

    Attributes:
        dataset: ``"coco"``, ``"mpii"``, ``"posetrack"`` or ``"mot"``.
        annotations: its file, or for videos a folder of them.
        images: folder of its images.
        pipeline: name or YAML file; None: ``model``.
        model: name or YAML file of one model.
        model_dir: folder of the model's files.
        kind: what the model is, where its files do not say it.
        skeleton: its keypoints, likewise.
        boxes: ``"gt"``, ``"detector"`` or a file of detections; None: none for a model that finds people itself, else a
            pipeline's detector, else ``"gt"``.
        headboxes: MPII: file with the head boxes.
        tracker: PoseTrack and MOT: which one follows people; None: as the model needs it.
        flip: average with the mirrored crop.
        backends: a column for each of these ...
        precisions: ... with each of these; None: that of the pipeline's YAML, else the default.
        device: where to run; None: likewise.
        calibrate: as of the Predictor.
        batch_size: images per batch.
        output: folder for the report, the pictures and the predictions.
        fresh: start over, without the predictions that are in ``output``.
        save_prediction_only: write the predictions in COCO's results format, and measure nothing.
    """

    dataset: str
    annotations: Path
    images: Path
    pipeline: str | None = None
    model: str | None = None
    model_dir: Path | None = None
    kind: str | None = None
    skeleton: str | None = None
    boxes: str | None = None
    headboxes: Path | None = None
    tracker: str | None = None
    flip: bool = False
    backends: Sequence[str | None] = (None,)
    precisions: Sequence[str | None] = (None,)
    device: str | None = None
    calibrate: bool | None = None
    batch_size: int = 8
    output: Path | None = None
    fresh: bool = False
    save_prediction_only: bool = False

    @cached_property
    def boxes_from(self) -> Boxes:
        """Where the boxes of people come from; to know it, a model may have to be found.

        Raises:
            ConfigError: ``boxes`` is none of its values.
        """
        match self.boxes:
            case None if self.dataset == "mpii":
                return "gt"
            case None:
                if self.model is None:
                    return "detector"
                return "model" if _finds_people(self.model, self.model_dir, Hints(self.kind, self.skeleton)) else "gt"
            case "gt":
                return "gt"
            case "detector":
                return "detector"
            case file if file.endswith((".json", ".txt")):
                return Path(file)
            case other:
                raise ConfigError(
                    f"--boxes {other!r}: give gt, detector, or a file: a .json of COCO's detections, a .txt of MOT's"
                )


def run(request: EvaluationRequest) -> None:
    """Evaluate, print the table, and write the report; or only save the predictions.

    Raises:
        typer.Exit: with code 1, at the end, if images could not be used.
        HpiError: the dataset cannot be read, or the models cannot be run.
    """
    if request.save_prediction_only:
        _save_predictions(request)
        return
    dataset = _read_dataset(request)
    columns, published, warned = [], {}, set()
    for backend in dict.fromkeys(request.backends):
        for precision in dict.fromkeys(request.precisions):
            with _open(request, backend, precision) as predictor:
                warnings = dataset.check(predictor)
                for warning in (one for one in warnings if one not in warned):
                    _print(f"warning: {warning}")
                warned |= set(warnings)
                runtime = predictor.backend if backend in {None, AUTO} else backend
                title = f"{runtime} {precision or predictor.describe()['models'][-1]['precision']}"
                columns.append(_evaluate(request, dataset, predictor, title, warnings))
                published = _published(request, predictor)
    name = request.pipeline or request.model or ""
    flip = ", flip" if columns[0].flip else ""
    evaluation = Evaluation(f"{dataset.title}: {Path(name).stem if is_yaml(name) else name}{flip}", columns, published)
    Console().print(evaluation.table())
    if request.output is not None:
        evaluation.write(request.output / request.dataset, dataset)
        _print(f"wrote {request.output / request.dataset}.md and .json")
    if any(column.failed for column in columns):
        raise typer.Exit(1)


def _save_predictions(request: EvaluationRequest) -> None:
    """Write PaddleDetection's file of predictions, whole or not at all."""
    if request.dataset != "coco":
        raise ConfigError("--save_prediction_only needs --dataset coco, whose results format it writes")
    backends, precisions = dict.fromkeys(request.backends), dict.fromkeys(request.precisions)
    if len(backends) > 1 or len(precisions) > 1:
        raise ConfigError("--save_prediction_only writes one file: give one --backend and one --precision")
    target = (request.output or Path()) / RESULTS
    check_folder(target.parent, ConfigError)
    dataset = CocoDataset(request.annotations, request.images, request.boxes_from, measured=False)
    failed: list[str] = []
    with _open(request, *backends, *precisions) as predictor:
        for warning in dataset.check(predictor):
            _print(f"warning: {warning}")
        path = request.output and request.output / f"predictions-{_digest(request, predictor)}.jsonl"
        found = _predict(request, dataset, predictor, target.name, path, failed)
        entries = dataset.keypoint_results(found, predictor)
    if failed:
        raise InputError(f"{target}: not written, since {len(failed)} images cannot be used; the first: {failed[0]}")
    save(target, json.dumps(entries, sort_keys=True, indent=4).encode(), ConfigError)
    _print(f"wrote {target}: {len(entries)} people in {len(found)} images")


def _read_dataset(request: EvaluationRequest) -> Dataset:
    if request.tracker is not None and request.dataset not in {"posetrack", "mot"}:
        raise ConfigError("--tracker needs --dataset posetrack or mot, whose people have ids")
    if request.dataset == "mpii":
        if request.boxes not in {None, "gt"}:
            raise ConfigError("--boxes: MPII is evaluated with its own centers and scales")
        return MpiiDataset(request.annotations, request.images, request.headboxes)
    if request.headboxes is not None:
        raise ConfigError("--headboxes needs --dataset mpii")
    if request.dataset == "posetrack":
        return PosetrackDataset(request.annotations, request.images, request.boxes_from, request.tracker)
    if request.dataset == "mot":
        return MotDataset(request.annotations, request.images, request.boxes_from, request.tracker)
    return CocoDataset(request.annotations, request.images, request.boxes_from)


def _finds_people(model: str, folder: Path | None, hints: Hints) -> bool:
    """Whether a keypoint model needs no boxes."""
    zoo = Zoo.default()
    is_entry = is_yaml(model) and Path(model).name != NAME
    if folder is None and model not in zoo.models and not is_entry and Path(model).exists():
        folder = Path(model)
        model = zoo.of_path(folder, hints).name
    return zoo.find(zoo.add(Path(model)).name if is_entry else model, folder, hints).is_bottom_up


def _open(request: EvaluationRequest, backend: str | None, precision: str | None) -> Predictor:
    """The predictor to evaluate; if the boxes are given, only the keypoint model of a pipeline."""
    of_model: dict[str, Any] = {"model_dir": request.model_dir, "kind": request.kind, "skeleton": request.skeleton}
    if request.model is None and (given := [name for name, value in of_model.items() if value is not None]):
        raise ConfigError(f"--{given[0]} needs --model; in a pipeline, the YAML has one for each model")
    arguments: dict[str, Any] = {
        "device": request.device,
        "backend": backend,
        "precision": precision,
        "flip": request.flip or None,
        "objective": "throughput",
    }
    boxes = request.boxes_from
    if request.model is not None:
        predictor = Predictor(request.model, calibrate=request.calibrate, **of_model, **arguments)
    elif boxes == "detector":
        predictor = Predictor(str(request.pipeline), calibrate=request.calibrate, **arguments)
    else:
        pipeline = read_pipeline(str(request.pipeline))
        module = pipeline.modules.KeypointDetection
        options = resolve(Options(**arguments), options_of(module), options_of(pipeline))
        predictor = Predictor(
            module.model_name,
            model_dir=module.model_dir,
            kind=module.kind,
            skeleton=module.skeleton,
            calibrate=request.calibrate,
            **options.specified,
        )
    if problem := _problem_with_boxes(predictor, boxes):
        predictor.close()
        raise ConfigError(f"{predictor.name} {problem}")
    return predictor


def _problem_with_boxes(predictor: Predictor, boxes: Boxes) -> str | None:
    """Why a predictor cannot be evaluated with boxes from there; None if it can."""
    pipeline = predictor.pipelines[0]
    if not pipeline.detects:
        return "has no detector: give --boxes gt or a file of boxes" if boxes == "detector" else None
    if pipeline.is_bottom_up:
        return None if boxes == "model" else "finds people itself: it is evaluated on COCO without --boxes"
    return None if boxes == "detector" else "is a detector: give --boxes detector"


def _evaluate(
    request: EvaluationRequest, dataset: Dataset, predictor: Predictor, title: str, warnings: list[str]
) -> Column:
    output, pipeline = request.output, predictor.pipelines[0]
    skeleton = pipeline.skeleton
    path = None if output is None else output / f"predictions-{_digest(request, predictor)}.jsonl"
    failed: list[str] = []
    predictions = _predict(request, dataset, predictor, title, path, failed)
    if not predictions:
        raise InputError(f"{request.images}: none of its images could be used; the first: {failed[0]}")
    cases = dataset.cases(predictions) if skeleton else []
    return Column(
        title=title,
        models=describe_models(predictor),
        figures=dataset.figures(predictions, predictor),
        flip=bool(pipeline.models[-1].options.flip),
        photos=len(predictions),
        people=len(cases) or None,
        failed=failed,
        warnings=warnings,
        predictions=path.name if path else None,
        worst=_save_worst(output, title, worst(cases, WORST), skeleton) if output and skeleton else [],
    )


def _predict(
    request: EvaluationRequest, dataset: Dataset, predictor: Predictor, title: str, path: Path | None, failed: list[str]
) -> Predictions:
    """Predictions of all images: those of earlier runs, and the rest."""

    def report(error: InputError) -> None:
        failed.append(str(error).replace(f"{request.images}/", ""))
        _print(f"error: {error}")

    numbers = {image.number for image in dataset.images}
    with Journal(path, fresh=request.fresh) as journal:
        found = {number: people for number, people in journal.read().items() if number in numbers}
        if found:
            _print(f"{title}: {len(found)} of {len(numbers)} images are done already ({path}); start over with --fresh")
        waiting = [image for image in dataset.images if image.number not in found]
        with _progress() as progress:
            task = progress.add_task(title, total=len(numbers), completed=len(found))
            found |= predict(
                predictor,
                waiting,
                journal,
                request.batch_size,
                threshold=dataset.threshold,
                on_progress=partial(progress.advance, task),
                on_error=report,
            )
    return {number: found[number] for number in sorted(found)}


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _digest(request: EvaluationRequest, predictor: Predictor) -> str:
    """Hash of everything that predictions depend on, except the content of the images."""
    facts = ("backend", "version", "variant", "precision", "device")
    pipeline = predictor.pipelines[0]
    files = [request.annotations]
    if request.annotations.is_dir():
        files = [file for pattern in ("*.json", "*/gt/gt.txt") for file in sorted(request.annotations.glob(pattern))]
    files += [request.headboxes] if request.headboxes else []
    boxes = request.boxes_from
    key = {
        "version": describe_environment()["hpi-pose"],
        "dataset": [request.dataset, content_hash(files), str(request.images.resolve())],
        "boxes": content_hash([boxes]) if isinstance(boxes, Path) else boxes,
        "models": [[one.spec.files.content, content_hash([one.spec.yml])] for one in pipeline.models],
        "runtimes": [[model[name] for name in facts] for model in predictor.describe()["models"]],
        "options": [asdict(one.options) for one in pipeline.models],
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def _save_worst(output: Path, title: str, cases: Sequence[Case], skeleton: Skeleton) -> list[dict[str, Any]]:
    """Write a picture of each person; returns their rows of the report."""
    folder = Path("worst") / re.sub(r"[^A-Za-z0-9]+", "_", title)
    rows = []
    for rank, case in enumerate(cases, 1):
        (item,) = read_items(str(case.path), one_each=True)
        if isinstance(item.image, InputError):  # removed since it was predicted
            continue
        name = folder / f"{rank}.jpg"
        picture = draw_case(case, item.image, skeleton)
        save(output / name, cv2.imencode(".jpg", picture)[1].tobytes(), ConfigError)
        rows.append(
            {
                "photo": case.path.name,
                "person": case.annotation,
                case.measure: round(case.value, 4),
                "picture": name.as_posix(),
            }
        )
    return rows


def _published(request: EvaluationRequest, predictor: Predictor) -> dict[str, tuple[str, str]]:
    """The published figure of a keypoint model: its name here, its value, and its source.

    Only if it was measured with the same protocol: on ground-truth boxes, or by a model that finds people itself.
    """
    if request.dataset != "coco" or predictor.pipelines[0].skeleton is None:
        return {}
    if request.boxes_from not in {"gt", "model"}:
        return {}
    config = Zoo.default().models.get(predictor.pipelines[0].models[-1].spec.name)
    accuracy = config.accuracy if config else None
    if accuracy is None or accuracy.by == "hpi" or accuracy.metric != PUBLISHED:
        return {}
    return {"AP": (f"{accuracy.value}", f"{accuracy.by}, {accuracy.dataset}")}


def _print(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201
