"""Batches of the chosen runtime as they are split usually, and as its measurements say, in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from hpi.backends import BACKENDS
from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import SessionOptions
from hpi.benchmarks.options import Backend, Rounds, Threads, name_and_folder
from hpi.cli.tables import new_table
from hpi.options import AUTO
from hpi.selection.choice import choose
from hpi.selection.measure import timed
from hpi.selection.parity import example_run
from hpi.selection.priors import Priors
from hpi.selection.ranking import Candidate, Request
from hpi.zoo import Zoo

HEADINGS = ("items", "usual", "as measured", "usual, ms", "as measured, ms", "gain")
ROUNDS = 20


def main(
    model: Annotated[str, typer.Option("--model", help="Name, or NAME=FOLDER.")],
    items: Annotated[list[int], typer.Option(min=1, help="Batch; repeat for several.")] = [1, 3, 4, 5, 7, 9, 12, 16],  # noqa: B006
    backend: Backend = AUTO,
    objective: Annotated[str, typer.Option(help="latency or throughput.")] = "latency",
    rounds: Rounds = ROUNDS,
    threads: Threads = None,
) -> None:
    """Time batches of the chosen runtime, split as usual and as measured, from uint8 crops on."""
    zoo = Zoo.default()
    spec = zoo.find(*name_and_folder(model))
    request = Request(
        SessionOptions(ArtifactCache(zoo.artifacts), threads=threads), backend=backend, objective=objective
    )
    measured = choose(spec, request, Priors(zoo.own_priors)).session
    candidate = Candidate(measured.info.backend, measured.info.variant)
    table = new_table(*HEADINGS, title=f"{spec.name} on {candidate}")
    with measured, BACKENDS[candidate.backend].load(spec.files, request.session_options(candidate)) as usual:
        for count in items:
            runs = [example_run(spec, session, count) for session in (usual, measured)]
            before, after = np.median([[_milliseconds(run) for run in runs] for _ in range(rounds)], axis=0)
            splits = ["+".join(map(str, session.split(count))) for session in (usual, measured)]
            table.add_row(str(count), *splits, f"{before:.2f}", f"{after:.2f}", f"{before / after:.2f}")
    Console().print(table)


def _milliseconds(run: Callable[[], object]) -> float:
    run()  # what ran before has left its traces in the caches
    return timed(run)
