"""What a user passes as input becomes a stream of images: arrays, files, folders, videos, URLs, and lists of these."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpi.errors import InputError, InputNotFoundError
from hpi.fetch import fetch, is_url
from hpi.kernels.affine import MAX_WARP_SIDE
from hpi.video import VIDEO_SUFFIXES, count_frames, read_frames

logger = logging.getLogger(__name__)

Image = NDArray[np.uint8]
Input = str | PathLike[str] | NDArray[Any] | Sequence["Input"]

IMAGE_SUFFIXES = {
    ".bmp", ".dib", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".ras", ".sr", ".tif", ".tiff", ".webp",
}  # fmt: skip
KINDS = "a BGR uint8 array, the path of a picture, video or folder, or an http(s) URL"
MAX_PIXELS = 178_956_970
"""Largest image that is decoded, in pixels: the bound that PaddleX's service and Pillow use."""
MAX_IMAGE_BYTES = 256 << 20
MAX_FETCH_S = 60


@dataclass(frozen=True)
class Item:
    """One image of the input, or the reason why there is none.

    Attributes:
        path: file or URL; None for an array.
        image: ``[H, W, 3]`` uint8 BGR, C-contiguous, or what is wrong with it.
        from_folder: it was found in a folder, not named by the caller.
        frame: its number in a video, from 0; None for a picture.
    """

    path: str | None
    image: Image | InputError
    from_folder: bool = False
    frame: int | None = None


def read_items(source: Input) -> Generator[Item]:
    """Read images one by one, as the iterator is advanced. What cannot be read is returned, not raised."""
    if isinstance(source, np.ndarray):
        yield _item(None, partial(check_image, source))
    elif isinstance(source, (str, PathLike)):
        yield from _read_path(fspath(source))
    elif isinstance(source, Sequence):
        for entry in source:
            yield from read_items(entry)
    else:
        kind = type(source).__name__
        yield Item(None, InputError(f"input of type {kind}: give {KINDS}, or a list of these"))


def count_items(source: Input) -> int:
    """How many images :func:`read_items` will return, without reading any; of a video, about how many."""
    if isinstance(source, (str, PathLike)):
        path = fspath(source)
        if is_url(path):
            return 1
        if is_video(path):
            return count_frames(Path(path))
        return len(_images_in(Path(path))) if _is_folder(path) else 1
    if isinstance(source, Sequence):
        return sum(count_items(entry) for entry in source)
    return 1


def is_single(source: Input) -> bool:
    """Whether the input is an array or one picture, or a list of just that; not a folder or a video."""
    if isinstance(source, (str, PathLike)):
        path = fspath(source)
        return is_url(path) or not (is_video(path) or _is_folder(path))
    return not isinstance(source, Sequence) or (len(source) == 1 and is_single(source[0]))


def _read_path(path: str) -> Iterator[Item]:
    if is_url(path):
        yield _item(path, partial(_read_url, path))
    elif _is_folder(path):
        found = _images_in(Path(path))
        if not found:
            yield Item(path, InputError(f"{path}: no images in this folder ({', '.join(sorted(IMAGE_SUFFIXES))})"))
        for file in found:
            yield _item(str(file), partial(_read_file, file), from_folder=True)
    elif is_video(path):
        yield from _read_video(path)
    else:
        yield _item(path, partial(_read_file, Path(path)))


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):  # too long, or with a NUL; opening it says so
        return False


def is_video(path: str) -> bool:
    """Whether a path is taken for a video, by its suffix."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def _read_video(path: str) -> Iterator[Item]:
    try:
        for index, image in enumerate(read_frames(Path(path), partial(_check_size, label=path))):
            yield Item(path, image, frame=index)
    except InputError as error:
        yield Item(path, error)


def _images_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())


def _item(path: str | None, read: Callable[[], Image], *, from_folder: bool = False) -> Item:
    try:
        return Item(path, read(), from_folder)
    except InputError as error:
        return Item(path, error, from_folder)


def _read_file(path: Path) -> Image:
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: not a regular file")
        with path.open("rb") as stream:
            data = stream.read(MAX_IMAGE_BYTES + 1)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        kind = InputNotFoundError if isinstance(error, FileNotFoundError) else InputError
        raise kind(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > MAX_IMAGE_BYTES:
        raise InputError(f"{path}: images of up to {MAX_IMAGE_BYTES >> 20} MiB are read, this one is larger")
    return decode_image(data, str(path))


def _read_url(url: str) -> Image:
    stream = io.BytesIO()
    fetch(url, stream, limit=MAX_IMAGE_BYTES, seconds=MAX_FETCH_S, error=InputError)
    return decode_image(stream.getvalue(), url)


def decode_image(data: bytes | bytearray, label: str, max_pixels: int = MAX_PIXELS) -> Image:
    """Decode an image file: 8-bit BGR, turned upright by its EXIF orientation, without alpha.

    Args:
        data: content of the file.
        label: its name, for errors.
        max_pixels: a larger one is refused before it is decoded.

    Raises:
        InputError: empty, not an image, broken off, or too large.
    """
    image_size(data, label, max_pixels)
    return decode_pixels(data, label)


def decode_pixels(data: bytes | bytearray, label: str) -> Image:
    """:func:`decode_image` of a file that :func:`image_size` has found to be sound."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"{label}: cannot be decoded: {error.err}") from error
    if image is None:
        raise InputError(f"{label}: a damaged or cut-off image, or a format that OpenCV does not decode")
    return np.asarray(image, np.uint8)


def image_size(data: bytes | bytearray, label: str, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height of an image file, from its header; errors as :func:`decode_image`."""
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    if not data:
        raise InputError(f"{label}: the file is empty")
    try:
        with Pillow.open(io.BytesIO(data)) as header:
            size = header.size
            if getattr(header, "is_animated", False):
                logger.warning("%s: has several pages or frames; only the first is used", label)
    except Pillow.DecompressionBombError as error:
        raise InputError(f"{label}: {error}") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{label}: not an image") from error
    _check_size(size, label, max_pixels)
    return size


def check_image(array: NDArray[Any]) -> Image:
    """Bring an array into the form that the kernels take.

    Args:
        array: ``[H, W, 3]`` uint8 BGR; also ``[H, W]`` or ``[H, W, 1]`` grey and ``[H, W, 4]`` BGRA, whose alpha is
            dropped. Any memory layout.

    Returns:
        ``[H, W, 3]`` uint8 BGR, C-contiguous; a copy only where needed.

    Raises:
        InputError: another shape or dtype, empty, or too large.
    """
    if array.dtype != np.uint8:
        raise InputError(
            f"image array of dtype {array.dtype}: give uint8 BGR in 0..255; scale other ranges yourself, since theirs "
            "is not known"
        )
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in {2, 3} or channels not in {1, 3, 4} or array.size == 0:
        raise InputError(f"image array of shape {array.shape}: give [height, width, 3], BGR")
    _check_size((array.shape[1], array.shape[0]), f"image array of shape {array.shape}")
    array = np.ascontiguousarray(array)
    if channels == 3:
        return array
    convert = cv2.COLOR_GRAY2BGR if channels == 1 else cv2.COLOR_BGRA2BGR
    return np.asarray(cv2.cvtColor(array, convert), np.uint8)


def _check_size(size: tuple[int, int], label: str, max_pixels: int = MAX_PIXELS) -> None:
    width, height = size
    if width * height > max_pixels or max(size) > MAX_WARP_SIDE:
        raise InputError(
            f"{label}: {width}x{height} pixels; images of up to {max_pixels} pixels and {MAX_WARP_SIDE} a side are "
            "taken: shrink it or cut it into tiles"
        )
