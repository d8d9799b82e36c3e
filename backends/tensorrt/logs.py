"""What TensorRT says while it works, in this project's log and error messages."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Any

logger = logging.getLogger(__name__)

_PROGRESS_S = 10  # between two lines about a build


def new_log(trt: Any) -> Any:
    """A logger for TensorRT that keeps its latest errors for our own messages."""
    severity = trt.ILogger.Severity
    serious = (severity.INTERNAL_ERROR, severity.ERROR)

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._errors: deque[str] = deque(maxlen=10)

        def log(self, severity: Any, message: str) -> None:
            if severity in serious:
                self._errors.append(message.strip())
            logger.debug("TensorRT: %s", message)

        def said(self) -> str:
            """The errors since the last call, to be appended to a message."""
            said = "; ".join(self._errors)
            self._errors.clear()
            return f"; TensorRT says: {said}" if said else ""

    return Log()


def new_progress(trt: Any, name: str) -> Any:
    """A monitor that logs the progress of a build every few seconds."""

    class Progress(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._steps: dict[str, int] = {}
            self._said = time.monotonic()

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            del parent
            self._steps[phase] = steps

        def step_complete(self, phase: str, step: int) -> bool:
            if time.monotonic() - self._said > _PROGRESS_S:
                self._said = time.monotonic()
                logger.info("%s: %s, %d of %d", name, phase, step + 1, self._steps.get(phase, 0))
            return True

        def phase_finish(self, phase: str) -> None:
            self._steps.pop(phase, None)

    return Progress()
