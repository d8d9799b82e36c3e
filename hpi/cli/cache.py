"""``hpi cache``: the artifact cache."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from hpi.cli.command import Command

if TYPE_CHECKING:
    from hpi.backends.artifacts import Artifact, ArtifactCache

app = typer.Typer(
    help="The cache of artifacts: files made from models, such as converted graphs.",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


@app.command("list", cls=Command)
def show() -> None:
    """List the artifacts, the least recently used first."""
    from rich.console import Console
    from rich.filesize import decimal

    from hpi.cli.tables import new_table

    cache = _cache()
    table = new_table("model and folder", "size", "last used")
    entries = cache.entries()
    for artifact in entries:
        used = datetime.date.fromtimestamp(artifact.used).isoformat()
        place = f"{artifact.key.get('model', '?')}\n{artifact.folder.relative_to(cache.root)}"
        table.add_row(place, decimal(artifact.size), used)
    console = Console(highlight=False)
    if entries:
        console.print(table, "")
    total = decimal(sum(artifact.size for artifact in entries))
    console.print(f"{len(entries)} artifacts, {total}, in {cache.root}", soft_wrap=True, markup=False)


@app.command(cls=Command)
def clear() -> None:
    """Remove all artifacts; they are built again when needed."""
    _report(_cache().prune(0))


@app.command(cls=Command)
def prune(
    limit: Annotated[str, typer.Option(help="How much to keep, such as 500MB or 2GiB.")],
) -> None:
    """Remove the least recently used artifacts until the rest is within the limit."""
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        size = TypeAdapter(ByteSize).validate_python(limit)
    except ValidationError as error:
        raise typer.BadParameter(f"--limit {limit!r}: give a size such as 500MB or 2GiB") from error
    _report(_cache().prune(size))


def _cache() -> ArtifactCache:
    from hpi.backends.artifacts import ArtifactCache
    from hpi.zoo import Zoo

    return ArtifactCache(Zoo.default().artifacts)


def _report(removed: list[Artifact]) -> None:
    from rich.filesize import decimal

    size = decimal(sum(artifact.size for artifact in removed))
    typer.echo(f"removed {len(removed)} artifacts, {size}")
