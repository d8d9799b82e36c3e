"""Reading what a client sends, and noticing when it has gone."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.requests import Request

from hpi.serving.limits import Received, RequestError
from hpi.serving.schema import InferRequest, PhotoQuery

T = TypeVar("T")

CLIENT_GONE = 499
"""nginx's status for a client that did not wait; nobody sees it but the log."""

_JSON, _BINARY = "application/json", "application/octet-stream"


@dataclass(frozen=True)
class Wish:
    """What a client wants.

    Attributes:
        photo: PaddleX's string, base64 or a URL; None: the body is the photo.
        threshold: for people.
        visualize: whether to answer a picture; None: as the service is set.
    """

    photo: str | None
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


async def read_body(request: Request, into: Received, seconds: float) -> None:
    """Read the body of a request.

    Raises:
        RequestError: it is too large or too slow, or there is no memory for it now.
    """
    announced = request.headers.get("content-length", "")
    into.check(int(announced) if announced.isdigit() else 0)

    async def read() -> None:
        async for chunk in request.stream():
            into.add(chunk)

    try:
        await asyncio.wait_for(read(), seconds)
    except asyncio.TimeoutError as error:
        message = f"the body did not arrive within {seconds:g} s"
        raise RequestError(HTTPStatus.REQUEST_TIMEOUT, message, {"Connection": "close"}) from error


def understand(request: Request, kind: str, body: bytearray) -> Wish:
    """What a request wants.

    Raises:
        RequestError: it is not understood.
    """
    return _read_json(body) if kind == _JSON else _read_query(request)


def _read_json(body: bytearray) -> Wish:
    try:
        asked = InferRequest.model_validate_json(body)
    except ValidationError as error:
        raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, _in_words(error, "body")) from error
    return Wish(asked.image, asked.detThreshold, asked.visualize)


def _read_query(request: Request) -> Wish:
    try:
        asked = PhotoQuery.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, _in_words(error, "query")) from error
    return Wish(None, asked.detThreshold, asked.visualize)


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
