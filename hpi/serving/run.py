"""Starting the service: its predictor, its log, and uvicorn."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI

from hpi.compat.paddlex.config import read_pipeline
from hpi.errors import ConfigError, HpiError
from hpi.predictor import Predictor
from hpi.serving.app import create_app
from hpi.serving.limits import MIB
from hpi.serving.listening import bind, cannot_listen, close, url_of
from hpi.serving.protocol import BoundedWebSocket, ImpatientProtocol
from hpi.serving.settings import Settings, read_settings

if TYPE_CHECKING:
    from hpi.serving.inference_protocol.rpc import RpcServer

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 1000
"""Limit of open connections; uvicorn answers 503 to further ones, so that idle clients cannot use up the system's."""

_WORKER = "HPI_SERVE"
_STARTUP_FAILURE = 3  # after any other exit code uvicorn restarts the worker, forever
_FACTS = ("logId", "method", "path", "status", "milliseconds")


def serve(
    pipeline: str,
    predictor: Mapping[str, Any],
    overrides: Mapping[str, Any],
    *,
    is_model: bool = False,
    host: str,
    port: int,
    grpc_port: int | None = None,
    workers: int,
    json_logs: bool,
) -> None:
    """Serve a pipeline until SIGTERM or SIGINT, then finish the accepted requests.

    Args:
        pipeline: its name or YAML file, or that of a model.
        predictor: arguments of the :class:`Predictor`.
        overrides: fields of :class:`Settings` that outrank the YAML; None stands for a field that is not set.
        is_model: the name is that of a model, which has no such YAML.
        host: address to listen on.
        port: port to listen on.
        grpc_port: port of the Open Inference Protocol over gRPC; None: without it. It needs one process.
        workers: number of processes, each with its own models and threads.
        json_logs: log one JSON object per line.

    Raises:
        HpiError: a field is wrong, an address cannot be bound, gRPC is not installed, or no runtime can run a model.
    """
    if grpc_port is not None:
        _check_grpc(grpc_port, port, workers)
    settings = settings_of(pipeline, predictor, overrides, is_model=is_model)
    start_log(json_logs=json_logs)
    common: dict[str, Any] = {
        "host": host,
        "port": port,
        "loop": "asyncio",  # uvloop, where it happens to be installed, does not say that another process listens there
        "http": ImpatientProtocol,
        "ws": BoundedWebSocket,
        "ws_max_size": int(settings.max_frame_mb * MIB),
        "ws_per_message_deflate": False,  # images are compressed already
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "limit_concurrency": MAX_CONNECTIONS,
        "timeout_graceful_shutdown": int(settings.read_s + settings.deadline_s) + 1,
    }
    sockets = bind(host, port)
    try:
        if grpc_port is not None:
            close(bind(host, grpc_port))  # gRPC binds it itself, once the models are loaded
        if workers == 1:
            app = create_app(open_predictor(pipeline, predictor), settings)
            grace_s = common["timeout_graceful_shutdown"]
            rpc_server = None if grpc_port is None else _rpc_server(app, host, grpc_port, grace_s)
            _run(_Server(uvicorn.Config(app, **common), rpc_server), sockets)
            return
        # Errors show up here, and models are converted once, not by each worker.
        open_predictor(pipeline, predictor).close()
    finally:
        close(sockets)
    request = {"pipeline": pipeline, "predictor": predictor, "settings": settings.model_dump(), "json_logs": json_logs}
    os.environ[_WORKER] = json.dumps(request)
    uvicorn.run("hpi.serving.run:app_of_worker", factory=True, workers=workers, **common)  # binds them itself


def settings_of(
    pipeline: str, predictor: Mapping[str, Any], overrides: Mapping[str, Any], *, is_model: bool = False
) -> Settings:
    """The settings of a service; arguments and errors as those of :func:`serve`.

    Example:
        >>> settings_of("human_keypoint_detection_lite", {}, {"max_batch": 4}).max_batch
        4
    """
    section = None if is_model else read_pipeline(predictor.get("config") or pipeline).Serving
    return read_settings(section, overrides)


def open_predictor(pipeline: str, arguments: Mapping[str, Any]) -> Predictor:
    """A predictor whose models have run once, so that errors in them show up before the service starts.

    Raises:
        HpiError: as of :class:`Predictor`.
    """
    predictor = Predictor(pipeline, **arguments)
    predictor.side_by_side()  # opens them now, not at the first requests
    predictor.warmup()
    return predictor


def _check_grpc(grpc_port: int, port: int, workers: int) -> None:
    """Raise :class:`ConfigError` if gRPC cannot be served."""
    if grpc_port == port != 0:  # both can be bound, but only one can listen
        raise ConfigError(f"--port and --grpc_port are both {port}; give two different ones")
    if workers > 1:
        raise ConfigError("--grpc_port is served by one process: leave out --workers, or start several services")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it would log what clients do wrong, past the log
    try:
        import_module("grpc")
        import_module("google.protobuf")
    except ImportError as error:
        raise ConfigError(f'--grpc_port: gRPC is not installed ({error}): pip install "hpi-pose[grpc]"') from error


def _rpc_server(app: FastAPI, host: str, port: int, grace_s: float) -> RpcServer:
    from hpi.serving.inference_protocol.rpc import RpcServer

    return RpcServer(app.state.inference, host, port, grace_s)


def _run(server: _Server, sockets: list[socket.socket]) -> None:
    with suppress(KeyboardInterrupt):  # uvicorn has shut down cleanly, and raises it again
        server.run(sockets)
    if not server.started:
        sys.exit(_STARTUP_FAILURE)


class _Server(uvicorn.Server):
    """Logs where it listens, also over gRPC; an address that cannot be used is an HpiError."""

    def __init__(self, config: uvicorn.Config, rpc_server: RpcServer | None) -> None:
        super().__init__(config)
        self._rpc_server = rpc_server

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._rpc_server is not None:
            await self._rpc_server.start()  # before HTTP says that the service is ready
        try:
            await super().startup(sockets)
        except OSError as error:  # another process bound the address at the same time, and listened first
            if self._rpc_server is not None:
                await self._rpc_server.stop()
            await self.lifespan.shutdown()
            raise cannot_listen(self.config.host, self.config.port, error) from error
        for one in sockets or []:
            logger.info("listening on %s; press Ctrl+C to stop", url_of(one))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._rpc_server is not None:
            for server in self.servers:  # as the base class does, which then closes what the calls need
                server.close()
            await self._rpc_server.stop()
        await super().shutdown(sockets)


def app_of_worker() -> FastAPI:
    """The application of a worker process, which reads from its environment what to serve."""
    request = json.loads(os.environ[_WORKER])
    start_log(json_logs=request["json_logs"])
    try:
        predictor = open_predictor(request["pipeline"], request["predictor"])
        return create_app(predictor, Settings.model_validate(request["settings"]))
    except HpiError as error:
        logger.error("%s", error)  # noqa: TRY400 - the message says what to do, the traceback does not
        sys.exit(_STARTUP_FAILURE)


def start_log(*, json_logs: bool) -> None:
    """Log to the standard error stream, as plain text or as one JSON object per line."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter() if json_logs else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    package = logging.getLogger("hpi")
    package.setLevel(min(package.level or logging.INFO, logging.INFO))  # --debug may have set a lower one
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # errors in a form are reported to its client


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = {name: getattr(record, name) for name in _FACTS if hasattr(record, name)}
        line = {"time": self.formatTime(record), "level": record.levelname, "logger": record.name, **facts}
        if not facts or record.exc_info:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)
