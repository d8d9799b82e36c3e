"""Calibration of the choice: a short measurement at the first start on a machine of which too little is known."""

from __future__ import annotations

import datetime
import hashlib
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import numpy as np

from hpi.backends import BACKENDS
from hpi.backends.base import Session
from hpi.errors import BackendError, ConfigError, HpiError
from hpi.models import model_class
from hpi.models.spec import ModelSpec
from hpi.options import AUTO
from hpi.selection.basis import Basis
from hpi.selection.loading import load
from hpi.selection.measure import timed, times_until
from hpi.selection.parity import example_run
from hpi.selection.priors import CpuClass, Prior, Priors, device_class
from hpi.selection.ranking import Candidate, Ranked, Request, rank

logger = logging.getLogger(__name__)

VARIABLE = "HPI_CALIBRATE"

SECONDS = 1.5
"""Time for all models of a start, loading candidates included."""
WITHIN = 1.5
"""Candidates that are expected to take up to so many times as long as the best are measured; see choice.md."""
MOST_CANDIDATES = 3
LARGEST_BATCH = 4
"""Larger batches rank the candidates like this one, and take longer."""
LEAST_ROUNDS, MOST_ROUNDS = 3, 9
TURN_S = 0.015
"""Shortest turn of a candidate in a round."""
LONG_S = 0.1
"""A run that is not slowed noticeably by what ran before."""
AHEAD = 1.1
"""A candidate that wins every round by so much is the best; further rounds would say nothing new."""
QUIET = 0.7
"""Least share of the cores that this process must get; with less, other programs are measured too."""
PROBE_S = 0.005


def is_wanted(asked: bool | None, default: bool = True) -> bool:
    """Whether to calibrate: what a caller asks for, else what ``HPI_CALIBRATE`` says, else the default.

    Raises:
        ConfigError: ``HPI_CALIBRATE`` is neither 0 nor 1.

    Example:
        >>> is_wanted(False), is_wanted(True, default=False)
        (False, True)
    """
    said = os.environ.get(VARIABLE, "")
    if said not in {"", "0", "1"}:
        raise ConfigError(f"{VARIABLE} is {said!r}: set it to 0 or to 1")
    if asked is not None:
        return asked
    return said == "1" if said else default


def has_cores(threads: int) -> bool:
    """Whether so many threads get the cores to themselves, as far as a few milliseconds show."""
    if time.get_clock_info("thread_time").resolution > PROBE_S:  # Windows counts in steps of 16 ms
        return True
    block = bytes(threads << 16)  # the more threads, the longer each of them is without Python's lock

    def share(_: int) -> float:
        began, computed = time.perf_counter(), time.thread_time()
        while time.perf_counter() < began + PROBE_S:
            hashlib.sha256(block)
        return (time.thread_time() - computed) / (time.perf_counter() - began)

    with ThreadPoolExecutor(threads) as pool:
        return float(np.mean(list(pool.map(share, range(threads))))) >= QUIET


@dataclass
class _Runner:
    """A loaded candidate, with the median time of its turns in each round that counts, ms."""

    candidate: Candidate
    session: Session
    run: Callable[[], object]
    rounds: list[float] = field(default_factory=list)

    def prepare(self, spec: ModelSpec, batch: int) -> float:
        """Prepare a batch size; returns the seconds of a run, the second one unless the first is a long one."""
        self.run = example_run(spec, self.session, batch)
        first = timed(self.run) / 1000
        return first if first > LONG_S else timed(self.run) / 1000

    def turn(self) -> float:
        """The median of the runs of a turn, ms."""
        return float(np.median(times_until(self.run, time.perf_counter() + TURN_S)))


