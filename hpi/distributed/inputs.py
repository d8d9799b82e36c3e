"""Listing the sources of a batch, one file after the other, and cutting the files into parts."""

from __future__ import annotations

import glob
import io
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from hpi.distributed.addresses import absolute, explained, filesystem, is_remote, open_file
from hpi.distributed.job import Part
from hpi.errors import InputError, InputNotFoundError
from hpi.io.fetch import is_url, shown, url_path
from hpi.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from hpi.sources.folders import is_hidden, list_folder, natural

logger = logging.getLogger(__name__)

TAR_SUFFIX = ".tar"
SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES | {TAR_SUFFIX}
"""Of the files that are taken from folders."""
FIRST_PART = 32
"""Images of the first part: parts are small at first, so that a small folder too is work for several processes."""
SHARE = 16
"""Later parts have at most this share of the images before them, so that no process ends long after the others."""
LONGEST_LINE = 1 << 16

_MAGIC = frozenset("*?[")
_NOTHING = f"no images, videos or tars in this folder ({', '.join(sorted(SUFFIXES))})"


def list_files(sources: Iterable[str]) -> Iterator[str]:
    """The files of sources, one after the other; they need not fit into memory.

    Args:
        sources: of each kind of:

            - a folder: the images, videos and tars in it and below, in natural order; also behind a URL (``s3://...``).
            - a pattern with ``*``, ``**``, ``?`` or ``[]``: the files that it matches.
            - ``@list.txt``: a file of a path or URL on each line; the list too may be behind a URL.
            - else a file, whatever its name. Whether it can be read is found out when its turn comes.

    Yields:
        Absolute paths, and URLs.

    Raises:
        InputError: a folder, a pattern or a list has no files, or cannot be read.

    Example:
        >>> [os.path.relpath(path) for path in list_files([os.path.abspath("examples/*.png")])]
        ['examples/basketball.png']
    """
    for source in sources:
        if source.startswith("@"):
            yield from _some(_lines(source[1:]), source, "has no line")
        elif is_remote(source):
            yield from _list_remote(source)
        elif os.path.isdir(source):  # noqa: PTH112 - never raises
            yield from _some(_list_folder(source), source, _NOTHING)
        elif _MAGIC.isdisjoint(source) or os.path.exists(source):  # noqa: PTH110
            yield source
        else:
            found = (path for path in glob.iglob(source, recursive=True) if os.path.isfile(path))  # noqa: PTH113, PTH207
            yield from _some(found, source, "no file matches this pattern")


def check_there(sources: Sequence[str]) -> None:
    """Check that not all sources are paths where nothing is: then one is misspelt, and no batch should be made of it.

    Raises:
        InputNotFoundError: they are.

    Example:
        >>> check_there(["/data/misspelt"])
        Traceback (most recent call last):
        hpi.errors.InputNotFoundError: /data/misspelt: no such file or folder
    """
    for source in sources:
        if source.startswith("@") or is_remote(source) or not _MAGIC.isdisjoint(source) or os.path.lexists(source):
            return
    raise InputNotFoundError(f"{sources[0]}: no such file or folder")


def cut(files: Iterable[str], part_size: int) -> Iterator[Part]:
    """Cut files into parts, by their order alone. A video and a tar are a part each.

    Args:
        files: what is listed.
        part_size: most images of a part.

    Example:
        >>> [part.files for part in cut(["a.jpg", "clip.mp4", "b.jpg"], part_size=2)]
        [('clip.mp4',), ('a.jpg', 'b.jpg')]
    """
    images: list[str] = []
    number = listed = 0
    for file in files:
        if is_whole_part(file):
            yield Part(number, (file,))
            number += 1
            continue
        images.append(file)
        listed += 1
        if len(images) >= min(part_size, max(FIRST_PART, listed // SHARE)):
            yield Part(number, tuple(images))
            number += 1
            images = []
    if images:
        yield Part(number, tuple(images))


def suffix_of(file: str) -> str:
    """The suffix of a path or URL, in lower case.

    Example:
        >>> suffix_of("https://example.org/A.JPG?size=2"), suffix_of("/data/shard.tar")
        ('.jpg', '.tar')
    """
    path = url_path(file) if is_url(file) else file
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 - for each of many files


def is_whole_part(file: str) -> bool:
    """Whether a file has many images, a video or a tar, by its suffix.

    Example:
        >>> is_whole_part("clip.MP4"), is_whole_part("a.jpg")
        (True, False)
    """
    suffix = suffix_of(file)
    return suffix == TAR_SUFFIX or suffix in VIDEO_SUFFIXES


def _some(files: Iterator[str], source: str, nothing: str) -> Iterator[str]:
    """The files, of which there must be at least one."""
    empty = True
    for file in files:
        empty = False
        yield file
    if empty:
        raise InputError(f"{shown(source)}: {nothing}")


def _list_folder(folder: str) -> Iterator[str]:
    for found in list_folder(folder, SUFFIXES):
        if isinstance(found, InputError):
            logger.error("skipped: %s", found)
        else:
            yield found


def _list_remote(url: str) -> Iterator[str]:
    """What a URL stands for: one file, a pattern, or a folder. Of http it is always a file."""
    if is_url(url) or (suffix_of(url) in SUFFIXES and _MAGIC.isdisjoint(url)):
        yield url
        return
    with explained(url):
        files, path = filesystem(url)  # some connect at once
        if not _MAGIC.isdisjoint(path):
            matches = files.glob(path, detail=True).items()
            names = sorted(name for name, info in matches if info["type"] == "file")
            yield from _some(map(files.unstrip_protocol, names), url, "no file matches this pattern")
        elif files.isdir(path):
            yield from _some(_walk(files, path), url, _NOTHING)
        else:
            yield url


def _walk(files: Any, top: str) -> Iterator[str]:
    """As a folder of this machine is listed."""
    others: Counter[str] = Counter()
    for folder, folders, names in files.walk(top):
        folders[:] = sorted((name for name in folders if not is_hidden(name)), key=natural)
        for name in sorted(filter(None, names), key=natural):
            if is_hidden(name):
                continue
            if (suffix := suffix_of(name)) in SUFFIXES:
                yield files.unstrip_protocol(f"{folder}/{name}")
            else:
                others[suffix] += 1
    if others:
        kinds = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in sorted(others.items()))
        logger.warning("%s: skipped files whose names are not those of images, videos or tars: %s", top, kinds)


def _lines(address: str) -> Iterator[str]:
    """The paths and URLs in a list. Paths that are not absolute begin at the current folder."""
    with explained(address), io.BufferedReader(cast(io.RawIOBase, open_file(address))) as lines:
        while line := lines.readline(LONGEST_LINE + 1):
            if len(line) > LONGEST_LINE:
                raise InputError(f"{shown(address)}: a line of more than {LONGEST_LINE} bytes; is it a list?")
            if text := os.fsdecode(line).strip("\r\n"):
                yield absolute(text)
