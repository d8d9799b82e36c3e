"""Numbered images, or those of a folder, as the frames of a stream."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from hpi.errors import InputError, InputNotFoundError
from hpi.instances import Frame
from hpi.sources.files import load_file
from hpi.sources.folders import list_folder
from hpi.sources.images import IMAGE_SUFFIXES, decode_image
from hpi.sources.streams import USUAL_RATE, Stream

_NUMBER = re.compile(r"%(?:0(\d{1,2}))?d")


class ImageSequence(Stream):
    """Images of one rate: the frame with index i is shown at i / rate. Every frame is given.

    Args:
        name: of the stream.
        path: pattern or folder.
        found: index and file of each frame, in order, or why a part of the folder cannot be listed.
        rate: frames per second; 25 if None.
    """

    is_live = False
    dropped = 0

    def __init__(
        self, name: str, path: str, found: Sequence[tuple[int, str] | InputError], rate: Fraction | None
    ) -> None:
        self.name = name
        self.path = path
        self.rate: Fraction = rate or USUAL_RATE
        self.count = sum(not isinstance(one, InputError) for one in found)
        self._found = found
        self._is_closed = False

    def __iter__(self) -> Iterator[Frame | InputError]:
        following = 0
        for one in self._found:
            if self._is_closed:
                return
            if isinstance(one, InputError):
                yield one
                continue
            index, file = one
            if index > following:
                yield InputError(f"{self.path}: {index - following} images are missing before {file}")
            following = index + 1
            try:
                image = decode_image(load_file(file), file)
            except InputError as error:
                yield error
                continue
            yield Frame(image, file, index=index, time_s=float(index / self.rate), stream=self.name)

    def close(self) -> None:
        """Stop reading, from any thread."""
        self._is_closed = True


def is_pattern(path: str) -> bool:
    """Whether a path names numbered images, as ``%d`` or ``%05d`` in the name of the file.

    Example:
        >>> is_pattern("frames/img_%05d.png"), is_pattern("frames/img_00001.png")
        (True, False)
    """
    return len(_NUMBER.findall(os.path.basename(path))) == 1  # noqa: PTH119 - of any input


def open_pattern(pattern: str, name: str, rate: Fraction | None) -> ImageSequence:
    """The images of a pattern, by number. The first that exists has the index 0.

    Raises:
        InputNotFoundError: there is none.
        InputError: the folder cannot be listed.
    """
    folder, file = Path(pattern).parent, Path(pattern).name
    before, digits, after = _NUMBER.split(file)
    # %05d also gives 123456, but not 012345.
    number = rf"(\d{{{digits}}}|[1-9]\d{{{digits},}})" if digits else r"(0|[1-9]\d*)"
    fits = re.compile(re.escape(before) + number + re.escape(after))
    try:
        found = sorted((int(match[1]), str(one)) for one in folder.iterdir() if (match := fits.fullmatch(one.name)))
    except OSError as error:
        kind = InputNotFoundError if isinstance(error, FileNotFoundError) else InputError
        raise kind(f"{folder}: cannot be listed: {error.strerror or error}") from error
    if not found:
        raise InputNotFoundError(f"{pattern}: no image with a name like this")
    first = found[0][0]
    return ImageSequence(name, pattern, [(index - first, path) for index, path in found], rate)


def open_folder(folder: str, name: str, rate: Fraction | None) -> ImageSequence:
    """The images of a folder and those below it, in natural order.

    Raises:
        InputError: there is none.
    """
    found: list[tuple[int, str] | InputError] = []
    index = 0
    for one in list_folder(folder, IMAGE_SUFFIXES - {".pdf"}):
        found.append(one if isinstance(one, InputError) else (index, one))
        index += isinstance(one, str)
    if not found:
        raise InputError(f"{folder}: no images in this folder ({', '.join(sorted(IMAGE_SUFFIXES - {'.pdf'}))})")
    return ImageSequence(name, folder, found, rate)
