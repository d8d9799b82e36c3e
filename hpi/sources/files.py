"""Reading the content of files, of URLs, and of streams opened by the caller."""

from __future__ import annotations

import io
import os
from stat import S_ISREG
from typing import Any

from hpi.errors import InputError, InputNotFoundError
from hpi.io.fetch import fetch

MAX_IMAGE_BYTES = 256 << 20
MAX_FETCH_S = 60


def load_file(path: str) -> bytes:
    """Read a regular file.

    Raises:
        InputNotFoundError: there is no such file.
        InputError: it is not a regular file, too large, or cannot be read.

    Example:
        >>> load_file("examples/basketball.png")[1:4]
        b'PNG'
    """
    try:
        if not S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - for each image, and twice as fast as a Path
            raise InputError(f"{path}: not a regular file")
        with open(path, "rb") as stream:  # noqa: PTH123
            return load_stream(stream, path)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        kind = InputNotFoundError if isinstance(error, FileNotFoundError) else InputError
        raise kind(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def load_stream(stream: Any, label: str) -> bytes:
    """Read the rest of a stream.

    Args:
        stream: an object with ``read(size)``.
        label: its name, for errors.

    Raises:
        InputError: it does not return bytes, returns too many, or cannot be read.

    Example:
        >>> load_stream(io.BytesIO(b"GIF89a"), "upload")
        b'GIF89a'
        >>> load_stream(io.StringIO("text"), "upload")
        Traceback (most recent call last):
        hpi.errors.InputError: upload: its read() returns str, not bytes; open files in binary mode
    """
    try:
        data = stream.read(MAX_IMAGE_BYTES + 1)
        # Sockets, pipes and unbuffered files may return fewer bytes than requested.
        while isinstance(data, bytes) and len(data) <= MAX_IMAGE_BYTES and (more := stream.read(MAX_IMAGE_BYTES)):
            data += more
    except Exception as error:  # streams of other libraries raise their own exceptions
        raise InputError(f"{label}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(data, bytes):
        raise InputError(f"{label}: its read() returns {type(data).__name__}, not bytes; open files in binary mode")
    if len(data) > MAX_IMAGE_BYTES:
        raise InputError(f"{label}: larger than the limit of {MAX_IMAGE_BYTES >> 20} MiB for image files")
    return data


def load_url(url: str) -> bytes:
    """Fetch the content of an http(s) URL.

    Raises:
        InputError: as :func:`hpi.io.fetch.fetch`.

    Example:
        >>> load_url("ftp://example.org/a.jpg")
        Traceback (most recent call last):
        hpi.errors.InputError: ftp://example.org/a.jpg: only http and https are supported
    """
    stream = io.BytesIO()
    fetch(url, stream, limit=MAX_IMAGE_BYTES, seconds=MAX_FETCH_S, error=InputError)
    return stream.getvalue()
