"""Listing the images and videos of a folder in natural order."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator

from hpi.errors import InputError

logger = logging.getLogger(__name__)

# Folders of thumbnails, of macOS archives and of deleted files; other hidden ones start with a dot.
_HIDDEN = {"@eadir", "__macosx", "$recycle.bin", "#recycle"}
_DIGITS = re.compile(r"(\d+)")


def list_folder(folder: str, suffixes: Collection[str], *, log: bool = True) -> Iterator[str | InputError]:
    """List the images, documents and videos of a folder and its subfolders, lazily.

    Names are in natural order: frame_2 comes before frame_10. Files and folders that start with a dot, ``@eaDir``,
    ``__MACOSX`` and recycle bins are skipped. Other skipped entries are logged at the end: files of other types, by
    suffix, and links to folders, which are not followed since they may form a cycle.

    Args:
        folder: its path.
        suffixes: of the files that are read, in lower case.
        log: whether to log skipped entries.

    Yields:
        Paths, and an error for each folder that cannot be listed.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("frame_10.jpg", "frame_2.jpg", ".hidden.jpg"):
        ...         (Path(folder) / name).touch()
        ...     [Path(path).name for path in list_folder(folder, {".jpg"})]
        ['frame_2.jpg', 'frame_10.jpg']
    """
    others: Counter[str] = Counter()
    links: list[str] = []
    yield from _walk(folder, suffixes, others, links)
    if others and log:
        kinds = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in sorted(others.items()))
        logger.warning("%s: skipped files whose names are not those of images, PDFs or videos: %s", folder, kinds)
    for link in links if log else ():
        logger.warning("%s: skipped a link to a folder; to read it, give it as an input", link)


def _walk(folder: str, suffixes: Collection[str], others: Counter[str], links: list[str]) -> Iterator[str | InputError]:
    waiting: list[os.DirEntry[str] | str] = [folder]  # in reverse order: the next one is last
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, str) or entry.is_dir(follow_symlinks=False):
            try:
                waiting += _listed(entry)
            except OSError as error:
                yield InputError(f"{os.fspath(entry)}: cannot be listed: {error.strerror or error}")
        elif (suffix := os.path.splitext(entry.name)[1].lower()) in suffixes:  # noqa: PTH122 - for each of many files
            yield entry.path
        elif os.path.isdir(entry.path):  # noqa: PTH112 - never raises, even on cyclic links
            links.append(entry.path)
        else:
            others[suffix] += 1


def _listed(folder: str | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    """The entries of a folder in reverse order."""
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not is_hidden(entry.name)]
    return sorted(visible, key=lambda entry: natural(entry.name), reverse=True)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is left out: hidden ones, thumbnails, deleted files.

    Example:
        >>> is_hidden(".cache"), is_hidden("__MACOSX"), is_hidden("a.jpg")
        (True, True, False)
    """
    return name.startswith(".") or name.lower() in _HIDDEN


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key that compares numbers by value, and equal ones by their digits: 01 before 1.

    Example:
        >>> sorted(["10.jpg", "2.jpg"], key=natural)
        ['2.jpg', '10.jpg']
    """
    return [(int(part) if part.isdecimal() else 0, part) for part in _DIGITS.split(name)]
