"""What a client wants, and noticing when it has gone."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic_core import from_json
from starlette.requests import Request

from hpi.compat.paddlex.http import InferRequest, Options
from hpi.io.fetch import is_url
from hpi.serving.bodies import Kind, check_untold
from hpi.serving.encoded import PHOTO, from_base64
from hpi.serving.fields import Strangers, validated, wrong
from hpi.serving.forms import IMAGE_FIELDS, Form
from hpi.serving.limits import RequestError

T = TypeVar("T")

CLIENT_GONE = 499
"""nginx's status for a client that did not wait; nobody sees it but the log."""

MOST_COMMAS = 10_000
"""Of a JSON body: each can be a value that takes many times its place once it is read."""

_NOTHING = Options()


@dataclass(frozen=True)
class Wish:
    """What a client wants.

    Attributes:
        image: content of an image file; a string is its URL.
        label: what to call it in an error.
        threshold: for people.
        visualize: whether to answer a picture; None: as the service is set.
    """

    image: bytes | bytearray | str
    label: str
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


class Understanding:
    """Makes wishes of requests.

    ``detThreshold`` and ``visualize`` may stand in the query of each; JSON and forms may have them themselves.
    """

    def __init__(self) -> None:
        self._strangers = Strangers()

    def of_body(self, request: Request, kind: Kind, body: bytes | bytearray) -> Wish:
        """The wish of a request whose body is JSON or an image.

        Raises:
            RequestError: it is not understood.
            InputError: JSON without an image.
        """
        query = self._query(request)
        if kind is Kind.IMAGE:
            return Wish(body, PHOTO, query.detThreshold, query.visualize or False)
        if kind is Kind.UNTOLD:
            check_untold(request, body)
        content = _read_json(body)
        if isinstance(content, dict):
            self._strangers.check("body", content, InferRequest.model_fields)
        asked = validated(InferRequest, content, "body")
        options = _either(asked, query)
        return _wish(asked.image, options.detThreshold, options.visualize)

    def of_form(self, request: Request, form: Form) -> Wish:
        """The wish of a request whose body is a form; errors as :meth:`of_body`."""
        self._strangers.check("body", [*form.texts, *form.files], [*IMAGE_FIELDS, *Options.model_fields])
        for name in Options.model_fields.keys() & form.files.keys():
            raise wrong("string_type", f"body.{name}", "Send this field as text, without a file name")
        texts = {name: text for name, text in form.texts.items() if name not in IMAGE_FIELDS}
        options = _either(validated(Options, texts, "body"), self._query(request))
        images = [part[name] for part in (form.files, form.texts) for name in IMAGE_FIELDS if name in part]
        if len(images) != 1:
            raise wrong("missing" if not images else "given_twice", "body.image", "Give one image, as image or file")
        return _wish(images[0], options.detThreshold, options.visualize or False)

    def _query(self, request: Request) -> Options:
        items = request.query_params.multi_items()
        if not items:
            return _NOTHING
        content = dict(items)
        self._strangers.check("query", content, Options.model_fields)
        for name in Options.model_fields:
            if sum(given == name for given, _ in items) > 1:
                raise wrong("given_twice", f"query.{name}", "The query has this field twice")
        return validated(Options, content, "query")


def _wish(image: str | bytes, threshold: float | None, visualize: bool | None) -> Wish:
    if isinstance(image, bytes) or is_url(image):
        return Wish(image, PHOTO, threshold, visualize)
    return Wish(*from_base64(image), threshold, visualize)


def _either(asked: Options, query: Options) -> Options:
    """What the body asks for, or else the query."""
    given = {name: value for name, value in query if value is not None}
    for name in given:
        if getattr(asked, name) is not None:
            raise wrong("given_twice", f"query.{name}", "The body has this field too")
    return asked.model_copy(update=given) if given else asked


def _read_json(body: bytes | bytearray) -> Any:
    """The content of JSON in UTF-8, or in what else PaddleX reads: with a byte order mark, UTF-16, UTF-32.

    Raises:
        RequestError: it is not JSON, or there is too much in it.
    """
    if _has_too_many_commas(body):
        raise wrong("too_long", "body", f"JSON with at most {MOST_COMMAS} commas is taken")
    try:
        return from_json(body)
    except ValueError:  # the fast one takes nothing but sound UTF-8
        pass
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise wrong("json_invalid", "body", f"Invalid JSON: {error}") from error


def _has_too_many_commas(body: bytes | bytearray) -> bool:
    position = -1
    for _ in range(MOST_COMMAS + 1):  # finding the few of a request is much faster than counting them
        position = body.find(b",", position + 1)
        if position < 0:
            return False
    return True


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
