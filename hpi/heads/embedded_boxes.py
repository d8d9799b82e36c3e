"""Boxes with what the people in them look like, of models that detect for a tracker (FairMOT)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hpi.heads.base import Head, Items, Task
from hpi.heads.boxes import Float, instances_of, is_real
from hpi.instances import Instances

if TYPE_CHECKING:
    from hpi.kernels.cuda import CudaKernels

Metric = Literal["cosine", "euclidean"]


class EmbeddedBoxesHead(Head):
    """Rows ``[M, 6]`` (class, score, x1, y1, x2, y2) of one image, and the embedding of each, ``[M, D]``.

    Of a graph that takes ``scale_factor`` the boxes are in pixels of the image.

    Attributes:
        metric: how the distance of two embeddings is measured.
        same_below: two embeddings that are closer may be of the same person.
        min_area: boxes that are not larger are left out, square pixels.
        max_aspect: boxes that are wider than this times their height are left out; 0: none is.

    Example:
        >>> rows = np.array([[0, 0.9, 0, 0, 20, 40], [0, 0.8, 0, 0, 40, 20]], np.float32)
        >>> found, _ = EmbeddedBoxesHead(max_aspect=1.6).decode([rows, np.eye(2, 128)], 1, (576, 320))
        >>> found.boxes, found.embeddings.shape
        (array([[ 0.,  0., 20., 40.]], dtype=float32), (1, 128))
    """

    type: Literal["embedded_boxes"] = "embedded_boxes"
    metric: Metric = "cosine"
    same_below: Annotated[float, Field(ge=0)] = 0.4
    min_area: Annotated[float, Field(ge=0)] = 0.0
    max_aspect: Annotated[float, Field(ge=0)] = 0.0
    task: ClassVar[Task] = "object_detection"
    reads: ClassVar[int] = 2
    batches: ClassVar[bool] = False

    def decode(  # noqa: D102
        self, outputs: Sequence[Any], count: int, size: tuple[int, int], kernels: CudaKernels | None = None
    ) -> tuple[Instances, Items]:
        rows, embeddings = outputs
        if not (
            count == 1
            and rows.ndim == embeddings.ndim == 2
            and rows.shape[1] == 6
            and len(rows) == len(embeddings)
            and rows.dtype.kind == embeddings.dtype.kind == "f"
        ):
            raise ValueError(
                f"outputs of shape {rows.shape} and {embeddings.shape} are not boxes [M, 6] and embeddings [M, D] of "
                "one image"
            )
        real = is_real(rows) & self._may_be_people(rows[:, 2:])
        found = instances_of(rows[real]).replaced(embeddings=embeddings[real])
        return found, np.zeros(len(found), np.int64)

    def _may_be_people(self, boxes: Float) -> NDArray[np.bool_]:
        """``[M]`` bool; also of boxes that are NaN, which are reported later."""
        width, height = (boxes[:, 2:] - boxes[:, :2]).T
        too_wide = (width > self.max_aspect * height) & (self.max_aspect > 0)
        nobody: NDArray[np.bool_] = (width * height <= self.min_area) | too_wide
        return ~nobody
