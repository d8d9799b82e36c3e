"""How good the automatic choice is.

For every model and batch size all candidates in FP32 are measured in turn in one run. The regret of a choice is its
time over that of the best candidate of this run: of ``auto``, as the shipped priors rank the candidates, and of
PaddleX's static order, which begins with OpenVINO (dynamic batch) for all these models on a CPU.
"""

from __future__ import annotations

from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import SessionOptions, Variant
from hpi.backends.cpu import this_cpu
from hpi.benchmarks.options import Models, Output, Threads, name_and_folder
from hpi.benchmarks.regret import choice_and_best
from hpi.evaluation.report import write_report
from hpi.selection.choice import Candidate
from hpi.selection.measure import Protocol, measure
from hpi.selection.priors import CpuClass, Priors
from hpi.zoo import Zoo

STATIC_CHOICE = Candidate("openvino", Variant())
HEADINGS = ("model", "batch", "auto", "ms", "regret", "best", "ms", "static order, ms", "regret")


def main(
    model: Models,
    batch: Annotated[list[int], typer.Option(help="Batch size; repeat for several.")] = [1, 2, 4, 8, 16],  # noqa: B006
    seconds: Annotated[float, typer.Option(help="Time for the runs of one model and batch.")] = 20,
    threads: Threads = None,
    output: Output = None,
) -> None:
    """Measure the regret of the automatic choice."""
    zoo, console = Zoo.default(), Console()
    options = SessionOptions(ArtifactCache(zoo.artifacts), threads=threads)
    rows: list[dict[str, Any]] = []
    for entry in model:
        name, folder = name_and_folder(entry)
        spec = zoo.find(name, folder)
        basis = Priors(zoo.own_priors).basis_of_shipped(name, CpuClass.of(this_cpu()), options.thread_count)
        protocol = Protocol(batch, seconds * len(batch), precisions=("fp32",), complete=True)
        fp32 = measure(spec, options, protocol)
        for size in batch:
            times = {one.candidate: one.median for one in fp32 if one.batch == size}
            auto, best = choice_and_best(spec, options, size, basis, times)
            rows.append(
                {
                    "model": name,
                    "batch": size,
                    "auto": str(auto),
                    "auto_ms": times[auto],
                    "auto_regret": times[auto] / times[best],
                    "best": str(best),
                    "best_ms": times[best],
                    "static_ms": times[STATIC_CHOICE],
                    "static_regret": times[STATIC_CHOICE] / times[best],
                }
            )
            console.print(" ".join(_cells(rows[-1])))
    table = Table(*HEADINGS)
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)
    summary = _summary(rows)
    console.print(summary)
    if output is not None:
        write_report(output, "Regret", f"{__doc__}\n{summary}\n", HEADINGS, [_cells(row) for row in rows], rows)


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["model"],
        str(row["batch"]),
        row["auto"],
        f"{row['auto_ms']:.2f}",
        f"{row['auto_regret']:.2f}",
        row["best"],
        f"{row['best_ms']:.2f}",
        f"{row['static_ms']:.2f}",
        f"{row['static_regret']:.2f}",
    ]


def _summary(rows: list[dict[str, Any]]) -> str:
    parts = []
    for name, key in (("auto", "auto_regret"), ("PaddleX's static order", "static_regret")):
        regrets = [row[key] for row in rows]
        parts.append(f"{name}: median regret {median(regrets):.3f}, worst {max(regrets):.3f}")
    return "; ".join(parts) + "."
