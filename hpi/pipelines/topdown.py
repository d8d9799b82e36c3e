"""People in images: detector, crops, keypoints; people are batched across all images of a batch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.errors import ConfigError
from hpi.instances import Frame, Instances
from hpi.io.validation import nearest
from hpi.kernels.boxes import clip_boxes
from hpi.models.model import Model, Threshold
from hpi.pipelines.base import Pipeline, Regions
from hpi.pipelines.steps import step

PEOPLE = ("person", "pedestrian")
"""Labels that are taken for people where the pipeline's YAML does not name its own."""
MAX_LABELS_SHOWN = 20


class TopDownPipeline(Pipeline):
    """A detector, then a keypoint model on everyone that it finds.

    Example:
        >>> from hpi import Frame, Predictor
        >>> import cv2
        >>> with Predictor("human_keypoint_detection_lite") as predictor:
        ...     (people,) = predictor.pipelines[0].run([Frame(cv2.imread("examples/basketball.png"))])
        >>> people
        Instances(2, 17 keypoints each: scores, boxes, class_ids, keypoints, keypoint_scores)
    """

    def __init__(
        self, detector: Model, estimator: Model, people: Collection[int] | None = None, callers: int = 1
    ) -> None:
        """Join two models.

        Args:
            detector: finds people.
            estimator: finds their keypoints.
            people: the detector's classes that are people; None: all.
            callers: so many threads share the people of each image, at the same time.
        """
        self.models = (detector, estimator)
        self._people = people
        self._callers = callers
        self._others = ThreadPoolExecutor(callers - 1, "hpi-people") if callers > 1 else None

    def split_by(self, callers: int) -> TopDownPipeline:
        """The same models, opened for so many callers, for one image at a time: the callers share its people."""
        detector, estimator = self.models
        return TopDownPipeline(detector, estimator, self._people, callers)

    @property
    def takes_regions(self) -> bool:
        """Yes; with regions the detector does not run."""
        return True

    def _run(self, frames: Sequence[Frame], regions: Regions, threshold: Threshold) -> list[Instances]:
        detector, estimator = self.models
        images = [frame.image for frame in frames]
        placed = detector.place(images)
        given = [None] * len(images) if regions is None else regions
        people = self.find_people(placed, given, threshold)
        with step("keypoints"):
            found = self._find_keypoints(
                placed if estimator.device.device == detector.device.device else images, people
            )
        return [
            of_frame.replaced(
                boxes=boxes_inside(of_frame, image) if of_caller is None else of_frame.boxes,
                keypoints=poses.keypoints,
                keypoint_scores=poses.keypoint_scores,
            )
            for of_frame, image, of_caller, poses in zip(people, images, given, found, strict=True)
        ]

    def _find_keypoints(self, images: Sequence[Any], people: Sequence[Instances]) -> list[Instances]:
        run, callers = self.models[1].run, min(self._callers, max(map(len, people), default=0))
        if callers < 2 or self._others is None:
            return run(images, people)
        first, *others = (
            [of_image[len(of_image) * part // callers : len(of_image) * (part + 1) // callers] for of_image in people]
            for part in range(callers)
        )
        found = [self._others.submit(run, images, part) for part in others]
        parts = [run(images, first), *(future.result() for future in found)]
        return [Instances.concatenate(of_image) for of_image in zip(*parts, strict=True)]

    def find_people(
        self, images: Sequence[Any], given: Sequence[Instances | None], threshold: Threshold = None
    ) -> list[Instances]:
        """The people of each image: those that are given, else those that the detector finds.

        Args:
            images: ``[H, W, 3]`` uint8 BGR each, or where the detector wants them.
            given: for each image; None: the detector runs.
            threshold: keep people that score above it, or one for each image; None: the detector's own.

        Returns:
            One for each image, in its pixels; boxes that the detector finds may go beyond it.
        """
        thresholds = threshold if isinstance(threshold, Sequence) else [threshold] * len(images)
        unknown = [index for index, people in enumerate(given) if people is None]
        of_unknown = [images[index] for index in unknown]
        found = self._detect(of_unknown, [thresholds[index] for index in unknown])
        detected = dict(zip(unknown, self.models[1].seen(of_unknown, [*map(self._select, found)]), strict=True))
        return [detected[index] if people is None else people for index, people in enumerate(given)]

    def _detect(self, images: Sequence[Any], thresholds: Sequence[float | None]) -> list[Instances]:
        if not images:
            return []
        with step("detect"):
            return self.models[0].run(images, None, thresholds)

    def _select(self, found: Instances) -> Instances:
        """The people among what was detected."""
        if self._people is None or found.class_ids is None:
            return found
        return found[np.isin(found.class_ids, list(self._people))]


def boxes_inside(people: Instances, image: Any) -> NDArray[np.float32]:
    """The boxes as far as the border of the image; the crop may have needed more of them."""
    assert people.boxes is not None  # a detector gives them
    return clip_boxes(people.boxes, image.shape[1], image.shape[0])


def people_classes(
    labels: Sequence[str], named: Sequence[str | int] | None, *, else_first: bool = False
) -> frozenset[int] | None:
    """The classes of a detector that are people.

    Args:
        labels: the name of each class.
        named: the labels that are people, or their indices; None: those of :data:`PEOPLE`.
        else_first: where nothing is named and no label is known for people, take the first, as PaddleDetection does.

    Returns:
        Their indices; None where every class is: a detector of one class needs no names. Of one without names it is
        the first.

    Raises:
        ConfigError: a name is none of the labels, or nothing is named and no label is known for people.

    >>> sorted(people_classes(["bicycle", "person", "dog"], None))
    [1]
    """
    if named is None and not labels:
        return frozenset([0])
    if named is None and len(labels) == 1:
        return None
    wanted = {str(name).casefold() for name in named or PEOPLE if not _is_index(name, labels)}
    found = {label.casefold() for label in labels} & wanted
    missing = wanted - found
    if named is None and not found and else_first:
        return frozenset([0])
    if missing and (named or not found):
        near = nearest(min(missing), labels) if named else None
        hint = f"did you mean {near!r}? " if near else ""
        shown = ", ".join(labels[:MAX_LABELS_SHOWN]) + (", ..." if len(labels) > MAX_LABELS_SHOWN else "")
        raise ConfigError(
            f"classes: the detector has no label {' or '.join(sorted(missing))}; "
            f"{hint}"
            "name its labels of people as classes: [...] under ObjectDetection in the pipeline's YAML; "
            f"it has {shown}"
        )
    indices = {name for name in named or () if isinstance(name, int)}
    return frozenset(indices | {index for index, label in enumerate(labels) if label.casefold() in found})


def _is_index(name: str | int, labels: Sequence[str]) -> bool:
    return isinstance(name, int) and name >= 0 and (not labels or name < len(labels))
