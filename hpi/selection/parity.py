"""The parity gate: a runtime must give the joints of the reference on real crops before it is trusted."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hpi.backends.base import Feeds, Session
from hpi.io.validation import Record, parse, read_yaml
from hpi.kernels.boxes import box_iou
from hpi.model_files import ModelSpec
from hpi.tasks.detection import Detections, Detector
from hpi.tasks.keypoints import PEOPLE_PER_RUN, KeypointEstimator, KeypointOptions
from hpi.tasks.placement import NotFiniteError, Placement

logger = logging.getLogger(__name__)

Image = NDArray[np.uint8]

FOLDER = files("hpi.configs") / "parity"
PEOPLE = {"person", "people", "pedestrian", "human"}
"""Labels of those who are in the exam."""
RULES = "3"
"""Part of a kept verdict's key: to be raised with every change of how the gate judges."""


class Limits(Record):
    """How far a runtime may be off: joints in pixels of the crop, scores, and the least overlap of boxes."""

    pixels: float
    score: float
    iou: float


class ParityConfig(Record):
    """``configs/parity/parity.yaml``."""

    photo: str
    boxes: list[tuple[float, float, float, float]]
    clear_above: float
    limits: dict[str, Limits]


@dataclass(frozen=True)
class Verdict:
    """What the gate found, against what it allows.

    Attributes:
        passed: within the limits.
        said: the figures, in words.
        pixels: of a keypoint model, how far a clear joint is off at most, pixels of the crop; None where it was not
            compared.
    """

    passed: bool
    said: str
    pixels: float | None = None

    def write(self, path: Path) -> None:
        """Keep it as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Verdict:
        """The verdict that was kept."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Exam:
    """The photo, the people in it, and the limits."""

    config: ParityConfig

    @cached_property
    def photo(self) -> Image:
        """``[H, W, 3]`` uint8 BGR; decoded when it is first needed."""
        with as_file(FOLDER / self.config.photo) as path:
            return np.asarray(cv2.imread(str(path)), np.uint8)

    def photos(self) -> list[Image]:
        """Views of the photo for a detector: as it is, mirrored, and its left and right half."""
        half = self.photo.shape[1] // 2
        views = (self.photo, self.photo[:, ::-1], self.photo[:, :half], self.photo[:, half:])
        return [np.ascontiguousarray(view) for view in views]

    def boxes(self) -> NDArray[np.float32]:
        """Boxes of people, ``[N, 4]``."""
        return np.array(self.config.boxes, np.float32)


def load_exam() -> Exam:
    """The exam of the package."""
    with as_file(FOLDER / "parity.yaml") as path:
        return Exam(parse(ParityConfig, read_yaml(path), str(path)))


@dataclass(frozen=True)
class Answers:
    """What the reference answers to the exam.

    Attributes:
        reference: its name.
        joints: of a keypoint model, ``[N, K, 3]``; None of a detector.
        detections: of a detector, for each view of the photo; empty of a keypoint model.
    """

    reference: str
    joints: NDArray[np.float32] | None
    detections: list[Detections]


def answer(spec: ModelSpec, reference: Session) -> Answers:
    """Let the reference answer the exam.

    Raises:
        HpiError: it failed.
    """
    exam, name = load_exam(), f"{reference.info.backend} {reference.info.precision}"
    if spec.task == "object_detection":
        return Answers(name, None, Detector(spec, reference).predict(exam.photos(), 0))
    estimator = KeypointEstimator(spec, reference, KeypointOptions())
    (joints,) = estimator.predict([exam.photo], [estimator.regions(exam.boxes())])
    return Answers(name, joints, [])


def examine(spec: ModelSpec, session: Session, expected: Answers) -> Verdict:
    """Compare a session with the reference's answers, one item at a time and many together.

    People go together in the largest batch that is ever run, photos in one of four.

    Raises:
        HpiError: the session failed.
    """
    exam = load_exam()
    limits = exam.config.limits.get(session.info.precision)
    if limits is None:
        return Verdict(False, f"no parity limits for {session.info.precision} in configs/parity/parity.yaml")
    try:
        if expected.joints is None:
            return _compare_detectors(Detector(spec, session), expected, exam, limits)
        estimator = KeypointEstimator(spec, session, KeypointOptions())
        return _compare_keypoints(estimator, expected.joints, expected.reference, exam, limits)
    except NotFiniteError as error:
        return Verdict(False, str(error))


def trial(spec: ModelSpec, session: Session, count: int) -> None:
    """Take photos or people of the exam, as many as asked for, all the way to results.

    Raises:
        HpiError: the session failed, or what it returns is no result.
    """
    exam = load_exam()
    if spec.task == "object_detection":
        found = Detector(spec, session).predict(exam.photos()[:count], 0)
        if PEOPLE.intersection(spec.labels) and not any(len(of_image.boxes) for of_image in found):
            # NMS drops NaN. But a detector for quite other views of people may find none either.
            logger.warning(
                "%s finds nothing at all in a photo of two people, not even with a low score: check that the files in "
                "%s are undamaged",
                spec.name,
                spec.folder,
            )
        return
    estimator = KeypointEstimator(spec, session, KeypointOptions())
    estimator.predict([exam.photo], [estimator.regions(exam.boxes()[:count])])


