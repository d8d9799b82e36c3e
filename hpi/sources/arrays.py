"""Images in memory: arrays, and images of Pillow."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpi.errors import InputError
from hpi.sources.depth import to_8_bit
from hpi.sources.items import Image, check_size

if TYPE_CHECKING:
    from PIL import Image as Pillow

PILLOW = "Pillow image"


def check_image(array: NDArray[Any]) -> Image:
    """Convert an array to the form that the kernels take.

    Args:
        array: ``[H, W, 3]`` uint8 BGR; also ``[H, W]`` or ``[H, W, 1]`` grey, and ``[H, W, 4]`` BGRA, whose alpha
            is dropped. Any memory layout.

    Returns:
        ``[H, W, 3]`` uint8 BGR, C-contiguous; a copy only if needed.

    Raises:
        InputError: the shape or dtype differs, or the array is empty, masked or too large.

    Example:
        >>> check_image(np.zeros((480, 640), np.uint8)).shape
        (480, 640, 3)
    """
    if array.dtype.kind in "OSU":
        raise InputError(f"array of dtype {array.dtype}: for several paths or images give list(array)")
    if array.dtype != np.uint8:
        raise InputError(
            f"image array of dtype {array.dtype}: give uint8 BGR in 0..255; scale other ranges yourself, since the "
            "range of this array is unknown"
        )
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in {2, 3} or channels not in {1, 3, 4} or array.size == 0:
        batch = "; for a batch give list(array)" if array.ndim == 4 else ""
        raise InputError(f"image array of shape {array.shape}: give [height, width, 3], BGR{batch}")
    if np.ma.is_masked(array):
        raise InputError(f"image array of shape {array.shape}: masked pixels have no colour; give array.filled(...)")
    check_size((array.shape[1], array.shape[0]), f"image array of shape {array.shape}")
    return to_bgr(np.ascontiguousarray(array))


def to_bgr(image: Image) -> Image:
    """Convert grey, BGR or BGRA, ``[H, W]`` or ``[H, W, 1 | 3 | 4]`` uint8, contiguous, to BGR ``[H, W, 3]``.

    Example:
        >>> to_bgr(np.full((1, 1), 7, np.uint8)).tolist(), to_bgr(np.array([[[1, 2, 3, 255]]], np.uint8)).tolist()
        ([[[7, 7, 7]]], [[[1, 2, 3]]])
    """
    channels = image.shape[2] if image.ndim == 3 else 1
    if channels == 3:
        return image
    convert = cv2.COLOR_GRAY2BGR if channels == 1 else cv2.COLOR_BGRA2BGR
    return np.asarray(cv2.cvtColor(image, convert), np.uint8)


def own_image(array: NDArray[Any]) -> Image:
    """:func:`check_image`, always a copy: callers may reuse their buffer while a result still refers to the image.

    Example:
        >>> buffer = np.zeros((480, 640, 3), np.uint8)
        >>> image = own_image(buffer)
        >>> buffer[:] = 255
        >>> int(image.max())
        0
    """
    image = check_image(array)
    return image.copy() if np.may_share_memory(image, array) else image


def as_array(thing: Any) -> NDArray[Any]:
    """Convert an object with ``__array__``, such as a tensor, to an array.

    Raises:
        InputError: it cannot be converted, such as a tensor on a GPU.

    Example:
        >>> class Tensor:
        ...     def __array__(self, dtype=None, copy=None):
        ...         return np.zeros((480, 640, 3), np.uint8)
        >>> as_array(Tensor()).shape
        (480, 640, 3)
    """
    try:
        return np.asarray(thing)
    except Exception as error:  # of the other library
        raise InputError(f"{type(thing).__name__} cannot be converted to a NumPy array: {error}") from error


def is_pillow(thing: object) -> bool:
    """Whether an object is an image of Pillow. Does not import Pillow.

    Example:
        >>> from PIL import Image
        >>> is_pillow(Image.new("RGB", (640, 480))), is_pillow(np.zeros((480, 640, 3), np.uint8))
        (True, False)
    """
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(thing, pillow.Image)


def from_pillow(image: Pillow.Image, label: str = PILLOW) -> Image:
    """Convert an image of Pillow, of any mode: its current frame, rotated by its EXIF orientation, without alpha.

    Returns:
        ``[H, W, 3]`` uint8 BGR, a copy.

    Raises:
        InputError: it is empty or too large, or its file cannot be decoded.

    Example:
        >>> from PIL import Image
        >>> from_pillow(Image.new("RGB", (1, 1), "red")).tolist()
        [[[0, 0, 255]]]
    """
    from PIL import ImageOps

    check_size(image.size, label)
    if 0 in image.size:
        raise InputError(f"{label}: the image is empty: {image.size[0]}x{image.size[1]} pixels")
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith(("I", "F")):
            samples = np.asarray(upright)
            if samples.dtype == np.int32 and samples.min() >= 0 and samples.max() < 1 << 16:
                samples = samples.astype(np.uint16)  # Pillow opens 16-bit files in mode I too
            return to_bgr(np.ascontiguousarray(to_8_bit(samples, label)))
        rgb = np.asarray(upright.convert("RGB"))
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{label}: a damaged or truncated image: {error}") from error
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), np.uint8)
