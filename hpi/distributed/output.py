"""Where a batch writes: a folder, or one behind a URL. Files appear whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from hpi.distributed.addresses import filesystem, is_remote
from hpi.errors import InputError
from hpi.io.fetch import is_url, shown
from hpi.io.files import check_folder, written_whole

LEFT_OVER = f".{'[0-9a-f]' * 32}.part"
"""Files that a killed process was writing, as :func:`hpi.io.files.written_whole` calls them."""


class Output:
    """A folder of results.

    Args:
        address: its path, or a URL such as ``s3://bucket/poses``.

    Raises:
        InputError: the URL cannot be written to.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     output = Output(folder)
        ...     with output.written("images/part-00000.parquet") as file:
        ...         _ = file.write_bytes(b"rows")
        ...     output.names("images"), output.names("people"), output.exists("job.json")
        (['part-00000.parquet'], [], False)
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._folder = Path(address)
        self._files: Any = None
        if is_url(address):
            raise InputError(f"{shown(address)}: http takes no results; give a folder, or s3:// and the like")
        if is_remote(address):
            self._files, self._path = filesystem(address.rstrip("/"))

    @property
    def is_remote(self) -> bool:
        """Whether it is behind a URL."""
        return self._files is not None

    def check(self) -> None:
        """Check before any work that files can be written.

        Raises:
            InputError: they cannot.
        """
        if self._files is None:
            check_folder(self._folder, InputError)
        else:
            self.exists("job.json")  # whether the server lets us in

    def clean(self, *folders: str) -> None:
        """Remove what killed processes have left here and in some folders; nobody may be writing."""
        if self._files is None:
            for folder in ("", *folders):
                for file in (self._folder / folder).glob(LEFT_OVER):
                    file.unlink(missing_ok=True)

    def exists(self, name: str) -> bool:
        """Whether a file is there."""
        with self._explained():
            return (self._folder / name).exists() if self._files is None else bool(self._files.exists(self._at(name)))

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder, in no order; none where it is not there."""
        with self._explained():
            try:
                if self._files is None:
                    return [file.name for file in (self._folder / folder).iterdir()]
                return [path.rpartition("/")[2] for path in self._files.ls(self._at(folder), detail=False)]
            except FileNotFoundError:
                return []

    def open(self, name: str) -> IO[bytes]:
        """Open a file to read it, at any position."""
        with self._explained():
            file: IO[bytes] = (
                (self._folder / name).open("rb") if self._files is None else self._files.open(self._at(name), "rb")
            )
            return file

    @contextmanager
    def written(self, name: str) -> Iterator[Path]:
        """A path to write to; at the end the file is there, by one rename or one upload.

        Raises:
            InputError: it cannot be written; nothing is left behind.
        """
        if self._files is None:
            with self._explained(), written_whole(self._folder / name) as partial:
                yield partial
            return
        with tempfile.TemporaryDirectory(prefix="hpi-") as folder:
            partial = Path(folder) / "part"
            yield partial
            with self._explained():
                self._files.put_file(str(partial), self._at(name))

    def dataset(self, folder: str) -> Any:
        """All Parquet files of a folder, as PyArrow's dataset."""
        import pyarrow.dataset

        path = str(self._folder / folder) if self._files is None else self._at(folder)
        with self._explained():
            return pyarrow.dataset.dataset(path, format="parquet", filesystem=self._files, exclude_invalid_files=False)

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of the disk or the server as those of this package."""
        expected = OSError if self._files is None else Exception  # clients of servers have errors of their own
        try:
            yield
        except expected as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{shown(self.address)}: cannot be used: {reason}") from error