class Calibration:
    """The time that one start may take to calibrate all of its models.

    Nothing is validated here, and nothing of what is loaded here is used: the parity gate comes after the choice.

    Attributes:
        left: seconds that are left; a step that has begun is finished.

    Example:
        >>> Calibration().left
        1.5
    """

    def __init__(self, seconds: float = SECONDS, has_cores: Callable[[int], bool] = has_cores) -> None:
        self._seconds = self.left = seconds
        self._has_cores = has_cores

    def calibrate(self, spec: ModelSpec, request: Request, priors: Priors) -> None:
        """Measure the best candidates of a model and keep the result, where that is due.

        It is not on another device than the CPU, for a runtime that is asked for by name or with options of its own,
        where FP32 is not allowed, for least memory, where this machine or its class has been measured, where it has
        been done, and where the result cannot be kept. While other programs use the cores nothing is kept either.

        Raises:
            ConfigError: this machine's measurements cannot be read.
        """
        if self.left <= 0 or not due(spec, request, priors):
            return
        try:
            with priors.locked():
                candidates = due(spec, request, priors)  # another process may just have done it
                if candidates and self._has_cores(request.options.thread_count):
                    priors.store(self._measure(spec, request, candidates))
        except ConfigError as error:
            logger.info("%s is not calibrated: %s", spec.name, error)
        except HpiError as error:
            logger.info("%s cannot be calibrated: %s", spec.name, error)

    def _measure(self, spec: ModelSpec, request: Request, candidates: Sequence[Candidate]) -> list[Prior]:
        """The rows of the candidates that could be loaded in the time; none where other programs disturbed."""
        BACKENDS[candidates[0].backend].prepare(spec.files, request.options)  # any start does, so it does not count
        began, full = time.perf_counter(), self.left == self._seconds
        ends = began + self.left
        try:
            with ExitStack() as opened:
                runners, batch = self._open(spec, request, candidates, ends, opened)
                if len(runners) == 1 and not full:
                    return []  # the next start has more time for this model
                return self._rows(spec, request, runners, batch, ends)
        finally:
            self.left -= time.perf_counter() - began

    def _open(
        self, spec: ModelSpec, request: Request, candidates: Sequence[Candidate], ends: float, opened: ExitStack
    ) -> tuple[list[_Runner], int]:
        """Load candidates that fit into the time, and say at which batch size they can be measured.

        The one that loads fastest comes first: its time says how long the others will take.
        """

        def opened_runner(candidate: Candidate) -> _Runner:
            session = load(spec, candidate, request.session_options(candidate))
            opened.callback(session.close)
            return _Runner(candidate, session, lambda: None)

        first, *others = sorted(candidates, key=_load_time)
        began = time.perf_counter()
        runners = [opened_runner(first)]
        unit = (time.perf_counter() - began) / _load_time(first)
        run_s = runners[0].prepare(spec, 1)
        sizes = {_wanted_batch(spec, request), 1}
        for candidate in others:
            left = ends - time.perf_counter()
            fitting = {
                size for size in sizes if unit * _loading(candidate, first, size) + _rounds_s(run_s * size) < left
            }
            if fitting:
                sizes = {max(fitting)}
                with suppress(BackendError):  # the choice reports it; the others are compared without it
                    runners.append(opened_runner(candidate))
        return runners, max(sizes) if len(runners) > 1 else 1

    def _rows(
        self, spec: ModelSpec, request: Request, runners: Sequence[_Runner], batch: int, ends: float
    ) -> list[Prior]:
        for runner in runners:
            runner.prepare(spec, batch)
        threads = request.options.thread_count
        for _ in range(MOST_ROUNDS):
            began = time.perf_counter()
            turns = [runner.turn() for runner in runners]
            if self._has_cores(threads):
                for runner, milliseconds in zip(runners, turns, strict=True):
                    runner.rounds.append(milliseconds)
            now = time.perf_counter()
            if now + (now - began) > ends or _is_decided(runners):
                break
        if len(runners[0].rounds) < min(LEAST_ROUNDS, len(runners)):
            logger.info("%s is not calibrated: other programs use the CPU", spec.name)
            return []
        return [_row(spec, request, runner, batch) for runner in runners]


