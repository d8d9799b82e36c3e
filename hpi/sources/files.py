"""The content of files, of URLs, and of streams that the caller has opened."""

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
    """The content of a regular file.

    Raises:
        InputError: it is none, or too large, or cannot be read.
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
    """What is left of a stream.

    Raises:
        InputError: it gives no bytes, or too many, or cannot be read.
    """
    try:
        data = stream.read(MAX_IMAGE_BYTES + 1)
        # Sockets, pipes and unbuffered files may give it bit by bit.
        while isinstance(data, bytes) and len(data) <= MAX_IMAGE_BYTES and (more := stream.read(MAX_IMAGE_BYTES)):
            data += more
    except Exception as error:  # other libraries' streams have errors of their own
        raise InputError(f"{label}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(data, bytes):
        raise InputError(f"{label}: its read() gives {type(data).__name__}, not bytes; open files in binary mode")
    if len(data) > MAX_IMAGE_BYTES:
        raise InputError(f"{label}: images of up to {MAX_IMAGE_BYTES >> 20} MiB are read, this one is larger")
    return data


def load_url(url: str) -> bytes:
    """What an http(s) URL answers.

    Raises:
        InputError: as :func:`hpi.io.fetch.fetch`.
    """
    stream = io.BytesIO()
    fetch(url, stream, limit=MAX_IMAGE_BYTES, seconds=MAX_FETCH_S, error=InputError)
    return stream.getvalue()
