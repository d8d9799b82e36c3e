"""Measure candidates on this machine with real images."""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpi.backends.base import Session, SessionOptions
from hpi.errors import BackendError, HpiError
from hpi.models.spec import ModelSpec
from hpi.options import AUTO
from hpi.selection.basis import Basis
from hpi.selection.loading import open_validated, open_with_verdict
from hpi.selection.memory import peak_memory
from hpi.selection.parity import Verdict, example_run
from hpi.selection.priors import CpuClass, GpuClass, Prior, device_class
from hpi.selection.ranking import PRECISIONS, Candidate, Request, rank

ROUNDS = 8
"""Turns of each candidate. Candidates alternate, so that a slow minute of the machine affects all of them."""
SETTLE_S = 0.2
"""Pause before a turn, since threads of some runtimes (Paddle's OpenMP) keep spinning after a run."""
LOSES_AT = 2.0
"""A candidate that is this many times slower than the best after the first round is dropped."""
LEAST_TURN_S = 0.05
"""Shortest turn, even when the time is used up: a single run says little."""
OPENING_SHARE = 0.5
"""Share of the time after which no more candidates are loaded."""


@dataclass(frozen=True)
class Protocol:
    """What to measure.

    Attributes:
        batches: batch sizes.
        seconds: time for everything; a step that has started is finished.
        precisions: those to measure.
        backend: a runtime's name, to measure no other, or ``"auto"``.
        rounds: turns that each candidate gets at each batch size.
        memory: also measure the memory that each candidate needs, in a process of its own.
        complete: also measure slow candidates and those that fail the parity gate; the time is then that of the runs
            alone.
        loses_at: a candidate that is this many times slower than the best after the first round is dropped; None: as
            ``complete`` says.

    Example:
        >>> protocol = Protocol(batches=(1, 4), seconds=30, precisions=("fp32",))
        >>> protocol.backend, protocol.memory
        ('auto', False)
    """

    batches: Sequence[int]
    seconds: float
    precisions: Collection[str] = PRECISIONS
    backend: str = AUTO
    rounds: int = ROUNDS
    memory: bool = False
    complete: bool = False
    loses_at: float | None = None


@dataclass(frozen=True)
class Failure:
    """A candidate that was not measured.

    Example:
        >>> from hpi.backends.base import Variant
        >>> failure = Failure(Candidate("openvino", Variant()), "batch 8: out of memory")
        >>> f"{failure.candidate}: {failure.reason}"
        'openvino fp32: batch 8: out of memory'
    """

    candidate: Candidate
    reason: str


@dataclass(frozen=True)
class Measurement:
    """Times of one candidate at one batch size, milliseconds, and its memory in MB where that was measured.

    Each time is that of one worker's batch, while ``workers`` of them run.

    Example:
        >>> from hpi.backends.base import Variant
        >>> cpu, verdict = CpuClass(vendor="amd", isa="avx2", cores=2), Verdict(True, "it is the reference", 0.0)
        >>> times = np.array([4.0, 5.0, 6.0])
        >>> measurement = Measurement(Candidate("openvino", Variant()), 1, times, verdict, "2025.4", cpu, 2, None)
        >>> measurement.median, measurement.row("MoveNet-Thunder_256x256").throughput
        (5.0, 200.0)
    """

    candidate: Candidate
    batch: int
    times: NDArray[np.float64]
    verdict: Verdict
    session_version: str
    device: CpuClass | GpuClass
    threads: int
    memory_mb: float | None
    workers: int = 1

    @property
    def median(self) -> float:
        """p50, milliseconds."""
        return float(np.median(self.times))

    @property
    def spread(self) -> float:
        """Relative uncertainty of the median: its rank among n times has a standard deviation of half the root of n."""
        low, high = np.percentile(self.times, 50 + np.array([-1, 1]) * 50 / math.sqrt(len(self.times)))
        return float(high - low) / 2 / self.median

    def row(self, model: str) -> Prior:
        """As a prior of this machine."""
        p90, p99 = np.percentile(self.times, [90, 99])
        variant = self.candidate.variant
        return Prior(
            model=model,
            device=self.device,
            backend=self.candidate.backend,
            precision=variant.precision,
            profile=variant.profile,
            threads=self.threads,
            workers=self.workers,
            batch=self.batch,
            p50_ms=round(self.median, 3),
            p90_ms=round(float(p90), 3),
            p99_ms=round(float(p99), 3),
            throughput=round(1000 * self.batch * self.workers / float(self.times.mean()), 2),
            spread=round(self.spread, 4),
            memory_mb=self.memory_mb,
            deviation_px=None if self.verdict.pixels is None else float(f"{self.verdict.pixels:.3g}"),
            versions={self.candidate.backend: self.session_version},
            date=datetime.date.today().isoformat(),
            source="measured",
        )


