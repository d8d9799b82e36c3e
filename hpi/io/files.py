"""Atomic file writes."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpi.errors import HpiError


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A path beside a file, to write to; at the end it takes the file's place. Creates the folder.

    Raises:
        OSError: it cannot be written; nothing is left behind.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with written_whole(Path(folder) / "a.txt") as partial:
        ...         _ = partial.write_text("text")
        ...     [file.name for file in Path(folder).iterdir()]
        ['a.txt']
    """
    partial = target.with_name(f".{uuid.uuid4().hex}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_whole(target: Path, data: bytes) -> None:
    """Write a file atomically: it appears complete or not at all. Creates its folder.

    Raises:
        OSError: it cannot be written; nothing is left behind.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_whole(Path(folder) / "new" / "a.txt", b"text")
        ...     (Path(folder) / "new" / "a.txt").read_bytes()
        b'text'
    """
    with written_whole(target) as partial:
        partial.write_bytes(data)


def save(target: Path, data: bytes, error: type[HpiError]) -> None:
    """:func:`write_whole` with an error message that names the file.

    Raises:
        HpiError: of class ``error``: it cannot be written.

    Example:
        >>> from hpi.errors import InputError
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Path(folder) / "a.txt", b"text", InputError)
        ...     (Path(folder) / "a.txt").read_bytes()
        b'text'
    """
    try:
        write_whole(target, data)
    except OSError as problem:
        raise error(f"{target}: cannot be written: {problem.strerror or problem}") from problem


def check_folder(folder: Path, error: type[HpiError]) -> None:
    """Create a folder, and check before any work that files can be written into it.

    Raises:
        HpiError: of class ``error``: it cannot be created or written.

    Example:
        >>> from hpi.errors import InputError
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     check_folder(Path(folder) / "new" / "results", InputError)
        ...     (Path(folder) / "new" / "results").is_dir()
        True
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise error(f"{folder}: cannot be written: it is a file; give a folder")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as problem:
        raise error(f"{folder}: cannot be written: {problem.strerror or problem}") from problem
