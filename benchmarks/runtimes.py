"""Every runtime on models of this machine: the rows of ``configs/priors``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import SessionOptions
from hpi.benchmarks.options import Backend, Models, OneDevice, Rounds, Threads, name_and_folder, one_device
from hpi.cli.tables import new_table
from hpi.options import AUTO
from hpi.selection.measure import ROUNDS, Failure, Measurement, Protocol, measure
from hpi.selection.priors import Prior, write_rows
from hpi.selection.ranking import PRECISIONS
from hpi.zoo import Zoo

HEADINGS = ("model", "candidate", "batch", "p50 ms", "p90 ms", "p99 ms", "a second", "MB", "px off")


def main(
    model: Models,
    batch: Annotated[list[int], typer.Option(min=1, help="Batch size; repeat for several.")] = [1, 2, 4, 8, 16],  # noqa: B006
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for the runs of one model and batch.")] = 20,
    rounds: Rounds = ROUNDS,
    backend: Backend = AUTO,
    record: Annotated[
        Path | None, typer.Option(help="Keep the figures as priors in this JSON file, named after the machine.")
    ] = None,
    device: OneDevice = "cpu",
    threads: Threads = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Workers that run it at the same time, each with --threads threads.")
    ] = 1,
) -> None:
    """Measure every runtime with models: time, memory (of one worker), deviation. Rows are kept after each model."""
    zoo, table = Zoo.default(), new_table(*HEADINGS)
    options = SessionOptions(ArtifactCache(zoo.artifacts), one_device(device), threads=threads, workers=workers)
    rows: list[Prior] = []
    with Live(table, console=Console(), vertical_overflow="visible", auto_refresh=False) as live:
        for entry in model:
            name, folder = name_and_folder(entry)
            spec = zoo.find(name, folder)

            def on_progress(result: Measurement | Failure, name: str = name) -> None:
                if isinstance(result, Failure):
                    line = f"{name}, {result.candidate}: {result.reason}"
                    live.console.print(line, style="yellow", markup=False, soft_wrap=True)
                else:
                    _add(table, name, result)
                live.refresh()

            protocol = Protocol(
                batch, seconds * len(batch), PRECISIONS, backend, rounds, memory=workers == 1, complete=True
            )
            measured = measure(spec, options, protocol, on_progress)
            rows += [measurement.row(name) for measurement in measured]
            if record is not None:
                write_rows(record, rows)


def _add(table: Table, model: str, result: Measurement) -> None:
    row = result.row(model)
    figures = (row.p50_ms, row.p90_ms, row.p99_ms, row.throughput, row.memory_mb, row.deviation_px)
    cells = ("-" if figure is None else f"{figure:.3g}" for figure in figures)
    refused = "" if result.verdict.passed else " (refused)"
    table.add_row(model, f"{result.candidate}{refused}", str(result.batch), *cells)
