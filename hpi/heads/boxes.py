"""Boxes from rows that non-maximum suppression in the graph has left (PP-YOLOE, PicoDet, RT-DETR)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from hpi.heads.base import Head, Items, Task
from hpi.instances import Instances

if TYPE_CHECKING:
    from hpi.kernels.cuda import CudaKernels

Float = NDArray[np.floating[Any]]


class BoxesHead(Head):
    """Rows ``[M, 6]`` (class, score, x1, y1, x2, y2) of all images, and how many each image has, ``[N]``.

    A row of the class -1 is padding. Of a graph that takes ``scale_factor`` the boxes are in pixels of the image.

    Example:
        >>> rows, counts = np.array([[0, 0.9, 1, 2, 3, 4]], np.float32), np.array([0, 1])
        >>> found, items = BoxesHead().decode([rows, counts], 2, (320, 320))
        >>> found.boxes, items
        (array([[1., 2., 3., 4.]], dtype=float32), array([1]))
    """

    type: Literal["boxes"] = "boxes"
    task: ClassVar[Task] = "object_detection"
    reads: ClassVar[int] = 2

    def decode(  # noqa: D102
        self, outputs: Sequence[Any], count: int, size: tuple[int, int], kernels: CudaKernels | None = None
    ) -> tuple[Instances, Items]:
        rows, counts = outputs
        if not (
            rows.ndim == 2
            and rows.shape[1] == 6
            and rows.dtype.kind == "f"
            and counts.shape == (count,)
            and counts.dtype.kind in "iu"
            and bool((counts >= 0).all())
            and int(counts.sum()) == len(rows)
        ):
            raise ValueError(
                f"outputs of shape {rows.shape} and {counts.shape} are not boxes [M, 6] and their number per image"
            )
        items = np.repeat(np.arange(len(counts)), counts)
        real = is_real(rows)
        return instances_of(rows[real]), items[real]


def is_real(rows: Float) -> NDArray[np.bool_]:
    """Which rows ``[M, 6]`` are no padding: ``[M]``.

    Example:
        >>> is_real(np.array([[0, 0.9, 1, 2, 3, 4], [-1, 0, 0, 0, 0, 0]]))
        array([ True, False])
    """
    return ~(rows[:, 0] <= -1)


def instances_of(rows: Float) -> Instances:
    """The instances of rows ``[M, 6]`` (class, score, x1, y1, x2, y2).

    Example:
        >>> instances_of(np.array([[0, 0.9, 1, 2, 3, 4]])).scores
        array([0.9], dtype=float32)
    """
    # A class that is NaN or infinity is reported like a score that is.
    known = np.isfinite(rows[:, 0])
    scores = np.where(known, rows[:, 1], np.nan)
    return Instances(scores, boxes=rows[:, 2:], class_ids=np.where(known, rows[:, 0], 0))
