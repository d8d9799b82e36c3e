"""The service in its own process, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from hpi import Instances, Predictor

from support import EXAMPLE, HANGS_S, free_port, wait_until


@dataclass(frozen=True)
class Service:
    """A running service."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def route(self) -> str:
        return f"{self.url}/human-keypoint-detection"


Start = Callable[..., Service]


@pytest.fixture(scope="session")
def start_service(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """A function that starts a service with options; all are stopped at the end.

    Unless the options say otherwise, the deadline of answers leaves time for a busy machine.
    """
    started: list[Service] = []

    def start(*options: str, code: str = "from hpi.cli import main; main()", **environment: str) -> Service:
        port = free_port()
        log = tmp_path_factory.mktemp("service") / "log.txt"
        own = ["--port", str(port), "--device", "cpu", "--deadline", str(HANGS_S)]
        command = [sys.executable, "-c", code, "serve", *own, *options]
        with log.open("wb") as stream:
            process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=stream, stderr=stream)
        service = Service(f"http://127.0.0.1:{port}", process, log)
        started.append(service)
        _wait_until_ready(service)
        return service

    yield start
    for service in started:
        service.process.send_signal(signal.SIGTERM)
    for service in started:
        service.process.wait(HANGS_S)


@pytest.fixture(scope="session")
def service(start_service: Start) -> Service:
    """A service with the default settings."""
    pytest.importorskip("fastapi")
    return start_service()


@pytest.fixture(scope="session")
def strict(start_service: Start) -> Service:
    """A service with narrow limits and a token."""
    pytest.importorskip("fastapi")
    limits = ("--max_body_mb", "1", "--max_requests", "2", "--max_batch", "1")
    return start_service(*limits, "--json_logs", "--token", "secret")


@pytest.fixture(scope="session")
def client(service: Service) -> Iterator[httpx.Client]:
    """Connections to the service with the default settings, kept open between requests."""
    with httpx.Client(base_url=service.url, timeout=HANGS_S) as client:
        yield client


@pytest.fixture(scope="session")
def post(client: httpx.Client, service: Service) -> Callable[..., httpx.Response]:
    """A function that posts to the pipeline's route; takes the arguments of :meth:`httpx.Client.post`."""
    return lambda **arguments: client.post(service.route, **arguments)


def _wait_until_ready(service: Service) -> None:
    def is_ready() -> bool:
        try:
            with urllib.request.urlopen(f"{service.url}/ready"):
                return True
        except (urllib.error.URLError, ConnectionError):
            assert service.process.poll() is None, service.log.read_text()
            return False

    wait_until(is_ready, service.url)


@pytest.fixture(scope="session")
def people(home: Path) -> Instances:
    """The people of the example image, as the predictor finds them on the CPU."""
    with Predictor("human_keypoint_detection_lite", device="cpu") as predictor:
        (result,) = predictor.predict(str(EXAMPLE))
        return result.instances
