"""Reading the files of a part: images from this machine, servers and tars, and videos as streams."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from hpi.distributed.addresses import explained, filesystem, is_remote, open_file
from hpi.distributed.inputs import TAR_SUFFIX, suffix_of
from hpi.distributed.tars import read_members
from hpi.errors import InputError
from hpi.io.fetch import is_url, shown
from hpi.sources import Item, Stream
from hpi.sources.files import MAX_IMAGE_BYTES, load_file, load_url
from hpi.sources.images import read_content
from hpi.sources.video import SAFE_FORMATS, VideoFile, open_video, reason, require_pyav
from hpi.streaming import side_by_side

FETCHED_AHEAD = 8
"""Threads that fetch files from servers, each of which waits most of the time."""


def read_images(files: Iterable[str]) -> Generator[Item]:
    """The images of files that are no videos, one after the other; errors come as items.

    Args:
        files: absolute paths, and URLs. Of a tar, each image has a name such as ``shard.tar#0001.jpg``.

    Example:
        >>> [(item.path, item.image.shape) for item in read_images(["examples/basketball.png"])]
        [('examples/basketball.png', (480, 640, 3))]
    """
    for label, load in _contents(files):
        try:
            for found in read_content(load(), label):
                yield Item(label, found.image, page=found.page, frame=found.frame)
        except InputError as error:
            yield Item(label, error)


def open_remote_video(url: str, name: str) -> Stream:
    """A video behind a URL of fsspec.

    Raises:
        InputError: it is not a video, or cannot be read.
    """
    av = require_pyav(shown(url))
    with ExitStack() as unused, explained(url):
        file = unused.enter_context(open_file(url))
        try:
            video = open_video(shown(url), file, options={"format_whitelist": SAFE_FORMATS})
        except av.FFmpegError as error:
            raise InputError(f"{shown(url)}: not a video, or a damaged one: {reason(error)}") from error
        return VideoFile(replace(video, on_close=unused.pop_all().close), name)


def _contents(files: Iterable[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Each file, and each member of a tar, with what gives its content. Servers are asked for the next ones ahead."""
    files = list(files)
    if suffix_of(files[0]) == TAR_SUFFIX:
        for tar in files:
            yield from _members(tar)
    elif any(map(is_remote, files)):
        for file, future in side_by_side(_load, files, FETCHED_AHEAD):
            yield shown(file), future.result
    else:
        for file in files:
            yield file, partial(_load, file)


def _members(tar: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    try:
        with open_file(tar) as file:
            for name, content in read_members(file, shown(tar)):
                yield name, partial(_unwrapped, content)
    except InputError as error:
        yield shown(tar), partial(_unwrapped, error)


def _unwrapped(content: bytes | InputError) -> bytes:
    if isinstance(content, InputError):
        raise content
    return content


def _load(file: str) -> bytes:
    if is_url(file):
        return load_url(file)
    if not is_remote(file):
        return load_file(file)
    with explained(file):
        files, path = filesystem(file)
        content: bytes = files.cat_file(path, start=0, end=MAX_IMAGE_BYTES + 1)
    if len(content) > MAX_IMAGE_BYTES:
        raise InputError(f"{shown(file)}: larger than the limit of {MAX_IMAGE_BYTES >> 20} MiB for image files")
    return content
