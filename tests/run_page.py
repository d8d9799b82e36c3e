"""Run the steps of a page in the current folder: ``python run_page.py STEPS.json``. The first that fails ends it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

sys.path[0] = ""  # as in a reader's Python; in tests, the folder of this file, there is another hpi

STARTS_S = 120
"""Seconds that a service may take to be ready, on a busy machine."""


def main() -> None:
    """Python blocks share a namespace, as if typed one after the other; services run until the end."""
    job = json.loads(Path(sys.argv[1]).read_text())
    names: dict[str, object] = {"__name__": "__main__"}
    services: list[subprocess.Popen[bytes]] = []
    try:
        for kind, name, text, line in job["steps"]:
            print(f"{job['page']}:{line}: {kind} {name}", file=sys.stderr, flush=True)
            if kind == "python":
                # The line numbers of an error are those of the page.
                exec(compile("\n" * (line - 1) + text, job["page"], "exec"), names)
            elif kind == "serve":
                services.append(subprocess.Popen(["bash", "-c", f"exec {text}"]))
                wait_until_ready(services[-1], job["port"])
            elif kind == "patch":
                patch(Path(name), text)
            elif kind == "write":
                Path(name).parent.mkdir(parents=True, exist_ok=True)
                Path(name).write_text(text)
            else:
                subprocess.run(["bash", "-euo", "pipefail", "-c", text], check=True)
    finally:
        for service in services:
            service.terminate()
        codes = [service.wait() for service in services]
    assert not any(codes), f"a service ended with {codes}"


def patch(file: Path, difference: str) -> None:
    """Replace the lines of a difference that begin with a space or a minus by those with a space or a plus.

    An empty line counts as context, since editors remove its space.
    """
    lines = [line if line.strip() else " \n" for line in difference.splitlines(keepends=True)]
    before, after = ("".join(line[1:] for line in lines if line[0] in f" {sign}") for sign in "-+")
    text = file.read_text()
    assert text.count(before) == 1, f"{file} has these lines {text.count(before)} times:\n{before}"
    file.write_text(text.replace(before, after))


def wait_until_ready(service: subprocess.Popen[bytes], port: int) -> None:
    """Wait for ``/ready`` of a service."""
    until = time.monotonic() + STARTS_S
    while time.monotonic() < until and service.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5)
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"the service is not ready; its exit code: {service.poll()}")


if __name__ == "__main__":
    main()
