"""Decoding the pages of TIFF files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpi.errors import InputError
from hpi.sources.arrays import from_pillow, to_bgr
from hpi.sources.depth import to_8_bit
from hpi.sources.items import Image

_SUBFILE_TYPE, _WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _PLANES, _FORMAT = 254, 256, 257, 258, 262, 284, 339
_THUMBNAIL, _MASK = 1, 4
_UNSIGNED = 1
_BLACK_IS_ZERO, _RGB = 1, 2


@dataclass(frozen=True)
class Page:
    """A page of a file, as its directory describes it.

    Attributes:
        index: index of the directory.
        size: width and height, pixels.
        deep: whether its samples are anything but unsigned integers of up to 8 bits.
        plain: whether it is grey or RGB with interleaved channels. OpenCV silently misreads other layouts of deep
            samples.

    Example:
        >>> Page(index=0, size=(640, 480), deep=True, plain=True).size
        (640, 480)
    """

    index: int
    size: tuple[int, int]
    deep: bool
    plain: bool


def list_pages(data: bytes | bytearray) -> list[Page]:
    """The pages of a TIFF file, from its directories. Thumbnails of other pages, and masks, are left out.

    Raises:
        Exception: of any type, raised by Pillow for damaged files.

    Example:
        >>> from PIL import Image as Pillow
        >>> file, deep = io.BytesIO(), Pillow.new("I;16", (64, 48))
        >>> Pillow.new("RGB", (640, 480)).save(file, "TIFF", save_all=True, append_images=[deep])
        >>> [(page.size, page.deep) for page in list_pages(file.getvalue())]
        [((640, 480), False), ((64, 48), True)]
    """
    return [_page(tags, index) for index, tags in enumerate(_directories(data)) if _is_page(tags)]


def _directories(data: bytes | bytearray) -> Iterator[Any]:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    stream = io.BytesIO(data)
    tags = ImageFileDirectory_v2(bytes(data[: 16 if b"+" in data[2:4] else 8]))  # BigTIFF has a longer header
    seen = set()
    while tags.next and tags.next not in seen:
        seen.add(tags.next)
        stream.seek(tags.next)
        tags.load(stream)
        yield tags


def _is_page(tags: Any) -> bool:
    return not tags.get(_SUBFILE_TYPE, 0) & (_THUMBNAIL | _MASK)


def _page(tags: Any, index: int) -> Page:
    unsigned = set(tags.get(_FORMAT, (_UNSIGNED,))) == {_UNSIGNED}
    return Page(
        index,
        (tags[_WIDTH], tags[_HEIGHT]),
        deep=not unsigned or max(tags.get(_BITS, (1,))) > 8,
        plain=tags.get(_PHOTOMETRIC) in {_BLACK_IS_ZERO, _RGB} and tags.get(_PLANES, 1) == 1,
    )


def read_page(data: bytes | bytearray, page: Page, label: str) -> Image:
    """Decode a page.

    Returns:
        ``[H, W, 3]`` uint8 BGR, rotated by its orientation.

    Raises:
        InputError: it is damaged, or of an unsupported kind.

    Example:
        >>> data = cv2.imencode(".tif", np.full((48, 64), 65535, np.uint16))[1].tobytes()
        >>> (page,) = list_pages(data)
        >>> image = read_page(data, page, "scan.tif")
        >>> image.shape, int(image.min())
        ((48, 64, 3), 255)
    """
    image = _by_opencv(data, page)
    if image is not None:
        return to_bgr(to_8_bit(image, label))
    return _by_pillow(data, page, label)


def _by_opencv(data: bytes | bytearray, page: Page) -> NDArray[Any] | None:
    if not page.deep:
        ways = [cv2.IMREAD_COLOR]
    else:  # the second also reads floating point numbers with alpha, but ignores the orientation
        ways = [cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR, cv2.IMREAD_UNCHANGED] if page.plain else []
    for way in ways:
        try:
            _, found = cv2.imdecodemulti(np.frombuffer(data, np.uint8), way, range=(page.index, page.index + 1))
        except cv2.error:
            found = ()
        if found:
            return found[0]
    return None


def _by_pillow(data: bytes | bytearray, page: Page, label: str) -> Image:
    """Decode what OpenCV does not: other compressions, and other colour spaces of deep samples."""
    from PIL.TiffImagePlugin import TiffImageFile

    try:
        image = TiffImageFile(io.BytesIO(data))
        image.seek(page.index)
    except Exception as error:
        raise InputError(
            f"{label}: a damaged or truncated TIFF, or of an unsupported kind; save it with 8 bits per sample"
        ) from error
    return from_pillow(image, label)
