"""People in images: detector, crops, keypoints; people are batched across all images of a batch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from hpi.errors import ConfigError
from hpi.instances import Instances
from hpi.io.validation import nearest
from hpi.models.model import Model, Threshold
from hpi.pipelines.base import Pipeline, Regions

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

    def __init__(self, detector: Model, estimator: Model, people: Collection[int] | None = None) -> None:
        """Join two models.

        Args:
            detector: finds people.
            estimator: finds their keypoints.
            people: the detector's classes that are people; None: all.
        """
        self.models = (detector, estimator)
        self._people = people

    @property
    def takes_regions(self) -> bool:
        """Yes; with regions the detector does not run."""
        return True

    def _run(self, images: Sequence[Any], regions: Regions, threshold: Threshold) -> list[Instances]:
        detector, estimator = self.models
        placed = detector.place(images)
        people = self._find_people(placed, regions, threshold)
        if estimator.device.device != detector.device.device:
            placed = images
        found = estimator.run(placed, people)
        return [
            of_frame.replaced(keypoints=poses.keypoints, keypoint_scores=poses.keypoint_scores)
            for of_frame, poses in zip(people, found, strict=True)
        ]

    def _find_people(self, images: Sequence[Any], regions: Regions, threshold: Threshold) -> list[Instances]:
        """The people of each image: those that are given, else those that the detector finds."""
        given = [None] * len(images) if regions is None else regions
        thresholds = threshold if isinstance(threshold, Sequence) else [threshold] * len(images)
        unknown = [index for index, people in enumerate(given) if people is None]
        found = self.models[0].run([images[index] for index in unknown], None, [thresholds[index] for index in unknown])
        detected = dict(zip(unknown, map(self._select, found), strict=True))
        return [detected[index] if people is None else people for index, people in enumerate(given)]

    def _select(self, found: Instances) -> Instances:
        """The people among what was detected."""
        if self._people is None or found.class_ids is None:
            return found
        return found[np.isin(found.class_ids, list(self._people))]


def people_classes(labels: Sequence[str], named: Sequence[str] | None) -> frozenset[int] | None:
    """The classes of a detector that are people.

    Args:
        labels: the name of each class.
        named: the labels that are people; None: those of :data:`PEOPLE`.

    Returns:
        Their indices; None where every class is: a detector of one class needs no names.

    Raises:
        ConfigError: a name is none of the labels, or nothing is named and no label is known for people.

    >>> sorted(people_classes(["bicycle", "person", "dog"], None))
    [1]
    """
    if named is None and len(labels) <= 1:
        return None
    wanted = {name.casefold() for name in named or PEOPLE}
    found = {label.casefold() for label in labels} & wanted
    missing = wanted - found
    if (named and missing) or not found:
        near = nearest(min(missing), labels) if named else None
        hint = f"did you mean {near!r}? " if near else ""
        shown = ", ".join(labels[:MAX_LABELS_SHOWN]) + (", ..." if len(labels) > MAX_LABELS_SHOWN else "")
        raise ConfigError(
            f"classes: the detector has no label {' or '.join(sorted(missing))}; "
            f"{hint}"
            "name its labels of people as classes: [...] under ObjectDetection in the pipeline's YAML; "
            f"it has {shown}"
        )
    return frozenset(index for index, label in enumerate(labels) if label.casefold() in found)
