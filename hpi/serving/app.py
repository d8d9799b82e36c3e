"""The HTTP interface: PaddleX's route, health, metrics and the page."""

from __future__ import annotations

import asyncio
import logging
import mimetypes
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from time import perf_counter
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hpi.errors import InputError
from hpi.predictor import Predictor
from hpi.serving.limits import RequestError
from hpi.serving.metrics import Clock, Metrics
from hpi.serving.reception import Reception
from hpi.serving.requests import CLIENT_GONE, check_token
from hpi.serving.schema import Answer, InferRequest
from hpi.serving.service import PoseService
from hpi.serving.settings import Settings

logger = logging.getLogger(__name__)

ROUTE = "/human-keypoint-detection"
PAGE = Path(__file__).parent / "page"
_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def create_app(predictor: Predictor, settings: Settings) -> FastAPI:
    """The service of a predictor, which it closes in the end.

    Raises:
        ConfigError: the predictor is a single model.
    """
    metrics = Metrics()
    service = PoseService(predictor, settings, metrics)
    reception = Reception(service, settings)
    metrics.watch(
        "hpi_requests_inside", "Requests that wait for the models or are in them.", lambda: reception.door.inside
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(predictor.warmup)
        yield
        await asyncio.to_thread(service.close)
        predictor.close()

    app = FastAPI(
        title="hpi: human keypoints",
        description="PaddleX's interface for human keypoint detection. A photo in, people with their joints out.",
        lifespan=lifespan,
    )
    app.add_middleware(_Observer, metrics=metrics)
    for kind in (RequestError, InputError, HTTPException, ClientDisconnect):
        app.add_exception_handler(kind, _answer_error)

    @app.post(ROUTE, response_model=Answer, openapi_extra=_OPENAPI, summary="Find people and their joints")
    async def infer(request: Request) -> Response:
        check_token(request, settings.token)
        clock = Clock(metrics)
        answer = Answer(logId=request.scope["log_id"], result=await reception.result(request, clock))
        return _json(answer, headers={"Server-Timing": clock.server_timing()})

    @app.get("/health", response_model=Answer, summary="Whether the process answers")
    async def health(request: Request) -> Response:
        return _json(Answer(logId=request.scope["log_id"], errorMsg="Healthy"))

    @app.get("/ready", response_model=Answer, summary="Whether it takes requests now")
    async def ready(request: Request) -> Response:
        reception.door.check()
        return _json(Answer(logId=request.scope["log_id"], errorMsg="Ready"))

    @app.get("/metrics", summary="Figures for Prometheus")
    async def show_metrics(request: Request) -> Response:
        check_token(request, settings.token)
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/info", summary="What runs where")
    async def info() -> dict[str, Any]:
        return _info(predictor)

    _add_page(app)
    return app


def _info(predictor: Predictor) -> dict[str, Any]:
    """What the page shows: no paths of this machine."""
    shown = ("model", "task", "backend", "version", "variant", "device", "threads")
    pipeline = predictor.pipelines[0]
    skeleton, own = pipeline.estimator.skeleton, pipeline.detector.spec.draw_threshold
    return {
        "name": predictor.name,
        "detThreshold": own if predictor.threshold is None else predictor.threshold,
        "models": [{field: model[field] for field in shown} for model in predictor.describe()["models"]],
        "skeleton": {"joints": skeleton.joints, "edges": [edge for side in skeleton.edges.values() for edge in side]},
    }


def _add_page(app: FastAPI) -> None:
    sample = files("hpi.configs") / "parity" / "people.png"

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE / "index.html", headers=_PAGE_HEADERS)

    @app.get("/page/sample.png", include_in_schema=False)
    async def sample_photo() -> Response:
        return Response(sample.read_bytes(), media_type="image/png")

    mimetypes.add_type("text/javascript", ".js")  # some systems have it as text/plain, which browsers refuse to run
    app.mount("/page", _Fresh(directory=PAGE))


def _json(answer: Answer, status: int = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    return Response(answer.content(), status, headers, media_type="application/json")


async def _answer_error(request: Request, error: Exception) -> Response:
    """Any error in the form of an answer; what is not the client's fault is logged and not told."""
    status, message, headers = _explain(error)
    log_id = request.scope["log_id"]
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s: %s", log_id, error, exc_info=error, extra={"logId": log_id})
    return _json(Answer(logId=log_id, errorCode=status, errorMsg=message), status, headers)


def _explain(error: Exception) -> tuple[int, str, dict[str, str]]:
    if isinstance(error, RequestError):
        return error.status, str(error), error.headers
    if isinstance(error, InputError):
        return HTTPStatus.UNPROCESSABLE_ENTITY, str(error), {}
    if isinstance(error, HTTPException):
        return error.status_code, str(error.detail), dict(error.headers or {})
    if isinstance(error, ClientDisconnect):
        return CLIENT_GONE, "the client went away", {}
    return HTTPStatus.INTERNAL_SERVER_ERROR, "Internal server error", {}


class _Fresh(StaticFiles):
    """Files that browsers ask for anew, so that a page and a script of two versions never meet."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


class _Observer:
    """Gives each request its ``logId``, and logs and counts its answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["log_id"], status, start = str(uuid.uuid4()), HTTPStatus.INTERNAL_SERVER_ERROR.value, perf_counter()

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except Exception as error:  # noqa: BLE001 - the client gets an answer, and the log the traceback
            response = await _answer_error(Request(scope), error)
            await response(scope, receive, observed)
        finally:
            route = getattr(scope.get("route"), "path", "other")  # not the path: anybody can make up any number of them
            self._metrics.requests.labels(route, str(status)).inc()
            milliseconds = round(1000 * (perf_counter() - start), 2)
            path = scope["raw_path"].decode("ascii", "replace")  # still escaped: it could forge lines of the log
            facts = {"logId": scope["log_id"], "method": scope["method"], "path": path, "status": status}
            logger.info(
                "%s %s %s %d %.1f ms", *facts.values(), milliseconds, extra={**facts, "milliseconds": milliseconds}
            )


_EXAMPLE = {"image": "/9j/4AAQSkZJRgABAQ...", "detThreshold": 0.5, "visualize": False}
_ANSWER = {"$ref": "#/components/schemas/Answer"}
_OPENAPI = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": InferRequest.model_json_schema(),
                "examples": {
                    "base64": {"value": _EXAMPLE},
                    "URL": {"value": {"image": "https://example.org/people.jpg"}},
                },
            },
            "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    "parameters": [
        {
            "name": "detThreshold",
            "in": "query",
            "description": "For a body that is a photo: keep people that score above it.",
            "schema": {"type": "number", "minimum": 0, "maximum": 1},
        },
        {
            "name": "visualize",
            "in": "query",
            "description": "For a body that is a photo: also answer a picture.",
            "schema": {"type": "boolean", "default": False},
        },
    ],
    "responses": {
        code: {
            "description": text,
            "content": {"application/json": {"schema": _ANSWER}},
        }
        for code, text in {
            "401": "The token is missing or wrong.",
            "408": "The body did not arrive in time.",
            "413": "The body is too large.",
            "415": "Neither JSON nor a photo.",
            "422": "Not a photo, too many pixels, a field is wrong, or a URL that is not fetched.",
            "503": "Busy; see Retry-After.",
            "504": "Not done in time.",
        }.items()
    },
}
