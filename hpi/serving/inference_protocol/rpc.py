"""The protocol over gRPC, on the event loop of the HTTP service.

A message arrives as a whole, and nothing tells its size before. So each call is one that streams to gRPC: it is checked
first, and its message is taken in only when there is memory for the largest.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import HTTPConnection

from hpi.errors import HpiError
from hpi.instances import Instances
from hpi.serving.inference_protocol.errors import bad_request, grpc_code, shown_message
from hpi.serving.inference_protocol.handler import VERSION, InferenceHandler, server_metadata
from hpi.serving.inference_protocol.proto import SERVICE, message, parse, size_once_parsed
from hpi.serving.inference_protocol.tensors import (
    InputTensor,
    PoseInputs,
    check_parameters,
    output_arrays,
    read_inputs,
    selected,
)
from hpi.serving.limits import MIB, RequestError, too_late
from hpi.serving.listening import address_of
from hpi.serving.metrics import Clock
from hpi.serving.middleware import explain
from hpi.serving.requests import check_token
from hpi.serving.tracing import request_trace

Context = Any  # grpc.aio.ServicerContext, of which there are no types
Method = Callable[[Context], Awaitable[Any]]

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 1000
"""Limit of open connections."""

_MORE_CALLS = 100
_HANDSHAKE_MS = 10_000
_WINDOW = 64 << 10
"""What a client may send ahead of a message that is not taken in yet, in bytes."""

_MOST_INPUTS, _MOST_DIMENSIONS = 8, 8
"""What is looked at; more than that is wrong in any case."""

_CONTENTS = {"UINT8": "uint_contents", "FP32": "fp32_contents", "BYTES": "bytes_contents"}
"""Where an input has its elements one by one, by its data type."""


class RpcServer:
    """A gRPC server of the protocol, on the event loop that runs when it starts."""

    def __init__(self, handler: InferenceHandler, host: str, port: int, grace_s: float) -> None:
        """Describe it; nothing is opened yet.

        Args:
            handler: of the requests.
            host: name or address to listen on.
            port: port to listen on.
            grace_s: how long calls may take that it has accepted when it stops.
        """
        self._handler = handler
        self._address = address_of(host, port)
        self._grace_s = grace_s
        self._largest = int(handler.settings.max_body_mb * MIB)
        budget = handler.settings.max_memory_mb * MIB / 2
        self._arriving = asyncio.Semaphore(max(1, int(budget / self._most_of_arriving)))
        self._server: Any = None

    @property
    def _most_of_arriving(self) -> int:
        """What a message takes at most while it arrives: once in gRPC, and once as it is handed over."""
        return 2 * self._largest

    async def start(self) -> None:
        """Listen.

        Raises:
            HpiError: the address cannot be listened on.
        """
        import grpc

        options = {
            "grpc.max_receive_message_length": self._largest,
            "grpc.max_allowed_incoming_connections": MAX_CONNECTIONS,
            "grpc.server_handshake_timeout_ms": _HANDSHAKE_MS,
            "grpc.so_reuseport": 0,
            # A compressed message may be a thousand times as large: none is read.
            "grpc.compression_enabled_algorithms_bitset": 1,
            "grpc.http2.lookahead_bytes": _WINDOW,
            "grpc.http2.bdp_probe": 0,  # it would widen that
            # Calls beyond it wait at the client; those that are too many are to be answered.
            "grpc.max_concurrent_streams": self._handler.settings.max_requests + _MORE_CALLS,
        }
        server = grpc.aio.server(options=list(options.items()))
        server.add_generic_rpc_handlers([self._methods()])
        try:
            server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise HpiError(f"gRPC cannot listen on {self._address}; choose another --grpc_port") from error
        await server.start()
        self._server = server
        logger.info("listening on grpc://%s", self._address)

    async def stop(self) -> None:
        """Accept no further calls, and finish those that it has accepted."""
        if self._server is not None:
            await self._server.stop(self._grace_s)

    def _methods(self) -> Any:
        """What gRPC calls, by the names of the service's methods."""
        import grpc

        methods: Mapping[str, Method] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ServerMetadata": self._server_metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._model_infer,
        }
        handlers = {
            name: grpc.stream_unary_rpc_method_handler(
                self._observed(f"/{SERVICE}/{name}", method),
                response_serializer=_serialized,
            )
            for name, method in methods.items()
        }
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _observed(self, path: str, method: Method) -> Callable[[Any, Context], Awaitable[Any]]:
        """A method whose errors are gRPC's, and whose calls are logged and counted like requests over HTTP."""
        from grpc import StatusCode

        async def observed(_: Any, context: Context) -> Any:
            log_id, start, code, answer = str(uuid.uuid4()), perf_counter(), "CANCELLED", None
            tracing = self._handler.tracing if path.endswith("/ModelInfer") else None
            try:
                with request_trace(tracing, path.removeprefix("/"), dict(context.invocation_metadata() or ())):
                    answer = await method(context)
                code = "OK"
            except Exception as error:  # noqa: BLE001 - it is the answer
                status, text, _ = explain(error, log_id)
                code = grpc_code(status)
            finally:
                self._handler.metrics.requests.labels(path, code).inc()
                milliseconds = round(1000 * (perf_counter() - start), 2)
                facts = {"logId": log_id, "method": "gRPC", "path": path, "status": code}
                logger.info(
                    "%s %s %s %s %.1f ms", *facts.values(), milliseconds, extra={**facts, "milliseconds": milliseconds}
                )
            if answer is None:  # not where the error is handled, since gRPC keeps the text, with its context
                await context.abort(StatusCode[code], shown_message(status, text, log_id))
            return answer

        return observed

    async def _server_live(self, _: Context) -> Any:
        return message("ServerLiveResponse")(live=True)

    async def _server_ready(self, _: Context) -> Any:
        return message("ServerReadyResponse")(ready=self._handler.is_ready())

    async def _server_metadata(self, _: Context) -> Any:
        metadata = {**server_metadata(), "extensions": []}  # gRPC has binary data of its own
        return message("ServerMetadataResponse")(**metadata)

    async def _model_ready(self, context: Context) -> Any:
        await self._check_named(context, "ModelReadyRequest")
        return message("ModelReadyResponse")(ready=self._handler.is_ready())

    async def _model_metadata(self, context: Context) -> Any:
        await self._check_named(context, "ModelMetadataRequest")
        return message("ModelMetadataResponse")(**self._handler.model_metadata())

    async def _check_named(self, context: Context, name: str) -> None:
        async with self._arrived(context) as content:
            with self._handler.memory.held(size_once_parsed(name, content)):
                request = parse(name, content)
                self._handler.check_model(request.name, request.version)

    async def _model_infer(self, context: Context) -> Any:
        handler, clock = self._handler, Clock(self._handler.metrics)
        _check_token(context, handler.settings.token)
        handler.limit.check()  # before the whole message is received
        async with self._arrived(context) as content:
            with handler.memory.held(len(content) + size_once_parsed("ModelInferRequest", content)):
                request = await asyncio.to_thread(_read, handler, content)
            del content  # its memory counts on, for the image
            with handler.limit.admitted():
                people = await self._find(request.inputs, clock)
        with clock.time("encode"):
            return _response(handler.name, request, output_arrays(people))

    async def _find(self, inputs: PoseInputs, clock: Clock) -> Instances:
        deadline_s = self._handler.settings.deadline_s
        try:
            return await asyncio.wait_for(self._handler.find(inputs, clock), deadline_s)
        except asyncio.TimeoutError as error:
            raise too_late(deadline_s) from error

    @asynccontextmanager
    async def _arrived(self, context: Context) -> AsyncIterator[bytes]:
        """The message of a call, whose memory counts for the duration of a ``with`` block."""
        read_s = self._handler.settings.read_s
        try:
            content = await asyncio.wait_for(self._receive(context), read_s)
        except asyncio.TimeoutError as error:
            raise RequestError(HTTPStatus.REQUEST_TIMEOUT, f"the message did not arrive within {read_s:g} s") from error
        size = len(content)
        try:
            yield content
        finally:
            self._handler.memory.give(size)

    async def _receive(self, context: Context) -> bytes:
        """A message, whose memory is taken."""
        memory = self._handler.memory
        async with self._arriving:
            with memory.held(self._most_of_arriving):
                content = await context.read()  # the iterator would keep the message
            if not isinstance(content, bytes):
                raise bad_request("no message came, or one that is too large")
            memory.take(len(content))
        return content


