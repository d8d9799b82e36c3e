"""Ranking the candidates of a model by what is known of them, and opening the best one that proves right."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hpi.backends import BACKENDS
from hpi.backends.artifacts import content_hash
from hpi.backends.base import Backend, ModelFiles, Session, SessionOptions, Variant
from hpi.backends.cpu import this_cpu
from hpi.errors import BackendError, ConfigError, HpiError
from hpi.model_files import ModelSpec
from hpi.selection.parity import RULES, Verdict, answer, examine, load_exam
from hpi.selection.priors import Basis, DeviceClass, Priors
from hpi.zoo import Skeleton

logger = logging.getLogger(__name__)

AUTO = "auto"
PRECISIONS = ("fp32", "bf16")
EXPECTED_BATCHES = {"object_detection": (1,), "keypoint_detection": (1, 4)}
"""Batch sizes to choose for: an image, and few people in it."""


@dataclass(frozen=True)
class Candidate:
    """A runtime and one way in which it runs a model."""

    backend: str
    variant: Variant

    def __str__(self) -> str:
        return f"{self.backend} {self.variant}"


@dataclass(frozen=True)
class Ranked:
    """A candidate and what is known of it.

    Attributes:
        candidate: what it is.
        milliseconds: expected time of the expected batches together; None where nothing was measured.
        unavailable: why it cannot run the model here; None when it can.
    """

    candidate: Candidate
    milliseconds: float | None
    unavailable: str | None


@dataclass(frozen=True)
class Choice:
    """A loaded model and why it runs where it does.

    Attributes:
        session: the loaded model.
        reason: why this runtime.
        rejected: better ranked candidates that could not serve or did not prove right, each with the reason.
        ranking: all candidates, best first.
    """

    session: Session
    reason: str
    rejected: dict[str, str]
    ranking: tuple[Ranked, ...]


@dataclass(frozen=True)
class Wish:
    """What is asked of the choice.

    Attributes:
        options: device, threads, and where artifacts are kept; the variant is chosen.
        backend: a runtime's name, or ``"auto"``.
        precisions: those that may be used.
        batches: batch sizes to expect; None: those of the task.
    """

    options: SessionOptions
    backend: str = AUTO
    precisions: Collection[str] = ("fp32",)
    batches: Sequence[int] | None = None


def choose(spec: ModelSpec, skeleton: Skeleton, wish: Wish, priors: Priors) -> Choice:
    """Load a model on the best candidate that can run it and gives the reference's results.

    The candidates are ranked by measurements of this model, of this machine or the nearest device class; those
    without any come after them, in the order of the registry. A candidate that fails to load, or that the parity gate
    refuses, is passed over with the reason; a runtime that was asked for by name is never exchanged for another.

    Raises:
        ConfigError: no runtime has that name.
        BackendError: no candidate can serve the model; the message has every reason.
    """
    if wish.backend != AUTO and wish.backend not in BACKENDS:
        raise ConfigError(f"unknown backend {wish.backend!r}; known are {AUTO}, {', '.join(BACKENDS)}")
    basis = priors.basis(spec.name, DeviceClass.of(this_cpu()))
    ranking = rank(spec, wish, basis)
    rejected: dict[str, str] = {}
    for ranked in ranking:
        reason = ranked.unavailable
        if reason is None:
            opened = _open(spec, skeleton, wish, ranked.candidate)
            if isinstance(opened, Session):
                return Choice(opened, _reason(ranked, basis), rejected, ranking)
            reason = opened
            logger.warning("%s: %s is passed over: %s", spec.name, ranked.candidate, reason)
        rejected[str(ranked.candidate)] = reason
    reasons = "; ".join(f"{candidate}: {reason}" for candidate, reason in rejected.items())
    raise BackendError(f"{spec.name}: no runtime can serve it on {wish.options.device}: {reasons}")


def rank(spec: ModelSpec, wish: Wish, basis: Basis | None) -> tuple[Ranked, ...]:
    """Every candidate that the wish admits: measured ones by time, then the others, then those that cannot run."""
    batches = wish.batches or EXPECTED_BATCHES[spec.task]
    ranked = []
    for name, backend in BACKENDS.items():
        if wish.backend in {AUTO, name}:
            for variant in _admitted(backend, wish):
                options = replace(wish.options, variant=variant)
                unavailable = backend.unavailable(spec.files, options)
                milliseconds = basis.estimate(name, variant, batches) if basis else None
                ranked.append(Ranked(Candidate(name, variant), milliseconds, unavailable))
    # The sort is stable: what is not measured stays in the order of the registry.
    return tuple(sorted(ranked, key=lambda one: (one.unavailable is not None, one.milliseconds or float("inf"))))


def _admitted(backend: Backend, wish: Wish) -> list[Variant]:
    """The variants of a runtime in an admitted precision; where it has none, one to say so of."""
    admitted = [variant for variant in backend.variants() if variant.precision in wish.precisions]
    return admitted or [Variant(min(wish.precisions))]


def _reason(ranked: Ranked, basis: Basis | None) -> str:
    if ranked.milliseconds is None or basis is None:
        return "first of those that can run it; nothing is measured"
    return f"{ranked.milliseconds:.3g} ms for the expected batches, {basis.where}"


def _open(spec: ModelSpec, skeleton: Skeleton, wish: Wish, candidate: Candidate) -> Session | str:
    """The candidate's session, or why it is passed over."""
    try:
        if wish.backend != AUTO and candidate.variant.precision == "fp32":  # asked for as it is
            return _load(spec, candidate, wish.options)
        return open_proved(spec, skeleton, candidate, wish.options)[0]
    except HpiError as error:
        return str(error)


