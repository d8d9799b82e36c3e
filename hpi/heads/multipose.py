"""People with keypoints of MoveNet MultiPose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from hpi.heads.base import Head, Items, Task
from hpi.heads.checks import check_output, real_rows
from hpi.instances import Instances

if TYPE_CHECKING:
    from hpi.kernels.cuda import CudaKernels

_BOX = 5
"""Values of a row after its keypoints: ymin, xmin, ymax, xmax, score."""
_LAYOUT = "[N, M, 3 x keypoints + 5]"


class MultiposeHead(Head):
    """Rows ``[N, M, 3 K + 5]``: y, x and score of each keypoint, then ymin, xmin, ymax, xmax and the person's score.

    Places are fractions of the input, padding included. A row with a score of 0 is padding.

    Example:
        >>> rows = np.array([[[0.5, 0.25, 0.75, 0, 0, 1, 0.5, 0.9]]], np.float32)
        >>> found, _ = MultiposeHead().decode([rows], 1, (384, 256))
        >>> found.points, found.boxes
        (array([[[ 96.  , 128.  ,   0.75]]], dtype=float32), array([[  0.,   0., 192., 256.]], dtype=float32))
    """

    type: Literal["multipose"] = "multipose"
    task: ClassVar[Task] = "keypoint_detection"

    def decode(  # noqa: D102
        self, outputs: Sequence[Any], count: int, size: tuple[int, int], kernels: CudaKernels | None = None
    ) -> tuple[Instances, Items]:
        (rows,) = outputs
        keypoints = self.keypoints_in(outputs)
        check_output(rows, (count, None, None), f"people of {count} images {_LAYOUT}")
        items, which = real_rows(rows[..., -1])
        found = rows[items, which]
        points, box = found[:, :-_BOX].reshape(-1, keypoints, 3), found[:, -_BOX:-1].reshape(-1, 2, 2)
        people = Instances(
            found[:, -1],
            boxes=(box[..., ::-1] * np.array(size, np.float32)).reshape(-1, 4),
            keypoints=points[..., 1::-1] * np.array(size, np.float32),
            keypoint_scores=points[..., 2],
        )
        return people, items

    def keypoints_in(self, outputs: Sequence[Any]) -> int:  # noqa: D102
        (rows,) = outputs
        check_output(rows, (None, None, None), f"people {_LAYOUT}")
        keypoints, rest = divmod(rows.shape[2] - _BOX, 3)
        if keypoints < 1 or rest:
            raise ValueError(f"float32 {rows.shape}, is not people {_LAYOUT}")
        return int(keypoints)