def due(spec: ModelSpec, request: Request, priors: Priors) -> list[Candidate]:
    """The candidates that are worth measuring, best first; none where no calibration is due."""
    options = request.options
    device = device_class(options.device)
    asked_else = request.backend != AUTO or request.objective == "memory" or options.workers > 1
    # What is kept is for every later start: also for one in FP32, and without these options.
    for_all = "fp32" in request.precisions and not request.backend_options
    if asked_else or not for_all or not isinstance(device, CpuClass):
        return []
    basis = priors.basis(spec.name, device, options.thread_count)
    if basis is not None and (basis.here or basis.calibrated):
        return []
    candidates = _shortlist(rank(spec, request, basis), basis, _batches(spec, request))
    return candidates if len(candidates) > 1 else []


def _shortlist(ranking: Sequence[Ranked], basis: Basis | None, batches: Sequence[int]) -> list[Candidate]:
    """The best of each runtime, then the next ones, without those that are known to be much slower than the best.

    A variant that nobody has measured is left out where others of its runtime are known.
    """
    able = [one for one in ranking if one.unavailable is None]
    expected = {one.candidate: _expected(one, basis, batches) for one in able}
    known = {candidate.backend for candidate, times in expected.items() if math.isfinite(times)}
    best = min(expected.values(), default=math.inf)
    likely = [one for one, times in expected.items() if times <= WITHIN * best and math.isfinite(times)]
    likely += [one for one in expected if one.backend not in known]
    place = {one: sum(other.backend == one.backend for other in likely[:index]) for index, one in enumerate(likely)}
    return sorted(likely, key=place.__getitem__)[:MOST_CANDIDATES]


def _expected(ranked: Ranked, basis: Basis | None, batches: Sequence[int]) -> float:
    """The time of a candidate, to compare with others; infinity where nothing is known.

    Of a model without rows it is the time over that of the best of other models.
    """
    if basis is None or basis.rows:
        return ranked.estimate.milliseconds if ranked.estimate else math.inf
    return basis.ratios.of_all(ranked.candidate.key, batches)


def _batches(spec: ModelSpec, request: Request) -> Sequence[int]:
    return request.batches or model_class(spec).expected_batches(request.objective)


def _wanted_batch(spec: ModelSpec, request: Request) -> int:
    return min(max(_batches(spec, request)), LARGEST_BATCH)


def _load_time(candidate: Candidate) -> float:
    return BACKENDS[candidate.backend].relative_load_time


def _loading(candidate: Candidate, first: Candidate, size: int) -> float:
    """How long a candidate loads beside the first one, up to a batch size, as a multiple of ONNX Runtime's time."""
    # Some compile for each size, and have compiled for one item when they are loaded.
    again = _load_time(candidate) + _load_time(first) if size > 1 else 0
    return _load_time(candidate) + again


def _rounds_s(run_s: float) -> float:
    """Seconds that two candidates need to be compared: two runs to prepare, and the least rounds."""
    return 2 * (2 * run_s + LEAST_ROUNDS * max(TURN_S + run_s, run_s))


def _is_decided(runners: Sequence[_Runner]) -> bool:
    """Whether one candidate wins every round by far."""
    rounds = np.array([runner.rounds for runner in runners])
    if len(runners) == 1 or rounds.shape[1] < LEAST_ROUNDS:
        return len(runners) == 1
    best, *others = rounds[np.argsort(np.median(rounds, axis=1))]
    return all(bool((AHEAD * best < other).all()) for other in others)


def _row(spec: ModelSpec, request: Request, runner: _Runner, batch: int) -> Prior:
    device, info = device_class(request.options.device), runner.session.info
    assert device is not None  # else no calibration is due
    low, middle, high = np.percentile(runner.rounds, [25, 50, 75])
    return Prior(
        model=spec.name,
        device=device,
        backend=runner.candidate.backend,
        precision=runner.candidate.variant.precision,
        profile=runner.candidate.variant.profile,
        threads=request.options.thread_count,
        batch=batch,
        p50_ms=round(float(middle), 3),
        spread=round(float(high - low) / 2 / float(middle), 4),
        versions={info.backend: info.version},
        date=datetime.date.today().isoformat(),
        source="calibrated",
    )
