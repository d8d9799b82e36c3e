"""Around every request: its ID, the log, answers to errors, and CORS headers."""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import suppress
from http import HTTPStatus
from time import perf_counter
from traceback import clear_frames

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hpi.compat.paddlex import http_protocol
from hpi.errors import InputError
from hpi.serving.inference_protocol import errors as inference_errors
from hpi.serving.limits import RequestError
from hpi.serving.metrics import Metrics
from hpi.serving.requests import CLIENT_GONE
from hpi.serving.settings import Settings
from hpi.serving.tracing import Tracing

logger = logging.getLogger(__name__)

DRAIN_S = 2
"""Time limit for reading the rest of a refused body, in seconds."""

_ANSWERS = {"http.response.start", "websocket.http.response.start", "websocket.accept"}
_READS = {"GET", "HEAD", "OPTIONS"}
_REQUEST_HEADERS = ("Authorization", "Content-Encoding", "Content-Type")
_RESPONSE_HEADERS = ("Retry-After", "Server-Timing", "WWW-Authenticate")


def surround(app: FastAPI, settings: Settings, metrics: Metrics, tracing: Tracing | None) -> None:
    """Add the middleware of a service to its application."""
    for kind in (RequestError, InputError, HTTPException, ClientDisconnect):
        app.add_exception_handler(kind, _answer_error)
    app.add_middleware(_Faults)
    if settings.cors_origins:  # outside _Faults, so that pages of other origins can read its answers too
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_RESPONSE_HEADERS,
        )
    app.add_middleware(_BodyDrain)
    if tracing is not None:
        app.add_middleware(_Traces, tracing=tracing)
    app.add_middleware(_Observer, metrics=metrics)


def json_response(
    answer: http_protocol.Answer | http_protocol.Message,
    status: int = HTTPStatus.OK,
    headers: dict[str, str] | None = None,
) -> Response:
    """An answer as JSON; fields that are None are left out.

    Example:
        >>> json_response(http_protocol.Message(logId="1", errorMsg="Healthy")).body
        b'{"logId":"1","errorCode":0,"errorMsg":"Healthy"}'
    """
    return Response(answer.model_dump_json(exclude_none=True), status, headers, media_type="application/json")


async def _answer_error(request: Request, error: Exception) -> Response:
    """The answer to an error, in the words of the protocol that the path belongs to."""
    log_id = request.scope["log_id"]
    if inference_errors.is_of_protocol(request.scope["path"]):
        status, message, headers = explain(error, log_id)
        return inference_errors.error_response(status, inference_errors.shown_message(status, message, log_id), headers)
    return error_response(error, log_id)


def error_response(error: Exception, log_id: str) -> Response:
    """The answer to an error.

    Example:
        >>> error_response(RequestError(HTTPStatus.NOT_FOUND, "no such route"), "1").body
        b'{"logId":"1","errorCode":404,"errorMsg":"no such route"}'
    """
    answer, headers = error_message(error, log_id)
    return json_response(answer, answer.errorCode, headers)


def error_message(error: Exception, log_id: str) -> tuple[http_protocol.Message, dict[str, str]]:
    """What the answer says of an error, and headers; see :func:`explain`.

    Example:
        >>> error_message(InputError("the image: the file is empty"), "1")[0]
        Message(logId='1', errorCode=422, errorMsg='the image: the file is empty')
    """
    status, message, headers = explain(error, log_id)
    return http_protocol.Message(logId=log_id, errorCode=status, errorMsg=message), headers


def explain(error: Exception, log_id: str) -> tuple[int, str, dict[str, str]]:
    """The HTTP status, message and headers for an error. An internal one is logged, and its details stay in the log.

    The frames of the error are cleared: an error and the task that it ended refer to each other, so that the images in
    its frames would stay in memory until the garbage collector comes.

    Example:
        >>> explain(InputError("the image: the file is empty"), "1")
        (<HTTPStatus.UNPROCESSABLE_ENTITY: 422>, 'the image: the file is empty', {})
    """
    try:
        return _explained(error, log_id)
    finally:
        one: BaseException | None = error
        while one is not None:
            clear_frames(one.__traceback__)
            one = one.__context__


