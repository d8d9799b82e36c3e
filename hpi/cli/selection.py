"""``hpi explain`` and ``hpi tune``: the choice of runtimes, and its measurements."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from hpi.cli.tables import new_table, threads_of
from hpi.predictor import Predictor
from hpi.selection.measure import Failure, Measurement

FIGURES = {
    "milliseconds": "ms",
    "p99_ms": "p99 ms",
    "throughput": "a second",
    "memory_mb": "MB",
    "deviation_px": "px off",
}
"""The measurements of a candidate for the expected batches, and their headings."""


def explain(predictor: Predictor, *, as_json: bool) -> None:
    """Print what each model of a predictor runs on, and the candidates by rank."""
    predictor.side_by_side()
    description = predictor.describe()
    if as_json:
        print(json.dumps(description, indent=2))  # noqa: T201
        return
    console = Console(highlight=False)
    if not description["side_by_side"]:
        _explain(console, description["models"])
        return
    console.rule("One image at a time", align="left")
    _explain(console, description["models"])
    console.rule("Many images, such as a folder", align="left")
    _explain(console, description["side_by_side"])


def _explain(console: Console, models: Iterable[Mapping[str, Any]]) -> None:
    for model in models:
        console.print(f"[bold]{model['model']}[/] ({model['task']})")
        engaged = f"{model['backend']} {model['variant']}, {threads_of(model)}, {model['device']}"
        notes = f" ({', '.join(model['notes'])})" if model["notes"] else ""
        console.print(f"  runs on  {engaged}{notes}, version {model['version']}", soft_wrap=True)
        if model["batch_size"] is not None:
            console.print("  batches  one item at a time: the graph has a fixed batch of 1")
        console.print(f"  because  {model['reason']}", soft_wrap=True)
        console.print(f"  file     {model['file']}", soft_wrap=True)
        console.print(f"  figures  {model['ranking_rests_on']}\n", soft_wrap=True)
        console.print(_ranking(model), *_reasons(model), "", sep="\n")


def _ranking(model: Mapping[str, Any]) -> Table:
    table = new_table("rank", "candidate", *FIGURES.values())
    for place, one in enumerate(model["ranking"], 1):
        figures = ("-" if one.get(name) is None else f"{one[name]:.3g}" for name in FIGURES)
        table.add_row(str(place), one["candidate"], *figures)
    return table


def _reasons(model: Mapping[str, Any]) -> list[Text]:
    """Why candidates were rejected, one line each."""
    reasons = {one["candidate"]: one["unavailable"] for one in model["ranking"]} | dict(model["rejected"])
    return [Text(f"{candidate}: rejected: {reason}") for candidate, reason in reasons.items() if reason]


def tune(predictor: Predictor, seconds: float, *, quiet: bool = False) -> None:
    """Measure the candidates of a predictor's models, with a live table unless ``quiet``."""
    if quiet:
        predictor.tune(seconds)
        return
    table = new_table("model", "candidate", "batch", "workers", "p50 ms", "p90 ms", "px off")
    failures: list[RenderableType] = []
    progress = Progress(TextColumn("measuring"), BarColumn(), TimeElapsedColumn(), TextColumn(f"of {seconds:g} s"))
    task, start = progress.add_task("", total=seconds), time.monotonic()

    def on_progress(model: str, result: Measurement | Failure) -> None:
        if isinstance(result, Failure):
            failures.append(Text(f"{model}, {result.candidate}: {result.reason}", style="dim"))
        else:
            _add(table, model, result)
        progress.update(task, completed=time.monotonic() - start)

    console = Console(stderr=True)
    with Live(get_renderable=lambda: Group(table, *failures, progress), console=console, refresh_per_second=4):
        predictor.tune(seconds, on_progress=on_progress)
        progress.update(task, completed=seconds)
    if not console.is_terminal:
        console.print()  # in a file, ends the last line


def _add(table: Table, model: str, result: Measurement) -> None:
    row = result.row(model)
    off = "-" if row.deviation_px is None else f"{row.deviation_px:.2g}"
    figures = f"{row.p50_ms:.2f}", f"{row.p90_ms:.2f}", off
    table.add_row(model, str(result.candidate), str(result.batch), str(row.workers), *figures)


def summary(predictor: Predictor) -> dict[str, str]:
    """What each model runs on: by its name for one image at a time, and where that differs for many."""
    predictor.side_by_side()
    description = predictor.describe()
    models = {model["model"]: model for model in description["models"]}
    models |= {f"{model['model']}, many images": model for model in description["side_by_side"]}
    return {
        name: ", ".join([f"{model['backend']} {model['variant']}", threads_of(model), *model["notes"]])
        for name, model in models.items()
    }
