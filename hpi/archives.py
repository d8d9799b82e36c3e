"""Unpacking model archives (tar, zip) that come from outside and are not to be trusted."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from hpi.errors import ModelError

MAX_UNPACKED_BYTES = 2 << 30


def unpack(archive: Path, target: Path) -> None:
    """Unpack the files of an archive's one top folder into ``target``.

    Args:
        archive: ``.tar``, compressed or not, or ``.zip``.
        target: an existing empty folder; its content is undefined after an error.

    Raises:
        ModelError: not an archive, damaged, larger than :data:`MAX_UNPACKED_BYTES`, or with an entry that is not a
            plain file or folder inside one top folder.
    """
    try:
        _unpack(archive, target)
    except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, NotImplementedError) as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        if error.errno is not None:  # the disk's; those of gzip and bz2 have no number
            raise
        raise _damaged(archive, error) from error


def _damaged(archive: Path, error: Exception) -> ModelError:
    return ModelError(f"{archive.name}: not a usable archive, or damaged: {' '.join(str(error).split())}")


def _unpack(archive: Path, target: Path) -> None:
    remaining = MAX_UNPACKED_BYTES
    top: set[str] = set()
    for name, size, stream in _files(archive):
        remaining -= size
        if remaining < 0:
            raise ModelError(f"{archive.name}: unpacks to more than {MAX_UNPACKED_BYTES >> 20} MiB")
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or PureWindowsPath(name).drive:
            raise ModelError(f"{archive.name}: entry {name!r} points outside the archive's folder")
        parts = path.parts
        top.add(parts[0] if len(parts) > 1 else "")
        if len(top) > 1:
            raise ModelError(f"{archive.name}: more than one folder at the top: {', '.join(sorted(top))}")
        destination = target.joinpath(*parts[1:]) if len(parts) > 1 else target / path
        if destination.exists():
            raise ModelError(f"{archive.name}: entry {name!r} is there twice")
        destination.parent.mkdir(parents=True, exist_ok=True)
        with destination.open("xb") as out:
            shutil.copyfileobj(stream, out)
        if destination.stat().st_size != size:
            raise ModelError(f"{archive.name}: damaged: entry {name!r} breaks off")
    if not top:
        raise ModelError(f"{archive.name}: holds no files")


def _files(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Name, declared size and content of each file; both readers stop at the declared size."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as bundle:
            for entry in bundle.infolist():
                kind = entry.external_attr >> 28  # the file type bits of a Unix mode; 0 when not stated
                if entry.is_dir():
                    continue
                if kind not in {0, 0o10}:
                    raise ModelError(f"{archive.name}: entry {entry.filename!r} is not a plain file")
                with bundle.open(entry) as stream:
                    yield entry.filename, entry.file_size, stream
    else:
        with tarfile.open(archive) as bundle:
            for member in bundle:
                if member.isdir():
                    continue
                content = bundle.extractfile(member) if member.isreg() else None
                if content is None or member.issparse():
                    raise ModelError(f"{archive.name}: entry {member.name!r} is not a plain file")
                yield member.name, member.size, content
            _read_to_the_end(archive, bundle)


def _read_to_the_end(archive: Path, bundle: tarfile.TarFile) -> None:
    """Read what follows the last file: a compressed archive has its checksum there."""
    remaining = MAX_UNPACKED_BYTES
    assert bundle.fileobj is not None  # only a bundle that is written without a file has none
    while block := bundle.fileobj.read(1 << 20):
        remaining -= len(block)
        if remaining < 0:
            raise ModelError(f"{archive.name}: unpacks to more than {MAX_UNPACKED_BYTES >> 20} MiB")