def _explained(error: Exception, log_id: str) -> tuple[int, str, dict[str, str]]:
    if isinstance(error, RequestError):
        return error.status, str(error), error.headers
    if isinstance(error, InputError):
        return HTTPStatus.UNPROCESSABLE_ENTITY, str(error), {}
    if isinstance(error, HTTPException):
        return error.status_code, str(error.detail), _with_head(dict(error.headers or {}))
    if isinstance(error, ClientDisconnect):
        return CLIENT_GONE, "the client disconnected", {}
    logger.error("%s: %s", log_id, error, exc_info=error, extra={"logId": log_id})
    return HTTPStatus.INTERNAL_SERVER_ERROR, "Internal server error", {}


def _with_head(headers: dict[str, str]) -> dict[str, str]:
    """Add HEAD to ``Allow`` if GET is there: the router lists only the methods of the first route of a path."""
    allowed = [method.strip() for method in headers.get("Allow", "").split(",")]
    if "GET" in allowed and "HEAD" not in allowed:
        return {**headers, "Allow": ", ".join([*allowed, "HEAD"])}
    return headers


class _BodyDrain:
    """Reads the rest of a body before an answer that closes the connection.

    Closing a connection with unread bytes resets it, and many clients then never see the answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_last(scope):
            await self._app(scope, receive, send)
            return
        # With Expect, the client waits for "100 Continue" before it sends the body.
        sending = "expect" not in Headers(scope=scope)
        unread = True

        async def received() -> Message:
            nonlocal sending, unread
            sending = True
            message = await receive()
            unread = message.get("more_body", False)
            return message

        async def drain() -> None:
            while unread:
                await received()

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start" and sending and unread:
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(drain(), DRAIN_S)
            await send(message)

        await self._app(scope, received, answered)


def _is_last(scope: Scope) -> bool:
    """Whether the connection closes after this request."""
    return scope["http_version"] == "1.0" or Headers(scope=scope).get("connection", "").lower() == "close"


class _Faults:
    """Answers unexpected exceptions, and logs their traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            if scope["type"] != "http":
                raise
            response = await _answer_error(Request(scope), error)
            await response(scope, receive, send)


def _route(scope: Scope) -> str:
    """The route of a request that was answered; not its path, of which there may be any number."""
    return getattr(scope.get("route"), "path", "other")


class _Traces:
    """Traces requests and WebSockets, but not what is only read: probes, metrics and pages."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope.get("method", "GET")  # of a WebSocket too
        if scope["type"] == "lifespan" or (scope["type"] == "http" and method in _READS):
            await self._app(scope, receive, send)
            return
        with self._tracing.request(method, Headers(scope=scope)) as trace:
            try:
                await self._app(scope, receive, send)
            finally:
                facts = {"http.request.method": method, "http.route": _route(scope), "hpi.log_id": scope["log_id"]}
                trace.answered(f"{method} {_route(scope)}", scope["status"], facts)


class _Observer:
    """Gives each request its ``logId`` and ``status``; logs and counts answers, of a WebSocket when it is closed."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        scope["log_id"], start = str(uuid.uuid4()), perf_counter()
        scope["status"] = HTTPStatus.INTERNAL_SERVER_ERROR.value

        async def observed(message: Message) -> None:
            if message["type"] in _ANSWERS:
                scope["status"] = message.get("status", HTTPStatus.SWITCHING_PROTOCOLS.value)
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            status = scope["status"]
            self._metrics.requests.labels(_route(scope), str(status)).inc()
            milliseconds = round(1000 * (perf_counter() - start), 2)
            path = scope["raw_path"].decode("ascii", "replace")  # still escaped, so that it cannot forge log lines
            facts = {"logId": scope["log_id"], "method": scope.get("method", "GET"), "path": path, "status": status}
            logger.info(
                "%s %s %s %d %.1f ms", *facts.values(), milliseconds, extra={**facts, "milliseconds": milliseconds}
            )
