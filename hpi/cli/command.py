"""What all commands share: their errors are a line and an exit code, their log goes to the standard error stream."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from hpi.errors import ConfigError, HpiError

_PANEL = "Messages"

Verbose = Annotated[
    bool,
    typer.Option("--verbose", help="Also show what is chosen and why, and how long it takes.", rich_help_panel=_PANEL),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show errors only.", rich_help_panel=_PANEL)]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=_PANEL)]


class Command(TyperCommand):
    """A command that reports an error in one line, with exit code 2 for wrong usage and 1 otherwise."""

    def invoke(self, ctx: Any) -> Any:
        """Run it with the log level of its options."""
        given = ctx.params
        start_log(**{name: given.get(name, False) for name in ("verbose", "quiet", "debug")})
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader of the output has closed it
        except (HpiError, OSError) as error:
            if given.get("debug"):
                raise
            print(f"error: {error}", file=sys.stderr)  # noqa: T201
            raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from error


def start_log(*, verbose: bool = False, quiet: bool = False, debug: bool = False) -> None:
    """Log to the standard error stream: warnings, and messages of this package at the level of the options."""
    if verbose and quiet:
        raise typer.BadParameter("give --verbose or --quiet, not both")
    level = logging.ERROR if quiet else logging.WARNING
    logging.basicConfig(handlers=[_StderrHandler()], level=level, format="%(message)s")
    if verbose or debug:
        logging.getLogger("hpi").setLevel(logging.DEBUG if debug else logging.INFO)


class _StderrHandler(logging.Handler):
    """Writes to the current ``sys.stderr``, which a progress bar replaces to keep itself below the messages."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"{record.levelname.lower()}: {self.format(record)}", file=sys.stderr)  # noqa: T201
