"""The choice of a runtime: the best candidate that passes the parity gate."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from hpi.backends import BACKENDS
from hpi.backends.base import INT8, Session
from hpi.errors import BackendError, ConfigError, HpiError
from hpi.models.spec import ModelSpec
from hpi.options import AUTO
from hpi.selection.basis import Basis
from hpi.selection.loading import RefusedError, open_named, open_validated
from hpi.selection.parity import Verdict, check_first_run
from hpi.selection.priors import Prior, Priors
from hpi.selection.ranking import OBJECTIVES, Candidate, Ranked, Request, basis_of, rank

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """A loaded model and the reason for its runtime.

    Attributes:
        session: the loaded model.
        reason: why this runtime.
        rejected: candidates that ranked higher but failed, each with the reason.
        ranking: all candidates, best first.
        basis: where the measurements come from.
    """

    session: Session
    reason: str
    rejected: dict[str, str]
    ranking: tuple[Ranked, ...]
    basis: str


def choose(spec: ModelSpec, request: Request, priors: Priors) -> Choice:
    """Load a model on the best candidate that passes the parity gate.

    Candidates are ranked by measurements of this model on this machine or on the nearest device class. Those without
    measurements come last, as they compare on other models, else in the order of the registry. A candidate that fails
    to load, fails at its first run or fails the parity gate is skipped, and the reason is kept. A runtime that is
    requested by name is never replaced, and in FP32 not validated, unless it is known to be doubtful.

    Raises:
        ConfigError: no runtime or objective has that name.
        BackendError: every candidate failed; the message has all reasons.

    Example:
        >>> from hpi.backends.artifacts import ArtifactCache
        >>> from hpi.backends.base import SessionOptions
        >>> from hpi.zoo import Zoo
        >>> zoo = Zoo.default()
        >>> request = Request(SessionOptions(ArtifactCache(zoo.artifacts)), backend="onnxruntime")
        >>> choice = choose(zoo.find("MoveNet-Thunder_256x256"), request, Priors(zoo.own_priors))
        >>> choice.session.info.backend, choice.rejected
        ('onnxruntime', {})
        >>> choice.session.close()
    """
    if request.objective not in OBJECTIVES:
        raise ConfigError(f"unknown objective {request.objective!r}; known are {', '.join((AUTO, *OBJECTIVES))}")
    basis = basis_of(spec, request, priors)
    if request.options.workers > 1 and not (basis and basis.knows_model):
        with_one = basis_of(spec, request.on_workers(1), priors)
        basis = replace(with_one, here=False) if with_one else basis  # it ranks; the times of workers are others
    ranking = rank(spec, request, basis)
    failed: dict[Candidate, HpiError] = {}
    for ranked in ranking:
        try:
            session = _open(spec, request, ranked)
        except HpiError as error:
            failed[ranked.candidate] = error
        else:
            _report(spec.name, {one.candidate for one in ranking if one.unavailable}, failed)
            if basis and basis.here and spec.transform.takes_regions:  # its outputs then have a row for each person
                _plan_batches(session, basis.rows)
            where = basis.where if basis else "no measurements"
            rejected = {str(candidate): str(error) for candidate, error in failed.items()}
            return Choice(session, _reason(ranked, request, basis), rejected, ranking, where)
    reasons = "; ".join(f"{candidate}: {error}" for candidate, error in failed.items())
    raise BackendError(f"{spec.name}: no runtime can run it on {request.options.device}: {reasons}")


def _plan_batches(session: Session, rows: Iterable[Prior]) -> None:
    """Have batches split by the measurements of the same runtime, profile, threads and workers."""
    info = session.info
    setting = (info.backend, info.variant, info.threads, info.workers)
    same = (row for row in rows if (row.backend, row.variant, row.threads, row.workers) == setting)
    session.plan_by({row.batch: row.p50_ms for row in same})


def _report(model: str, unavailable: Collection[Candidate], failed: Mapping[Candidate, HpiError]) -> None:
    """Log the skipped candidates, with one warning per runtime.

    Candidates that cannot run the model are not logged. A lower precision that fails the parity gate is expected, so it
    is logged as information.
    """
    warned: set[str] = set()
    for candidate, error in failed.items():
        if candidate in unavailable:
            continue
        refused = isinstance(error, RefusedError) and candidate.variant.precision != "fp32"
        quiet = refused or candidate.backend in warned
        level = logging.INFO if quiet else logging.WARNING
        logger.log(level, "%s: %s is skipped: %s", model, candidate, error)
        if not quiet:
            warned.add(candidate.backend)


def _reason(ranked: Ranked, request: Request, basis: Basis | None) -> str:
    estimate = ranked.estimate
    if basis is None or estimate is None:
        by = ": best on other models" if basis and basis.ratios.of_all(ranked.candidate.key, [1]) < math.inf else ""
        return f"first candidate that can run it; no measurements of this model{by}"
    figures = {
        "latency": f"{estimate.milliseconds:.3g} ms for the expected batches",
        "throughput": f"{estimate.throughput:.3g} a second in the expected batches",
        "memory": "memory not measured" if estimate.memory_mb is None else f"{estimate.memory_mb:.0f} MB",
    }
    return f"{figures[request.objective]}, {basis.where}"


def _open(spec: ModelSpec, request: Request, ranked: Ranked) -> Session:
    """Open a candidate, or raise HpiError."""
    if ranked.unavailable is not None:
        raise BackendError(ranked.unavailable)
    candidate = ranked.candidate
    _check_ap_loss(spec, candidate, request)
    options = request.session_options(candidate)
    explicit = request.backend != AUTO and request.max_deviation_px is None
    doubtful = BACKENDS[candidate.backend].is_doubtful(candidate.variant, options.device)
    if explicit and candidate.variant.precision == "fp32" and not doubtful:
        return open_named(spec, candidate, options)
    session, verdict = open_validated(spec, candidate, options)
    try:
        _check_deviation(spec, verdict, request)
        # A session that crashes or returns NaN at its first run must do so here, not at the user's first image.
        check_first_run(spec, session, session.trial_items)
    except BaseException:
        session.close()
        raise
    return session


def _check_deviation(spec: ModelSpec, verdict: Verdict, request: Request) -> None:
    most = request.max_deviation_px
    if most is None or not spec.head.finds_keypoints:
        return
    if verdict.pixels is None or verdict.pixels > most:
        raise RefusedError(f"exceeds the allowed {most:g} px: {verdict.summary}")


def _check_ap_loss(spec: ModelSpec, candidate: Candidate, request: Request) -> None:
    most = request.max_ap_loss
    if most is None or candidate.variant.precision != INT8 or spec.int8 is None:
        return
    loss = spec.int8.note.ap_loss
    if loss is None or loss.points > most:
        known = "its loss is not known" if loss is None else f"it loses {loss}"
        raise RefusedError(f"may exceed the allowed loss of {most:g} points of AP: {known}")