def example_run(spec: ModelSpec, session: Session, batch: int) -> Callable[[], object]:
    """A call that runs a session on real photos or real crops, as many as asked for, from uint8 images on."""
    exam = load_exam()
    if spec.task == "object_detection":
        detector, views = Detector(spec, session), exam.photos()
        images = detector.prepared([views[index % len(views)] for index in range(batch)])
        return _finished_run(session, detector.placement, lambda: detector.placement.feeds(images))
    estimator = KeypointEstimator(spec, session, KeypointOptions())
    boxes = exam.boxes()
    crops = estimator.crops([exam.photo], [estimator.regions(boxes[np.arange(batch) % len(boxes)])])
    return _finished_run(session, estimator.placement, lambda: estimator.feeds(crops))


def _finished_run(session: Session, placement: Placement, feeds: Callable[[], Feeds]) -> Callable[[], object]:
    def run() -> None:
        with placement.active():
            session.run(feeds())
            placement.wait()

    return run


def _compare_keypoints(
    candidate: KeypointEstimator, expected: NDArray[np.float32], reference: str, exam: Exam, limits: Limits
) -> Verdict:
    clear = expected[..., 2] > exam.config.clear_above
    if not clear.any():
        return Verdict(False, f"nothing to compare against {reference}: no joint of the exam is clear")
    boxes = exam.boxes()
    alone = np.arange(len(boxes))
    together = np.arange(PEOPLE_PER_RUN) % len(boxes)
    pixels = score = 0.0
    for run in (together, *alone[:, None]):
        people = candidate.regions(boxes[run])
        (joints,) = candidate.predict([exam.photo], [people])
        off, to_crop = np.abs(joints - expected[run]), candidate.spec.input_size[0] / people.scale[:, :1]
        pixels = max(pixels, float((np.linalg.norm(off[..., :2], axis=-1) * to_crop)[clear[run]].max(initial=0)))
        score = max(score, float(off[..., 2][clear[run]].max(initial=0)))
    return Verdict(
        pixels <= limits.pixels and score <= limits.score,
        f"{clear.sum()} joints against {reference}: at most {pixels:.3g} px and {score:.3g} in score off "
        f"(allowed {limits.pixels:g} px, {limits.score:g})",
        pixels,
    )


def _compare_detectors(candidate: Detector, answers: Answers, exam: Exam, limits: Limits) -> Verdict:
    views, expected, against = exam.photos(), answers.detections, f"against {answers.reference}"
    together = candidate.predict(views, 0)
    alone = [candidate.predict([view], 0)[0] for view in views]
    clear = [_clear(found, exam.config.clear_above) for found in expected]
    count = sum(len(found.boxes) for found in clear)
    if count == 0:
        return _compare_unsure(expected, [together, alone], limits, against)
    matches = [_match(want, found) for want, *have in zip(clear, together, alone, strict=True) for found in have]
    iou, score = min(match[0] for match in matches), max(match[1] for match in matches)
    return Verdict(
        iou >= limits.iou and score <= limits.score,
        f"{count} boxes {against}: overlap at least {iou:.4g}, at most {score:.3g} in score off "
        f"(allowed {limits.iou:g}, {limits.score:g})",
    )


def _compare_unsure(expected: list[Detections], found: list[list[Detections]], limits: Limits, against: str) -> Verdict:
    """A detector that is sure of nothing, one with random weights for instance.

    Which of its boxes survive NMS hangs on the last bits of equal scores, so only the scores themselves can be
    compared: the ten best of each view, far more strictly than those of clear boxes.
    """
    best = [np.concatenate([of_view.scores[:10] for of_view in one]) for one in (expected, *found)]
    if not len(best[0]) or any(len(one) != len(best[0]) for one in best):
        return Verdict(False, f"nothing to compare {against}: the detector finds nothing in the exam")
    score = max(float(np.abs(one - best[0]).max()) for one in best[1:])
    allowed = limits.score * float(best[0].max()) / 100
    return Verdict(
        score <= allowed,
        f"no clear box, {len(best[0])} scores {against}: at most {score:.3g} off (allowed {allowed:.2g})",
    )


def _clear(found: Detections, above: float) -> Detections:
    keep = found.scores > above
    return Detections(found.boxes[keep], found.scores[keep], found.classes[keep])


def _match(expected: Detections, found: Detections) -> tuple[float, float]:
    """Least overlap and largest change in score over the expected boxes and their best partners."""
    if not len(expected.boxes):
        return 1.0, 0.0
    if not len(found.boxes):
        return 0.0, 1.0
    iou = box_iou(expected.boxes, found.boxes)
    partner = iou.argmax(axis=1)
    return float(iou.max(axis=1).min()), float(np.abs(expected.scores - found.scores[partner]).max())
