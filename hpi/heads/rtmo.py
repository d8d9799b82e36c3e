"""People with keypoints that a graph has found and suppressed itself (RTMO)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hpi.heads.base import Head, Items, Task
from hpi.heads.checks import check_output, real_rows
from hpi.instances import Instances

if TYPE_CHECKING:
    from hpi.kernels.cuda import CudaKernels


class RtmoHead(Head):
    """``dets [N, M, 5]`` (x1, y1, x2, y2, score) and ``keypoints [N, M, K, 3]`` (x, y, score), in pixels of the input.

    As mmdeploy exports RTMO. A row with a score of 0 is padding. The graph has suppressed overlapping people; it is not
    done again.

    Example:
        >>> import numpy as np
        >>> dets, keypoints = np.array([[[1, 2, 30, 40, 0.9]]], np.float32), np.array([[[[5, 6, 0.8]]]], np.float32)
        >>> found, _ = RtmoHead().decode([dets, keypoints], 1, (640, 640))
        >>> found.points, found.scores
        (array([[[5. , 6. , 0.8]]], dtype=float32), array([0.9], dtype=float32))
    """

    type: Literal["rtmo"] = "rtmo"
    task: ClassVar[Task] = "keypoint_detection"
    reads: ClassVar[int] = 2

    def decode(  # noqa: D102
        self, outputs: Sequence[Any], count: int, size: tuple[int, int], kernels: CudaKernels | None = None
    ) -> tuple[Instances, Items]:
        dets, keypoints = outputs
        self.keypoints_in(outputs)
        check_output(dets, (count, keypoints.shape[1], 5), f"people and scores [{count}, {keypoints.shape[1]}, 5]")
        items, rows = real_rows(dets[..., 4])
        found, points = dets[items, rows], keypoints[items, rows]
        people = Instances(found[:, 4], boxes=found[:, :4], keypoints=points[..., :2], keypoint_scores=points[..., 2])
        return people, items

    def keypoints_in(self, outputs: Sequence[Any]) -> int:  # noqa: D102
        dets, keypoints = outputs
        check_output(dets, (None, None, 5), "people and scores [N, M, 5]")
        count, most = dets.shape[:2]
        check_output(keypoints, (count, most, None, 3), f"of the second, keypoints [{count}, {most}, keypoints, 3]")
        return int(keypoints.shape[2])
