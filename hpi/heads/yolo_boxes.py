"""Boxes from the raw output of Ultralytics' detectors (YOLOv8, YOLO11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from hpi.heads.base import Items, Task
from hpi.heads.checks import check_output
from hpi.heads.yolo import Float32, YoloCandidates
from hpi.instances import Instances
from hpi.kernels.nms import box_similarity, suppress

if TYPE_CHECKING:
    from hpi.kernels.cuda import CudaKernels


class YoloBoxesHead(YoloCandidates):
    """Columns ``[N, 4 + C, A]``: centre, width and height in pixels of the input, and the score of each class.

    A box has its best class. The thresholds are those of Ultralytics, but for the lower ``score_threshold``.

    Attributes:
        classes: how many, C; None: as many as the output has room for.

    Example:
        >>> columns = np.zeros((1, 6, 84), np.float32)
        >>> columns[0, :, 3] = 30, 20, 10, 8, 0.25, 0.75
        >>> found, _ = YoloBoxesHead().decode([columns], 1, (64, 64))
        >>> found.boxes, found.scores, found.class_ids
        (array([[25., 16., 35., 24.]], dtype=float32), array([0.75], dtype=float32), array([1]))
    """

    type: Literal["yolo_boxes"] = "yolo_boxes"
    classes: Annotated[int, Field(gt=0, le=10_000)] | None = None
    task: ClassVar[Task] = "object_detection"

    def decode(  # noqa: D102
        self, outputs: Sequence[Any], count: int, size: tuple[int, int], kernels: CudaKernels | None = None
    ) -> tuple[Instances, Items]:
        (columns,) = outputs
        layout = f"[{count}, 4 + {self.classes or 'classes'}, candidates]"
        check_output(columns, (count, 4 + self.classes if self.classes else None, None), f"boxes and scores {layout}")
        # Where the number of classes is not known, the other way round would be thousands of them.
        if self.classes is None and not 4 < columns.shape[1] <= columns.shape[2]:
            raise ValueError(
                f"float32 {columns.shape}, is not boxes and scores {layout} of fewer classes than candidates"
            )
        found = [self._decode_one(of_image) for of_image in columns]
        return Instances.concatenate(found), np.repeat(np.arange(count), [len(boxes) for boxes in found])

    def _decode_one(self, columns: Float32) -> Instances:
        found, _ = self.candidates_of(columns, len(columns) - 4)
        assert found.boxes is not None
        similarity = box_similarity(found.boxes, found.class_ids)
        kept = suppress(found.scores, similarity, above=self.score_threshold, alike=self.iou_threshold, most=self.most)
        return found[kept]
