"""The plan of a batch: the files of each part. It is listed once and kept in the output, the same for every run."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from hpi.distributed.job import Part
from hpi.distributed.output import Output
from hpi.errors import ConfigError

NAME = "plan.parquet"


def write_plan(output: Output, parts: Iterable[Part]) -> None:
    """Write a plan, part by part: a group of rows each.

    Raises:
        InputError: it cannot be written.
    """
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([("file", pyarrow.binary())])  # paths need not be text
    with output.written(NAME) as path, pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for part in parts:
            writer.write_table(pyarrow.table({"file": [os.fsencode(file) for file in part.files]}, schema))


class Plan:
    """A plan that was written.

    Args:
        output: where.

    Attributes:
        parts: how many there are.
        files: how many these have.

    Raises:
        ConfigError: it is damaged.
        InputError: it cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_plan(Output(folder), [Part(0, ("/data/a.jpg", "/data/b.jpg")), Part(1, ("/data/clip.mp4",))])
        ...     with Plan(Output(folder)) as plan:
        ...         plan.parts, plan.files, [part.files for part in plan.without({0})]
        (2, 3, [('/data/clip.mp4',)])
    """

    def __init__(self, output: Output) -> None:
        import pyarrow.parquet

        self._opened = output.open(NAME)
        try:
            self._file: Any = pyarrow.parquet.ParquetFile(self._opened)
        except (pyarrow.ArrowException, OSError) as error:
            self._opened.close()
            raise ConfigError(f"{output.address}/{NAME}: is damaged; give another output") from error
        self.parts: int = self._file.num_row_groups
        self.files: int = self._file.metadata.num_rows

    def without(self, done: Collection[int]) -> Iterator[Part]:
        """The parts that are not done, read one by one."""
        return (self.part(number) for number in range(self.parts) if number not in done)

    def part(self, number: int) -> Part:
        """A part, by its number."""
        return Part(number, tuple(map(os.fsdecode, self._file.read_row_group(number)["file"].to_pylist())))

    def size_of(self, done: Collection[int]) -> int:
        """How many files some parts have."""
        return sum(self._file.metadata.row_group(number).num_rows for number in done)

    def __enter__(self) -> Plan:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()
