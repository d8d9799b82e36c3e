"""The command line as mkdocs-click can show it: without the markup that Rich reads."""

from __future__ import annotations

from typing import Any

import typer
from rich.text import Text

from hpi.benchmarks.__main__ import app as benchmarks
from hpi.cli.app import app


def _plain(command: Any) -> Any:
    for thing in (command, *command.params):
        for name in ("help", "epilog", "short_help"):
            if text := getattr(thing, name, None):
                setattr(thing, name, Text.from_markup(text).plain)
    for inner in getattr(command, "commands", {}).values():
        _plain(inner)
    return command


command: Any = typer.main.get_command(app)
# What these two pass their options on to.
_measure: Any = typer.main.get_command(benchmarks)
_measure.name = "benchmark"
_measure.help = command.commands["benchmark"].help
command.commands |= {"compare": _measure.commands.pop("compare"), "benchmark": _measure}
command = _plain(command)
