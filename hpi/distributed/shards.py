"""The two tables of a part: its people, and its images. Both appear whole, the images last: then the part is done."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from hpi.distributed.job import Part
from hpi.distributed.output import Output
from hpi.errors import InputError
from hpi.instances import Instances, Skeleton
from hpi.results import columns_of
from hpi.tracking.base import UNTRACKED

PEOPLE, IMAGES = "people", "images"
"""The folders of the two tables."""
OK, ERROR = "ok", "error"
GROUP = 1 << 14
"""Images, or people, after which rows are written, so that a long video takes no more memory than a short one."""

_WHERE = (("file", "string"), ("page", "int64"), ("frame_index", "int64"), ("time_s", "double"))
_OF_IMAGES = (*_WHERE, ("status", "string"), ("error", "string"), ("people", "int64"), ("shard", "string"))
_OF_PEOPLE = (*_WHERE, ("track_id", "int64"), *((name, "float") for name in ("score", "x1", "y1", "x2", "y2")))


@contextmanager
def open_shard(output: Output, part: Part, skeleton: Skeleton | None, labels: Sequence[str] = ()) -> Generator[Shard]:
    """The tables of a part; leaving it without an error writes them.

    Args:
        output: where.
        part: whose tables they are.
        skeleton: of the people's keypoints; None of a detector.
        labels: the names of the detector's classes.

    Raises:
        InputError: PyArrow is not installed, or a file cannot be written.

    Example:
        >>> import tempfile
        >>> found = Instances([0.5], boxes=[[0, 0, 8, 8]])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open_shard(Output(folder), Part(0, ("/a.jpg", "/b.jpg")), None, ("person",)) as shard:
        ...         shard.add("/a.jpg", found)
        ...         shard.add("/b.jpg", InputError("/b.jpg: the file is empty"))
        ...     people, images = (Output(folder).dataset(name).to_table().to_pylist() for name in (PEOPLE, IMAGES))
        >>> [(row["file"], row["x2"], row["label"]) for row in people]
        [('/a.jpg', 8.0, 'person')]
        >>> [(row["status"], row["people"]) for row in images]
        [('ok', 1), ('error', 0)]
    """
    pyarrow, parquet = require_pyarrow()
    keypoints = () if skeleton is None else skeleton.keypoints
    others = [(f"{name}_{axis}", "float") for name in keypoints for axis in ("x", "y", "score")]
    label = [("label", "string")] if skeleton is None else []
    writers: dict[str, Any] = {}
    with ExitStack() as files:  # what is opened last appears first
        for name, columns in ((IMAGES, _OF_IMAGES), (PEOPLE, (*_OF_PEOPLE, *label, *others))):
            path = files.enter_context(output.written(f"{name}/{part.name}"))
            schema = pyarrow.schema([(column, pyarrow.type_for_alias(kind)) for column, kind in columns])
            writers[name] = files.enter_context(parquet.ParquetWriter(path, schema, compression="zstd"))
        shard = Shard(part, writers, skeleton, labels)
        yield shard
        shard.flush()


class Shard:
    """Takes what was found in the images of a part, in order; see :func:`open_shard`.

    Attributes:
        images: rows so far.
        people: rows so far.
        errors: images so far that cannot be used.
        first_error: what is wrong with the first of these.
    """

    def __init__(
        self, part: Part, writers: Mapping[str, Any], skeleton: Skeleton | None, labels: Sequence[str]
    ) -> None:
        self.images = self.people = self.errors = 0
        self.first_error: str | None = None
        self._part, self._writers = part, writers
        self._skeleton, self._labels = skeleton, labels
        self._rows: list[tuple[Any, ...]] = []
        self._found: list[tuple[tuple[Any, ...], Instances]] = []
        self._waiting = 0

    def add(
        self,
        file: str,
        found: Instances | InputError,
        *,
        page: int | None = None,
        frame_index: int | None = None,
        time_s: float | None = None,
    ) -> None:
        """Add an image.

        Args:
            file: path or URL.
            found: the people in it, or why it cannot be used.
            page: of a document.
            frame_index: of a video or an animation.
            time_s: of a video's frame.
        """
        where = (_text(file), page, frame_index, time_s)
        self.images += 1
        if isinstance(found, InputError):
            self.errors += 1
            self.first_error = self.first_error or _text(str(found))
            self._rows.append((*where, ERROR, _text(str(found)), 0, None))
        else:
            self.people += len(found)
            self._rows.append((*where, OK, None, len(found), f"{PEOPLE}/{self._part.name}"))
            if len(found):
                self._found.append((where, found))
                self._waiting += len(found)
        if max(len(self._rows), self._waiting) >= GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait."""
        if self._rows:
            names = [name for name, _ in _OF_IMAGES]
            self._write(IMAGES, dict(zip(names, map(list, zip(*self._rows, strict=True)), strict=True)))
        if self._found:
            counts = [len(people) for _, people in self._found]
            where = zip(*(values for values, _ in self._found), strict=True)
            repeated = {
                name: [value for value, count in zip(values, counts, strict=True) for _ in range(count)]
                for (name, _), values in zip(_WHERE, where, strict=True)
            }
            people = Instances.concatenate([people for _, people in self._found])
            self._write(PEOPLE, repeated | columns_of(people, self._skeleton, self._labels))
        self._rows, self._found, self._waiting = [], [], 0

    def _write(self, name: str, columns: dict[str, Any]) -> None:
        """Write a group of rows; columns that are not known are null."""
        import pyarrow

        writer = self._writers[name]
        count = len(columns["file"])
        arrays = [
            pyarrow.array(columns[field.name], field.type, mask=_missing(field.name, columns[field.name]))
            if field.name in columns
            else pyarrow.nulls(count, field.type)
            for field in writer.schema
        ]
        writer.write_table(pyarrow.Table.from_arrays(arrays, schema=writer.schema))


def require_pyarrow() -> tuple[Any, Any]:
    """PyArrow, and its module for Parquet.

    Raises:
        InputError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError('hpi batch writes Parquet, which needs pyarrow: pip install "hpi-pose[batch]"') from error
    return pyarrow, pyarrow.parquet


def _missing(name: str, values: Any) -> Any:
    return np.asarray(values) == UNTRACKED if name == "track_id" else None


def _text(text: str) -> str:
    """Text that Parquet can hold: file names may not be UTF-8."""
    return text.encode(errors="backslashreplace").decode()
