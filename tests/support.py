"""Places and helpers that several tests share."""

from __future__ import annotations

import dataclasses
import functools
import http.server
import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpi.backends.base import ModelFiles
from hpi.zoo import Zoo

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "basketball.png"
SHARED = Path(os.environ.get("HPI_SHARED") or ROOT.parent / "shared").resolve()
BUNDLED = ROOT / "configs" / "bundled"

BACKEND_PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "paddle": "paddle"}


def missing_backend(name: str) -> str | None:
    """Why tests on a runtime cannot run here."""
    if importlib.util.find_spec(BACKEND_PACKAGES[name]) is None:
        return f"{name} is not installed"
    return None


def run_hpi(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return run_python("-m", "hpi", *arguments, cwd=cwd, **environment)


def run_python(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def float_files(name: str) -> ModelFiles:
    """A model whose sessions all take the normalised float tensor (those that take images: test_uint8.py)."""
    return dataclasses.replace(Zoo.default().find(name).files, normalization=None)


def wait_until_threads_end(count: int) -> None:
    """Give threads a moment to end, until no more than these are left."""
    end = time.monotonic() + 5
    while threading.active_count() > count and time.monotonic() < end:
        time.sleep(0.01)


# Everything that would leave the machine fails at once.
NO_NETWORK = {
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "HF_ENDPOINT": "http://127.0.0.1:9",
    "no_proxy": "",
}


@contextmanager
def serve(handler: type[http.server.BaseHTTPRequestHandler] | Path) -> Iterator[str]:
    """Serve a folder, or a handler, on a free port of 127.0.0.1; gives the address."""
    if isinstance(handler, Path):
        handler = functools.partial(_QuietFiles, directory=str(handler))  # type: ignore[assignment]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _QuietFiles(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass
