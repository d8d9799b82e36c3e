"""Decompressing bodies piece by piece, so that limits apply before a small body has become a large one."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from http import HTTPStatus

from hpi.serving.limits import RequestError

PIECE = 256 << 10
"""Maximum size of a decompressed piece, in bytes."""

CODINGS = "gzip, deflate"

MAX_MEMBERS = 1024
"""Limit of members in a gzip body: even an empty one takes time."""

_GZIP = 16 + zlib.MAX_WBITS
_PLAIN = {"", "identity"}
_WINDOWS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": zlib.MAX_WBITS}


class Identity:
    """A body that is not compressed.

    Example:
        >>> list(Identity().pieces(b"hello"))
        [b'hello']
    """

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """Decompress a chunk."""
        yield chunk

    def finish(self) -> None:
        """Check that the body is complete."""


class Inflated(Identity):
    """A body compressed with gzip, of one member or several, or with deflate.

    Example:
        >>> body = Inflated("deflate")
        >>> b"".join(body.pieces(zlib.compress(b"hello")))
        b'hello'
        >>> body.finish()
    """

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._window = _WINDOWS[coding]
        self._members = 0
        self._stream: zlib._Decompress | None = None

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """Decompress a chunk into pieces of at most :data:`PIECE` bytes.

        Raises:
            RequestError: 422, it is damaged.
        """
        try:
            yield from self._pieces(chunk)
        except zlib.error as error:
            raise self._unreadable(str(error)) from error

    def finish(self) -> None:
        """Check that the body is complete.

        Raises:
            RequestError: 422, the end is missing.
        """
        if self._stream is None or not self._stream.eof:
            raise self._unreadable("its end is missing")

    def _pieces(self, chunk: bytes) -> Iterator[bytes]:
        more_inside = False
        while chunk or more_inside:
            if self._stream is None or self._stream.eof:
                self._members += 1
                if self._members > MAX_MEMBERS:
                    raise self._unreadable(f"it has more than {MAX_MEMBERS} members")
                self._stream = zlib.decompressobj(self._window_of(chunk))
            piece = self._stream.decompress(chunk, PIECE)
            yield piece
            chunk = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            more_inside = len(piece) == PIECE and not self._stream.eof

    def _window_of(self, start: bytes) -> int:
        """Some clients send raw deflate, without the zlib header that HTTP requires (its low four bits are 8)."""
        raw = self._coding == "deflate" and start[:1] and start[0] & 0x0F != zlib.DEFLATED
        return -zlib.MAX_WBITS if raw else self._window

    def _unreadable(self, reason: str) -> RequestError:
        return RequestError(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"the body is not the {self._coding} that Content-Encoding says: {reason}"
        )


def decoder(coding: str) -> Identity:
    """The decompressor for a ``Content-Encoding``.

    Raises:
        RequestError: 415, the encoding is unknown.

    Example:
        >>> type(decoder("gzip")).__name__, type(decoder("")).__name__
        ('Inflated', 'Identity')
    """
    coding = coding.strip().lower()
    if coding in _PLAIN:
        return Identity()
    if coding not in _WINDOWS:
        message = f"Content-Encoding {coding[:60]!r}: send the body uncompressed, or compressed with one of {CODINGS}"
        raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message, {"Accept-Encoding": CODINGS})
    return Inflated(coding)
