"""Samples of other depths become 8 bits."""

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
_BRIGHTEST = 65504.0  # radiance, in the place of infinity
BRIGHTEST_SUSPECT = 64
"""A picture of 16 bits a sample that has nothing above this in 8 bits may use fewer bits than it has."""


def to_8_bit(image: NDArray[Any], label: str) -> Image:
    """Bring samples to 8 bits; channels stay as they are.

    Whole numbers of 16 bits lose the lower 8. Where none needs more than 14, 12, 10 or 8 bits, the picture is that of a
    sensor of so many bits, which would come out almost black: that is said, and its own range is used. Floating point
    numbers are read as 0 to 1 or, where any is larger, as 0 to 255.

    Args:
        image: of any shape.
        label: its name, for messages.

    Raises:
        InputError: another type of number, or floating point numbers of another range.
    """
    if image.dtype == np.uint8:
        return image
    if image.dtype.kind == "u" and image.dtype.itemsize == 2:  # of either byte order
        brightest = int(image.max())
        bits = next((bits for bits in _SENSOR_BITS if brightest < 1 << bits), 16)
        if bits < 16 and brightest:
            logger.warning(
                "%s: 16 bits a sample, but none is above %d; it is taken for a picture of %d bits",
                label,
                brightest,
                bits,
            )
        return (image >> (bits - 8)).astype(np.uint8)
    if image.dtype.kind == "f":
        return _from_floats(image, label)
    raise InputError(f"{label}: samples of {image.dtype}; save it with 8 or 16 bits, without sign")


def _from_floats(image: NDArray[Any], label: str) -> Image:
    low, high = float(image.min()), float(image.max())
    if not (low >= 0 and high <= 255):  # NaN fails the comparison too
        raise InputError(
            f"{label}: samples from {low:g} to {high:g}; floating point numbers are read in 0..1 or 0..255"
        )
    return np.asarray(np.rint(image * 255 if high <= 1 else image), np.uint8)


def tone_mapped(radiance: NDArray[np.float32]) -> Image:
    """Radiances ``[H, W, 3]`` float32, without an upper bound, as a picture: Reinhard's operator."""
    clean = np.nan_to_num(np.maximum(radiance, 0), posinf=_BRIGHTEST)
    shown = np.nan_to_num(cv2.createTonemapReinhard(gamma=2.2).process(clean))
    return np.asarray(np.rint(np.clip(shown, 0, 1) * 255), np.uint8)
