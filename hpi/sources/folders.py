"""The files of a folder, in the order in which people count."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator

from hpi.errors import InputError
from hpi.sources.images import IMAGE_SUFFIXES
from hpi.sources.video import VIDEO_SUFFIXES

logger = logging.getLogger(__name__)

_READ = IMAGE_SUFFIXES | VIDEO_SUFFIXES
# Folders of thumbnails, of macOS's archives, and of what was deleted; other such things begin with a dot.
_HIDDEN = {"@eadir", "__macosx", "$recycle.bin", "#recycle"}
_DIGITS = re.compile(r"(\d+)")


def list_folder(folder: str, *, say: bool = True) -> Iterator[str | InputError]:
    """The images, documents and videos of a folder and of those in it, as the iterator is advanced.

    They are ordered by name, where numbers count as numbers: frame_2 comes before frame_10. Files and folders that
    begin with a dot, ``@eaDir``, ``__MACOSX`` and recycle bins are left out. What else is left out is logged at the
    end: other files, by the ends of their names, and links to folders, which are not followed, lest a circle be walked.

    Args:
        folder: its path.
        say: log what is left out.

    Yields:
        Paths; and an error for a folder that cannot be listed.
    """
    others: Counter[str] = Counter()
    links: list[str] = []
    yield from _walk(folder, others, links)
    if others and say:
        kinds = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in sorted(others.items()))
        logger.warning("%s: left out, neither images, PDFs nor videos by their names: %s", folder, kinds)
    for link in links if say else ():
        logger.warning("%s: left out, a link to a folder; give it as an input of its own", link)


def _walk(folder: str, others: Counter[str], links: list[str]) -> Iterator[str | InputError]:
    waiting: list[os.DirEntry[str] | str] = [folder]  # the next one last
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, str) or entry.is_dir(follow_symlinks=False):
            try:
                waiting += _listed(entry)
            except OSError as error:
                yield InputError(f"{os.fspath(entry)}: cannot be listed: {error.strerror or error}")
        elif (suffix := os.path.splitext(entry.name)[1].lower()) in _READ:  # noqa: PTH122 - for each of many files
            yield entry.path
        elif os.path.isdir(entry.path):  # noqa: PTH112 - never raises, as on links in a circle
            links.append(entry.path)
        else:
            others[suffix] += 1


def _listed(folder: str | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    """What is in a folder, the last one first."""
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not _is_hidden(entry.name)]
    return sorted(visible, key=lambda entry: _natural(entry.name), reverse=True)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _HIDDEN


def _natural(name: str) -> list[tuple[int, str]]:
    """A sort key in which numbers count as numbers; equal numbers go by their digits: 01 before 1."""
    return [(int(part) if part.isdecimal() else 0, part) for part in _DIGITS.split(name)]
