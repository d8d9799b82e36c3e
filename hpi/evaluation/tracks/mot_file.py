"""Text files in the format of MOTChallenge: a line for each person of each frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpi.errors import InputError
from hpi.evaluation.predictions import Box

PERSON = 1
DISTRACTORS = {2, 7, 8, 12}  # on a vehicle, standing still, like a person, a reflection

_FAR = 1e5  # pixels, as in other annotations
_LEAST_VALUES = 6  # frame, id, left, top, width, height
_USUAL = (1.0, PERSON)  # mark and class


@dataclass(frozen=True)
class Row:
    """A line of a file in MOT's format.

    Attributes:
        frame: from 1.
        number: id of who it is; -1 in a file of detections.
        box: x1, y1, x2, y2, pixels.
        mark: score of a detection; 0 for an annotation that does not count.
        kind: MOT's number of the class.
    """

    frame: int
    number: int
    box: Box
    mark: float = 1.0
    kind: int = PERSON

    @property
    def counts(self) -> bool:
        """Whether it is somebody to find."""
        return self.mark != 0 and self.kind == PERSON

    @property
    def is_ignored(self) -> bool:
        """Whether it does not matter who is found there."""
        return self.kind in DISTRACTORS or (self.mark == 0 and self.kind == PERSON)


def read_rows(path: Path) -> list[Row]:
    """Read ``gt.txt`` or ``det.txt``: frame, id, left, top, width, height, mark or score, class; the last two may miss.

    Lines that are empty or begin with ``#`` are skipped.

    Raises:
        InputError: it cannot be read, or a line is not in this format.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "gt.txt")
        ...     _ = path.write_text("1,7,10,20,30,40,1,1,0.9")
        ...     read_rows(path)
        [Row(frame=1, number=7, box=(10.0, 20.0, 40.0, 60.0), mark=1.0, kind=1)]
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file: {error}") from error
    rows = [
        _row(line, f"{path}: line {number}")
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.startswith("#")
    ]
    if not rows:
        raise InputError(f"{path}: has no rows: frame, id, left, top, width, height, ...")
    return rows


def _row(line: str, where: str) -> Row:
    try:
        values = [float(value) for value in line.strip().strip(",").split(",")]
    except ValueError as error:
        raise InputError(f"{where}: {error}; give numbers with commas between them") from error
    if len(values) < _LEAST_VALUES:
        raise InputError(f"{where}: {len(values)} values; give frame, id, left, top, width, height")
    frame, number, left, top, width, height, *more = values
    if not np.isfinite(values).all() or max(map(abs, values[2:6])) > _FAR or min(width, height) <= 0:
        raise InputError(
            f"{where}: {line.strip()!r} is no box; give left, top, and a width and height above 0, in pixels"
        )
    if frame < 1 or not frame.is_integer() or not number.is_integer():
        raise InputError(f"{where}: frames are counted from 1, and ids are whole numbers")
    mark, kind = [*more, *_USUAL[len(more) :]][:2]
    return Row(int(frame), int(number), (left, top, left + width, top + height), mark, int(kind))
