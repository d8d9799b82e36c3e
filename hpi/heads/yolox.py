"""Boxes from the raw output of YOLOX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from hpi.heads.base import Items, Task
from hpi.heads.checks import check_output
from hpi.heads.suppressing import Float32, SuppressingHead
from hpi.instances import Instances

if TYPE_CHECKING:
    from hpi.kernels.cuda import CudaKernels

STRIDES = (8, 16, 32)


class YoloxHead(SuppressingHead):
    """Rows ``[N, A, 5 + C]``: x, y, width, height, objectness, and the score of each class.

    A row for each cell of the strides 8, 16 and 32, row by row. The centre is at ``(xy + cell) * stride``, the sides
    are ``exp(wh) * stride``, the score of a class is that times the objectness. The thresholds are those of
    mmdetection, but for the higher ``score_threshold``.

    Example:
        >>> rows = np.zeros((1, 84, 6), np.float32)
        >>> rows[0, 9] = 0.5, 0.5, np.log(2), np.log(3), 0.9, 0.5  # the second cell of the second row
        >>> found, _ = YoloxHead().decode([rows], 1, (64, 64))
        >>> found.boxes, found.scores
        (array([[ 4.,  0., 20., 24.]], dtype=float32), array([0.45], dtype=float32))
    """

    type: Literal["yolox"] = "yolox"
    task: ClassVar[Task] = "object_detection"

    def decode(  # noqa: D102
        self, outputs: Sequence[Any], count: int, size: tuple[int, int], kernels: CudaKernels | None = None
    ) -> tuple[Instances, Items]:
        (rows,) = outputs
        cells, strides = _grid(size)
        what = f"boxes, objectness and classes [{count}, {len(cells)}, 5 + classes] of {size[0]}x{size[1]} pixels"
        check_output(rows, (count, len(cells), None), what)
        if rows.shape[2] < 6:
            raise ValueError(f"{rows.dtype} {rows.shape}, is not {what}: there is no class")
        center = (rows[..., :2] + cells) * strides
        with np.errstate(over="ignore"):  # of what no threshold keeps
            half = np.exp(rows[..., 2:4]) * strides / 2
        scores = rows[..., 4:5] * rows[..., 5:]
        return self.best_boxes(np.concatenate([center - half, center + half], axis=-1), scores.transpose(0, 2, 1))


def _grid(size: tuple[int, int]) -> tuple[Float32, Float32]:
    """The column and row ``[A, 2]`` and the stride ``[A, 1]`` of each cell."""
    cells, strides = [], []
    for stride in STRIDES:
        columns, rows = size[0] // stride, size[1] // stride
        at = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
        cells.append(at)
        strides.append(np.full((len(at), 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)
