"""Reading what a client sends, within limits, and noticing when it has gone."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.requests import Request

from hpi.serving.schema import InferRequest, PhotoQuery
from hpi.serving.settings import Settings

T = TypeVar("T")

MIB = 1 << 20
CLIENT_GONE = 499
"""nginx's status for a client that did not wait; nobody sees it but the log."""

_JSON, _BINARY = "application/json", "application/octet-stream"


class RequestError(Exception):
    """A request that is not served, with the HTTP status to answer."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


@dataclass(frozen=True)
class Wish:
    """What a client wants: the photo as the content of a file or as PaddleX's string, and the options."""

    photo: bytes | str
    threshold: float | None
    visualize: bool | None


def check_token(request: Request, token: str | None) -> None:
    """Check the bearer token, in a time that does not tell how much of it was right."""
    if token is None:
        return
    sent = request.headers.get("authorization", "").encode()
    if not hmac.compare_digest(sent, f"Bearer {token}".encode()):
        raise RequestError(
            HTTPStatus.UNAUTHORIZED, "send the token: Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"}
        )


def content_kind(request: Request) -> str:
    """The content type of a request's body.

    Raises:
        RequestError: it is neither JSON nor a photo.
    """
    kind = request.headers.get("content-type", _JSON).partition(";")[0].strip().lower()
    if kind not in {_JSON, _BINARY} and not kind.startswith("image/"):
        raise RequestError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type {kind!r}: send {_JSON}, or a photo as image/jpeg"
        )
    return kind


def understand(request: Request, kind: str, body: bytes) -> Wish:
    """What a request wants.

    Raises:
        RequestError: it is not understood.
    """
    return _read_json(body) if kind == _JSON else _read_query(request, body)


class Bodies:
    """Reads the bodies of requests, each of a bounded size and time, and all together within bounded memory."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._largest = int(settings.max_body_mb * MIB)
        self._free = int(settings.max_memory_mb * MIB)

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The body of a request, for as long as it is needed.

        Raises:
            RequestError: it is too large or too slow, or there is no memory for it now.
        """
        body = bytearray()
        try:
            announced = request.headers.get("content-length", "")
            self._check_size(int(announced) if announced.isdigit() else 0)
            try:
                await asyncio.wait_for(self._fill(body, request), self._settings.read_s)
            except asyncio.TimeoutError as error:
                message = f"the body did not arrive within {self._settings.read_s:g} s"
                raise RequestError(HTTPStatus.REQUEST_TIMEOUT, message, {"Connection": "close"}) from error
            yield bytes(body)
        finally:
            self._free += len(body)

    async def _fill(self, body: bytearray, request: Request) -> None:
        async for chunk in request.stream():
            body += chunk
            self._free -= len(chunk)
            self._check_size(len(body))
            if self._free < 0:
                raise busy("no memory is left for further bodies")

    def _check_size(self, size: int) -> None:
        if size > self._largest:
            raise RequestError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {self._settings.max_body_mb:g} MiB"
            )


class Door:
    """Admits so many requests at a time to the models."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.inside = 0

    def check(self) -> None:
        """Raise :class:`RequestError` when it is full."""
        if self.inside >= self._most:
            raise busy(f"{self._most} requests are being worked on")

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Stay inside for as long as the work takes.

        Raises:
            RequestError: it is full.
        """
        self.check()
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1


def busy(reason: str) -> RequestError:
    """The error that tells a client to come back later."""
    return RequestError(HTTPStatus.SERVICE_UNAVAILABLE, f"busy: {reason}; try again", {"Retry-After": "1"})


def _read_json(body: bytes) -> Wish:
    try:
        asked = InferRequest.model_validate_json(body)
    except ValidationError as error:
        raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, _in_words(error, "body")) from error
    return Wish(asked.image, asked.detThreshold, asked.visualize)


def _read_query(request: Request, body: bytes) -> Wish:
    try:
        asked = PhotoQuery.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, _in_words(error, "query")) from error
    return Wish(body, asked.detThreshold, asked.visualize)


def _in_words(error: ValidationError, where: str) -> str:
    """What is wrong, as PaddleX's service puts it: a JSON list in a string."""
    found = [
        {"type": one["type"], "loc": ".".join([where, *map(str, one["loc"])]), "msg": one["msg"]}
        for one in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return json.dumps(found)


async def while_waited_for(request: Request, work: Coroutine[Any, Any, T], deadline_s: float) -> T:
    """Do work for a client, and cancel it when the client goes away or the time is up.

    Raises:
        RequestError: it went away, or the time is up.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_until_gone(request))
    try:
        done, _ = await asyncio.wait({working, gone}, timeout=deadline_s, return_when=asyncio.FIRST_COMPLETED)
        if working in done:
            return working.result()
        if gone in done:
            raise RequestError(CLIENT_GONE, "the client did not wait for the answer")
        raise RequestError(HTTPStatus.GATEWAY_TIMEOUT, f"not done within {deadline_s:g} s; the service is busy")
    finally:
        working.cancel()
        gone.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
