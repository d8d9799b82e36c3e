"""What every peer's script does: take a request a line, answer a line. Imports nothing of this project."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any


def serve(packages: Sequence[str], answer: Callable[..., Any], **more: str) -> None:
    """Answer requests until the input ends.

    Args:
        packages: those whose versions are the first answer.
        answer: from a request's fields to the answer.
        more: what the first answer says besides.
    """
    _write({package: version(package) for package in packages} | more)
    for line in sys.stdin:
        _write(answer(**json.loads(line)))


def times(run: Callable[[], object], seconds: float) -> list[float]:
    """Milliseconds of as many calls as fit, at least one, after one to warm up."""
    run()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while not taken or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        taken.append(1000 * (time.perf_counter() - start))
    return taken


def _write(content: object) -> None:
    print("ANSWER " + json.dumps(content), flush=True)
