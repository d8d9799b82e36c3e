"""People in images: one detector with its NMS in the graph (PP-YOLOE, PicoDet)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.backends.base import Session, to_host
from hpi.errors import ModelError
from hpi.kernels.batches import split_by_count
from hpi.kernels.boxes import clip_boxes, has_area
from hpi.model_files import ModelSpec, Resize
from hpi.tasks.placement import placement_of

Image = NDArray[np.uint8]
Threshold = float | Sequence[float | None] | None

_INPUTS = {"image", "scale_factor", "im_shape"}


@dataclass(frozen=True)
class Detections:
    """What was found in one image, best first.

    Attributes:
        boxes: ``[M, 4]`` float32, (x1, y1, x2, y2), pixels of the image, inside it.
        scores: ``[M]`` float32.
        classes: ``[M]`` int, index into the model's labels.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.intp]


class Detector:
    """A detection model on a session."""

    def __init__(self, spec: ModelSpec, session: Session) -> None:
        assert isinstance(spec.geometry, Resize)
        self.placement = placement_of(spec, session)
        unknown = {of_input.name for of_input in session.info.inputs} - _INPUTS
        if unknown or len(session.info.outputs) < 2:
            raise ModelError(
                f"{session.info.model_path}: not a detector with NMS in its graph: it takes "
                f"{[of_input.name for of_input in session.info.inputs]} and has {len(session.info.outputs)} outputs; "
                "export it with its postprocessing"
            )
        self.spec = spec
        self.session = session
        self._interpolation = spec.geometry.interp

    def predict(self, images: Sequence[Image], threshold: Threshold = None) -> list[Detections]:
        """Detect in a batch of images.

        Args:
            images: ``[H, W, 3]`` uint8 BGR each.
            threshold: keep scores above it (not equal), or one for each image; by default the model's
                ``draw_threshold``.

        Returns:
            The detections of each image.
        """
        if not images:
            return []
        with self.placement.active():
            return self.detections(self.session.run(self.inputs(images)), images, threshold)

    def detections(
        self, outputs: Sequence[NDArray[Any]], images: Sequence[Image], threshold: Threshold = None
    ) -> list[Detections]:
        """What the session's outputs mean for the images; as :meth:`predict`."""
        rows, counts = (to_host(output) for output in outputs[:2])
        if rows.ndim != 2 or rows.shape[1] != 6 or counts.shape != (len(images),) or counts.sum() != len(rows):
            raise ModelError(
                f"{self.session.info.model_path}: outputs of shape {rows.shape} and {counts.shape} are not boxes "
                "[M, 6] and their number per image"
            )
        thresholds = threshold if isinstance(threshold, Sequence) else [threshold] * len(images)
        keep_above = [self.spec.draw_threshold if one is None else one for one in thresholds]
        per_image = split_by_count(rows, counts.tolist())
        return [_select(*of_image) for of_image in zip(per_image, images, keep_above, strict=True)]

    def inputs(self, images: Sequence[Image]) -> dict[str, NDArray[Any]]:
        """What the session is fed with for a batch of images."""
        return self.placement.feeds(self.prepared(images))

    def prepared(self, images: Sequence[Image]) -> dict[str, NDArray[Any]]:
        """The same before the images are normalised, where that is a step of its own."""
        width, height = self.spec.input_size
        sizes = np.array([image.shape[:2] for image in images], np.float64)
        placed = self.placement.placed(images)
        feeds: dict[str, NDArray[Any]] = {
            "image": self.placement.resized(placed, (width, height), self._interpolation),
            "scale_factor": (np.array([height, width]) / sizes).astype(np.float32),
            "im_shape": np.tile(np.array([height, width], np.float32), (len(images), 1)),
        }
        return {of_input.name: feeds[of_input.name] for of_input in self.session.info.inputs}


def _select(rows: NDArray[np.float32], image: Image, threshold: float) -> Detections:
    """Rows ``[class, score, x1, y1, x2, y2]`` above the threshold, clipped to the image, none empty."""
    height, width = image.shape[:2]
    rows = rows[(rows[:, 1] > threshold) & (rows[:, 0] > -1)]
    rows = rows[np.argsort(-rows[:, 1], kind="stable")]  # OpenVINO's NMS returns them in another order
    boxes = clip_boxes(rows[:, 2:], width, height)
    solid = has_area(boxes)
    return Detections(boxes[solid], rows[solid, 1], rows[solid, 0].astype(np.intp))
