"""People in images: detector, crops, joints; people are batched across all images of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpi.tasks.detection import Detections, Detector
from hpi.tasks.keypoints import KeypointEstimator


@dataclass(frozen=True)
class HumanPose:
    """A detector and a keypoint model, one after the other."""

    detector: Detector
    estimator: KeypointEstimator

    def predict(
        self, images: Sequence[NDArray[np.uint8]], threshold: float | None = None
    ) -> list[tuple[Detections, NDArray[np.float32]]]:
        """Find the people of a batch of images and their joints.

        Args:
            images: ``[H, W, 3]`` uint8 BGR each.
            threshold: keep people that score above it; by default the detector's own.

        Returns:
            For each image the people and their joints ``[M, K, 3]`` float32: x, y in pixels of the image, score.
        """
        detections = self.detector.predict(images, threshold)
        joints = self.estimator.predict(images, [self.estimator.regions(found.boxes) for found in detections])
        return list(zip(detections, joints, strict=True))
