"""The parity gate: a runtime must give the reference's results for real images before it is trusted."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from hpi.backends.base import INT8, Session
from hpi.instances import Instances
from hpi.models import open_model
from hpi.models.agreement import BoxAgreement, box_agreement
from hpi.models.model import Deviation, NotFiniteError
from hpi.models.reference_images import BoxLimits, Image, Limits, ReferenceImages
from hpi.models.spec import ModelSpec

logger = logging.getLogger(__name__)

PEOPLE = {"person", "people", "pedestrian", "human"}
"""Labels of those who are in the reference images."""
RULES = "6"
"""Part of a kept verdict's key: to be raised with every change of what the gate compares."""


@dataclass(frozen=True)
class Verdict:
    """What the gate found, against what it allows.

    Attributes:
        passed: within the limits.
        summary: the figures, in words.
        pixels: of a keypoint model, how far a clear keypoint is off at most, pixels of the input; None where it was
            not compared.
        ap_loss: of a detector in INT8, the points of AP that it may lose, by its boxes.

    Example:
        >>> import tempfile
        >>> verdict = Verdict(False, "17 keypoints: at most 4.2 px off (allowed 0.3 px)", 4.2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     verdict.write(Path(folder) / "verdict.json")
        ...     Verdict.read(Path(folder) / "verdict.json") == verdict
        True
    """

    passed: bool
    summary: str
    pixels: float | None = None
    ap_loss: float | None = None

    def write(self, path: Path) -> None:
        """Keep it as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Verdict:
        """The verdict that was kept."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Expected:
    """The reference's results for the reference images.

    Attributes:
        reference: its name.
        results: one for each item.

    Example:
        >>> expected = Expected("paddle fp32", [Instances([0.9], boxes=[[0, 0, 10, 20]])])
        >>> expected.reference, len(expected.results)
        ('paddle fp32', 1)
    """

    reference: str
    results: list[Instances]


def reference_results(spec: ModelSpec, reference: Session, precision: str) -> Expected:
    """Run the reference on the images that a precision is validated by.

    Raises:
        HpiError: it failed.
    """
    model = open_model(spec, reference)
    if _is_validated_by_boxes(spec, precision):
        results = model.run(_images_of(spec), threshold=0)
    else:
        results = model.run(*model.example_inputs(model.example_count), threshold=0)
    return Expected(f"{reference.info.backend} {reference.info.precision}", results)


def validate(spec: ModelSpec, session: Session, expected: Expected) -> Verdict:
    """Compare a session with the reference, one item at a time and many together.

    Raises:
        HpiError: the session failed.
    """
    if _is_validated_by_boxes(spec, session.info.precision):
        return _validate_boxes(spec, session, expected)
    limits = ReferenceImages.load().config.limits.get(session.info.precision)
    if limits is None:
        return Verdict(False, f"no parity limits for {session.info.precision} in configs/parity/parity.yaml")
    model, count = open_model(spec, session), len(expected.results)
    try:
        images, regions = model.example_inputs(model.example_batch)
        together = model.run(images, regions, threshold=0)
        alone = [
            model.run([images[item]], None if regions is None else [regions[item]], threshold=0)[0]
            for item in range(count)
        ]
    except NotFiniteError as error:
        return Verdict(False, str(error))
    repeated = [expected.results[index % count] for index in range(len(together))]
    return _verdict(
        [model.deviation(expected.results, alone), model.deviation(repeated, together)], expected.reference, limits
    )


def _is_validated_by_boxes(spec: ModelSpec, precision: str) -> bool:
    """Some boxes of a detector in INT8 always change, and only many images show how many."""
    return precision == INT8 and not spec.head.finds_keypoints


def _images_of(spec: ModelSpec) -> list[Image]:
    """The reference images, and the images that the model was not calibrated on."""
    images = spec.int8.images if spec.int8 else []
    return [*ReferenceImages.load().views, *(np.asarray(cv2.imread(str(path)), np.uint8) for path in images)]


def _validate_boxes(spec: ModelSpec, session: Session, expected: Expected) -> Verdict:
    limits = ReferenceImages.load().config.int8_boxes
    try:
        found = open_model(spec, session).run(_images_of(spec), threshold=0)
    except NotFiniteError as error:
        return Verdict(False, str(error))
    agreement = box_agreement(expected.results, found, spec.draw_threshold)
    return _box_verdict(agreement, expected.reference, limits)


def _box_verdict(found: BoxAgreement, reference: str, limits: BoxLimits) -> Verdict:
    against = f"{found.boxes} boxes against {reference}"
    if found.boxes < limits.least:
        return Verdict(
            False, f"too few to compare: {against}; at least {limits.least} are needed: give more images of people"
        )
    lost, added = (max(1, int(share * found.boxes)) for share in (limits.lost, limits.added))
    passed = found.lost <= lost and found.added <= added
    passed &= found.median_iou >= limits.iou and found.score <= limits.score
    return Verdict(
        passed,
        f"{against}: {found.lost} lost (allowed {lost}), {found.added} added ({added}), median overlap "
        f"{found.median_iou:.3f} (at least {limits.iou:g}), least {found.least_iou:.2f}, mean difference of scores "
        f"{found.score:.3f} (at most {limits.score:g})",
        ap_loss=found.ap_loss,
    )


def check_first_run(spec: ModelSpec, session: Session, count: int) -> None:
    """Run so many items of the reference images all the way to results.

    Raises:
        HpiError: the session failed, or what it returns cannot be read.
    """
    model = open_model(spec, session)
    found = model.run(*model.example_inputs(count), threshold=0)
    if PEOPLE.intersection(spec.labels) and not any(map(len, found)):
        # NMS drops NaN. But a detector for quite other views of people may find none either.
        logger.warning(
            "%s finds nothing at all in an image of two people, not even with a low score: check that the files in "
            "%s are undamaged",
            spec.name,
            spec.folder,
        )


def example_run(spec: ModelSpec, session: Session, batch: int) -> Callable[[], object]:
    """A call that runs a session on so many items of the reference images, from uint8 batches on."""
    return open_model(spec, session).example_run(batch)


def _verdict(deviations: Sequence[Deviation], reference: str, limits: Limits) -> Verdict:
    what, against = deviations[0].what, f"against {reference}"
    if not all(deviation.count for deviation in deviations):
        return Verdict(False, f"nothing to compare {against}: no {what} of the reference images are clear enough")
    compared, allowed = deviations[0].count, limits.score * deviations[0].strictness
    score = max(deviation.score for deviation in deviations)
    pixels = max((one.pixels for one in deviations if one.pixels is not None), default=None)
    iou = min((one.iou for one in deviations if one.iou is not None), default=None)
    passed = score <= allowed
    figures, limit = [f"{score:.3g} in score"], [f"{allowed:.2g}"]
    if pixels is not None:
        passed &= pixels <= limits.pixels
        figures, limit = [f"{pixels:.3g} px", *figures], [f"{limits.pixels:g} px", *limit]
    text = f"{compared} {what} {against}: at most {' and '.join(figures)} off (allowed {', '.join(limit)})"
    if iou is not None:
        passed &= iou >= limits.iou
        text += f", overlap at least {iou:.4g} (allowed {limits.iou:g})"
    return Verdict(bool(np.bool_(passed)), text, pixels)
