"""Asking a process of its own, since what it tries may crash, hang or print."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import IO, Any

from hpi.backends.messages import summarize

# The modules are looked for where this process found its own, and before that nothing is imported.
_SCRIPT = r"""
import sys
sys.path[:] = sys.argv[1].split("\n")
from hpi.doctor.probes import main
main(sys.argv[2:])
"""

GRACE_S = 2.0
"""Seconds to wait for the last output of a process that has ended."""

_HINTS = {
    "SIGILL": "it uses instructions that this CPU lacks",
    "SIGKILL": "it was killed, perhaps for lack of memory",
}


@dataclass(frozen=True)
class Answer:
    """What a probe has reported.

    Attributes:
        facts: all that it reported, also before it failed.
        failure: why it did not finish; None if it did.

    Example:
        >>> Answer({"importing": "cv2"}, "died of SIGSEGV").failure
        'died of SIGSEGV'
    """

    facts: dict[str, Any]
    failure: str | None


def ask(probe: str, *arguments: str, limit_s: float) -> Answer:
    """Run one of :mod:`hpi.doctor.probes` in a process of its own.

    Args:
        probe: its name.
        arguments: of the probe.
        limit_s: seconds after which it counts as hanging and is killed.

    Example:
        >>> ask("imports", "json", "no_such_module", limit_s=60).facts["no_such_module"]["error"]
        "No module named 'no_such_module'"
    """
    command = [sys.executable, "-c", _SCRIPT, "\n".join(sys.path), probe, *arguments]
    try:
        process = _start(command)
    except OSError as error:
        return Answer({}, f"no process can be started: {error}")
    reported, printed = _Collected(process.stdout), _Collected(process.stderr)
    try:
        process.wait(limit_s)
        late = False
    except subprocess.TimeoutExpired:
        late = True
    finally:
        if process.poll() is None:
            _kill(process)
    facts = _merged(reported.text())
    if late:
        return Answer(facts, f"did not finish within {limit_s:g} s")
    return Answer(facts, _failure(process.returncode, facts.pop("failure", None), printed.text()))


def _start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )


class _Collected:
    """What comes out of a pipe. A process that a library has left behind may hold its other end open for good."""

    def __init__(self, pipe: IO[str] | None) -> None:
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._lines.extend, args=(pipe or (),), daemon=True)
        self._thread.start()

    def text(self) -> str:
        """All of it, once the process has ended."""
        self._thread.join(GRACE_S)
        return "".join(self._lines)


def _kill(process: subprocess.Popen[str]) -> None:
    """End a process and those that it has started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _merged(reported: str) -> dict[str, Any]:
    """The facts of all lines; the last may be cut short."""
    facts: dict[str, Any] = {}
    for line in reported.splitlines():
        with contextlib.suppress(ValueError):
            facts.update(json.loads(line))
    return facts


def _failure(code: int, reported: str | None, printed: str) -> str | None:
    if reported is not None:
        return reported
    if code == 0:
        return None
    if code > 0:
        return f"ended with code {code}: {summarize(printed)}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return ": ".join(filter(None, (f"died of {name}", _HINTS.get(name))))
