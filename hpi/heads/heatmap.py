"""Keypoints from heatmaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hpi.heads.base import Head, Items, Task
from hpi.instances import Instances
from hpi.kernels.flip import fuse_flipped
from hpi.kernels.heatmaps import decode_dark, decode_quarter

if TYPE_CHECKING:
    from hpi.kernels.cuda import CudaKernels


class HeatmapHead(Head):
    """One person an item, one heatmap a keypoint: the place of its largest value, refined.

    Attributes:
        decoder: how the place is refined: ``"dark"`` (CVPR 2020), or ``"quarter"`` of a cell towards the larger
            neighbour.
        offset: a keypoint is at ``(cell + offset) * stride`` in pixels of the input.

    Example:
        >>> heatmap = np.zeros((1, 1, 64, 48), np.float32)
        >>> heatmap[0, 0, 32, 24] = 1
        >>> people, items = HeatmapHead(decoder="quarter").decode([heatmap], 1, (192, 256))
        >>> people.keypoints, items
        (array([[[ 96., 128.]]], dtype=float32), array([0]))
    """

    type: Literal["heatmap"] = "heatmap"
    decoder: Literal["dark", "quarter"] = "dark"
    offset: Annotated[float, Field(ge=0, le=1)] = 0.0
    task: ClassVar[Task] = "keypoint_detection"
    decodes_on_gpu: ClassVar[bool] = True

    def decode(  # noqa: D102
        self, outputs: Sequence[Any], count: int, size: tuple[int, int], kernels: CudaKernels | None = None
    ) -> tuple[Instances, Items]:
        (heatmaps,) = outputs
        self.keypoints_in(outputs)
        cells, scores = self._cells(heatmaps, kernels)
        stride = np.array(size) / (heatmaps.shape[3], heatmaps.shape[2])
        people = Instances(
            scores=scores.mean(axis=1),
            keypoints=((cells + self.offset) * stride).astype(np.float32),
            keypoint_scores=scores,
        )
        return people, np.arange(len(people))

    def _cells(self, heatmaps: Any, kernels: CudaKernels | None) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        if self.decoder == "quarter":
            return decode_quarter(heatmaps if kernels is None else heatmaps.get())
        if kernels is None:
            return decode_dark(heatmaps)
        cells, scores = kernels.decode_dark(heatmaps)
        return cells.get(), scores.get()

    def keypoints_in(self, outputs: Sequence[Any]) -> int:  # noqa: D102
        (heatmaps,) = outputs
        if heatmaps.ndim != 4 or heatmaps.dtype != np.float32:
            raise ValueError(
                f"{heatmaps.dtype} {heatmaps.shape}, is not heatmaps [N, keypoints, height, width] in float32; "
                "of a graph that decodes them itself, say so in its yml: hpi: {head: {type: keypoints}}"
            )
        return int(heatmaps.shape[1])

    def fuse_flip(  # noqa: D102
        self, outputs: Sequence[Any], mirrored: Sequence[Any], order: NDArray[np.int64]
    ) -> list[Any]:
        # A grid whose cells stand for their centres is symmetric, one whose cells stand for corners is not.
        return [fuse_flipped(outputs[0], mirrored[0], order, shift=self.offset == 0)]
