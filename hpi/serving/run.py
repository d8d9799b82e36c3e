"""Starting the service: its predictor, its log, and uvicorn."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import uvicorn
from fastapi import FastAPI

from hpi.compat.paddlex.config import read_pipeline
from hpi.errors import HpiError
from hpi.predictor import Predictor
from hpi.serving.app import create_app
from hpi.serving.listening import bind, cannot_listen, close, url_of
from hpi.serving.protocol import ImpatientProtocol
from hpi.serving.settings import Settings, read_settings

logger = logging.getLogger(__name__)

MOST_CONNECTIONS = 1000
"""Open connections; further ones are answered 503 by uvicorn, so that idle ones cannot take all of the system's."""

_WORKER = "HPI_SERVE"
_STARTUP_FAILURE = 3  # with any other exit code uvicorn starts the worker again, for ever
_FACTS = ("logId", "method", "path", "status", "milliseconds")


def serve(
    pipeline: str,
    predictor: Mapping[str, Any],
    asked: Mapping[str, Any],
    *,
    host: str,
    port: int,
    workers: int,
    json_logs: bool,
) -> None:
    """Serve a pipeline until SIGTERM or SIGINT; what was accepted then is finished.

    Args:
        pipeline: name or YAML file.
        predictor: arguments of the :class:`Predictor`.
        asked: fields of :class:`Settings`; None for those that were not given.
        host: address to listen on.
        port: port to listen on.
        workers: processes, each with models and threads of its own.
        json_logs: log one JSON object a line.

    Raises:
        HpiError: a field is wrong, the address cannot be had, or no runtime can serve a model.
    """
    settings = read_settings(read_pipeline(predictor.get("config") or pipeline).Serving, asked)
    start_log(json_logs=json_logs)
    common: dict[str, Any] = {
        "host": host,
        "port": port,
        "http": ImpatientProtocol,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "limit_concurrency": MOST_CONNECTIONS,
        "timeout_graceful_shutdown": int(settings.read_s + settings.deadline_s) + 1,
    }
    sockets = bind(host, port)
    try:
        if workers == 1:
            app = create_app(_open(pipeline, predictor), settings)
            _run(uvicorn.Config(app, **common), sockets)
            return
        # What is wrong shows here, and conversions are done once, not by each worker.
        _open(pipeline, predictor).close()
    finally:
        close(sockets)
    request = {"pipeline": pipeline, "predictor": predictor, "settings": settings.model_dump(), "json_logs": json_logs}
    os.environ[_WORKER] = json.dumps(request)
    uvicorn.run("hpi.serving.run:app_of_worker", factory=True, workers=workers, **common)  # binds them itself


def _open(pipeline: str, arguments: Mapping[str, Any]) -> Predictor:
    """A predictor whose models have run once, so that what is wrong with them is told before the service starts."""
    predictor = Predictor(pipeline, **arguments)
    predictor.warmup()
    return predictor


def _run(config: uvicorn.Config, sockets: list[socket.socket]) -> None:
    server = _Server(config)
    with suppress(KeyboardInterrupt):  # uvicorn has ended in order, and passes it on
        server.run(sockets)
    if not server.started:
        sys.exit(_STARTUP_FAILURE)


class _Server(uvicorn.Server):
    """Says where it listens, or that it cannot."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except OSError as error:  # another service has taken the address at the same time, and was the first to listen
            await self.lifespan.shutdown()
            raise cannot_listen(self.config.host, self.config.port, error) from error
        for one in sockets or []:
            logger.info("listening on %s; Ctrl+C ends the service", url_of(one))


def app_of_worker() -> FastAPI:
    """The service in a worker process, which learns from its environment what to serve."""
    request = json.loads(os.environ[_WORKER])
    start_log(json_logs=request["json_logs"])
    try:
        predictor = _open(request["pipeline"], request["predictor"])
    except HpiError as error:
        logger.error("%s", error)  # noqa: TRY400 - it says what to do, the traceback does not
        sys.exit(_STARTUP_FAILURE)
    return create_app(predictor, Settings.model_validate(request["settings"]))


def start_log(*, json_logs: bool) -> None:
    """Log to the standard error stream: lines for people, or one JSON object a line."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter() if json_logs else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    package = logging.getLogger("hpi")
    package.setLevel(min(package.level or logging.INFO, logging.INFO))  # --debug asks for more
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # what is wrong with a form is for its client


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = {name: getattr(record, name) for name in _FACTS if hasattr(record, name)}
        line = {"time": self.formatTime(record), "level": record.levelname, "logger": record.name, **facts}
        if not facts or record.exc_info:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)
