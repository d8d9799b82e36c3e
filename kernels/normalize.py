"""From a batch of uint8 BGR images to the tensor of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import DTypeLike, NDArray


def normalize(
    images: NDArray[np.uint8],
    scale: Sequence[float],
    shift: Sequence[float],
    *,
    color: str = "rgb",
    layout: str = "nchw",
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Normalise a batch and bring its channels into the order of a model.

    ``x * scale + shift`` in float32, bit-identical to the reference with ``scale = (1/255) / std`` and
    ``shift = -mean / std``.

    Args:
        images: ``[N, H, W, 3]`` uint8 BGR.
        scale: per channel, in the order RGB.
        shift: per channel, in the order RGB.
        color: order of the channels in the result, ``"rgb"`` or ``"bgr"``.
        layout: ``"nchw"``: channels first; ``"nhwc"``: channels last.
        dtype: of the result; of an integer type, values are cut to whole numbers.

    Returns:
        ``[N, 3, H, W]`` or ``[N, H, W, 3]``, C-contiguous.

    Example:
        >>> pixel = np.array([[[[0, 128, 255]]]], np.uint8)  # BGR
        >>> normalize(pixel, [1 / 255] * 3, [0, 0, 0]).ravel().round(3)
        array([1.   , 0.502, 0.   ], dtype=float32)
        >>> normalize(pixel, [1] * 3, [0, 0, 0], color="bgr", layout="nhwc", dtype=np.int32)
        array([[[[  0, 128, 255]]]], dtype=int32)
    """
    count, height, width, _ = images.shape
    out = np.empty((count, 3, height, width), np.float32)
    blue, green, red = cv2.split(images.reshape(-1, width, 3))  # NumPy is slower on every third value
    planes = (red, green, blue) if color == "rgb" else (blue, green, red)
    order = (0, 1, 2) if color == "rgb" else (2, 1, 0)
    for index, (channel, of_rgb) in enumerate(zip(planes, order, strict=True)):
        plane = out[:, index]
        plane[:] = channel.reshape(count, height, width)
        plane *= np.float32(scale[of_rgb])
        plane += np.float32(shift[of_rgb])
    if layout == "nhwc":
        out = np.ascontiguousarray(out.transpose(0, 2, 3, 1))
    return out.astype(dtype, copy=False)
