"""What reading gives: images, or the reasons why there are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpi.errors import InputError
from hpi.kernels.affine import MAX_WARP_SIDE

Image = NDArray[np.uint8]

MAX_PIXELS = 178_956_970
"""Largest image that is decoded, in pixels: the bound that PaddleX's service and Pillow use."""


class Picture(NamedTuple):
    """One picture of a file: ``[H, W, 3]`` uint8 BGR, C-contiguous, and its number where the file has several.

    Pages are those of a document, frames those of a video or an animation; both are counted from 0.
    """

    image: Image
    page: int | None = None
    frame: int | None = None


@dataclass(frozen=True)
class Item:
    """One image of the input, or the reason why there is none.

    Attributes:
        path: file or URL, as it may be shown; None for what lies in memory.
        image: ``[H, W, 3]`` uint8 BGR, C-contiguous, or what is wrong with it. Nobody else writes to it.
        from_folder: it was found in a folder, not named by the caller.
        page: its number in a document of several pages, from 0.
        frame: its number in a video or an animation, from 0.
    """

    path: str | None
    image: Image | InputError
    from_folder: bool = False
    page: int | None = None
    frame: int | None = None


def check_size(size: tuple[int, int], label: str, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse an image that is too large, by its width and height.

    Raises:
        InputError: it is.
    """
    width, height = size
    if width * height > max_pixels or max(size) > MAX_WARP_SIDE:
        raise InputError(
            f"{label}: {width}x{height} pixels; images of up to {max_pixels} pixels and {MAX_WARP_SIDE} a side are "
            "taken: shrink it or cut it into tiles"
        )
