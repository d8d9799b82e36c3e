"""Request bodies: their type, and reading them within limits."""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from http import HTTPStatus

from starlette.requests import Request

from hpi.serving.inflate import Identity, decoder
from hpi.serving.limits import Received, RequestError

_JSON, _BINARY, _FORM = "application/json", "application/octet-stream", "multipart/form-data"
_JSON_TYPES = {"", _JSON, "text/json", "application/x-json"}
_UNTYPED = {"application/x-www-form-urlencoded", "text/plain"}
"""What axios, fetch, curl and PHP send by default with any string, so it says nothing about the content."""

_START = 64
"""Number of bytes in which the first brace of a JSON object must appear, after a byte order mark and white space."""


class Kind(Enum):
    """The type of a body; UNTYPED may be JSON, which its first bytes show.

    Example:
        >>> [kind.name for kind in Kind]
        ['JSON', 'UNTYPED', 'FORM', 'IMAGE']
    """

    JSON = auto()
    UNTYPED = auto()
    FORM = auto()
    IMAGE = auto()


def body_kind(request: Request) -> Kind:
    """The type of a request's body, by its ``Content-Type``.

    Raises:
        RequestError: 415, neither JSON nor an image nor a form.

    Example:
        >>> body_kind(Request({"type": "http", "headers": [(b"content-type", b"image/png")]})).name
        'IMAGE'
    """
    name = content_type(request)
    if name in _JSON_TYPES or name.endswith("+json"):
        return Kind.JSON
    if name == _BINARY or name.startswith("image/"):
        return Kind.IMAGE
    if name == _FORM:
        return Kind.FORM
    if name in _UNTYPED:
        return Kind.UNTYPED
    raise unsupported_type(name)


def content_type(request: Request) -> str:
    """The media type of a request, without parameters.

    Example:
        >>> content_type(Request({"type": "http", "headers": [(b"content-type", b"Application/JSON; charset=utf-8")]}))
        'application/json'
    """
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_untyped(request: Request, body: bytes | bytearray) -> None:
    """Check that a body without a useful type is a JSON object.

    Raises:
        RequestError: 415, it does not start like one.

    Example:
        >>> request = Request({"type": "http", "headers": [(b"content-type", b"text/plain")]})
        >>> check_untyped(request, b'{"image": "aGVsbG8="}')
        >>> check_untyped(request, b"hello")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        hpi.serving.limits.RequestError: Content-Type 'text/plain': send application/json, ...
    """
    start = bytes(body[:_START]).replace(b"\0", b"")  # of UTF-16 and UTF-32
    if not start.lstrip(b"\xef\xbb\xbf\xfe\xff \t\r\n").startswith(b"{"):
        raise unsupported_type(content_type(request))


def unsupported_type(name: str) -> RequestError:
    """The error for an unsupported media type.

    Example:
        >>> error = unsupported_type("text/html")
        >>> int(error.status), str(error).partition(":")[0]
        (415, "Content-Type 'text/html'")
    """
    message = f"Content-Type {name[:100]!r}: send {_JSON}, an image as image/jpeg, or {_FORM} with a file"
    return RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message)


async def read_body(request: Request, into: Received, seconds: float) -> None:
    """Read and decompress the body of a request.

    Args:
        request: the request.
        into: receives the decompressed content.
        seconds: time limit for all of it.

    Raises:
        RequestError: 408, 413, 415 or 422: the body is too slow, too large, in an unknown compression or damaged; 503:
            the service is short of memory.
    """
    coding = decoder(request.headers.get("content-encoding", ""))
    announced = request.headers.get("content-length", "")
    into.check(int(announced) if announced.isdigit() else 0)
    try:
        await asyncio.wait_for(_read(request, into, coding), seconds)
    except asyncio.TimeoutError as error:
        message = f"the body did not arrive within {seconds:g} s"
        raise RequestError(HTTPStatus.REQUEST_TIMEOUT, message, {"Connection": "close"}) from error


async def _read(request: Request, into: Received, coding: Identity) -> None:
    sent = 0
    async for chunk in request.stream():
        sent += len(chunk)
        into.check(sent)  # a compressed body of any size may decompress to nothing
        for piece in coding.pieces(chunk):
            into.add(piece)
            if piece is not chunk:
                await asyncio.sleep(0)  # lets other requests proceed
    coding.finish()
