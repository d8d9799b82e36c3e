"""Converting samples of other depths to 8 bits."""

from __future__ import annotations

import logging
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpi.errors import InputError
from hpi.sources.items import Image

logger = logging.getLogger(__name__)

_SENSOR_BITS = (8, 10, 12, 14)
_BRIGHTEST = 65504.0  # radiance that replaces infinity
BRIGHTEST_SUSPECT = 64
"""A 16-bit image whose samples stay below this after conversion to 8 bits may use fewer bits."""


def to_8_bit(image: NDArray[Any], label: str) -> Image:
    """Convert samples to 8 bits; channels are kept.

    16-bit integers lose their lower 8 bits. If no sample needs more than 14, 12, 10 or 8 bits, the image is that of a
    sensor with so many bits, and would come out almost black: then that range is used, with a warning. Floating point
    numbers are read as 0 to 1 or, if any is larger, as 0 to 255.

    Args:
        image: of any shape; uint8, uint16 or floating point.
        label: its name, for messages.

    Returns:
        uint8, of the same shape.

    Raises:
        InputError: another dtype, or floating point numbers of another range.

    Example:
        >>> to_8_bit(np.array([0, 256, 65535], np.uint16), "scan.png").tolist()
        [0, 1, 255]
    """
    if image.dtype == np.uint8:
        return image
    if image.dtype.kind == "u" and image.dtype.itemsize == 2:  # of either byte order
        brightest = int(image.max())
        bits = next((bits for bits in _SENSOR_BITS if brightest < 1 << bits), 16)
        if bits < 16 and brightest:
            logger.warning(
                "%s: 16 bits per sample, but none is above %d; reading it as an image of %d bits",
                label,
                brightest,
                bits,
            )
        return (image >> (bits - 8)).astype(np.uint8)
    if image.dtype.kind == "f":
        return _from_floats(image, label)
    raise InputError(f"{label}: samples of {image.dtype}; save it with unsigned samples of 8 or 16 bits")


def _from_floats(image: NDArray[Any], label: str) -> Image:
    low, high = float(image.min()), float(image.max())
    if not (low >= 0 and high <= 255):  # NaN fails the comparison too
        raise InputError(f"{label}: samples from {low:g} to {high:g}; scale floating point samples to 0..1 or 0..255")
    return np.asarray(np.rint(image * 255 if high <= 1 else image), np.uint8)


def tone_mapped(radiance: NDArray[np.float32]) -> Image:
    """Convert radiances ``[H, W, 3]`` float32, of any range, to 8 bits with Reinhard's operator.

    Example:
        >>> shown = tone_mapped(np.array([[[0, 0, 0], [9, 9, 9], [5000, 5000, 5000]]], np.float32))
        >>> shown.dtype, bool(shown[0, 0, 0] < shown[0, 1, 0] < shown[0, 2, 0])
        (dtype('uint8'), True)
    """
    clean = np.nan_to_num(np.maximum(radiance, 0), posinf=_BRIGHTEST)
    shown = np.nan_to_num(cv2.createTonemapReinhard(gamma=2.2).process(clean))
    return np.asarray(np.rint(np.clip(shown, 0, 1) * 255), np.uint8)
