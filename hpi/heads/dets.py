"""Boxes that a graph has suppressed itself, in rows with their scores (RTMDet, YOLOX; as mmdeploy exports them)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from hpi.heads.base import Head, Items, Task
from hpi.heads.checks import check_output, real_rows
from hpi.instances import Instances

if TYPE_CHECKING:
    from hpi.kernels.cuda import CudaKernels


class DetsHead(Head):
    """Rows ``dets [N, M, 5]`` (x1, y1, x2, y2, score) in pixels of the input, and perhaps ``labels [N, M]``.

    A row with a score of 0 is padding. Without labels every box is of class 0.

    Example:
        >>> dets = np.array([[[1, 2, 3, 4, 0.9], [0, 0, 0, 0, 0]]], np.float32)
        >>> found, items = DetsHead().decode([dets, np.array([[7, 0]])], 1, (320, 320))
        >>> found.boxes, found.class_ids, items
        (array([[1., 2., 3., 4.]], dtype=float32), array([7]), array([0]))
    """

    type: Literal["dets"] = "dets"
    task: ClassVar[Task] = "object_detection"
    reads_also: ClassVar[int] = 1

    def decode(  # noqa: D102
        self, outputs: Sequence[Any], count: int, size: tuple[int, int], kernels: CudaKernels | None = None
    ) -> tuple[Instances, Items]:
        dets, *labels = outputs
        check_output(dets, (count, None, 5), f"boxes and scores [{count}, M, 5]")
        classes = labels[0] if labels else np.zeros(dets.shape[:2], np.int64)
        if classes.shape != dets.shape[:2] or classes.dtype.kind not in "iu":
            raise ValueError(
                f"{dets.shape}, and the next, {classes.dtype} {classes.shape}, are not boxes [N, M, 5] and their "
                "classes [N, M] as whole numbers; of a graph with another second output, name the first one alone: "
                "head: {type: dets, outputs: [dets]}"
            )
        items, rows = real_rows(dets[..., 4])
        found = dets[items, rows]
        return Instances(found[:, 4], boxes=found[:, :4], class_ids=classes[items, rows]), items
