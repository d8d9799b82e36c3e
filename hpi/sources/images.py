"""Decoding the content of a file: one image, pages, or frames."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpi.errors import InputError
from hpi.sources import pdf, tiff
from hpi.sources.arrays import from_pillow
from hpi.sources.depth import BRIGHTEST_SUSPECT, to_8_bit, tone_mapped
from hpi.sources.items import MAX_PIXELS, Image, Picture, check_size

logger = logging.getLogger(__name__)

Content = bytes | bytearray

IMAGE_SUFFIXES = {
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".hdr", ".heic", ".heif", ".hif", ".j2k", ".jfif", ".jp2",
    ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm", ".pdf", ".pgm", ".pic", ".png", ".pnm", ".ppm", ".ras", ".sr", ".tif",
    ".tiff", ".webp",
}  # fmt: skip
"""Suffixes of the images and documents of a folder. A file given by name is recognised by its content instead."""

_SIGNATURES = re.compile(
    rb"(?P<JPEG>\xff\xd8\xff)|(?P<PNG>\x89PNG\r\n\x1a\n)|(?P<GIF>GIF8[79]a)|(?P<BMP>BM)|(?P<WEBP>RIFF....WEBP)|"
    rb"(?P<TIFF>II[*+]\0|MM\0[*+])|(?P<PPM>P[1-6]\s)|(?P<SUN>\x59\xa6\x6a\x95)|(?P<HDR>#\?(?:RADIANCE|RGBE))|"
    rb"(?P<JPEG2000>\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n)|"
    rb"(?P<AVIF>....ftyp(?:avi[fs]|mi[af]1.{4}(?:....){0,16}?avi[fs]))|(?P<HEIF>....ftyp(?:he[iv][cxms]|mi[af]1|msf1))|"
    rb"(?P<PDF>.{0,1019}%PDF-)",
    re.DOTALL,
)
_OPENERS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "PPM": ("PIL.PpmImagePlugin", "PpmImageFile"),
    "SUN": ("PIL.SunImagePlugin", "SunImageFile"),
    "JPEG2000": ("PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIF": ("pillow_heif", "HeifImageFile"),
}
"""Pillow's classes that read a header. Its ``open`` warns of large images, which one thread cannot silence."""
_BY_PILLOW = {"GIF", "AVIF", "HEIF"}
_ANIMATED = {"GIF", "PNG", "WEBP", "AVIF"}
_MAYBE_DEEP = {"PNG", "PPM", "JPEG2000"}
_ANY_DEPTH = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR
_RADIANCE_SIZE = re.compile(rb"\n[-+]([XY]) (\d{1,9}) [-+][XY] (\d{1,9})\n")


@dataclass(frozen=True)
class _Header:
    """The header of a file.

    Attributes:
        kind: name of its signature.
        size: width and height of the first image, pixels.
        several: whether it has several pages or frames. Further images of a JPEG or HEIC do not count: they are
            thumbnails and the like.
        opened: Pillow's reader, if it read the header.
        pages: those of a TIFF.
    """

    kind: str
    size: tuple[int, int]
    several: bool = False
    opened: Any = None
    pages: list[tiff.Page] | None = None


def read_content(data: Content, label: str) -> Iterator[Picture]:
    """Decode the pages, the frames, or the only image of a file, lazily.

    Args:
        data: content of the file.
        label: its name, for errors.

    Raises:
        InputError: the file is empty, not an image or PDF, damaged, truncated or too large.

    Example:
        >>> from PIL import Image
        >>> file = io.BytesIO()
        >>> Image.new("L", (4, 3)).save(file, "GIF", save_all=True, append_images=[Image.new("L", (4, 3), 255)])
        >>> [(picture.frame, picture.image.shape) for picture in read_content(file.getvalue(), "blink.gif")]
        [(0, (3, 4, 3)), (1, (3, 4, 3))]
    """
    if _kind(data, label) == "PDF":
        for index, rendered in enumerate(pdf.read_pages(data, label)):
            yield Picture(rendered, page=index)
        return
    header = _header(data, label, MAX_PIXELS)
    if not header.several:
        yield Picture(_decoded(data, label, header))
    elif header.pages is not None:
        for index, page in enumerate(header.pages):
            check_size(page.size, label)
            yield Picture(tiff.read_page(data, page, label), page=index)
    else:
        yield from _read_frames(header.opened, label)
        if header.kind == "GIF" and not data.rstrip(b"\0").endswith(b";"):
            raise InputError(f"{label}: truncated between two frames")


