"""The screen of ``hpi doctor``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hpi.doctor import Settings, examine

_STYLES = {"ok": "green", "note": "dim", "warning": "yellow", "error": "bold red"}


def run(*, as_json: bool, offline: bool, limit_s: float | None) -> bool:
    """Examine this installation and print the report.

    Args:
        as_json: print JSON instead of a screen.
        offline: do not try the network.
        limit_s: seconds for each runtime.

    Returns:
        Whether the main job works.
    """
    with Console(stderr=True).status("examining") as status:
        settings = Settings(offline, limit_s, lambda what: status.update(f"examining: {what}"))
        report = examine(settings)
    content = report.as_json()
    if as_json:
        print(json.dumps(content, indent=2))  # noqa: T201
    else:
        _show(Console(highlight=False), content)
    return report.works


def _show(console: Console, content: Mapping[str, Any]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False, collapse_padding=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, check in content["checks"].items():
        status = check["status"]
        table.add_row(Text(status, _STYLES[status]), name, Text(check["found"]))
    console.print(table)
    style = "bold green" if content["works"] else "bold red"
    console.print(Text(f"\n{content['verdict']}", style))
    problems = [problem for check in content["checks"].values() for problem in check["problems"]]
    for number, problem in enumerate(problems, 1):
        console.print(Text(f"{number}. {problem['text']}"))
        if problem["cure"]:
            console.print(Text(f"   {problem['cure']}", "bold"), soft_wrap=True)
