"""The process of a command: how a signal stops it, and how it ends.

SIGINT and SIGTERM raise :class:`KeyboardInterrupt`, so that running work is cleaned up: child processes end, and files
appear complete or not at all. Then the process ends with 128 + the signal's number, after one short line.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

AGAIN_S = 2.0
"""Seconds after which the exception is raised again: it can get lost, such as in the import of an extension module."""

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_HAS_TIMER = hasattr(signal, "setitimer")


def run(command: Callable[[], None]) -> NoReturn:
    """Run a command and end the process with its exit code, or with 128 + the number of the signal that stopped it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the parent process
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for as long as the process lives
        getattr(sys, name).reconfigure(errors="backslashreplace")  # file names may not be UTF-8
    stop = _Stop()
    stop.listen()
    code: Any = 0
    try:
        command()
    except SystemExit as end:
        code = end.code
    except BaseException as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:  # also while writing help to the standard output
            print(f"error: {error}", file=sys.stderr)  # noqa: T201
        elif stop.signal is None:
            raise
        code = 1
    if _HAS_TIMER:  # also where the command has ended by itself: the alarm would kill a process that ends slowly
        signal.setitimer(signal.ITIMER_REAL, 0)
    if code and stop.signal is not None:
        _leave(stop.signal)
    for number in _WORDS:  # nothing is left to clean up
        _listen(number, lambda number, _: os._exit(128 + number))
    sys.exit(_flush() or code)


class _Stop:
    """The signal that stopped the process. Further signals do not interrupt the cleanup."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def listen(self) -> None:
        for number in _WORDS:
            _listen(number, self._on_signal)
        if _HAS_TIMER:
            signal.signal(signal.SIGALRM, self._raise)
        if hasattr(os, "register_at_fork"):  # forked processes of libraries die silently of the signal
            os.register_at_fork(after_in_child=self._forget)
        sys.unraisablehook = self._on_lost

    def _forget(self) -> None:
        for number in _WORDS:
            _listen(number, signal.SIG_DFL)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number
            self._raise(number, frame)

    def _raise(self, _: int, __: FrameType | None) -> NoReturn:
        if _HAS_TIMER:
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        raise KeyboardInterrupt

    def _on_lost(self, lost: sys.UnraisableHookArgs) -> None:
        """Print no traceback for exceptions that got lost because the process was stopped."""
        if self.signal is None:
            sys.__unraisablehook__(lost)


def _listen(number: int, handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> None:
    """Handle a signal, unless the parent process set it to be ignored, as shells do for background jobs."""
    if signal.getsignal(number) != signal.SIG_IGN:
        signal.signal(number, handler)


def _leave(number: int) -> NoReturn:
    """End now, without waiting for threads, which may be reading from a slow server."""
    _flush()
    with contextlib.suppress(OSError):
        print(_WORDS[signal.Signals(number)], file=sys.stderr, flush=True)  # noqa: T201
    atexit._run_exitfuncs()  # removes temporary folders
    os._exit(128 + number)


def _flush() -> int:
    """Flush the standard output.

    Returns:
        The exit code: 1 if it cannot be written.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes again at exit
        if not isinstance(error, BrokenPipeError):  # a closed pipe is not an error: the reader has read enough
            print(f"error: the standard output cannot be written: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    return 0
