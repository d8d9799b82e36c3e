"""The results of reading: images, or the errors in their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpi.errors import InputError
from hpi.kernels.affine import MAX_WARP_SIDE

Image = NDArray[np.uint8]

MAX_PIXELS = 178_956_970
"""Size limit of decoded images, in pixels: the one of PaddleX's service and of Pillow."""


class Picture(NamedTuple):
    """One image of a file.

    Attributes:
        image: ``[H, W, 3]`` uint8 BGR, C-contiguous.
        page: its index in a document of several pages, from 0.
        frame: its index in a video or an animation, from 0.
        time_s: of a video's frame, seconds from its beginning.

    Example:
        >>> picture = Picture(np.zeros((480, 640, 3), np.uint8), page=1)
        >>> picture.page, picture.frame
        (1, None)
    """

    image: Image
    page: int | None = None
    frame: int | None = None
    time_s: float | None = None


@dataclass(frozen=True)
class Item:
    """One image of the input, or the error in its place.

    Attributes:
        path: file or URL, without secrets; None for an image in memory.
        image: ``[H, W, 3]`` uint8 BGR, C-contiguous, in memory of its own; or why it cannot be read.
        from_folder: whether it was found in a folder, not named by the caller.
        page: its index in a document of several pages, from 0.
        frame: its index in a video or an animation, from 0.
        time_s: of a video's frame, seconds from its beginning.

    Example:
        >>> item = Item("broken.jpg", InputError("broken.jpg: the file is empty"))
        >>> item.path, isinstance(item.image, InputError)
        ('broken.jpg', True)
    """

    path: str | None
    image: Image | InputError
    from_folder: bool = False
    page: int | None = None
    frame: int | None = None
    time_s: float | None = None


def check_size(size: tuple[int, int], label: str, max_pixels: int = MAX_PIXELS) -> None:
    """Check the width and height of an image against the limits.

    Args:
        size: width and height, pixels.
        label: its name, for the error.
        max_pixels: limit of width times height.

    Raises:
        InputError: the image is too large.

    Example:
        >>> check_size((640, 480), "people.jpg")
        >>> check_size((640, 480), "people.jpg", 100_000)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        hpi.errors.InputError: people.jpg: 640x480 pixels; the limits are 100000 pixels and ...
    """
    width, height = size
    if width * height > max_pixels or max(size) > MAX_WARP_SIDE:
        raise InputError(
            f"{label}: {width}x{height} pixels; the limits are {max_pixels} pixels and {MAX_WARP_SIDE} per side; "
            "shrink it or cut it into tiles"
        )
