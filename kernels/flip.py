"""Test-time flip: the model also sees the mirrored crop, and the two heatmaps are averaged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]


def mirror(images: UInt8) -> UInt8:
    """Mirror ``[N, H, W, C]`` left to right; C-contiguous, as the runtimes need it.

    Example:
        >>> mirror(np.arange(3, dtype=np.uint8).reshape(1, 1, 3, 1)).ravel()
        array([2, 1, 0], dtype=uint8)
    """
    return np.ascontiguousarray(images[:, :, ::-1])


def fuse_flipped(heatmaps: Float32, mirrored: Float32, order: NDArray[np.int64], *, shift: bool) -> Float32:
    """Average the heatmaps of a crop and of its mirror image.

    Args:
        heatmaps: ``[N, K, H, W]`` float32 of the crop.
        mirrored: ``[N, K, H, W]`` float32 of the mirrored crop.
        order: ``[K]`` int64: for each keypoint, the index of its mirrored partner.
        shift: move the mirrored map one cell to the right (column 0 stays) before averaging. A model whose cell
            ``i`` means pixel ``i * stride`` needs it, since mirroring then misplaces the map by almost one cell;
            one whose cell means ``(i + 0.5) * stride`` does not.

    Returns:
        ``[N, K, H, W]`` float32.

    Example:
        >>> heatmaps = np.array([[[[0, 0, 1]]]], np.float32)
        >>> fuse_flipped(heatmaps, heatmaps[..., ::-1], np.array([0]), shift=False).ravel()
        array([0., 0., 1.], dtype=float32)
    """
    back = mirrored[:, order, :, ::-1]
    if shift:
        back = np.concatenate([back[..., :1], back[..., :-1]], axis=-1)
    return (heatmaps + back) * np.float32(0.5)
