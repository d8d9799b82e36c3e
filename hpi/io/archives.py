"""Unpacking untrusted model archives (tar, zip)."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from hpi.errors import ModelError

MAX_UNPACKED_BYTES = 2 << 30
MAX_FILES = 100
MAX_OVERHEAD_BYTES = 1 << 20
"""Limit of the bytes of a tar outside its files: headers, padding, data after the end."""

_DECOMPRESSORS: dict[bytes, Callable[[Path], Any]] = {
    b"\xfd7zXZ": lzma.open,
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"": lambda path: path.open("rb"),
}
# RuntimeError: an encrypted zip, infinite recursion; ValueError: a name with a NUL.
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, RuntimeError, ValueError)


def unpack(archive: Path, target: Path) -> None:
    """Unpack an archive into ``target``. Its files must all be at the top, or in one folder, whose path is dropped.

    Args:
        archive: ``.tar``, compressed or not, or ``.zip``.
        target: an existing empty folder; its content is undefined after an error.

    Raises:
        ModelError: not an archive, damaged, too large, too many files, or an entry that is not a plain file in that
            folder.
        OSError: the target cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     archive, target = Path(folder) / "model.zip", Path(folder) / "model"
        ...     with zipfile.ZipFile(archive, "w") as bundle:
        ...         bundle.writestr("model/inference.yml", "mode: paddle")
        ...     target.mkdir()
        ...     unpack(archive, target)
        ...     [file.name for file in target.iterdir()]
        ['inference.yml']
    """
    try:
        _unpack(archive, target)
    except _DAMAGED as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        if error.errno is not None:  # from the disk; those of gzip and bz2 have no number
            raise
        raise _damaged(archive, error) from error


def _damaged(archive: Path, error: Exception) -> ModelError:
    return ModelError(f"{archive.name}: not a usable archive, or damaged: {' '.join(str(error).split())}")


def _unpack(archive: Path, target: Path) -> None:
    remaining = MAX_UNPACKED_BYTES
    folders: set[str] = set()
    names: set[str] = set()
    for entry, size, stream in _files(archive):
        folder, name = _split(archive, entry)
        folders.add(folder)
        if len(folders) > 1:
            raise ModelError(f"{archive.name}: files in more than one folder: {', '.join(sorted(folders))}")
        if name in names:
            raise ModelError(f"{archive.name}: entry {entry!r} appears twice")
        names.add(name)
        remaining -= size
        if remaining < 0 or len(names) > MAX_FILES:
            raise ModelError(
                f"{archive.name}: unpacks to more than {MAX_UNPACKED_BYTES >> 20} MiB or {MAX_FILES} files"
            )
        with (target / name).open("xb") as out:
            shutil.copyfileobj(stream, out)
            if out.tell() != size:
                raise ModelError(f"{archive.name}: damaged: entry {entry!r} is truncated")
    if not names:
        raise ModelError(f"{archive.name}: contains no files")


def _split(archive: Path, entry: str) -> tuple[str, str]:
    """Folder and file name of an entry."""
    path = PurePosixPath(entry)
    if path.is_absolute() or ".." in path.parts or any(character in entry for character in '\\:\0"*?<>|'):
        raise ModelError(f"{archive.name}: entry {entry!r} points outside the archive's folder")
    if not path.name or len(entry.encode()) > 200:
        raise ModelError(f"{archive.name}: entry {entry[:200]!r} is not a file of a model")
    return str(path.parent), path.name


def _files(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Name, declared size and content of each file; reading stops at the declared size."""
    yield from _zip_files(archive) if zipfile.is_zipfile(archive) else _tar_files(archive)


def _zip_files(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(archive) as bundle:
        for entry in bundle.infolist():
            if entry.is_dir():
                continue
            kind = entry.external_attr >> 28  # the file type bits of a Unix mode; 0 if not stated
            if kind not in {0, 0o10}:
                raise ModelError(f"{archive.name}: entry {entry.filename!r} is not a plain file")
            with bundle.open(entry) as stream:
                yield entry.filename, entry.file_size, stream


def _tar_files(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with archive.open("rb") as raw:
        magic = raw.read(8)
    decompress = next(opener for start, opener in _DECOMPRESSORS.items() if magic.startswith(start))
    with closing(decompress(archive)) as content:
        meter = _Meter(archive, content)
        with tarfile.open(fileobj=cast(IO[bytes], meter), mode="r|") as bundle:
            for member in bundle:
                if member.isdir():
                    continue
                stream = bundle.extractfile(member) if member.isreg() and not member.issparse() else None
                if stream is None:
                    raise ModelError(f"{archive.name}: entry {member.name!r} is not a plain file")
                meter.allowed += member.size
                yield member.name, member.size, stream
        while meter.read(1 << 16):  # the checksum of a compressed archive is at its very end
            pass


class _Meter:
    """Reads the bytes of a tar, and limits those that are not content of its files."""

    def __init__(self, archive: Path, stream: IO[bytes]) -> None:
        self.allowed = MAX_OVERHEAD_BYTES
        self._archive = archive
        self._stream = stream

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        self.allowed -= len(block)
        if self.allowed < 0:
            raise ModelError(f"{self._archive.name}: more than {MAX_OVERHEAD_BYTES} bytes that belong to no file")
        return block
