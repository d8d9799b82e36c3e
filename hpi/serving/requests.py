"""What a client asks for, and noticing when it disconnects."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import Collection, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic_core import from_json
from starlette.requests import HTTPConnection, Request

from hpi.compat.paddlex.http_protocol import InferRequest, Options
from hpi.io.fetch import is_url
from hpi.serving.bodies import Kind, check_untyped
from hpi.serving.encoded import IMAGE_LABEL, from_base64
from hpi.serving.fields import UnknownFields, validated, wrong
from hpi.serving.forms import IMAGE_FIELDS, Form
from hpi.serving.limits import RequestError, too_late

T = TypeVar("T")

CLIENT_GONE = 499
"""nginx's status for a client that disconnected before the answer; only the log shows it."""

MAX_COMMAS = 10_000
"""Limit of commas in a JSON body: each may separate values that take many times their size once parsed."""

BEARER_PROTOCOL = "hpi.bearer."
"""Subprotocol of a WebSocket that ends in the token as URL-safe base64; pages of a browser cannot set its headers."""

_NO_OPTIONS = Options()


@dataclass(frozen=True)
class ImageRequest:
    """What a client asks for.

    Attributes:
        image: content of an image file, or its URL.
        label: what errors call the image.
        threshold: lowest score of people, 0 to 1; None for the default of the service.
        visualize: whether the answer includes a picture; None for the default of the service.

    Example:
        >>> ImageRequest("https://example.org/people.jpg", IMAGE_LABEL, threshold=0.5, visualize=None).threshold
        0.5
    """

    image: bytes | bytearray | str
    label: str
    threshold: float | None
    visualize: bool | None


def check_token(connection: HTTPConnection, token: str | None) -> None:
    """Check the bearer token in constant time: of the header, or of the subprotocol of a WebSocket.

    Raises:
        RequestError: 401, the token is missing or wrong.

    Example:
        >>> request = Request({"type": "http", "headers": [(b"authorization", b"Bearer secret")]})
        >>> check_token(request, "secret")
        >>> check_token(request, "another")
        Traceback (most recent call last):
        hpi.serving.limits.RequestError: send the token: Authorization: Bearer ...
    """
    if token is None:
        return
    sent = connection.headers.get("authorization", "").encode()
    encoded = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    offered = next((name for name in connection.scope.get("subprotocols", ()) if name.startswith(BEARER_PROTOCOL)), "")
    in_header = hmac.compare_digest(sent, f"Bearer {token}".encode())
    if not (in_header or hmac.compare_digest(offered.encode(), f"{BEARER_PROTOCOL}{encoded}".encode())):
        raise RequestError(
            HTTPStatus.UNAUTHORIZED, "send the token: Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"}
        )


def check_origin(connection: HTTPConnection, allowed: Collection[str]) -> None:
    """Check that the page that opens a WebSocket may do so: browsers let every page, and send its origin.

    Args:
        connection: what was asked for; without an origin it comes from a program.
        allowed: origins besides that of the service itself; ``*`` for all.

    Raises:
        RequestError: 403, it is the page of another origin.

    Example:
        >>> headers = [(b"host", b"127.0.0.1:8080"), (b"origin", b"https://page.example")]
        >>> connection = HTTPConnection({"type": "websocket", "headers": headers})
        >>> check_origin(connection, ["https://page.example"])
        >>> check_origin(connection, [])
        Traceback (most recent call last):
        hpi.serving.limits.RequestError: pages of 'https://page.example' may not use this service; --cors allows them
    """
    origin, host = connection.headers.get("origin", "").lower(), connection.headers.get("host", "").lower()
    if origin and not {origin, "*"} & set(allowed) and origin not in {f"http://{host}", f"https://{host}"}:
        message = f"pages of {origin[:100]!r} may not use this service; --cors allows them"
        raise RequestError(HTTPStatus.FORBIDDEN, message)


