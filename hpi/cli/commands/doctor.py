"""``hpi doctor``."""

from __future__ import annotations

from typing import Annotated

import typer

from hpi.cli import options as given
from hpi.cli.command import Debug

EXAMPLES = """\
[bold]hpi doctor[/]

[bold]hpi doctor --json > doctor.json[/]

Exit codes: 0 if the main job runs, 1 if it does not, 2 for wrong usage."""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not try the network.")] = False,
    limit: Annotated[
        str | None,
        typer.Option(
            help="Time limit of each runtime, such as 60s or 15m. By default 2m, and with a GPU 15m.",
            metavar="TIME",
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Show what is installed and works here, and how to mend what does not.

    The output is fit to be shared: the home folder is shown as ~, and logins are left out.
    """
    limit_s = given.read_seconds(limit) if limit is not None else None
    from hpi.cli.doctor import run

    if not run(as_json=as_json, offline=offline, limit_s=limit_s):
        raise typer.Exit(1)