def open_proved(
    spec: ModelSpec, skeleton: Skeleton, candidate: Candidate, options: SessionOptions
) -> tuple[Session, Verdict]:
    """Load a candidate and let it pass the parity gate.

    Raises:
        HpiError: it does not load, it fails, or it does not give the reference's results.
    """
    session = _load(spec, candidate, options)
    try:
        verdict = prove(spec, skeleton, session, candidate, options)
        if not verdict.passed:
            raise BackendError(f"it does not give the reference's results: {verdict.said}")
    except BaseException:
        session.close()
        raise
    return session, verdict


def _load(spec: ModelSpec, candidate: Candidate, options: SessionOptions) -> Session:
    return BACKENDS[candidate.backend].load(spec.files, replace(options, variant=candidate.variant))


def prove(
    spec: ModelSpec, skeleton: Skeleton, session: Session, candidate: Candidate, options: SessionOptions
) -> Verdict:
    """The parity gate's verdict on a candidate: from the cache, else by examining it beside the reference.

    The reference is the most trusted runtime that can run the model; one that turns out broken is left for the next.

    Raises:
        HpiError: the candidate failed.
    """
    for reference in _references(spec.files, options):
        if reference == candidate:
            return Verdict(True, "it is the reference")
        try:
            return _prove_against(reference, spec, skeleton, session, candidate, options)
        except _NoReferenceError as error:
            logger.warning("%s: %s is no reference: %s", spec.name, reference, error)
    return Verdict(True, "there is no reference to compare it with")


class _NoReferenceError(Exception):
    """A reference cannot be loaded, or fails."""


def _prove_against(
    reference: Candidate,
    spec: ModelSpec,
    skeleton: Skeleton,
    session: Session,
    candidate: Candidate,
    options: SessionOptions,
) -> Verdict:
    key = {
        "model": spec.name,
        "content": _content(spec.files),
        "yml": content_hash([spec.yml]),
        "candidate": str(candidate),
        "version": session.info.version,
        "reference": str(reference),
        "device": str(DeviceClass.of(this_cpu())),
        "exam": load_exam().config.model_dump_json(),
        "rules": RULES,
    }

    def build(target: Path) -> None:
        try:
            with _load(spec, reference, options) as trusted:
                expected = answer(spec, trusted, skeleton)
        except HpiError as error:
            raise _NoReferenceError(str(error)) from error
        examine(spec, session, skeleton, expected).write(target)

    return Verdict.read(options.artifacts.get("parity", key, "verdict.json", build))


def _references(files: ModelFiles, options: SessionOptions) -> list[Candidate]:
    """The candidates that others may be compared with, the most trusted first."""
    able = (
        (backend.trust, backend.name)
        for backend in BACKENDS.values()
        if backend.trust is not None and backend.unavailable(files, replace(options, variant=Variant())) is None
    )
    return [Candidate(name, Variant()) for _, name in sorted(able)]


def _content(files: ModelFiles) -> str:
    paddle = [files.paddle.program, files.paddle.params] if files.paddle else []
    return content_hash([*paddle, *([files.onnx] if files.onnx else [])])
