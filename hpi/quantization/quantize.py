"""Making a model's calibration for INT8: calibrate, validate, keep."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock

from hpi.backends.artifacts import NOTE, content_hash, staging_folder
from hpi.backends.base import INT8, Array, SessionOptions
from hpi.backends.graph.rewrites import rewrites_key
from hpi.errors import BackendError, ConfigError
from hpi.evaluation.coco import CocoDataset
from hpi.io.files import check_folder, save
from hpi.models import Model, open_model
from hpi.models.int8 import GRAPH, IMAGES, ApLoss, Int8Artifact, Int8Note, MadeFrom, files_of
from hpi.models.spec import ModelSpec
from hpi.quantization.accuracy import ap_loss, people_in
from hpi.quantization.graph import RECIPE, REWRITES, calibrated, check_installed, prepared_graph, versions
from hpi.quantization.images import CalibrationImages, Image, read_images
from hpi.selection.loading import load, open_with_verdict, references
from hpi.selection.parity import Verdict
from hpi.selection.ranking import Candidate, Request, rank

OnProgress = Callable[[str, int, int | None], object]

FOR_DETECTORS = (
    "INT8 is for detectors. It costs keypoint models more than it gains: PP-TinyPose loses 2.6 to 5 points of AP and "
    "gets no faster, MoveNet loses 1 to 3 and moves keypoints by more than 10 px. --force calibrates it all the same, "
    "for the parity gate to validate"
)
_LONGEST, _QUALITY = 640, 95
"""Longest side (pixels) and JPEG quality of the images that are kept to validate by."""


def quantize(
    spec: ModelSpec,
    images: Path,
    target: Path,
    options: SessionOptions,
    *,
    dataset: CocoDataset | None = None,
    force: bool = False,
    on_progress: OnProgress = lambda *_: None,
) -> Int8Artifact:
    """Calibrate a detector for INT8, and keep the result if the parity gate lets it pass.

    The same images give the same result.

    Args:
        spec: the model.
        images: folder of images such as the model will see.
        target: folder of the result; one that is there is replaced.
        options: threads, and where artifacts are kept.
        dataset: annotated images to measure the loss of AP on; else it is estimated from the boxes that change.
        force: also calibrate a keypoint model.
        on_progress: called with what is being done, how much of it is done, and of how much where that is known.

    Raises:
        ConfigError: it is a keypoint model, a package is missing, or the target cannot be written.
        InputError: too few images can be used.
        BackendError: it cannot be calibrated, or the parity gate refuses the result; nothing is kept then.
    """
    if spec.head.finds_keypoints and not force:
        raise ConfigError(f"{spec.name}: {FOR_DETECTORS}")
    check_installed()
    check_folder(target.parent, ConfigError)
    shown = read_images(images, lambda done, total: on_progress("reading images", done, total))
    on_progress("calibrating", 0, None)
    graph = calibrated(prepared_graph(spec.files, options.artifacts), _feeds(spec, options, shown.calibrated_on))
    with FileLock(target.with_name(f".{target.name}.lock")), staging_folder(target) as staging:
        on_progress("validating", 0, None)
        made = _write(staging, spec, graph, shown)
        verdict, loss = _validate(spec.with_int8(made), options, dataset)
        note = made.note.model_copy(update={"verdict": verdict.summary, "ap_loss": loss})
        (staging / NOTE).write_text(note.model_dump_json(indent=1), encoding="utf-8")
        if target.is_dir():
            shutil.rmtree(target)
        staging.rename(target)
    return Int8Artifact(target, note)


def _feeds(spec: ModelSpec, options: SessionOptions, images: Sequence[Image]) -> list[Mapping[str, Array]]:
    """What the graph takes for images: normalised, as the runtime would do it otherwise."""
    normalised = replace(spec, normalization=spec.files.normalization, files=replace(spec.files, normalization=None))
    with _reference(normalised, options) as model:
        return [model.feeds(model.prepare([image])) for image in images]


@contextmanager
def _reference(spec: ModelSpec, options: SessionOptions) -> Iterator[Model]:
    """The model on the most trusted runtime."""
    candidates = references(spec.files, options)
    if not candidates:
        raise BackendError(f"{spec.name}: no runtime can be the reference here")
    with load(spec, candidates[0], replace(options, as_exported=True)) as session:
        yield open_model(spec, session)


def _write(folder: Path, spec: ModelSpec, graph: bytes, shown: CalibrationImages) -> Int8Artifact:
    (folder / IMAGES).mkdir()
    save(folder / GRAPH, graph, ConfigError)
    for number, image in enumerate(shown.validated_on, 1):
        _, data = cv2.imencode(".jpg", _smaller(image), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        save(folder / IMAGES / f"{number:02d}.jpg", data.tobytes(), ConfigError)
    key = MadeFrom(
        model=spec.name,
        content=spec.files.content,
        images=shown.digest,
        calibrated_on=len(shown.calibrated_on),
        validated_on=len(shown.validated_on),
        recipe=RECIPE,
        rewrites=rewrites_key(REWRITES)["rewrites"],
        **versions(),
    )
    created = time.strftime("%Y-%m-%d %H:%M:%S")
    return Int8Artifact(folder, Int8Note(key=key, sha256=content_hash(files_of(folder)), created=created))


def _smaller(image: Image) -> Image:
    """The image with a longest side of at most :data:`_LONGEST`.

    Example:
        >>> _smaller(np.zeros((1080, 1920, 3), np.uint8)).shape, _smaller(np.zeros((6400, 2, 3), np.uint8)).shape
        ((360, 640, 3), (640, 1, 3))
    """
    height, width = image.shape[:2]
    scale = _LONGEST / max(height, width)
    if scale >= 1:
        return image
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _validate(spec: ModelSpec, options: SessionOptions, dataset: CocoDataset | None) -> tuple[Verdict, ApLoss | None]:
    """The parity gate's verdict, and what INT8 costs.

    Raises:
        BackendError: no runtime can run it, or the gate refuses it.
    """
    candidate = _candidate(spec, options)
    session, verdict = open_with_verdict(spec, candidate, options)
    with session:
        if not verdict.passed:
            raise BackendError(
                f"{spec.name}: the parity gate refuses it in INT8, and nothing is kept: {verdict.summary}"
            )
        if verdict.ap_loss is None:
            return verdict, None
        if dataset is None:
            return verdict, ApLoss(points=round(verdict.ap_loss, 2), how="estimated from the boxes that change")
        with _reference(spec, options) as reference:
            expected = people_in(reference, dataset)
        return verdict, ap_loss(expected, people_in(open_model(spec, session), dataset), dataset)


def _candidate(spec: ModelSpec, options: SessionOptions) -> Candidate:
    """The first runtime that can run a graph in INT8."""
    ranking = rank(spec, Request(options, precisions=(INT8,)), basis=None)
    best = ranking[0]
    if best.unavailable is not None:
        raise BackendError(f"{spec.name}: no runtime can run it in INT8: {best.candidate}: {best.unavailable}")
    return best.candidate
