"""The artifact cache on the command line."""

from __future__ import annotations

import datetime
from typing import Annotated

import typer
from pydantic import ByteSize, TypeAdapter, ValidationError
from rich.box import SIMPLE
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from hpi.backends.artifacts import Artifact, ArtifactCache
from hpi.zoo import Zoo

app = typer.Typer(
    help="What was made from models (converted graphs) and is kept for the next time.",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


@app.command("list")
def show() -> None:
    """List the artifacts, the one not used for longest first."""
    cache = _cache()
    table = Table("kind", "model", "size", "last used", "folder", box=SIMPLE, pad_edge=False)
    entries = cache.entries()
    for artifact in entries:
        used = datetime.datetime.fromtimestamp(artifact.used).strftime("%Y-%m-%d %H:%M")
        folder = str(artifact.folder.relative_to(cache.root))
        table.add_row(artifact.kind, artifact.key.get("model", "?"), decimal(artifact.size), used, folder)
    console = Console()
    if entries:
        console.print(table)
    total = decimal(sum(artifact.size for artifact in entries))
    console.print(f"{len(entries)} artifacts, {total}, in {cache.root}", soft_wrap=True)


@app.command()
def clear() -> None:
    """Remove all artifacts; they are made again when they are needed."""
    _tell(_cache().prune(0))


@app.command()
def prune(
    limit: Annotated[str, typer.Option(help="How much may stay, such as 500MB or 2GiB.")],
) -> None:
    """Remove the artifacts not used for longest until what remains is within the limit."""
    try:
        size = TypeAdapter(ByteSize).validate_python(limit)
    except ValidationError as error:
        raise typer.BadParameter(f"--limit {limit!r}: give a size such as 500MB or 2GiB") from error
    _tell(_cache().prune(size))


def _cache() -> ArtifactCache:
    return ArtifactCache(Zoo.default().artifacts)


def _tell(removed: list[Artifact]) -> None:
    size = decimal(sum(artifact.size for artifact in removed))
    typer.echo(f"removed {len(removed)} artifacts, {size}")
