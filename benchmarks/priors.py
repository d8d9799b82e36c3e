"""Record priors: measure every runtime on models of this machine, into a file for ``configs/priors``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import SessionOptions
from hpi.selection.measure import Failure, Measurement, measure
from hpi.selection.priors import Prior, write_rows
from hpi.zoo import Zoo


def main(
    output: Annotated[Path, typer.Argument(help="JSON file to write; its name should tell the machine.")],
    model: Annotated[list[str], typer.Option(help="Name, or NAME=FOLDER; repeat for several.")],
    batch: Annotated[list[int], typer.Option(help="Batch size; repeat for several.")] = [1, 2, 4, 8, 16],  # noqa: B006
    seconds: Annotated[float, typer.Option(help="Time for the runs of one model and batch.")] = 20,
    threads: Annotated[int | None, typer.Option(help="CPU threads; by default all usable cores.")] = None,
) -> None:
    """Record priors of models on this machine; rows are written after each model, so that none are lost."""
    zoo, console = Zoo.default(), Console(stderr=True)
    options = SessionOptions(ArtifactCache(zoo.artifacts), threads=threads)
    rows: list[Prior] = []
    for entry in model:
        name, _, folder = entry.partition("=")
        spec = zoo.find(name, Path(folder) if folder else None)

        def tell(result: Measurement | Failure, name: str = name) -> None:
            if isinstance(result, Failure):
                console.print(f"{name}: {result.candidate}: {result.reason}", style="yellow", soft_wrap=True)
            else:
                console.print(f"{name}: {result.candidate}, batch {result.batch}: {result.median:.2f} ms")

        measured = measure(spec, zoo.skeleton_of(name), options, batch, seconds * len(batch), tell, keep_losers=True)
        rows += [measurement.row(name) for measurement in measured]
        write_rows(output, rows)
