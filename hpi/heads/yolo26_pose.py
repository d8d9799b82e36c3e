"""People with keypoints of Ultralytics' pose models that need no suppression (YOLO26-pose)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hpi.heads.base import Items, Task
from hpi.heads.checks import check_output, real_rows
from hpi.heads.yolo import YoloKeypoints
from hpi.heads.yolo26_boxes import instances_in
from hpi.instances import Instances

if TYPE_CHECKING:
    from hpi.kernels.cuda import CudaKernels


class Yolo26PoseHead(YoloKeypoints):
    """Rows ``[N, M, 6 + 3 K]``: x1, y1, x2, y2, score, class, then x, y and score of each keypoint.

    In pixels of the input. A row with a score of 0 is padding.

    Example:
        >>> import numpy as np
        >>> rows = np.array([[[1, 2, 30, 40, 0.9, 0, 5, 6, 0.8]]], np.float32)
        >>> found, _ = Yolo26PoseHead().decode([rows], 1, (640, 640))
        >>> found.points, found.boxes
        (array([[[5. , 6. , 0.8]]], dtype=float32), array([[ 1.,  2., 30., 40.]], dtype=float32))
    """

    type: Literal["yolo26_pose"] = "yolo26_pose"
    task: ClassVar[Task] = "keypoint_detection"

    def decode(  # noqa: D102
        self, outputs: Sequence[Any], count: int, size: tuple[int, int], kernels: CudaKernels | None = None
    ) -> tuple[Instances, Items]:
        (rows,) = outputs
        keypoints = self.keypoints_in(outputs)
        check_output(rows, (count, None, None), f"people of {count} images {self._layout}")
        items, which = real_rows(rows[..., 4])
        found = rows[items, which]
        return self.with_keypoints(instances_in(found), found[:, 6:], keypoints), items

    def keypoints_in(self, outputs: Sequence[Any]) -> int:  # noqa: D102
        (rows,) = outputs
        check_output(rows, (None, None, None), f"people {self._layout}")
        return self.count_in(rows.shape[2] - 6, rows.shape, self._layout)

    @property
    def _layout(self) -> str:
        return f"[N, M, 6 + {self.dimensions} x {self.keypoints or 'keypoints'}]"
