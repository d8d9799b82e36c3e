"""Every runtime on models of this machine: the rows of ``configs/priors``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.table import Table

from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import SessionOptions
from hpi.selection.measure import Failure, Measurement, Protocol, measure
from hpi.selection.priors import Prior, write_rows
from hpi.zoo import Zoo

HEADINGS = ("model", "candidate", "batch", "p50 ms", "p90 ms", "p99 ms", "a second", "MB", "px off")


def measure_runtimes(
    models: Sequence[str], batches: Sequence[int], seconds: float, record: Path | None, threads: int | None
) -> None:
    """Measure every runtime with models and show a table.

    Args:
        models: names, or ``NAME=FOLDER``.
        batches: batch sizes.
        seconds: time for the runs of one model and batch.
        record: JSON file for the rows; written after each model, so that none are lost.
        threads: CPU threads; by default all usable cores.

    Raises:
        HpiError: a model cannot be found, or no runtime can serve it.
    """
    zoo, table = Zoo.default(), Table(*HEADINGS, box=SIMPLE, pad_edge=False)
    options = SessionOptions(ArtifactCache(zoo.artifacts), threads=threads)
    rows: list[Prior] = []
    with Live(table, console=Console(), vertical_overflow="visible", auto_refresh=False) as live:
        for entry in models:
            name, _, folder = entry.partition("=")
            spec = zoo.find(name, Path(folder) if folder else None)

            def tell(result: Measurement | Failure, name: str = name) -> None:
                _add(table, name, result)
                live.refresh()

            protocol = Protocol(batches, seconds * len(batches), memory=True, complete=True)
            measured = measure(spec, zoo.skeleton_of(name), options, protocol, tell)
            rows += [measurement.row(name) for measurement in measured]
            if record is not None:
                write_rows(record, rows)


def _add(table: Table, model: str, result: Measurement | Failure) -> None:
    if isinstance(result, Failure):
        table.add_row(model, str(result.candidate), result.reason, style="yellow")
        return
    row = result.row(model)
    figures = (row.p50_ms, row.p90_ms, row.p99_ms, row.throughput, row.memory_mb, row.deviation_px)
    cells = ("-" if figure is None else f"{figure:.3g}" for figure in figures)
    refused = "" if result.verdict.passed else " (refused)"
    table.add_row(model, f"{result.candidate}{refused}", str(result.batch), *cells)
