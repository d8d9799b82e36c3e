"""Keypoints that the graph has decoded itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from hpi.heads.base import Head, Items, Task
from hpi.instances import Instances

if TYPE_CHECKING:
    from hpi.kernels.cuda import CudaKernels


class KeypointsHead(Head):
    """One person an item, ``[N, K, 3]`` float32: x and y in pixels of the input, and the score of each keypoint.

    Example:
        >>> people, items = KeypointsHead().decode([np.array([[[96, 128, 0.9]]], np.float32)], 1, (192, 256))
        >>> people.keypoints, people.scores, items
        (array([[[ 96., 128.]]], dtype=float32), array([0.9], dtype=float32), array([0]))
    """

    type: Literal["keypoints"] = "keypoints"
    task: ClassVar[Task] = "keypoint_detection"

    def decode(  # noqa: D102
        self, outputs: Sequence[Any], count: int, size: tuple[int, int], kernels: CudaKernels | None = None
    ) -> tuple[Instances, Items]:
        (rows,) = outputs
        self.keypoints_in(outputs)
        scores = rows[..., 2]
        people = Instances(scores.mean(axis=1), keypoints=rows[..., :2], keypoint_scores=scores)
        return people, np.arange(len(people))

    def keypoints_in(self, outputs: Sequence[Any]) -> int:  # noqa: D102
        (rows,) = outputs
        if rows.ndim != 3 or rows.shape[2] != 3 or rows.dtype != np.float32:
            raise ValueError(f"{rows.dtype} {rows.shape}, is not keypoints [N, keypoints, 3] in float32")
        return int(rows.shape[1])
