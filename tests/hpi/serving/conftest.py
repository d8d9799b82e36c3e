"""The service in a process of its own, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


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
    """A function that starts a service with options; all are stopped in the end."""
    started: list[Service] = []

    def start(*options: str, code: str = "from hpi.cli import main; main()", **environment: str) -> Service:
        port = _free_port()
        log = tmp_path_factory.mktemp("service") / "log.txt"
        command = [sys.executable, "-c", code, "serve", "--port", str(port), "--device", "cpu", *options]
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
        service.process.wait(60)


@pytest.fixture(scope="session")
def service(start_service: Start) -> Service:
    """A service with the default settings."""
    pytest.importorskip("fastapi")
    return start_service()


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    return _free_port()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(service: Service) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(f"{service.url}/ready"):
                return
        except (urllib.error.URLError, ConnectionError):
            assert service.process.poll() is None, service.log.read_text()
            assert time.monotonic() < end, service.log.read_text()
            time.sleep(0.1)
