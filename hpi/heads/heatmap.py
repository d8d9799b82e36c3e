"""Keypoints from heatmaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from hpi.heads.base import Head, Items, Task
from hpi.instances import Instances
from hpi.kernels.flip import fuse_flipped
from hpi.kernels.heatmaps import decode_dark, decode_dark_udp, decode_quarter

if TYPE_CHECKING:
    from hpi.kernels.cuda import CudaKernels


class HeatmapHead(Head):
    """One person an item, one heatmap a keypoint: the place of its largest value, refined.

    Attributes:
        decoder: how the place is refined: ``"dark"`` (CVPR 2020), ``"dark_udp"``, with the wider blur that ViTPose has
            in mmpose, or ``"quarter"`` of a cell towards the larger neighbour.
        align: which pixels of the input the cells are at. ``"cells"``: a keypoint is at ``(cell + offset) * stride``.
            ``"corners"``, of models that were trained with UDP: the outermost cells are at the outermost pixels, so a
            keypoint is at ``cell / (cells - 1) * (pixels - 1)``.
        offset: see there.
        layout: of the heatmaps, ``"nchw"`` or ``"nhwc"``.

    Example:
        >>> heatmap = np.zeros((1, 1, 64, 48), np.float32)
        >>> heatmap[0, 0, 32, 24] = 1
        >>> people, items = HeatmapHead(decoder="quarter").decode([heatmap], 1, (192, 256))
        >>> people.keypoints, items
        (array([[[ 96., 128.]]], dtype=float32), array([0]))
    """

    type: Literal["heatmap"] = "heatmap"
    decoder: Literal["dark", "dark_udp", "quarter"] = "dark"
    align: Literal["cells", "corners"] = "cells"
    offset: Annotated[float, Field(ge=0, le=1)] = 0.0
    layout: Literal["nchw", "nhwc"] = "nchw"
    task: ClassVar[Task] = "keypoint_detection"

    @model_validator(mode="after")
    def _one_way(self) -> HeatmapHead:
        if self.align == "corners" and self.offset:
            raise ValueError("offset is of align: cells; with align: corners leave it out")
        return self

    @property
    def decodes_on_gpu(self) -> bool:  # noqa: D102
        return self.decoder == "dark" and self.layout == "nchw"

    def decode(  # noqa: D102
        self, outputs: Sequence[Any], count: int, size: tuple[int, int], kernels: CudaKernels | None = None
    ) -> tuple[Instances, Items]:
        self.keypoints_in(outputs)
        heatmaps = self._channels_first(outputs[0])
        cells, scores = self._cells(heatmaps, kernels)
        grid, pixels = np.array(heatmaps.shape[:1:-1]), np.array(size)
        if self.align == "corners":
            keypoints = cells / np.maximum(grid - 1, 1) * (pixels - 1)
        else:
            keypoints = (cells + self.offset) * (pixels / grid)
        people = Instances(scores=scores.mean(axis=1), keypoints=keypoints.astype(np.float32), keypoint_scores=scores)
        return people, np.arange(len(people))

    def _cells(self, heatmaps: Any, kernels: CudaKernels | None) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        if kernels is None:
            return _DECODERS[self.decoder](heatmaps)
        cells, scores = kernels.decode_dark(heatmaps)
        return cells.get(), scores.get()

    def _channels_first(self, heatmaps: Any) -> Any:
        return heatmaps if self.layout == "nchw" else np.ascontiguousarray(heatmaps.transpose(0, 3, 1, 2))

    def keypoints_in(self, outputs: Sequence[Any]) -> int:  # noqa: D102
        (heatmaps,) = outputs
        if heatmaps.ndim != 4 or heatmaps.dtype != np.float32:
            sides = "keypoints, height, width" if self.layout == "nchw" else "height, width, keypoints"
            raise ValueError(
                f"{heatmaps.dtype} {heatmaps.shape}, is not heatmaps [N, {sides}] in float32; "
                "of a graph that decodes them itself, say so in its yml: hpi: {head: {type: keypoints}}"
            )
        return int(heatmaps.shape[self.layout.index("c")])

    def fuse_flip(  # noqa: D102
        self, outputs: Sequence[Any], mirrored: Sequence[Any], order: NDArray[np.int64]
    ) -> list[Any]:
        # A grid whose cells stand for their centres is symmetric, and one whose corners are those of the input; one
        # whose cells stand for corners is not.
        shift = self.align == "cells" and self.offset == 0
        fused = fuse_flipped(self._channels_first(outputs[0]), self._channels_first(mirrored[0]), order, shift=shift)
        return [fused if self.layout == "nchw" else fused.transpose(0, 2, 3, 1)]


_DECODERS = {"dark": decode_dark, "dark_udp": decode_dark_udp, "quarter": decode_quarter}
