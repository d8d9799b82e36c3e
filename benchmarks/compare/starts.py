"""How long a candidate takes from nothing to its first answer, each time in a process of its own."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

from hpi.backends import BACKENDS
from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import SessionOptions
from hpi.errors import BackendError
from hpi.models.spec import ModelSpec
from hpi.selection.parity import example_run
from hpi.selection.ranking import Candidate


@dataclass(frozen=True)
class ColdStart:
    """Seconds to import the runtime, load the model and run one image or crop.

    Attributes:
        empty: with an empty artifact cache: what the candidate needs is built.
        warm: with what was built then.
    """

    empty: float
    warm: float


def cold_start(spec: ModelSpec, candidate: Candidate, options: SessionOptions) -> ColdStart:
    """Start a candidate twice; the system has its files in memory both times.

    Raises:
        BackendError: the candidate failed, or its process died.
    """
    with tempfile.TemporaryDirectory(prefix="hpi-") as folder:
        inside = replace(options, artifacts=ArtifactCache(Path(folder)), variant=candidate.variant)
        empty, warm = (_in_a_fresh_process(spec, candidate, inside) for _ in range(2))
    return ColdStart(empty, warm)


def _in_a_fresh_process(spec: ModelSpec, candidate: Candidate, options: SessionOptions) -> float:
    # Spawned: a fork would have this process's runtimes already imported.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(_seconds_to_answer, spec, candidate, options).result()
        except BrokenProcessPool as error:
            raise BackendError(f"{spec.name} on {candidate}: the process that starts it died") from error


def _seconds_to_answer(spec: ModelSpec, candidate: Candidate, options: SessionOptions) -> float:
    start = time.perf_counter()
    with BACKENDS[candidate.backend].load(spec.files, options) as session:
        example_run(spec, session, 1)()
        return time.perf_counter() - start
