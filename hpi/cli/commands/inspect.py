"""``hpi inspect``."""

from __future__ import annotations

from typing import Annotated

import typer

from hpi.cli import options as given
from hpi.cli.command import Debug

EXAMPLES = """\
[bold]hpi inspect rtmpose-m/[/]

[bold]hpi inspect model.onnx --kind simcc --skeleton coco17 --write[/]"""


def inspect(
    model: Annotated[
        str,
        typer.Argument(help="Folder or file of a model, or the name of a known one.", metavar="MODEL"),
    ],
    kind: given.Kind = None,
    skeleton: given.Skeleton = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write it into an hpi.yml beside the graph, which then opens by its path.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an hpi.yml that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Show what a model is taken for and why: format, input, transform, head and skeleton, and what can run it."""
    if force and not write:
        raise typer.BadParameter("--force is for --write")
    from hpi.cli import inspect as inspecting
    from hpi.models.readers import Hints

    inspecting.inspect(model, Hints(kind, skeleton), write=write, force=force, as_json=as_json)
