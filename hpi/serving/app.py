"""The HTTP application: PaddleX's route, the Open Inference Protocol, health, metrics and the page."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any

import fastapi_offline
from fastapi import FastAPI, Request, Security, WebSocket
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles

import hpi
from hpi.compat.paddlex.http_protocol import ROUTE, Answer, Message
from hpi.predictor import Predictor
from hpi.serving.handler import RequestHandler
from hpi.serving.inference_protocol.handler import InferenceHandler
from hpi.serving.inference_protocol.rest import add_routes
from hpi.serving.limits import MIB, Limit, Memory, RequestError
from hpi.serving.metrics import Clock, Metrics
from hpi.serving.middleware import json_response, surround
from hpi.serving.openapi import REQUEST, errors
from hpi.serving.requests import check_token
from hpi.serving.routes import add_get
from hpi.serving.service import PoseService
from hpi.serving.settings import Settings
from hpi.serving.stream import ROUTE as STREAM
from hpi.serving.stream import StreamHandler
from hpi.serving.tracing import Tracing

PAGE = Path(__file__).parent / "page"
SWAGGER_UI = Path(fastapi_offline.__file__).parent / "static"
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
    """The application that serves a predictor.

    Its ``state.inference`` is what a :class:`~hpi.serving.inference_protocol.rpc.RpcServer` serves besides.

    Args:
        predictor: of a pipeline, already warmed up. The application closes it when it shuts down.
        settings: limits and switches.

    Raises:
        ConfigError: the predictor is a single model, or what traces need is not installed.
    """
    metrics = Metrics()
    tracing = None if settings.otlp is None else Tracing(settings.otlp)
    service = PoseService(predictor, settings, metrics)
    memory = Memory(int(settings.max_memory_mb * MIB))
    limit = Limit(settings.max_requests, "requests are running")
    handler = RequestHandler(service, settings, memory, limit)
    inference = InferenceHandler(predictor.name, service, settings, memory, limit, metrics, tracing)
    streams = StreamHandler(service, settings, memory, metrics)
    metrics.watch("hpi_requests_inside", "Requests that are waiting for the models or running.", lambda: limit.inside)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)
        predictor.close()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)

    app = FastAPI(
        title="hpi: human keypoints",
        version=hpi.__version__,
        description="PaddleX's protocol for human keypoint detection: send an image, get people with their keypoints.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages load their viewers from elsewhere
        redoc_url=None,
    )
    # The endpoints check the token themselves; this documents it.
    secured = [Security(HTTPBearer(auto_error=False))] if settings.token else []
    surround(app, settings, metrics, tracing)

    @app.post(
        ROUTE,
        response_model=Answer,
        responses=errors(),
        openapi_extra=REQUEST,
        dependencies=secured,
        summary="Find people and their keypoints",
    )
    async def infer(request: Request) -> Response:
        check_token(request, settings.token)
        clock = Clock(metrics)
        result = await handler.result(request, clock)
        with clock.time("encode"):
            response = json_response(Answer(logId=request.scope["log_id"], result=result))
        response.headers["Server-Timing"] = clock.server_timing()
        return response

    @app.websocket(STREAM)
    async def stream(socket: WebSocket) -> None:
        await streams.serve(socket)

    @app.get(STREAM, include_in_schema=False)  # OpenAPI has no words for a WebSocket
    async def show_stream(request: Request) -> Response:
        streams.check(request)
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
        raise RequestError(HTTPStatus.UPGRADE_REQUIRED, "this is a WebSocket; open it as one", upgrade)

    @add_get(app, "/health", response_model=Message, summary="Whether the process is alive")
    async def health(request: Request) -> Response:
        return json_response(Message(logId=request.scope["log_id"], errorMsg="Healthy"))

    @add_get(app, "/ready", response_model=Message, responses=errors(503), summary="Whether it accepts requests now")
    async def ready(request: Request) -> Response:
        limit.check()
        return json_response(Message(logId=request.scope["log_id"], errorMsg="Ready"))

    @add_get(
        app,
        "/metrics",
        response_class=_PrometheusText,
        responses=errors(401),
        summary="Metrics for Prometheus",
        dependencies=secured,
    )
    async def show_metrics(request: Request) -> Response:
        check_token(request, settings.token)
        return _PrometheusText(metrics.text())

    @add_get(app, "/info", response_model=dict[str, Any], summary="What runs where")
    async def info() -> Response:
        return JSONResponse({**_info(predictor), "tracker": service.usual_tracking.tracker})

    add_routes(app, inference, secured)
    app.state.inference = inference
    _add_pages(app)
    return app


class _PrometheusText(PlainTextResponse):
    """Metrics in the text format of Prometheus."""

    media_type = "text/plain; version=0.0.4"


def _info(predictor: Predictor) -> dict[str, Any]:
    """What the page shows. It holds no paths of this machine."""
    shown = ("model", "task", "backend", "version", "variant", "device", "threads", "workers")
    pipeline = predictor.pipelines[0]
    skeleton, own = pipeline.skeleton, pipeline.draw_threshold
    assert skeleton is not None  # the service needs a pipeline that finds keypoints
    description = predictor.describe()

    def shown_of(arrangement: str) -> list[dict[str, Any]]:
        return [{field: model[field] for field in shown} for model in description[arrangement]]

    return {
        "name": predictor.name,
        "detThreshold": own if predictor.threshold is None else predictor.threshold,
        "models": shown_of("models"),
        "sideBySide": shown_of("side_by_side"),
        "skeleton": {"keypoints": skeleton.keypoints, "edges": [(bone.start, bone.end) for bone in skeleton.bones]},
    }


def _add_pages(app: FastAPI) -> None:
    sample = files("hpi.configs") / "parity" / "people.png"

    async def sample_image(_: Request) -> Response:
        return Response(sample.read_bytes(), media_type="image/png")

    app.add_route("/", _page("index.html"), include_in_schema=False)
    app.add_route("/docs", _page("docs.html"), include_in_schema=False)
    app.add_route("/page/sample.png", sample_image, include_in_schema=False)
    mimetypes.add_type("text/javascript", ".js")  # some systems map it to text/plain, which browsers refuse to run
    app.mount("/page", _Revalidated(directory=PAGE))
    app.mount("/docs", _Revalidated(directory=SWAGGER_UI))


def _page(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def page(_: Request) -> Response:
        return FileResponse(PAGE / name, headers=_PAGE_HEADERS)

    return page


class _Revalidated(StaticFiles):
    """Files that browsers revalidate each time, so that the page never runs with the script of another version."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response
