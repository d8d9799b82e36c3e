"""Boxes of Ultralytics' detectors that need no suppression (YOLO26, YOLOv10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from hpi.heads.base import Head, Items, Task
from hpi.heads.boxes import instances_of
from hpi.heads.checks import check_output, real_rows
from hpi.instances import Instances

if TYPE_CHECKING:
    from hpi.kernels.cuda import CudaKernels


class Yolo26BoxesHead(Head):
    """Rows ``[N, M, 6]``: x1, y1, x2, y2 in pixels of the input, score and class; a row with a score of 0 is padding.

    Example:
        >>> rows = np.array([[[1, 2, 3, 4, 0.9, 7], [0, 0, 0, 0, 0, 0]]], np.float32)
        >>> found, _ = Yolo26BoxesHead().decode([rows], 1, (640, 640))
        >>> found.boxes, found.class_ids
        (array([[1., 2., 3., 4.]], dtype=float32), array([7]))
    """

    type: Literal["yolo26_boxes"] = "yolo26_boxes"
    task: ClassVar[Task] = "object_detection"

    def decode(  # noqa: D102
        self, outputs: Sequence[Any], count: int, size: tuple[int, int], kernels: CudaKernels | None = None
    ) -> tuple[Instances, Items]:
        (rows,) = outputs
        check_output(rows, (count, None, 6), f"rows of box, score and class [{count}, M, 6]")
        items, which = real_rows(rows[..., 4])
        return instances_in(rows[items, which]), items


def instances_in(rows: NDArray[np.float32]) -> Instances:
    """The instances of rows ``[M, 6 ...]`` (x1, y1, x2, y2, score, class).

    Example:
        >>> instances_in(np.array([[1, 2, 3, 4, 0.9, 7]], np.float32)).class_ids
        array([7])
    """
    return instances_of(rows[:, [5, 4, 0, 1, 2, 3]])
