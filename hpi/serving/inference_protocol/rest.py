"""The routes of the protocol over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel

from hpi.serving.bodies import read_body
from hpi.serving.inference_protocol.errors import PREFIX
from hpi.serving.inference_protocol.handler import VERSION, InferenceHandler, server_metadata
from hpi.serving.inference_protocol.messages import (
    HEADER,
    ErrorMessage,
    InferenceRequest,
    InferenceResponse,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
    Wanted,
    header_length,
    parse_request,
    size_once_parsed,
    write_response,
)
from hpi.serving.inference_protocol.tensors import PoseInputs, output_arrays, read_inputs
from hpi.serving.limits import MIB, Received
from hpi.serving.metrics import Clock
from hpi.serving.openapi import REASONS
from hpi.serving.requests import check_token, until_done_or_gone
from hpi.serving.routes import add_get

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_REASONS = {
    **REASONS,
    400: "Not a request of the protocol, or not what the model takes; not an image, or one of too many pixels.",
    404: "The service has another model, or another version of it.",
}


def add_routes(app: FastAPI, handler: InferenceHandler, secured: list[Any]) -> None:
    """Add the routes to an application.

    Args:
        app: the application.
        handler: of the requests.
        secured: what documents that a route asks for the token.
    """

    @add_get(app, PREFIX, response_model=ServerMetadata, summary="What the server is")
    async def show_server() -> Response:
        return _json(ServerMetadata(**server_metadata()))

    @add_get(app, f"{PREFIX}/health/live", response_model=ServerLive, summary="Whether the server is alive")
    async def server_live() -> Response:
        return _json(ServerLive(live=True))

    server_is_ready = "Whether the server accepts requests now"

    @add_get(app, f"{PREFIX}/health/ready", response_model=ServerReady, responses=_errors(503), summary=server_is_ready)
    async def server_ready() -> Response:
        handler.limit.check()
        return _json(ServerReady(ready=True))

    async def show_model(request: Request) -> Response:
        _check_model(request, handler)
        return _json(ModelMetadata(**handler.model_metadata()))

    async def model_ready(request: Request) -> Response:
        _check_model(request, handler)
        handler.limit.check()
        return _json(ModelReady(name=handler.name, ready=True))

    async def infer(request: Request) -> Response:
        check_token(request, handler.settings.token)
        _check_model(request, handler)
        return await _infer(request, handler)

    for path in (f"{PREFIX}/models/{{name}}", f"{PREFIX}/models/{{name}}/versions/{{version}}"):
        parameters = _path_parameters(handler.name, with_version="version" in path)
        add_get(
            app,
            path,
            response_model=ModelMetadata,
            responses=_errors(404),
            summary="What a model takes and gives",
            openapi_extra={"parameters": parameters},
        )(show_model)
        add_get(
            app,
            f"{path}/ready",
            response_model=ModelReady,
            responses=_errors(404, 503),
            summary="Whether a model accepts requests now",
            openapi_extra={"parameters": parameters},
        )(model_ready)
        app.post(
            f"{path}/infer",
            response_model=InferenceResponse,
            responses=_infer_answers(),
            summary="Find people and their keypoints",
            openapi_extra={"parameters": [*parameters, _HEADER_PARAMETER], "requestBody": _REQUEST_BODY},
            dependencies=secured,
        )(infer)


async def _infer(request: Request, handler: InferenceHandler) -> Response:
    clock = Clock(handler.metrics)
    handler.limit.check()  # before the whole body is received
    body = Received(int(handler.settings.max_body_mb * MIB), handler.memory)
    try:
        await read_body(request, body, handler.settings.read_s)
        wanted, inputs = await _read(request, body, handler)
        with handler.limit.admitted():
            people = await until_done_or_gone(request, handler.find(inputs, clock), handler.settings.deadline_s)
    finally:
        body.clear()
    with clock.time("encode"):
        content, length = write_response(handler.name, VERSION, wanted, output_arrays(people))
    headers = {"Server-Timing": clock.server_timing()}
    if length is None:
        return Response(content, headers=headers, media_type="application/json")
    return Response(content, headers={**headers, HEADER: str(length)}, media_type="application/octet-stream")


async def _read(request: Request, body: Received, handler: InferenceHandler) -> tuple[Wanted, PoseInputs]:
    """What a body asks for; an image that is binary data shares its memory."""
    whole = memoryview(body.content)
    length = header_length(request.headers.get(HEADER), len(whole))
    with handler.memory.held(length):
        text = bytes(whole[:length])
        with handler.memory.held(size_once_parsed(text)):
            wanted, inputs = await asyncio.to_thread(_parse, text, whole[length:], handler.settings.max_pixels)
    if isinstance(inputs.image, bytes):
        body.become(inputs.image)
    return wanted, inputs


def _parse(text: bytes, tail: memoryview, max_pixels: int) -> tuple[Wanted, PoseInputs]:
    wanted, tensors = parse_request(text, tail)
    return wanted, read_inputs(tensors, max_pixels)


def _check_model(request: Request, handler: InferenceHandler) -> None:
    handler.check_model(request.path_params["name"], request.path_params.get("version", ""))


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorMessage, "description": _REASONS[status]} for status in statuses}


def _infer_answers() -> dict[int | str, dict[str, Any]]:
    done = {"description": "The people, the highest score first.", "content": {"application/octet-stream": _BINARY}}
    return {200: done, **_errors(400, 401, 404, 408, 413, 500, 503, 504)}


def _path_parameters(name: str, *, with_version: bool) -> list[dict[str, Any]]:
    """What OpenAPI says of the parameters in a path."""
    values = {"name": name, "version": VERSION} if with_version else {"name": name}
    return [
        {"name": one, "in": "path", "required": True, "schema": {"type": "string", "enum": [value]}}
        for one, value in values.items()
    ]


_HEADER_PARAMETER = {
    "name": HEADER,
    "in": "header",
    "description": "The length of the JSON in bytes, where binary data follows it.",
    "schema": {"type": "integer", "minimum": 0},
}


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """A JSON schema without references, which in OpenAPI would point elsewhere."""
    if isinstance(schema, list):
        return [_inlined(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    of_reference = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else {}
    own = {name: value for name, value in schema.items() if name not in {"$ref", "$defs"}}
    return {name: _inlined(value, definitions) for name, value in {**of_reference, **own}.items()}


_SCHEMA = InferenceRequest.model_json_schema()
_PIXEL = {"name": "image", "datatype": "UINT8", "shape": [1, 1, 3], "data": [0, 0, 0]}
_THRESHOLD = {"name": "threshold", "datatype": "FP32", "shape": [1], "data": [0.5]}
_REQUEST_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": _inlined(_SCHEMA, _SCHEMA["$defs"]),
            "examples": {"numbers": {"value": {"inputs": [_PIXEL, _THRESHOLD]}}},
        },
        "application/octet-stream": _BINARY,
    },
}
