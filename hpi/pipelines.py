"""People in images: detector, crops, keypoints; people are batched across all images of a batch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpi.errors import ConfigError
from hpi.io.validation import nearest
from hpi.tasks.detection import Detections, Detector, Threshold
from hpi.tasks.keypoints import KeypointEstimator

PEOPLE = ("person", "pedestrian")
"""Labels that are taken for people where the pipeline's YAML does not name its own."""
MAX_LABELS_SHOWN = 20


@dataclass(frozen=True)
class HumanPose:
    """A detector and a keypoint model, one after the other.

    Attributes:
        detector: finds people.
        estimator: finds their keypoints.
        people: the detector's classes that are people; None: all.
    """

    detector: Detector
    estimator: KeypointEstimator
    people: Collection[int] | None = None

    def predict(
        self, images: Sequence[NDArray[np.uint8]], threshold: Threshold = None
    ) -> list[tuple[Detections, NDArray[np.float32]]]:
        """Find the people of a batch of images and their keypoints.

        Args:
            images: ``[H, W, 3]`` uint8 BGR each.
            threshold: keep people that score above it, or one for each image; by default the detector's own.

        Returns:
            For each image the people and their keypoints ``[M, K, 3]`` float32: x, y in pixels of the image, score.
        """
        placed = self.detector.placement.placed(images)
        detections = [self._select(found) for found in self.detector.predict(placed, threshold)]
        if self.estimator.placement.device != self.detector.placement.device:
            placed = images
        keypoints = self.estimator.predict(placed, [self.estimator.regions(found.boxes) for found in detections])
        return list(zip(detections, keypoints, strict=True))

    def _select(self, found: Detections) -> Detections:
        """The people among what was detected."""
        if self.people is None:
            return found
        chosen = np.isin(found.classes, list(self.people))
        return Detections(found.boxes[chosen], found.scores[chosen], found.classes[chosen])


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
