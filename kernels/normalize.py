"""From a batch of uint8 BGR images to the float tensor that the models take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def normalization_table(mean: Sequence[float], std: Sequence[float], *, is_scale: bool = True) -> Float32:
    """Normalised value of every uint8 level, per channel.

    The reference computes ``x * alpha + beta`` in float32 with ``alpha = (1/255) / std`` and ``beta = -mean / std``;
    a table over the 256 levels is bit-identical to it and needs no float pass over the image.

    Args:
        mean: per channel, in the order RGB.
        std: per channel, in the order RGB, none zero.
        is_scale: pixels are divided by 255 first.

    Returns:
        ``[3, 256]`` float32.
    """
    unit = 1 / 255 if is_scale else 1.0
    alpha = np.array([unit / s for s in std], np.float32)
    beta = np.array([-m / s for m, s in zip(mean, std, strict=True)], np.float32)
    return np.arange(256, dtype=np.float32) * alpha[:, None] + beta[:, None]


def normalize(images: NDArray[np.uint8], table: Float32) -> Float32:
    """Normalise a batch, turn BGR into RGB and put channels first.

    Args:
        images: ``[N, H, W, 3]`` uint8 BGR.
        table: ``[3, 256]`` float32 from :func:`normalization_table`, channels in the order RGB.

    Returns:
        ``[N, 3, H, W]`` float32 RGB, C-contiguous.
    """
    count, height, width, _ = images.shape
    out = np.empty((count, 3, height, width), np.float32)
    for channel in range(3):
        np.take(table[channel], images[..., 2 - channel], out=out[:, channel], mode="clip")
    return out
