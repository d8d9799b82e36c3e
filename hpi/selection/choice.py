"""Rank the candidates for a model by their measurements, and open the best one that passes the parity gate."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hpi.backends import BACKENDS
from hpi.backends.artifacts import content_hash
from hpi.backends.base import Backend, ModelFiles, Session, SessionOptions, Variant, device_kind
from hpi.errors import BackendError, ConfigError, HpiError
from hpi.models import model_class
from hpi.models.reference_images import ReferenceImages
from hpi.models.spec import ModelSpec
from hpi.options import AUTO
from hpi.selection.parity import RULES, Verdict, check_first_run, reference_results, validate
from hpi.selection.priors import Basis, Estimate, Priors, device_class

logger = logging.getLogger(__name__)

PRECISIONS = ("fp32", "bf16", "fp16")
OBJECTIVES = ("latency", "throughput", "memory")


@dataclass(frozen=True)
class Candidate:
    """A runtime and one way in which it runs a model.

    Example:
        >>> str(Candidate("openvino", Variant("fp32", "static")))
        'openvino fp32 static'
    """

    backend: str
    variant: Variant

    def __str__(self) -> str:
        return f"{self.backend} {self.variant}"


@dataclass(frozen=True)
class Ranked:
    """A candidate with its estimate.

    Attributes:
        candidate: the runtime and its variant.
        estimate: its expected times for the expected batches; None without measurements.
        unavailable: why it cannot run the model here as requested; None if it can.

    Example:
        >>> ranked = Ranked(Candidate("openvino", Variant()), estimate=None, unavailable="openvino is not installed")
        >>> str(ranked.candidate), ranked.unavailable
        ('openvino fp32', 'openvino is not installed')
    """

    candidate: Candidate
    estimate: Estimate | None
    unavailable: str | None


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


@dataclass(frozen=True)
class Request:
    """What a caller requires of the runtime.

    Attributes:
        options: device, threads, and where artifacts are kept; the variant is chosen.
        backend: a runtime's name, or ``"auto"``.
        precisions: the precisions that are allowed.
        objective: ``"latency"``, ``"throughput"`` or ``"memory"``.
        batches: expected batch sizes; None for the model's defaults for the objective.
        max_p99_ms: largest allowed measured p99 of each expected batch.
        backend_options: options of single runtimes, by the name of the runtime.
        max_deviation_px: largest allowed distance of a keypoint from the reference's, pixels of the crop; in addition
            to the parity gate's limits.

    Example:
        >>> from hpi.backends.artifacts import ArtifactCache
        >>> own = {"openvino": {"NUM_STREAMS": 1}}
        >>> request = Request(SessionOptions(ArtifactCache(Path("artifacts"))), backend_options=own)
        >>> request.session_options(Candidate("openvino", Variant())).backend_options
        {'NUM_STREAMS': 1}
        >>> request.session_options(Candidate("onnxruntime", Variant())).backend_options
        {}
    """

    options: SessionOptions
    backend: str = AUTO
    precisions: Collection[str] = ("fp32",)
    objective: str = "latency"
    batches: Sequence[int] | None = None
    max_p99_ms: float | None = None
    max_deviation_px: float | None = None
    backend_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)

    def session_options(self, candidate: Candidate) -> SessionOptions:
        """The session options for a candidate."""
        own = self.backend_options.get(candidate.backend, {})
        return replace(self.options, variant=candidate.variant, backend_options=own)


class RefusedError(BackendError):
    """The parity gate refuses a candidate."""


def choose(spec: ModelSpec, request: Request, priors: Priors) -> Choice:
    """Load a model on the best candidate that passes the parity gate.

    Candidates are ranked by measurements of this model on this machine or on the nearest device class. Those without
    measurements come last, in the order of the registry. A candidate that fails to load, fails at its first run or
    fails the parity gate is skipped, and the reason is kept. A runtime that is requested by name is never replaced.

    Raises:
        ConfigError: no runtime or objective has that name.
        BackendError: every candidate failed; the message has all reasons.

    Example:
        >>> from hpi.backends.artifacts import ArtifactCache
        >>> from hpi.zoo import Zoo
        >>> zoo = Zoo.default()
        >>> request = Request(SessionOptions(ArtifactCache(zoo.artifacts)), backend="onnxruntime")
        >>> choice = choose(zoo.find("MoveNet-Thunder_256x256"), request, Priors(zoo.own_priors))
        >>> choice.session.info.backend, choice.rejected
        ('onnxruntime', {})
        >>> choice.session.close()
    """
    if request.objective not in OBJECTIVES:
        raise ConfigError(f"unknown objective {request.objective!r}; known are {', '.join(OBJECTIVES)}")
    basis = priors.basis(spec.name, device_class(request.options.device), request.options.thread_count)
    ranking = rank(spec, request, basis)
    failed: dict[Candidate, HpiError] = {}
    for ranked in ranking:
        try:
            session = _open(spec, request, ranked)
        except HpiError as error:
            failed[ranked.candidate] = error
        else:
            _report(spec.name, {one.candidate for one in ranking if one.unavailable}, failed)
            where = basis.where if basis else "no measurements"
            rejected = {str(candidate): str(error) for candidate, error in failed.items()}
            return Choice(session, _reason(ranked, request, where), rejected, ranking, where)
    reasons = "; ".join(f"{candidate}: {error}" for candidate, error in failed.items())
    raise BackendError(f"{spec.name}: no runtime can run it on {request.options.device}: {reasons}")


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


def rank(spec: ModelSpec, request: Request, basis: Basis | None) -> tuple[Ranked, ...]:
    """All candidates that the request allows: measured ones first, then unmeasured ones, then unavailable ones.

    Raises:
        ConfigError: no runtime has the requested name.

    Example:
        >>> from hpi.backends.artifacts import ArtifactCache
        >>> from hpi.zoo import Zoo
        >>> zoo = Zoo.default()
        >>> request = Request(SessionOptions(ArtifactCache(zoo.artifacts)), backend="onnxruntime")
        >>> ranking = rank(zoo.find("MoveNet-Thunder_256x256"), request, basis=None)
        >>> [(str(one.candidate), one.estimate, one.unavailable) for one in ranking]
        [('onnxruntime fp32', None, None)]
    """
    for name in [request.backend, *request.backend_options]:
        if name != AUTO and name not in BACKENDS:
            raise ConfigError(f"unknown backend {name!r}; known are {AUTO}, {', '.join(BACKENDS)}")
    batches = request.batches or model_class(spec).expected_batches(request.objective)
    kind = device_kind(request.options.device)
    ranked = []
    for name, backend in BACKENDS.items():
        if request.backend == name or (request.backend == AUTO and kind in backend.devices):
            for variant in _allowed(backend, request):
                estimate = basis.estimate(name, variant, batches) if basis else None
                options = request.session_options(Candidate(name, variant))
                unavailable = backend.unavailable(spec.files, options)
                ranked.append(
                    Ranked(Candidate(name, variant), estimate, unavailable or _too_slow(estimate, basis, request))
                )
    # The sort is stable: what is not measured stays in the order of the registry.
    return tuple(sorted(ranked, key=lambda one: (one.unavailable is not None, *_cost(one.estimate, request.objective))))


def _cost(estimate: Estimate | None, objective: str) -> tuple[float, float]:
    """The sort key for an objective: its cost, then the time."""
    if estimate is None:
        return math.inf, math.inf
    costs = {
        "latency": estimate.milliseconds,
        "throughput": 1 / estimate.throughput,
        "memory": math.inf if estimate.memory_mb is None else estimate.memory_mb,
    }
    return costs[objective], estimate.milliseconds


def _too_slow(estimate: Estimate | None, basis: Basis | None, request: Request) -> str | None:
    """Why a candidate may exceed the requested p99. Only measurements from this class of machine count."""
    if request.max_p99_ms is None:
        return None
    if estimate is None or basis is None or not basis.here or estimate.p99_ms is None:
        return f"its p99 must be at most {request.max_p99_ms:g} ms and is not known here; measure it with: hpi tune"
    if estimate.p99_ms > request.max_p99_ms:
        return f"its p99 of {estimate.p99_ms:.3g} ms is above the {request.max_p99_ms:g} ms that are allowed"
    return None


def _allowed(backend: Backend, request: Request) -> list[Variant]:
    """The variants of a runtime with an allowed precision; without any, a placeholder to report as unavailable."""
    allowed = [
        variant for variant in backend.variants(request.options.device) if variant.precision in request.precisions
    ]
    return allowed or [Variant(min(request.precisions))]


def _reason(ranked: Ranked, request: Request, where: str) -> str:
    estimate = ranked.estimate
    if estimate is None:
        return "first candidate that can run it; no measurements"
    figures = {
        "latency": f"{estimate.milliseconds:.3g} ms for the expected batches",
        "throughput": f"{estimate.throughput:.3g} a second in the expected batches",
        "memory": "memory not measured" if estimate.memory_mb is None else f"{estimate.memory_mb:.0f} MB",
    }
    return f"{figures[request.objective]}, {where}"


def _open(spec: ModelSpec, request: Request, ranked: Ranked) -> Session:
    """Open a candidate, or raise HpiError."""
    if ranked.unavailable is not None:
        raise BackendError(ranked.unavailable)
    candidate = ranked.candidate
    options = request.session_options(candidate)
    explicit = request.backend != AUTO and request.max_deviation_px is None
    if explicit and candidate.variant.precision == "fp32":
        return _load(spec, candidate, options)
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


def open_validated(spec: ModelSpec, candidate: Candidate, options: SessionOptions) -> tuple[Session, Verdict]:
    """Load a candidate and validate it.

    Raises:
        HpiError: it cannot be loaded, it fails, or it fails the parity gate (:class:`RefusedError`).
    """
    session, verdict = open_with_verdict(spec, candidate, options)
    if not verdict.passed:
        session.close()
        raise RefusedError(f"it does not give the reference's results: {verdict.summary}")
    return session, verdict


def open_with_verdict(spec: ModelSpec, candidate: Candidate, options: SessionOptions) -> tuple[Session, Verdict]:
    """Load a candidate and get the parity gate's verdict.

    Raises:
        HpiError: it cannot be loaded, or it fails.
    """
    session = _load(spec, candidate, options)
    try:
        return session, validated(spec, session, candidate, options)
    except BaseException:
        session.close()
        raise


def _load(spec: ModelSpec, candidate: Candidate, options: SessionOptions) -> Session:
    return BACKENDS[candidate.backend].load(spec.files, replace(options, variant=candidate.variant))


def validated(spec: ModelSpec, session: Session, candidate: Candidate, options: SessionOptions) -> Verdict:
    """The parity gate's verdict on a candidate, cached or fresh.

    The reference is the most trusted runtime that can run the model. If it fails, the next one takes its place.

    Raises:
        HpiError: the candidate failed.
    """
    for reference in _references(spec.files, options):
        if reference == candidate and session.info.device == "cpu" and not options.backend_options:
            return Verdict(True, "it is the reference", 0.0)
        try:
            return _validate_against(reference, spec, session, candidate, options)
        except _NoReferenceError as error:
            logger.warning("%s: %s cannot serve as the reference: %s", spec.name, reference, error)
    return Verdict(True, "no reference is available to compare with")


class _NoReferenceError(Exception):
    """A reference cannot be loaded, or fails."""


def _validate_against(
    reference: Candidate,
    spec: ModelSpec,
    session: Session,
    candidate: Candidate,
    options: SessionOptions,
) -> Verdict:
    key = {
        "model": spec.name,
        "content": spec.files.content,
        "yml": content_hash([spec.yml]),
        "candidate": str(candidate),
        "version": session.info.version,
        "reference": str(reference),
        "device": str(device_class(options.device) or options.device),
        "reference images": ReferenceImages.load().config.model_dump_json(),
        "rules": RULES,
        **options.key,
    }

    def build(target: Path) -> None:
        try:
            with _load(spec, reference, replace(options, device="cpu", backend_options={})) as trusted:
                expected = reference_results(spec, trusted)
        except HpiError as error:
            raise _NoReferenceError(str(error)) from error
        validate(spec, session, expected).write(target)

    return Verdict.read(options.artifacts.get("parity", key, "verdict.json", build))


def _references(files: ModelFiles, options: SessionOptions) -> list[Candidate]:
    """The candidates that can serve as the reference, most trusted first. They always run on the CPU."""
    on_cpu = replace(options, device="cpu", variant=Variant(), backend_options={})
    able = (
        (backend.trust, backend.name)
        for backend in BACKENDS.values()
        if backend.trust is not None and backend.unavailable(files, on_cpu) is None
    )
    return [Candidate(name, Variant()) for _, name in sorted(able)]