class RequestParser:
    """Parses requests.

    ``detThreshold`` and ``visualize`` may be in the query of any request, or in the body of JSON and forms.

    Example:
        >>> request = Request({"type": "http", "headers": [], "query_string": b"detThreshold=0.5"})
        >>> parsed = RequestParser().of_body(request, Kind.JSON, b'{"image": "aGVsbG8="}')
        >>> parsed.image, parsed.threshold
        (b'hello', 0.5)
    """

    def __init__(self) -> None:
        self._unknown_fields = UnknownFields()

    def of_body(self, request: Request, kind: Kind, body: bytes | bytearray) -> ImageRequest:
        """Parse a request whose body is JSON or an image.

        Raises:
            RequestError: 415 or 422, the body is not JSON or fields are wrong; the message names them.
            InputError: the image is neither a URL nor base64.
        """
        query = self._query(request)
        if kind is Kind.IMAGE:
            return ImageRequest(body, IMAGE_LABEL, query.detThreshold, query.visualize or False)
        if kind is Kind.UNTYPED:
            check_untyped(request, body)
        content = _read_json(body)
        if isinstance(content, dict):
            self._unknown_fields.check("body", content, InferRequest.model_fields)
        body_fields = validated(InferRequest, content, "body")
        options = _merged(body_fields, query)
        return _image_request(body_fields.image, options.detThreshold, options.visualize)

    def of_form(self, request: Request, form: Form) -> ImageRequest:
        """Parse a request whose body is a form; errors as in :meth:`of_body`."""
        self._unknown_fields.check("body", [*form.texts, *form.files], [*IMAGE_FIELDS, *Options.model_fields])
        for name in Options.model_fields.keys() & form.files.keys():
            raise wrong("string_type", f"body.{name}", "Send this field as text, without a file name")
        texts = {name: text for name, text in form.texts.items() if name not in IMAGE_FIELDS}
        options = _merged(validated(Options, texts, "body"), self._query(request))
        images = [part[name] for part in (form.files, form.texts) for name in IMAGE_FIELDS if name in part]
        if len(images) != 1:
            raise wrong("missing" if not images else "given_twice", "body.image", "Give one image, as image or file")
        return _image_request(images[0], options.detThreshold, options.visualize or False)

    def _query(self, request: Request) -> Options:
        items = request.query_params.multi_items()
        if not items:
            return _NO_OPTIONS
        content = dict(items)
        self._unknown_fields.check("query", content, Options.model_fields)
        for name in Options.model_fields:
            if sum(given == name for given, _ in items) > 1:
                raise wrong("given_twice", f"query.{name}", "The query has this field twice; send it once")
        return validated(Options, content, "query")


def _image_request(image: str | bytes, threshold: float | None, visualize: bool | None) -> ImageRequest:
    if isinstance(image, bytes) or is_url(image):
        return ImageRequest(image, IMAGE_LABEL, threshold, visualize)
    return ImageRequest(*from_base64(image), threshold, visualize)


def _merged(body: Options, query: Options) -> Options:
    """The options of the body and of the query; none may be in both."""
    given = {name: value for name, value in query if value is not None}
    for name in given:
        if getattr(body, name) is not None:
            raise wrong("given_twice", f"query.{name}", "The body has this field too; send it once")
    return body.model_copy(update=given) if given else body


def _read_json(body: bytes | bytearray) -> Any:
    """Parse JSON in any encoding that PaddleX reads: UTF-8, also with a byte order mark, UTF-16 or UTF-32.

    Raises:
        RequestError: 422, it is not JSON, or has too many values.
    """
    if _has_too_many_commas(body):
        raise wrong("too_long", "body", f"Send JSON with at most {MAX_COMMAS} commas")
    try:
        return from_json(body)
    except ValueError:  # the fast parser accepts valid UTF-8 only
        pass
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise wrong("json_invalid", "body", f"Invalid JSON: {error}") from error


def _has_too_many_commas(body: bytes | bytearray) -> bool:
    position = -1
    for _ in range(MAX_COMMAS + 1):  # finding the few commas of a normal request is much faster than counting
        position = body.find(b",", position + 1)
        if position < 0:
            return False
    return True


async def until_done_or_gone(request: Request, work: Coroutine[Any, Any, T], deadline_s: float) -> T:
    """Run work for a client; cancel it if the client disconnects or the time is up.

    Args:
        request: of the client; its body has been read.
        work: the work.
        deadline_s: time limit, seconds.

    Raises:
        RequestError: 499, the client disconnected; 504, the time is up.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_until_gone(request))
    try:
        done, _ = await asyncio.wait({working, gone}, timeout=deadline_s, return_when=asyncio.FIRST_COMPLETED)
        if working in done:
            return working.result()
        if gone in done:
            raise RequestError(CLIENT_GONE, "the client disconnected before the answer")
        raise too_late(deadline_s)
    finally:
        working.cancel()
        gone.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
