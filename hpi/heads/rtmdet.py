"""Boxes from the levels of RTMDet, of an export without its postprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from hpi.heads.base import Items, Task
from hpi.heads.suppressing import Float32, Overlap, SuppressingHead, sigmoid
from hpi.instances import Instances

if TYPE_CHECKING:
    from hpi.kernels.cuda import CudaKernels


class RtmdetHead(SuppressingHead):
    """Three levels ``[N, h, w, C + 4]``: the logit of each class, then left, top, right and bottom.

    Or six outputs, as mmdetection has them: three of logits ``[N, C, h, w]``, then three of distances ``[N, 4, h, w]``.

    These are distances in pixels of the input from ``(column, row) * stride``, the corner of the cell and not its
    middle. The stride is the input's width divided by that of the level. The thresholds are those of mmdetection.

    Example:
        >>> levels = [np.full((1, side, side, 5), -9, np.float32) for side in (8, 4, 2)]
        >>> levels[0][0, 2, 3] = 9, 4, 8, 4, 8
        >>> found, _ = RtmdetHead().decode(levels, 1, (64, 64))
        >>> found.boxes, found.scores.round(3)
        (array([[20.,  8., 28., 24.]], dtype=float32), array([1.], dtype=float32))
    """

    type: Literal["rtmdet"] = "rtmdet"
    iou_threshold: Overlap = 0.6
    task: ClassVar[Task] = "object_detection"
    reads: ClassVar[int] = 3
    reads_also: ClassVar[int] = 3

    def decode(  # noqa: D102
        self, outputs: Sequence[Any], count: int, size: tuple[int, int], kernels: CudaKernels | None = None
    ) -> tuple[Instances, Items]:
        levels = _joined(outputs) if len(outputs) == 6 else outputs
        _check(levels, count, size)
        boxes = np.concatenate([_boxes(level[..., -4:], size) for level in levels], axis=1)
        logits = np.concatenate([level[..., :-4].reshape(count, -1, level.shape[3] - 4) for level in levels], axis=1)
        return self.best_boxes(boxes, sigmoid(logits.transpose(0, 2, 1)))


def _joined(outputs: Sequence[Any]) -> list[Any]:
    """Logits and distances of each level as one array ``[N, h, w, C + 4]``."""
    levels = []
    for logits, distances in zip(outputs[:3], outputs[3:], strict=True):
        if logits.ndim != 4 or distances.shape != (len(logits), 4, *logits.shape[2:]):
            raise ValueError(
                f"{logits.dtype} {logits.shape}, and the third after it, {distances.dtype} {distances.shape}, are not "
                "logits [N, classes, height, width] and distances [N, 4, height, width] of one level"
            )
        levels.append(np.concatenate([logits, distances], axis=1).transpose(0, 2, 3, 1))
    return levels


def _check(levels: Sequence[Any], count: int, size: tuple[int, int]) -> None:
    width, height = size
    columns = {level.shape[3:] for level in levels}
    for level in levels:
        if not (
            level.ndim == 4
            and len(level) == count
            and min(level.shape) > 0
            and level.shape[3] > 4
            and len(columns) == 1
            and level.dtype == np.float32
            and width % level.shape[2] == 0
            and level.shape[1] * width == level.shape[2] * height
        ):
            shapes = ", ".join(f"{one.dtype} {one.shape}" for one in levels)
            raise ValueError(
                f"{shapes}, is not three levels [{count}, height, width, classes + 4] in float32, each of a whole "
                f"number of cells in {width}x{height} pixels"
            )


def _boxes(distances: Float32, size: tuple[int, int]) -> Float32:
    """``[N, h, w, 4]`` to ``[N, h * w, 4]``."""
    count, rows, columns, _ = distances.shape
    stride = size[0] // columns
    at = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).astype(np.float32) * stride
    boxes = np.concatenate([at - distances[..., :2], at + distances[..., 2:]], axis=-1)
    return boxes.reshape(count, -1, 4)
