"""People in images: detector, crops, joints; people are batched across all images of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpi.tasks.detection import Detections, Detector, Threshold
from hpi.tasks.keypoints import KeypointEstimator


@dataclass(frozen=True)
class HumanPose:
    """A detector and a keypoint model, one after the other."""

    detector: Detector
    estimator: KeypointEstimator

    def predict(
        self, images: Sequence[NDArray[np.uint8]], threshold: Threshold = None
    ) -> list[tuple[Detections, NDArray[np.float32]]]:
        """Find the people of a batch of images and their joints.

        Args:
            images: ``[H, W, 3]`` uint8 BGR each.
            threshold: keep people that score above it, or one for each image; by default the detector's own.

        Returns:
            For each image the people and their joints ``[M, K, 3]`` float32: x, y in pixels of the image, score.
        """
        placed = self.detector.placement.placed(images)
        detections = self.detector.predict(placed, threshold)
        if self.estimator.placement.device != self.detector.placement.device:
            placed = images
        joints = self.estimator.predict(placed, [self.estimator.regions(found.boxes) for found in detections])
        return list(zip(detections, joints, strict=True))
