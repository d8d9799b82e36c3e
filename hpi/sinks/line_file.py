"""Files that grow by whole lines."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from hpi.errors import InputError
from hpi.sinks.stream import Kept, StreamSink

if TYPE_CHECKING:
    from hpi.results import Result

LONGEST_LINE = 1 << 26
"""Bytes; a thousand people with 133 keypoints each take a tenth of it."""


def part_of(path: Path) -> Path:
    """The lines that a file is made of when it is closed.

    Example:
        >>> part_of(Path("a_res.parquet")).name
        'a_res.parquet.part'
    """
    return path.with_name(f"{path.name}.part")


def whole_lines(path: Path) -> Iterator[bytes]:
    r"""The lines of a file; a last one that a kill has cut is left out.

    Raises:
        InputError: the file cannot be read, or has a line that no result is as long as.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "a.jsonl"
        ...     _ = path.write_text('{"a": 1}\n{"a"')
        ...     list(whole_lines(path))
        [b'{"a": 1}\n']
    """
    try:
        with path.open("rb") as file:
            while (line := file.readline(LONGEST_LINE)).endswith(b"\n"):
                yield line
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(line) == LONGEST_LINE:
        raise InputError(f"{path}: has a line of more than {LONGEST_LINE >> 20} MiB; it is not a file of results")


class LineFile:
    r"""Appends whole lines: after each call they are with the system, so that a kill loses none of them.

    Args:
        path: the file; is made, with its folder, where it does not exist.
        keep: says of a line of an earlier run whether it stays; the first that does not, and all after it, are cut off.

    Raises:
        InputError: the file cannot be written, or ``keep`` cannot read a line.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "a.txt"
        ...     _ = path.write_text("1\n2\n3")
        ...     lines = LineFile(path, keep=lambda line: int(line) < 2)
        ...     lines.append("two\n")
        ...     lines.close()
        ...     path.read_text()
        '1\ntwo\n'
    """

    def __init__(self, path: Path, keep: Callable[[bytes], bool]) -> None:
        self._path = path
        self._failure: InputError | None = None
        self.size = sum(map(len, takewhile(keep, whole_lines(path)))) if path.exists() else 0
        """Bytes that are written."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
            self._file.truncate(self.size)
        except OSError as error:
            raise self._cannot_be_written(error) from error

    def append(self, lines: str) -> None:
        """Write lines, with their ends.

        Raises:
            InputError: they cannot be written, or earlier ones could not; the file ends after the last whole call.
        """
        if self._failure:
            raise self._failure
        data = rest = memoryview(lines.encode("utf-8", "backslashreplace"))
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._file.truncate(self.size)
            self._failure = self._cannot_be_written(error)
            raise self._failure from error
        self.size += len(data)

    def close(self) -> None:
        """Close the file. A second call is harmless."""
        self._file.close()

    def _cannot_be_written(self, error: OSError) -> InputError:
        return InputError(f"{self._path}: cannot be written: {error.strerror or error}; what was written before stays")


class GrowingSink(StreamSink):
    """A sink that appends lines for each frame.

    Args:
        path: the file.
        kept: what stays of an interrupted run.
        lines: the file of the lines, where it is not ``path`` itself, which is made of it at the end.
    """

    def __init__(self, path: Path, kept: Kept, lines: Path | None = None) -> None:
        self.path = path
        self._lines = LineFile(lines or path, lambda line: self.frame_of(line) < kept.next_index)

    @abstractmethod
    def text(self, result: Result) -> str:
        """The lines of a frame, with their ends."""

    @abstractmethod
    def frame_of(self, line: bytes) -> int:
        """Index of the frame that a line belongs to; -1: it always stays.

        Raises:
            InputError: it is not such a line.
        """

    def add(self, result: Result) -> None:
        """Write the lines of a frame."""
        self._lines.append(self.text(result))

    def close(self) -> None:
        """Close the file."""
        self._lines.close()
