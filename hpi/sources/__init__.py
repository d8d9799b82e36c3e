"""Inputs of any kind become images: files, folders, URLs, images in memory, and lists of these.

One module for each kind: arrays, files, folders, images, tiff, pdf, video. Videos, cameras and the network are also
read as streams, whose frames have times: see :func:`open_stream`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, islice
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeGuard, Union

from numpy.typing import NDArray

from hpi.errors import InputError
from hpi.io.fetch import is_url, shown, url_path
from hpi.sources.arrays import as_array, check_image, from_pillow, is_pillow, own_image
from hpi.sources.files import load_file, load_stream, load_url
from hpi.sources.folders import list_folder
from hpi.sources.images import IMAGE_SUFFIXES, decode_image, decode_pixels, image_size, read_content
from hpi.sources.items import MAX_PIXELS, Image, Item, Picture
from hpi.sources.opening import StreamSource, is_stream, open_stream, stream_names
from hpi.sources.streams import Stream, StreamOptions
from hpi.sources.video import VIDEO_SUFFIXES, count_frames, read_frames

if TYPE_CHECKING:
    from PIL import Image as Pillow

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "READERS",
    "VIDEO_SUFFIXES",
    "Image",
    "Input",
    "Item",
    "Stream",
    "StreamOptions",
    "StreamSource",
    "check_image",
    "check_input",
    "count_items",
    "decode_image",
    "decode_pixels",
    "image_size",
    "is_several",
    "is_single",
    "is_stream",
    "is_video",
    "open_stream",
    "read_items",
    "split_streams",
    "stream_names",
]

Input = Union[
    str, PathLike[str], PathLike[bytes], NDArray[Any], bytes, bytearray, memoryview, IO[bytes], "Pillow.Image",
    Iterable["Input"],
]  # fmt: skip

KINDS = (
    "a BGR uint8 array, the path of an image, video or folder, an http(s) URL, a Pillow image, the bytes of an image "
    "file, a file open in binary mode"
)
IN_MEMORY = "image in memory"

MANY = 8
"""From so many images on it is worth opening the workers."""


def check_input(source: Input) -> None:
    """Refuse an input of an unsupported type at once. Other problems are found by :func:`read_items`.

    Raises:
        InputError: the type is not supported, or the path is empty.

    Example:
        >>> check_input("people.jpg")
        >>> check_input(5)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        hpi.errors.InputError: input of type int: give a BGR uint8 array, ...
    """
    if not is_several(source):
        _open(source)


def read_items(source: Input, *, one_each: bool = False) -> Generator[Item]:
    """Read images lazily, one at a time. Errors are yielded as items, not raised.

    Args:
        source: the input.
        one_each: require one image per input; a folder or a document of two pages is then an error in its place.

    Yields:
        An item for each image, and for each input that cannot be read.

    Example:
        >>> [(item.path, item.image.shape) for item in read_items("examples/basketball.png")]
        [('examples/basketball.png', (480, 640, 3))]
        >>> (item,) = read_items("missing.jpg")
        >>> type(item.image).__name__
        'InputNotFoundError'
    """
    if is_several(source):
        for entry in source:
            yield from read_items(entry, one_each=one_each)
    elif one_each:
        found = list(islice(_read_one(source), 2))
        several = InputError(f"{found[0].path}: shows more than one image, where one is needed")
        yield found[0] if len(found) == 1 else Item(found[0].path, several)
    else:
        yield from _read_one(source)


def count_items(source: Input) -> int:
    """Estimate how many images :func:`read_items` will yield, without reading any.

    Videos count as many frames as their header states; documents, animations and iterators count as one.

    Example:
        >>> count_items(["people.jpg", "crowd.jpg"])
        2
    """
    return sum(_counts(source))


def _counts(source: Any) -> Iterator[int]:
    """As :func:`count_items`, one part after the other."""
    if is_several(source):
        if isinstance(source, Collection):
            for one in source:
                yield from _counts(one)
        else:
            yield 1
    elif _is_folder(source):
        listed = list_folder(_path(source), _suffixes(), log=False)
        yield from (_count_pictures(found) for found in listed if isinstance(found, str))
    else:
        yield _count_pictures(source)


def _count_pictures(source: object) -> int:
    return count_frames(Path(_path(source))) if is_video(source) else 1


def split_streams(sources: Iterable[str]) -> tuple[list[str], list[str], list[InputError]]:
    """Tell images from streams; of a folder that holds videos, the videos are streams.

    Args:
        sources: paths and URLs.

    Returns:
        What is read image by image, the streams, and why folders inside such a folder cannot be read.

    Example:
        >>> split_streams(["people.jpg", "match.mp4"])
        (['people.jpg'], ['match.mp4'], [])
    """
    images: list[str] = []
    streams: list[str] = []
    errors: list[InputError] = []
    for source in sources:
        if not (_is_folder(source) and any(list_folder(source, VIDEO_SUFFIXES, log=False))):
            (streams if is_stream(source) else images).append(source)
            continue
        for found in list_folder(source, _suffixes()):
            if isinstance(found, InputError):
                errors.append(found)
            else:
                (streams if is_stream(found) else images).append(found)
    return images, streams, errors


def is_single(source: object) -> bool:
    """Whether an input is one image, or a list of one; not a folder, a video or a PDF.

    Example:
        >>> is_single("people.jpg"), is_single(["people.jpg"]), is_single("match.mp4")
        (True, True, False)
    """
    if is_several(source):
        return isinstance(source, Sequence) and len(source) == 1 and is_single(source[0])
    return not (_is_folder(source) or is_video(source) or _suffix(source) == ".pdf")


def is_many(source: Input) -> bool:
    """Whether an input is so many images that it is worth preparing for them; iterators, whose length is unknown, are.

    Looks at no more of it than that takes.

    Example:
        >>> is_many("people.jpg"), is_many(["people.jpg"] * 100), is_many(iter(["people.jpg"]))
        (False, True, True)
    """
    if is_several(source) and (not isinstance(source, Collection) or len(source) >= MANY):
        return True
    return any(count >= MANY for count in accumulate(_counts(source)))


def is_several(source: object) -> TypeGuard[Iterable[Input]]:
    """Whether an input is a collection or an iterator of inputs, rather than one.

    Example:
        >>> is_several(["a.jpg", "b.jpg"]), is_several("a.jpg")
        (True, False)
    """
    return (
        isinstance(source, Iterable)
        and not isinstance(source, (str, PathLike, bytes, bytearray, memoryview, Mapping))
        and not hasattr(source, "__array__")  # arrays and tensors
        and not hasattr(source, "read")  # open files
        and not is_pillow(source)
    )


def is_video(source: object) -> bool:
    """Whether an input is a video, by its suffix.

    Example:
        >>> is_video("match.MP4"), is_video("people.jpg")
        (True, False)
    """
    return _suffix(source) in VIDEO_SUFFIXES


def _path(source: object) -> str:
    """An input as a path; empty if it is not a path."""
    return os.fsdecode(source) if isinstance(source, (str, PathLike)) else ""


def _suffix(source: object) -> str:
    path = _path(source)
    return os.path.splitext(url_path(path) if is_url(path) else path)[1].lower()  # noqa: PTH122 - for each image


def _suffixes() -> set[str]:
    """Of the files that are read from folders."""
    return IMAGE_SUFFIXES | READERS.keys()


def _is_folder(source: object) -> bool:
    path = _path(source)
    return bool(path) and not is_url(path) and os.path.isdir(path)  # noqa: PTH112 - never raises


def _read_one(source: Input) -> Iterator[Item]:
    if not _is_folder(source):
        yield from _read_leaf(source)
        return
    empty = True
    for found in list_folder(_path(source), _suffixes()):
        empty = False
        if isinstance(found, InputError):
            yield Item(_path(source), found, from_folder=True)
        else:
            yield from (replace(item, from_folder=True) for item in _read_leaf(found))
    if empty:
        suffixes = ", ".join(sorted(_suffixes()))
        yield Item(_path(source), InputError(f"{_path(source)}: no images in this folder ({suffixes})"))


def _read_leaf(source: Input) -> Iterator[Item]:
    path = None
    try:
        path, pictures = _open(source)
        for found in pictures:
            if isinstance(found, InputError):
                yield Item(path, found)
            else:
                yield Item(path, found.image, page=found.page, frame=found.frame, time_s=found.time_s)
    except InputError as error:
        yield Item(path, error)


def _open(source: Any) -> tuple[str | None, Iterator[Picture | InputError]]:
    """The name and the pictures of an input other than a folder, and what is wrong between two of them.

    Nothing is read before the first picture is taken.

    Raises:
        InputError: the type is not supported.
    """
    if isinstance(source, (str, PathLike)):
        return _open_path(os.fsdecode(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return None, _read_bytes(source)
    if is_pillow(source):
        return None, _read_pillow(source)
    if isinstance(source, io.TextIOBase):
        raise InputError("the input is a file opened in text mode; open it in binary mode")
    if hasattr(source, "read"):
        name = getattr(source, "name", None)
        path = name if isinstance(name, str) else None
        return path, _read_stream(source, path or IN_MEMORY)
    if hasattr(source, "__array__"):
        return None, _read_array(source)
    raise InputError(f"input of type {type(source).__name__}: give {KINDS}, or a list of these")


def _open_path(path: str) -> tuple[str, Iterator[Picture | InputError]]:
    if not path:
        raise InputError('the path is empty; for the current folder give "."')
    if is_url(path):
        return shown(path), _read_url(path)
    return path, READERS.get(_suffix(path), _read_file)(path)


def _read_array(source: Any) -> Iterator[Picture]:
    yield Picture(own_image(as_array(source)))


def _read_pillow(source: Any) -> Iterator[Picture]:
    yield Picture(from_pillow(source, IN_MEMORY))


def _read_bytes(source: bytes | bytearray | memoryview) -> Iterator[Picture]:
    return read_content(bytes(source), IN_MEMORY)


def _read_stream(stream: Any, label: str) -> Iterator[Picture]:
    yield from read_content(load_stream(stream, label), label)


def _read_file(path: str) -> Iterator[Picture]:
    yield from read_content(load_file(path), path)


def _read_url(url: str) -> Iterator[Picture]:
    if is_video(url):
        raise InputError(
            f"{shown(url)}: predict reads videos from files only; give it to Predictor.stream, or download it"
        )
    yield from read_content(load_url(url), shown(url))


def _read_video(path: str) -> Iterator[Picture | InputError]:
    for found in read_frames(Path(path)):
        if isinstance(found, InputError):
            yield found
        else:
            yield Picture(found.image, frame=found.index, time_s=found.time_s)


READERS: dict[str, Callable[[str], Iterator[Picture | InputError]]] = dict.fromkeys(VIDEO_SUFFIXES, _read_video)
"""How files are read that are not images, by suffix. A new kind of file needs its module and a line here."""
