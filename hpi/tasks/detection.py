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
from hpi.tasks.placement import NotFiniteError, placement_of

Image = NDArray[np.uint8]
Threshold = float | Sequence[float | None] | None

IMAGES_PER_RUN = 32
"""Most images in one run of the model: more are cut into several runs, so that memory stays bounded."""

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
        names = [of_input.name for of_input in session.info.inputs]
        if "image" not in names or not _INPUTS.issuperset(names) or len(session.info.outputs) < 2:
            raise ModelError(
                f"{session.info.model_path}: not a detector with NMS in its graph: it takes {names} and has "
                f"{len(session.info.outputs)} outputs; export it with its postprocessing, as PaddleDetection does: it "
                f"then takes 'image', and may take 'scale_factor' and 'im_shape'"
            )
        self.placement = placement_of(spec, session)
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
        thresholds = threshold if isinstance(threshold, Sequence) else [threshold] * len(images)
        found: list[Detections] = []
        with self.placement.active():
            for start in range(0, len(images), IMAGES_PER_RUN):
                part = slice(start, start + IMAGES_PER_RUN)
                outputs = self.session.run(self.inputs(images[part]))
                found += self.detections(outputs, images[part], thresholds[part])
        return found

    def detections(
        self, outputs: Sequence[NDArray[Any]], images: Sequence[Image], threshold: Threshold = None
    ) -> list[Detections]:
        """What the session's outputs mean for the images; as :meth:`predict`."""
        rows, counts = (to_host(output) for output in outputs[:2])
        if not _are_boxes(rows, counts, len(images)):
            raise ModelError(
                f"{self.session.info.model_path}: outputs of shape {rows.shape} and {counts.shape} are not boxes "
                "[M, 6] and their number per image"
            )
        thresholds = threshold if isinstance(threshold, Sequence) else [threshold] * len(images)
        keep_above = [self.spec.draw_threshold if one is None else one for one in thresholds]
        per_image = split_by_count(rows, counts.tolist())
        kept = [_above(*of_image) for of_image in zip(per_image, keep_above, strict=True)]
        if not all(np.isfinite(of_image).all() for of_image in kept):
            raise NotFiniteError(self.spec, self.session)
        return [_inside(*of_image) for of_image in zip(kept, images, strict=True)]

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


def _are_boxes(rows: NDArray[Any], counts: NDArray[Any], images: int) -> bool:
    """Whether outputs are rows ``[M, 6]``, and their number for each image."""
    is_table = rows.ndim == 2 and rows.shape[1] == 6 and rows.dtype.kind == "f"
    are_counts = counts.shape == (images,) and counts.dtype.kind in "iu" and bool((counts >= 0).all())
    return is_table and are_counts and int(counts.sum()) == len(rows)


def _above(rows: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """Rows ``[class, score, x1, y1, x2, y2]`` above the threshold, which are no padding; NaN is not below it."""
    return rows[~(rows[:, 1] <= threshold) & ~(rows[:, 0] <= -1)]


def _inside(rows: NDArray[np.float32], image: Image) -> Detections:
    """Rows as detections, best first, clipped to the image, none empty."""
    height, width = image.shape[:2]
    rows = rows[np.argsort(-rows[:, 1], kind="stable")]  # OpenVINO's NMS returns them in another order
    boxes = clip_boxes(rows[:, 2:], width, height)
    solid = has_area(boxes)
    return Detections(boxes[solid], rows[solid, 1], rows[solid, 0].astype(np.intp))
