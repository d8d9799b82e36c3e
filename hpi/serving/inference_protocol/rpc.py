"""The protocol over gRPC, on the event loop of the HTTP service.

A message arrives as a whole, and nothing tells its size before. So each call is one that streams to gRPC: it is checked
first, and its message is taken in only when there is memory for the largest.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from time import perf_counter
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from starlette.requests import HTTPConnection

from hpi.errors import HpiError
from hpi.serving.inference_protocol.errors import bad_request, grpc_code, shown_message
from hpi.serving.inference_protocol.handler import VERSION, InferenceHandler, server_metadata
from hpi.serving.inference_protocol.proto import SERVICE, message, parse, size_once_parsed
from hpi.serving.inference_protocol.tensors import InputTensor, PoseInputs, output_arrays, read_inputs, selected
from hpi.serving.limits import MIB, RequestError, too_late
from hpi.serving.listening import address_of
from hpi.serving.metrics import Clock
from hpi.serving.middleware import explain
from hpi.serving.requests import check_token

Messages = AsyncIterator[bytes]
Context = grpc.aio.ServicerContext[Any, Any]
Method = Callable[[Messages, Context], Awaitable[Any]]

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 1000
"""Limit of open connections."""

_HANDSHAKE_MS = 10_000
_WINDOW = 64 << 10
"""What a client may send ahead of a message that is not taken in yet, in bytes."""

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
        self._server: grpc.aio.Server | None = None

    @property
    def _most_of_arriving(self) -> int:
        """What a message takes at most while it arrives: once in gRPC, and once as it is handed over."""
        return 2 * self._largest

    async def start(self) -> None:
        """Listen.

        Raises:
            HpiError: the address cannot be listened on.
        """
        options = {
            "grpc.max_receive_message_length": self._largest,
            "grpc.max_allowed_incoming_connections": MAX_CONNECTIONS,
            "grpc.server_handshake_timeout_ms": _HANDSHAKE_MS,
            "grpc.so_reuseport": 0,
            # A compressed message may be a thousand times as large: none is read.
            "grpc.compression_enabled_algorithms_bitset": 1,
            "grpc.http2.lookahead_bytes": _WINDOW,
            "grpc.http2.bdp_probe": 0,  # it would widen that
            "grpc.max_concurrent_streams": self._handler.settings.max_requests,
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

    def _methods(self) -> grpc.GenericRpcHandler:
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
                self._observed(f"/{SERVICE}/{name}", method), response_serializer=lambda answer: answer.SerializeToString()
            )
            for name, method in methods.items()
        }
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _observed(self, path: str, method: Method) -> Method:
        """A method whose errors are gRPC's, and whose calls are logged and counted like requests over HTTP."""

        async def observed(messages: Messages, context: Context) -> Any:
            log_id, start, code = str(uuid.uuid4()), perf_counter(), "CANCELLED"
            try:
                answer = await method(messages, context)
                code = "OK"
            except Exception as error:  # noqa: BLE001 - it is the answer
                status, text, _ = explain(error, log_id)
                code = grpc_code(status)
                await context.abort(grpc.StatusCode[code], shown_message(status, text, log_id))
            else:
                return answer
            finally:
                self._handler.metrics.requests.labels(path, code).inc()
                milliseconds = round(1000 * (perf_counter() - start), 2)
                facts = {"logId": log_id, "method": "gRPC", "path": path, "status": code}
                logger.info(
                    "%s %s %s %s %.1f ms", *facts.values(), milliseconds, extra={**facts, "milliseconds": milliseconds}
                )

        return observed

    async def _server_live(self, _: Messages, __: Context) -> Any:
        return message("ServerLiveResponse")(live=True)

    async def _server_ready(self, _: Messages, __: Context) -> Any:
        return message("ServerReadyResponse")(ready=self._handler.is_ready())

    async def _server_metadata(self, _: Messages, __: Context) -> Any:
        return message("ServerMetadataResponse")(**{**server_metadata(), "extensions": []})

    async def _model_ready(self, messages: Messages, __: Context) -> Any:
        await self._check_named(messages, "ModelReadyRequest")
        return message("ModelReadyResponse")(ready=self._handler.is_ready())

    async def _model_metadata(self, messages: Messages, __: Context) -> Any:
        await self._check_named(messages, "ModelMetadataRequest")
        return message("ModelMetadataResponse")(**self._handler.model_metadata())

    async def _check_named(self, messages: Messages, name: str) -> None:
        content = await self._received(messages)
        with self._handler.memory.held(len(content) + size_once_parsed(name, content)):
            request = parse(name, content)
            self._handler.check_model(request.name, request.version)

    async def _model_infer(self, messages: Messages, context: Context) -> Any:
        handler, clock = self._handler, Clock(self._handler.metrics)
        _check_token(context, handler.settings.token)
        handler.limit.check()  # before the whole message is received
        content = await self._received(messages)
        with handler.memory.held(len(content)):
            request = await self._read(content)
            del content
            with handler.limit.admitted():
                people = await self._find(request.inputs, clock)
        return _response(handler.name, request, output_arrays(people))

    async def _received(self, messages: Messages) -> bytes:
        """The message of a call, once there is memory for the largest."""
        try:
            return await asyncio.wait_for(self._receive(messages), self._handler.settings.read_s)
        except asyncio.TimeoutError as error:
            text = f"the message did not arrive within {self._handler.settings.read_s:g} s"
            raise RequestError(HTTPStatus.REQUEST_TIMEOUT, text) from error

    async def _receive(self, messages: Messages) -> bytes:
        async with self._arriving:
            with self._handler.memory.held(self._most_of_arriving):
                async for content in messages:
                    return content
        raise bad_request("the call has no message")
