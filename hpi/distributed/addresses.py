"""Paths and URLs, and the file systems behind URLs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

from hpi.errors import ConfigError, InputError, InputNotFoundError
from hpi.io.fetch import is_url, shown

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}


def is_remote(address: str) -> bool:
    """Whether an address is a URL, of http or of another file system; ``file://`` is a path.

    Example:
        >>> is_remote("s3://bucket/a.jpg"), is_remote("https://example.org/a.jpg"), is_remote("images/a.jpg")
        (True, True, False)
    """
    return bool(_SCHEME.match(address)) and not address.startswith("file://")


def absolute(address: str) -> str:
    """An address that means the same in every process: URLs as they are, paths absolute, also of a list (``@``).

    Raises:
        ConfigError: it is empty.

    Example:
        >>> absolute("file:///data/my%20images"), absolute("@/data/list.txt"), absolute("s3://bucket/images")
        ('/data/my images', '@/data/list.txt', 's3://bucket/images')
    """
    if address.startswith("@"):
        return f"@{absolute(address[1:])}"
    if not address:
        raise ConfigError('the path is empty; for the current folder give "."')
    if is_remote(address):
        return address
    return os.path.abspath(unquote(address.removeprefix("file://")) if address.startswith("file://") else address)  # noqa: PTH100


def filesystem(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises:
        InputError: fsspec, or its package for this scheme, is not installed, or nobody knows the scheme.

    Example:
        >>> filesystem("memory://images/a.jpg")[1]
        '/images/a.jpg'
    """
    scheme = url.partition("://")[0].lower()
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise InputError(f'{shown(url)}: is read with fsspec: pip install "hpi-pose[batch]"') from error
    try:
        # Listings are long, and change; each is read once.
        files, path = url_to_fs(url, **({} if is_url(url) else {"use_listings_cache": False}))
    except ImportError as error:
        package = _PACKAGES.get(scheme)
        advice = f"pip install {package}" if package else str(error)
        raise InputError(f"{shown(url)}: the package for {scheme}:// is not installed: {advice}") from error
    except ValueError as error:
        raise InputError(f"{shown(url)}: {error}; give a path, or a URL such as s3://bucket/folder") from error
    return files, str(path)


def open_file(address: str) -> IO[bytes]:
    """Open a path, or a URL of fsspec, to read at any position.

    Raises:
        InputError: it cannot be opened.
    """
    with explained(address):
        if not is_remote(address):
            return Path(address).open("rb")
        files, path = filesystem(address)
        opened: IO[bytes] = files.open(path, "rb")
        return opened


@contextmanager
def explained(address: str) -> Iterator[None]:
    """What goes wrong on a server or a disk as an error of this package."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputNotFoundError(f"{shown(address)}: cannot be read: No such file") from error
    except Exception as error:  # each client has errors of its own
        raise InputError(f"{shown(address)}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
