"""``python -m hpi.benchmarks.graphs NAME FILE``."""

from pathlib import Path
from typing import Annotated

import typer

from hpi.benchmarks.graphs import GRAPHS
from hpi.benchmarks.graphs.cost import multiply_adds, parameters
from hpi.io.files import write_whole


def main(
    name: Annotated[str, typer.Argument(help=", ".join(GRAPHS))],
    path: Annotated[Path, typer.Argument(help="The file to write.")],
    seed: Annotated[int, typer.Option(help="Of the weights.")] = 0,
) -> None:
    """Write a graph with random weights, and say what it costs."""
    if name not in GRAPHS:
        raise typer.BadParameter(f"{name} is none of {', '.join(GRAPHS)}")
    model = GRAPHS[name](seed)
    try:
        write_whole(path, model.SerializeToString())
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror or error}") from error
    typer.echo(f"{parameters(model) / 1e6:.2f} M parameters, {multiply_adds(model) / 1e9:.3f} G multiply-adds")


if __name__ == "__main__":
    typer.run(main)
