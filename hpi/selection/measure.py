"""Measuring candidates on this machine, with real crops."""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpi.backends.base import Session, SessionOptions
from hpi.backends.cpu import this_cpu
from hpi.errors import BackendError, HpiError
from hpi.model_files import ModelSpec
from hpi.selection.choice import PRECISIONS, Candidate, Wish, open_proved, rank
from hpi.selection.parity import example_feeds
from hpi.selection.priors import DeviceClass, Prior
from hpi.zoo import Skeleton

ROUNDS = 5
"""Each candidate gets its turn this often, so that a slow minute of the machine does not fall on one of them."""
LOSES_AT = 2.0
"""A candidate this many times slower than the best after the first round is not measured further."""


@dataclass(frozen=True)
class Failure:
    """A candidate that could not be measured."""

    candidate: Candidate
    reason: str


@dataclass(frozen=True)
class Measurement:
    """Times of one candidate at one batch size, milliseconds."""

    candidate: Candidate
    batch: int
    times: NDArray[np.float64]
    deviation: str
    session_version: str
    threads: int

    @property
    def median(self) -> float:
        """p50, milliseconds."""
        return float(np.median(self.times))

    def row(self, model: str) -> Prior:
        """As a prior of this machine."""
        p90, p99 = np.percentile(self.times, [90, 99])
        return Prior(
            model=model,
            device=DeviceClass.of(this_cpu()),
            backend=self.candidate.backend,
            precision=self.candidate.variant.precision,
            static_batch=self.candidate.variant.static_batch,
            threads=self.threads,
            batch=self.batch,
            p50_ms=round(self.median, 3),
            p90_ms=round(float(p90), 3),
            p99_ms=round(float(p99), 3),
            deviation=self.deviation,
            versions={self.candidate.backend: self.session_version},
            date=datetime.date.today().isoformat(),
            source="measured",
        )


@dataclass
class _Runner:
    """A candidate that is loaded and proved right, with its inputs ready."""

    candidate: Candidate
    session: Session
    deviation: str

    def run(self, feeds: Mapping[str, NDArray[np.float32]], seconds: float) -> list[float]:
        """Times of as many runs as fit, at least two, after one to warm up; milliseconds."""
        self.session.run(feeds)
        times: list[float] = []
        end = time.perf_counter() + seconds
        while len(times) < 2 or time.perf_counter() < end:
            start = time.perf_counter()
            self.session.run(feeds)
            times.append(1000 * (time.perf_counter() - start))
        return times


def measure(
    spec: ModelSpec,
    skeleton: Skeleton,
    options: SessionOptions,
    batches: Sequence[int],
    seconds: float,
    told: Callable[[Measurement | Failure], None] = lambda _: None,
    *,
    keep_losers: bool = False,
    precisions: Collection[str] = PRECISIONS,
) -> list[Measurement]:
    """Measure every candidate of a model that proves right, in turn, at several batch sizes.

    Args:
        spec: the model.
        skeleton: its joints.
        options: device, threads, artifacts.
        batches: batch sizes.
        seconds: time for all runs together; loading and compiling come on top.
        told: called with each result as it is there.
        keep_losers: measure those to the end that are much slower than the best.
        precisions: those to measure.

    Returns:
        The measurements.

    Raises:
        BackendError: no candidate could be measured.
    """
    runners = list(_open_all(spec, skeleton, options, precisions, told))
    try:
        if not runners:
            raise BackendError(f"{spec.name}: nothing to measure: no runtime can serve it here")
        slice_s = seconds / (len(batches) * len(runners) * ROUNDS)
        measured = []
        for batch in batches:
            for result in _measure_batch(spec, skeleton, runners, batch, slice_s, keep_losers=keep_losers):
                told(result)
                measured.append(result)
        return measured
    finally:
        for runner in runners:
            runner.session.close()


def _open_all(
    spec: ModelSpec,
    skeleton: Skeleton,
    options: SessionOptions,
    precisions: Collection[str],
    told: Callable[[Measurement | Failure], None],
) -> Iterator[_Runner]:
    for ranked in rank(spec, Wish(options, precisions=precisions), None):
        if ranked.unavailable is None:
            try:
                session, verdict = open_proved(spec, skeleton, ranked.candidate, options)
            except HpiError as error:
                told(Failure(ranked.candidate, str(error)))
            else:
                yield _Runner(ranked.candidate, session, verdict.said)


def _measure_batch(
    spec: ModelSpec, skeleton: Skeleton, runners: list[_Runner], batch: int, slice_s: float, *, keep_losers: bool
) -> list[Measurement]:
    times: dict[Candidate, list[float]] = {runner.candidate: [] for runner in runners}
    feeds = example_feeds(spec, runners[0].session, skeleton, batch)
    best = math.inf
    for turn in range(ROUNDS):
        for runner in runners:
            so_far = times[runner.candidate]
            if turn == 0 or keep_losers or np.median(so_far) < LOSES_AT * best:
                so_far += runner.run(feeds, slice_s)
        best = min(float(np.median(of_one)) for of_one in times.values())
    return [
        Measurement(
            runner.candidate,
            batch,
            np.array(times[runner.candidate]),
            runner.deviation,
            runner.session.info.version,
            runner.session.info.threads,
        )
        for runner in runners
    ]