def decode_image(data: Content, label: str, max_pixels: int = MAX_PIXELS) -> Image:
    """Decode an image file; of several pages or frames the first, with a warning.

    Args:
        data: content of the file.
        label: its name, for errors.
        max_pixels: limit of its size; larger images are refused before they are decoded.

    Returns:
        ``[H, W, 3]`` uint8 BGR, C-contiguous, rotated by its EXIF orientation, without alpha.

    Raises:
        InputError: the file is empty, not an image, damaged, truncated or too large.

    Example:
        >>> data = cv2.imencode(".png", np.zeros((480, 640), np.uint8))[1].tobytes()
        >>> decode_image(data, "grey.png").shape
        (480, 640, 3)
        >>> decode_image(b"", "empty.png")
        Traceback (most recent call last):
        hpi.errors.InputError: empty.png: the file is empty
    """
    return _decoded(data, label, _first_header(data, label, max_pixels))


def image_size(data: Content, label: str, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height of an image file in pixels, from its header; errors as in :func:`decode_image`.

    Example:
        >>> data = cv2.imencode(".png", np.zeros((480, 640, 3), np.uint8))[1].tobytes()
        >>> image_size(data, "people.png")
        (640, 480)
    """
    return _first_header(data, label, max_pixels).size


def decode_pixels(data: Content, label: str) -> Image:
    """:func:`decode_image` for a file that has passed :func:`image_size`.

    Example:
        >>> data = cv2.imencode(".png", np.zeros((480, 640, 3), np.uint8))[1].tobytes()
        >>> decode_pixels(data, "people.png").shape
        (480, 640, 3)
    """
    return _decoded(data, label, _header(data, label, MAX_PIXELS))


def _first_header(data: Content, label: str, max_pixels: int) -> _Header:
    """The header of a file whose first image is needed."""
    if _kind(data, label) == "PDF":
        raise InputError(f"{label}: this is a PDF; give an image")
    header = _header(data, label, max_pixels)
    if header.several:
        logger.warning("%s: has several pages or frames; only the first is used", label)
    return header


def _kind(data: Content, label: str) -> str:
    if not data:
        raise InputError(f"{label}: the file is empty")
    found = _SIGNATURES.match(data)
    if not found:
        raise InputError(
            f"{label}: not an image or PDF of a supported format ({', '.join(sorted(IMAGE_SUFFIXES))}); videos are "
            "recognised by the suffix of their name"
        )
    return str(found.lastgroup)


def _header(data: Content, label: str, max_pixels: int) -> _Header:
    kind = _kind(data, label)
    with _decoder_errors(label):
        if kind == "TIFF":
            pages = tiff.list_pages(data)
            header = _Header(kind, pages[0].size, several=len(pages) > 1, pages=pages)
        elif kind == "HDR":
            header = _Header(kind, _radiance_size(data))
        else:
            opened = _opener(kind, label)(io.BytesIO(data))
            header = _Header(kind, opened.size, kind in _ANIMATED and opened.is_animated, opened)
    check_size(header.size, label, max_pixels)
    return header


@contextmanager
def _decoder_errors(label: str) -> Iterator[None]:
    """Convert any exception of a decoder to an InputError: hostile data may cause any."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{label}: not an image, or a damaged or truncated one") from error


def _opener(kind: str, label: str) -> Any:
    """The class that reads the header of a kind of file."""
    module, name = _OPENERS[kind]
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        needed = (
            'pillow-heif: pip install "hpi-pose[formats]"' if kind == "HEIF" else 'Pillow: pip install "pillow>=11.3"'
        )
        raise InputError(f"{label}: {kind} images are read with {needed}") from error


def _radiance_size(data: Content) -> tuple[int, int]:
    axis, first, second = _RADIANCE_SIZE.search(data[:65536]).groups()  # type: ignore[union-attr]
    return (int(second), int(first)) if axis == b"Y" else (int(first), int(second))


def _decoded(data: Content, label: str, header: _Header) -> Image:
    """The first image of a file."""
    if header.pages is not None:
        return tiff.read_page(data, header.pages[0], label)
    if header.kind in _BY_PILLOW:
        return from_pillow(header.opened, label)
    if header.kind == "HDR":
        return tone_mapped(_by_opencv(data, label, _ANY_DEPTH))
    image = np.asarray(_by_opencv(data, label, cv2.IMREAD_COLOR), np.uint8)
    if header.kind in _MAYBE_DEEP and image.max() < BRIGHTEST_SUSPECT:
        image = to_8_bit(_by_opencv(data, label, _ANY_DEPTH), label)
    return image


def _by_opencv(data: Content, label: str, flags: int) -> NDArray[Any]:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise InputError(f"{label}: cannot be decoded: {error.err}") from error
    if image is None:
        raise InputError(f"{label}: a damaged or truncated image, or of a kind that OpenCV does not decode")
    return image


def _read_frames(animation: Any, label: str) -> Iterator[Picture]:
    index = 0
    while True:
        try:
            animation.seek(index)
        except EOFError:
            return
        except Exception as error:
            raise InputError(f"{label}: damaged or truncated after {index} frames") from error
        yield Picture(from_pillow(animation, label), frame=index)
        index += 1
