"""File names of saved results."""

from __future__ import annotations

import os
import re
import secrets
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hpi.io.fetch import is_url, url_path

if TYPE_CHECKING:
    from hpi.results import Result

MAX_STEM_BYTES = 200
"""Longer names are shortened, so that numbers and ``_res.json`` fit into the 255 bytes of file systems."""

_NUMBERED = re.compile(r"(.+)_(\d+)")
_FORBIDDEN = re.compile(r'[\x00-\x1f<>:"|?*\\]')


def file_name(path: str | None) -> str:
    """The name that the files of a result are based on: that of the input, shortened to leave room for suffixes.

    Args:
        path: file or URL; None for an image in memory, which gets a unique name.

    Example:
        >>> file_name("images/people.jpg"), file_name("https://example.org/my%20image.png?size=2")
        ('people.jpg', 'my image.png')
    """
    if path is None:
        return f"{int(time.time())}_{secrets.randbelow(10**16):016d}.png"
    name = Path(_FORBIDDEN.sub("_", url_path(path)) if is_url(path) else path)
    stem = os.fsencode(name.stem)[:MAX_STEM_BYTES].decode(errors="ignore") if len(name.stem) > 50 else name.stem
    return f"{stem}{name.suffix}" if stem not in {"", ".."} else "image.png"


class Names:
    """Gives the results of one call unique names, so that they do not overwrite each other's files.

    Names that some file systems treat as equal count as equal: those that differ in case, or in how accents are
    composed. A video or a document needs one entry for all its results, and an image in memory none, so memory grows
    with the number of files only.

    Example:
        >>> import numpy as np
        >>> from hpi import DetectionResult, Frame, Instances
        >>> image, names = np.zeros((8, 8, 3), np.uint8), Names()
        >>> results = [DetectionResult(Frame(image, path), Instances.empty(), ()) for path in ("a/1.jpg", "b/1.jpg")]
        >>> for result in results:
        ...     names.give(result)
        >>> [result.name for result in results]
        ['1.jpg', '1_2.jpg']
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._series: set[tuple[str, str]] = set()  # videos and documents, with numbered results
        self._numbered: set[tuple[str, str]] = set()  # series that the taken names may belong to
        self._next: dict[str, int] = {}  # for names that occurred before: the next number to try
        self._last: tuple[str | None, str, int] = (None, "", 0)

    def give(self, result: Result) -> None:
        """Set the name of a result. Call it for every result, in order."""
        path, name = result.path, Path(result.name)
        page, frame = result.frame.page, result.frame.index
        if frame is not None:
            result.name = f"{self._of_series(path, name.stem, 'frame', frame)}_{frame:06d}.jpg"
        elif page is not None:
            result.name = f"{self._of_series(path, name.stem, 'page', page)}_{page}{name.suffix}"
        elif path is not None:
            result.name = self._of_one(name.stem) + name.suffix

    def _of_one(self, stem: str) -> str:
        # With an underscore and a number, it could be the name of a result of the series.
        separator = "-" if self._series & {(_same_name(stem), "page"), (_same_name(stem), "frame")} else "_"
        stem = self._unique(stem, separator, lambda key: key in self._taken or bool(self._series & _series_of(key)))
        self._taken.add(_same_name(stem))
        self._numbered |= _series_of(_same_name(stem))
        return stem

    def _of_series(self, path: str | None, stem: str, kind: str, index: int) -> str:
        last_path, last_stem, last_index = self._last
        if path == last_path and index > last_index:
            stem = last_stem
        else:
            stem = self._unique(stem, "_", lambda key: (key, kind) in self._series or (key, kind) in self._numbered)
            self._series.add((_same_name(stem), kind))
        self._last = path, stem, index
        return stem

    def _unique(self, stem: str, separator: str, is_taken: Callable[[str], bool]) -> str:
        key, candidate = _same_name(stem), stem
        while is_taken(_same_name(candidate)):
            self._next[key] = self._next.get(key, 1) + 1
            candidate = f"{stem}{separator}{self._next[key]}"
        return candidate


def _same_name(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _series_of(name: str) -> set[tuple[str, str]]:
    """The series that a name may belong to."""
    found = _NUMBERED.fullmatch(name)
    if not found:
        return set()
    fits = {"page": f"{int(found[2])}" == found[2], "frame": f"{int(found[2]):06d}" == found[2]}
    return {(found[1], kind) for kind in fits if fits[kind]}
