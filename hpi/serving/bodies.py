"""Bodies of requests: what they are, and reading them within limits."""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from http import HTTPStatus

from starlette.requests import Request

from hpi.serving.inflate import Identity, decoder
from hpi.serving.limits import Received, RequestError

_JSON, _BINARY, _FORM = "application/json", "application/octet-stream", "multipart/form-data"
_JSON_TYPES = {"", _JSON, "text/json", "application/x-json"}
_UNTOLD = {"application/x-www-form-urlencoded", "text/plain"}
"""What axios, fetch, curl and PHP say of any string that they are given."""

_START = 64
"""Bytes in which the first brace of a JSON object must stand, behind a byte order mark and white space."""


class Kind(Enum):
    """What a body is."""

    JSON = auto()
    UNTOLD = auto()
    FORM = auto()
    IMAGE = auto()


def body_kind(request: Request) -> Kind:
    """What a request says that its body is.

    Raises:
        RequestError: neither JSON nor an image nor a form.
    """
    name = content_type(request)
    if name in _JSON_TYPES or name.endswith("+json"):
        return Kind.JSON
    if name == _BINARY or name.startswith("image/"):
        return Kind.IMAGE
    if name == _FORM:
        return Kind.FORM
    if name in _UNTOLD:
        return Kind.UNTOLD
    raise not_taken(name)


def content_type(request: Request) -> str:
    """The media type of a request, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_untold(request: Request, body: bytes | bytearray) -> None:
    """Check that a body whose type says nothing is a JSON object.

    Raises:
        RequestError: it does not begin like one.
    """
    start = bytes(body[:_START]).replace(b"\0", b"")  # of UTF-16 and UTF-32
    if not start.lstrip(b"\xef\xbb\xbf\xfe\xff \t\r\n").startswith(b"{"):
        raise not_taken(content_type(request))


def not_taken(name: str) -> RequestError:
    """The error for a media type that is not taken."""
    message = f"Content-Type {name[:100]!r}: send {_JSON}, an image as image/jpeg, or {_FORM} with a file"
    return RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message)


async def read_body(request: Request, into: Received, seconds: float) -> None:
    """Read the body of a request, and undo its compression.

    Raises:
        RequestError: it is too large, too slow or damaged, or there is no memory for it now.
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
        into.check(sent)  # compressed, it may stand for nothing at all
        for piece in coding.pieces(chunk):
            into.add(piece)
            if piece is not chunk:
                await asyncio.sleep(0)  # others go on meanwhile
    coding.finish()