@dataclass
class _Runner:
    """A candidate that is loaded and validated, with its runs and times (ms) at the batch that is being measured."""

    spec: ModelSpec
    candidate: Candidate
    workers: int
    device: CpuClass | GpuClass
    session: Session
    verdict: Verdict
    run: Callable[[], object] = lambda: None
    times: list[float] = field(default_factory=list)
    memory_mb: Mapping[int, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return float(np.median(self.times)) if self.times else math.inf

    def prepare(self, batch: int) -> None:
        """Prepare a batch size and run it once, which compiles for it.

        Raises:
            HpiError: it cannot run this batch.
        """
        self.times = []
        self.run = example_run(self.spec, self.session, batch)
        self.run()

    def take_turn(self, seconds: float) -> None:
        """Run for a while, all workers at the same time."""
        time.sleep(SETTLE_S)
        end = time.perf_counter() + seconds
        if self.workers == 1:
            self.times += times_until(self.run, end)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            for times in pool.map(times_until, [self.run] * self.workers, [end] * self.workers):
                self.times += times


def times_until(run: Callable[[], object], end: float) -> list[float]:
    """The times of runs until a moment of ``time.perf_counter``, ms.

    The first run is slowed by what ran before; it counts only if it is the only one.

    Example:
        >>> len(times_until(lambda: None, end=0))
        1
    """
    first, times = timed(run), list[float]()
    while time.perf_counter() < end:
        times.append(timed(run))
    return times or [first]


def timed(run: Callable[[], object]) -> float:
    """The time of a run, ms.

    Example:
        >>> timed(lambda: None) < 1000
        True
    """
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


OnProgress = Callable[[Measurement | Failure], None]


def measure(
    spec: ModelSpec,
    options: SessionOptions,
    protocol: Protocol,
    on_progress: OnProgress = lambda _: None,
    basis: Basis | None = None,
) -> list[Measurement]:
    """Measure every candidate of a model that gives the reference's results, in turn, at several batch sizes.

    Args:
        spec: the model.
        options: device, threads, workers, artifacts.
        protocol: what to measure, and for how long.
        on_progress: called with each result as it is there.
        basis: measurements so far; the best by these are loaded first.

    Returns:
        The measurements; where the time ends early those of the first batch sizes.

    Raises:
        BackendError: no candidate could be measured, with all reasons; or the device is one that no measurements are
            kept of.
    """
    started = time.perf_counter()
    runners = list(_open_all(spec, options, protocol, on_progress, basis))
    try:
        if protocol.memory:
            _measure_memory(runners, options, protocol.batches, on_progress)
        spent = 0.0 if protocol.complete else time.perf_counter() - started
        turns = len(protocol.batches) * len(runners) * protocol.rounds
        slice_s = max((protocol.seconds - spent) / turns - (0 if protocol.complete else SETTLE_S), LEAST_TURN_S)
        measured: list[Measurement] = []
        for batch in protocol.batches:
            if measured and not protocol.complete and time.perf_counter() - started > protocol.seconds:
                break
            for result in _measure_batch(runners, batch, slice_s, on_progress, protocol):
                on_progress(result)
                measured.append(result)
        return measured
    finally:
        for runner in runners:
            runner.session.close()


def _measure_memory(
    runners: Sequence[_Runner], options: SessionOptions, batches: Sequence[int], on_progress: OnProgress
) -> None:
    for runner in runners:
        try:
            for batch in batches:  # what is compiled now is not compiled in the process that is measured
                runner.prepare(batch)
            runner.memory_mb = peak_memory(runner.spec, runner.candidate, options, batches)
        except BackendError as error:
            on_progress(Failure(runner.candidate, str(error)))


def _open_all(
    spec: ModelSpec,
    options: SessionOptions,
    protocol: Protocol,
    on_progress: OnProgress,
    basis: Basis | None,
) -> Iterator[_Runner]:
    open_candidate = open_with_verdict if protocol.complete else open_validated
    device = device_class(options.device)
    if device is None:
        raise BackendError(f"{options.device} cannot be measured: only Paddle runs on it")
    opened, latest = False, time.perf_counter() + OPENING_SHARE * protocol.seconds
    reasons: list[str] = []
    ranking = rank(spec, Request(options, protocol.backend, protocol.precisions), basis)
    # FP32 first, which is what runs unless another precision is asked for: the time may be over early.
    for ranked in sorted(ranking, key=lambda one: one.candidate.variant.precision != "fp32"):
        if ranked.unavailable is not None:
            reasons.append(f"{ranked.candidate}: {ranked.unavailable}")
            continue
        if opened and not protocol.complete and time.perf_counter() > latest:
            on_progress(Failure(ranked.candidate, "not enough time left to load it; use a larger budget"))
            continue
        try:
            session, verdict = open_candidate(spec, ranked.candidate, options)
        except HpiError as error:
            reasons.append(f"{ranked.candidate}: {error}")
            on_progress(Failure(ranked.candidate, str(error)))
        else:
            opened = True
            yield _Runner(spec, ranked.candidate, options.workers, device, session, verdict)
    if not opened:
        raise BackendError("\n  ".join([f"{spec.name}: nothing to measure: no runtime can run it here:", *reasons]))


def _measure_batch(
    runners: list[_Runner], batch: int, slice_s: float, on_progress: OnProgress, protocol: Protocol
) -> list[Measurement]:
    able = [runner for runner in runners if _is_able(runner, batch, on_progress)]
    loses_at = protocol.loses_at or (math.inf if protocol.complete else LOSES_AT)
    best, end = math.inf, time.perf_counter() + (slice_s + SETTLE_S) * len(able) * protocol.rounds
    for turn in range(protocol.rounds):
        for runner in able:
            if turn == 0 or runner.median < loses_at * best:
                runner.take_turn(slice_s)
        best = min((runner.median for runner in able), default=math.inf)
        if time.perf_counter() > end and not protocol.complete:
            break
    return [
        Measurement(
            runner.candidate,
            batch,
            np.array(runner.times),
            runner.verdict,
            runner.session.info.version,
            runner.device,
            runner.session.info.threads,
            runner.memory_mb.get(batch),
            runner.workers,
        )
        for runner in able
    ]


def _is_able(runner: _Runner, batch: int, on_progress: OnProgress) -> bool:
    try:
        runner.prepare(batch)
    except HpiError as error:
        on_progress(Failure(runner.candidate, f"batch {batch}: {error}"))
        return False
    return True
