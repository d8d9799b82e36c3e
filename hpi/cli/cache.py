"""The artifact cache on the command line."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from hpi.cli.command import Command

if TYPE_CHECKING:
    from hpi.backends.artifacts import Artifact, ArtifactCache

app = typer.Typer(
    help="What was made from models (converted graphs) and is kept for the next time.",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


@app.command("list", cls=Command)
def show() -> None:
    """List the artifacts, the one not used for longest first."""
    from rich.console import Console
    from rich.filesize import decimal

    from hpi.cli.tables import new_table

    cache = _cache()
    table = new_table("model, and where", "size", "last used")
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
    """Remove all artifacts; they are made again when they are needed."""
    _tell(_cache().prune(0))


@app.command(cls=Command)
def prune(
    limit: Annotated[str, typer.Option(help="How much may stay, such as 500MB or 2GiB.")],
) -> None:
    """Remove the artifacts not used for longest until what remains is within the limit."""
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        size = TypeAdapter(ByteSize).validate_python(limit)
    except ValidationError as error:
        raise typer.BadParameter(f"--limit {limit!r}: give a size such as 500MB or 2GiB") from error
    _tell(_cache().prune(size))


def _cache() -> ArtifactCache:
    from hpi.backends.artifacts import ArtifactCache
    from hpi.zoo import Zoo

    return ArtifactCache(Zoo.default().artifacts)


def _tell(removed: list[Artifact]) -> None:
    from rich.filesize import decimal

    size = decimal(sum(artifact.size for artifact in removed))
    typer.echo(f"removed {len(removed)} artifacts, {size}")
