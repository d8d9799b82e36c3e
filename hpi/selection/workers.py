"""How many pipelines run side by side on the cores of a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from hpi.models.spec import ModelSpec
from hpi.selection.priors import Priors
from hpi.selection.ranking import Request, basis_of, rank


def usual_workers(models: Sequence[tuple[ModelSpec, Request]], priors: Priors) -> int:
    """How many pipelines side by side use the threads best: one, or one for each thread.

    Measurements of the models with as many workers decide; without any it is one for each thread, since a thread by
    itself waits for no other.

    Args:
        models: of one pipeline, each with what is asked of its runtime; ``threads`` are those of all workers together.
        priors: the measurements.

    Example:
        >>> from pathlib import Path
        >>> from hpi.backends.artifacts import ArtifactCache
        >>> from hpi.backends.base import SessionOptions
        >>> from hpi.zoo import Zoo
        >>> zoo = Zoo.default()
        >>> request = Request(SessionOptions(ArtifactCache(zoo.artifacts), threads=1), objective="throughput")
        >>> usual_workers([(zoo.find("MoveNet-Thunder_256x256"), request)], Priors(zoo.own_priors))
        1
    """
    threads = models[0][1].options.thread_count
    one_at_a_time, side_by_side = (
        [_Expected.of(spec, request.on_workers(workers), priors) for spec, request in models]
        for workers in (1, threads)
    )
    if any(one.seconds is None for one in side_by_side):
        return 1
    can_be_compared = [one.origin for one in one_at_a_time] == [one.origin for one in side_by_side]
    slower = sum(one.seconds or 0 for one in side_by_side) > sum(one.seconds or 0 for one in one_at_a_time)
    return 1 if can_be_compared and slower else threads


class _Expected(NamedTuple):
    """The time of an item on the best candidate: 0 without measurements, None where none can run.

    Attributes:
        origin: where and when it was measured. Differences between days are as large as those looked for.
    """

    seconds: float | None
    origin: object

    @classmethod
    def of(cls, spec: ModelSpec, request: Request, priors: Priors) -> _Expected:
        basis = basis_of(spec, request, priors)
        best = rank(spec, replace(request, objective="throughput"), basis)[0]
        if best.unavailable:
            return cls(None, None)
        if best.estimate is None or basis is None or not basis.rows:
            return cls(0, None)
        first = basis.rows[0]
        return cls(1 / best.estimate.throughput, (first.device, first.source, first.date, bool(basis.calibrated)))
