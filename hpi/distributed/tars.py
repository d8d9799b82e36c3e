"""Reading the images of a tar one after the other, as WebDataset writes them. Nothing is written to the disk.

A tar comes from outside: sizes are checked before anything is read, and what it says of itself is not believed.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from posixpath import splitext
from typing import IO, cast

from hpi.errors import InputError
from hpi.io.fetch import shown
from hpi.sources import IMAGE_SUFFIXES
from hpi.sources.files import MAX_IMAGE_BYTES
from hpi.sources.folders import is_hidden

MAX_HEADER_BYTES = 1 << 20
"""Of what belongs to no file; long names and the like are far smaller."""

_EMPTY_BLOCK = bytes(tarfile.BLOCKSIZE)


def read_members(file: IO[bytes], label: str) -> Iterator[tuple[str, bytes | InputError]]:
    """The images of a tar in their order, with names such as ``shard.tar#0001.jpg``.

    Only members that are called like images are read; the others are what WebDataset has beside them.

    Args:
        file: the tar, not compressed, at any position.
        label: its name.

    Yields:
        Name and content of each image, or why it cannot be read. Where the tar is damaged or cut off, that is the last.

    Example:
        >>> import io
        >>> written = io.BytesIO()
        >>> with tarfile.open(fileobj=written, mode="w") as bundle:
        ...     for name in ("0001.jpg", "0001.json"):
        ...         member = tarfile.TarInfo(name)
        ...         member.size = 4
        ...         bundle.addfile(member, io.BytesIO(b"data"))
        >>> list(read_members(written, "shard.tar"))
        [('shard.tar#0001.jpg', b'data')]
    """
    count = 0
    try:
        file.seek(0)
        headers = _Headers(file)
        with tarfile.open(fileobj=cast(IO[bytes], headers), mode="r:") as bundle:
            end = 0
            while (member := bundle.next()) is not None:
                bundle.members = []  # type: ignore[attr-defined]  # else millions would fill the memory
                if member.offset < end:
                    raise InputError("a member begins before the one before ends")
                end = member.offset_data + (0 if member.issparse() else member.size)
                if _is_image(member.name):
                    yield f"{label}#{member.name}", _content(file, member, f"{label}#{member.name}")
                    count += 1
            _check_end(file, bundle.offset)
    except Exception as error:  # noqa: BLE001 - hostile data may cause any
        yield label, InputError(f"{shown(label)}: damaged, truncated or not a tar, after {count} images: {error}")


def _is_image(name: str) -> bool:
    names = (part for part in name.split("/") if part not in {".", ".."})  # ./a.jpg is not hidden
    return splitext(name)[1].lower() in IMAGE_SUFFIXES and not any(map(is_hidden, names))


def _content(file: IO[bytes], member: tarfile.TarInfo, label: str) -> bytes | InputError:
    if not member.isreg() or member.issparse():
        return InputError(f"{shown(label)}: not a plain file, but a link or the like")
    if member.size > MAX_IMAGE_BYTES:
        return InputError(f"{shown(label)}: larger than the limit of {MAX_IMAGE_BYTES >> 20} MiB for image files")
    file.seek(member.offset_data)
    content = file.read(member.size)
    if len(content) != member.size:
        raise InputError(f"its last member has {len(content)} of {member.size} bytes")
    return content


def _check_end(file: IO[bytes], offset: int) -> None:
    """``tarfile`` takes a damaged header for the end, which is a block of zeros."""
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if block != _EMPTY_BLOCK:
        raise InputError("a damaged header" if block else "its end is missing")


class _Headers:
    """What ``tarfile`` reads of a tar: headers, whose sizes are limited."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_HEADER_BYTES:
            raise InputError(f"a header of {size} bytes")
        return self._file.read(size)