@dataclass(frozen=True)
class _Request:
    inputs: PoseInputs
    outputs: Sequence[str]
    id: str
    is_raw: bool


def _read(handler: InferenceHandler, content: bytes) -> _Request:
    request = parse("ModelInferRequest", content)
    handler.check_model(request.model_name, request.model_version)
    for place in (request, *request.inputs, *request.outputs):
        check_parameters(place.parameters)
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise bad_request(f"raw_input_contents has {len(raw)} tensors, but there are {len(request.inputs)} inputs")
    tensors = [
        _tensor(one, raw[position] if raw else None) for position, one in enumerate(request.inputs[:_MOST_INPUTS])
    ]
    outputs = selected([one.name for one in request.outputs])
    return _Request(read_inputs(tensors, handler.settings.max_pixels), outputs, request.id, is_raw=bool(raw))


def _tensor(one: Any, raw: bytes | None) -> InputTensor:
    if raw is not None and one.HasField("contents"):
        raise bad_request(f"input {one.name[:60]!a}: give its data either in raw_input_contents or in its contents")
    values = getattr(one.contents, _CONTENTS[one.datatype]) if one.datatype in _CONTENTS else ()
    return InputTensor(one.name, one.datatype, tuple(one.shape[:_MOST_DIMENSIONS]), raw, values)


def _response(name: str, request: _Request, arrays: Mapping[str, NDArray[np.float32]]) -> Any:
    """An answer, whose tensors are raw if those of the request are."""
    answer = message("ModelInferResponse")(model_name=name, model_version=VERSION, id=request.id)
    for output in request.outputs:
        array = arrays[output]
        tensor = answer.outputs.add(name=output, datatype="FP32", shape=array.shape)
        if request.is_raw:
            answer.raw_output_contents.append(array.tobytes())
        else:
            tensor.contents.fp32_contents.extend(array.ravel().tolist())
    return answer


def _serialized(answer: Any) -> bytes:
    return bytes(answer.SerializeToString())


def _check_token(context: Context, token: str | None) -> None:
    sent = [value for name, value in context.invocation_metadata() or () if name == "authorization"]
    headers = [(b"authorization", str(value).encode("latin-1", "replace")) for value in sent]
    check_token(HTTPConnection({"type": "http", "headers": headers}), token)
