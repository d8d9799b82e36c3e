"""Readers: the files of a model become a :class:`hpi.models.spec.ModelSpec`; one file a format.

A reader is a function from a path, a name and :class:`~hpi.models.readers.reading.Hints` to a
:class:`~hpi.models.readers.reading.Reading`, or to None where the files have another format. It raises a ModelError
where the format is its own, but something is missing or contradicts. A new one needs its file and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hpi.errors import ModelError
from hpi.models.readers.own import read_own
from hpi.models.readers.paddle import read_paddle
from hpi.models.readers.reading import Hints, Reading
from hpi.models.spec import ModelSpec

__all__ = ["READERS", "Hints", "Reading", "read", "read_model"]

READERS: tuple[Callable[[Path, str | None, Hints], Reading | None], ...] = (read_own, read_paddle)
"""In the order in which they look at a path; the last one explains what is missing."""


def read(path: Path, name: str | None = None, hints: Hints | None = None) -> Reading:
    """Read the files of a model, and say what they were taken for.

    Args:
        path: a folder, or a file in one.
        name: the name it must have, where its files state one; by default theirs, else the folder's.
        hints: what its files do not say.

    Raises:
        ModelError: no reader knows the format, a file is missing, plainly damaged or cannot be read, or it is not clear
            what is meant; the message names file and field.

    Example:
        >>> from hpi.zoo import Zoo
        >>> read(Zoo.default().find("MoveNet-Thunder_256x256").folder).spec.input_size
        (256, 256)
    """
    try:
        readings = (reader(path, name, hints or Hints()) for reader in READERS)
        return next(reading for reading in readings if reading is not None)
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from error


def read_model(path: Path, name: str | None = None, hints: Hints | None = None) -> ModelSpec:
    """What :func:`read` makes of the files of a model.

    Example:
        >>> from hpi.zoo import Zoo
        >>> spec = read_model(Zoo.default().find("MoveNet-Thunder_256x256").folder)
        >>> spec.name, spec.input_size
        ('MoveNet-Thunder_256x256', (256, 256))
    """
    return read(path, name, hints).spec
