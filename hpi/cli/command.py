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
    typer.Option("--verbose", help="Also say what is chosen and why, and how long it takes.", rich_help_panel=_PANEL),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.", rich_help_panel=_PANEL)]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=_PANEL)]


class Command(TyperCommand):
    """A command whose errors are one line and an exit code: 2 for wrong usage, 1 for the rest."""

    def invoke(self, ctx: Any) -> Any:
        """Run it with the log that its options ask for."""
        given = ctx.params
        start_log(**{name: given.get(name, False) for name in ("verbose", "quiet", "debug")})
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # whoever reads the output has read enough
        except (HpiError, OSError) as error:
            if given.get("debug"):
                raise
            print(f"error: {error}", file=sys.stderr)  # noqa: T201
            raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from error


def start_log(*, verbose: bool = False, quiet: bool = False, debug: bool = False) -> None:
    """Log to the standard error stream: warnings, and of this package what the options ask for."""
    if verbose and quiet:
        raise typer.BadParameter("give --verbose or --quiet, not both")
    level = logging.ERROR if quiet else logging.WARNING
    logging.basicConfig(handlers=[_StderrHandler()], level=level, format="%(message)s")
    if verbose or debug:
        logging.getLogger("hpi").setLevel(logging.DEBUG if debug else logging.INFO)


class _StderrHandler(logging.Handler):
    """Writes to ``sys.stderr`` as it is at the time: a progress bar takes its place, and moves down for a line."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"{record.levelname.lower()}: {self.format(record)}", file=sys.stderr)  # noqa: T201
