"""Loading candidates, with the parity gate's verdict on them."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from hpi.backends import BACKENDS
from hpi.backends.artifacts import content_hash
from hpi.backends.base import INT8, ModelFiles, Session, SessionOptions, Variant
from hpi.backends.graph.rewrites import must_be_validated, rewrites_key
from hpi.errors import BackendError, HpiError
from hpi.models.reference_images import ReferenceImages
from hpi.models.spec import ModelSpec
from hpi.selection.parity import RULES, Verdict, reference_results, validate
from hpi.selection.priors import device_class
from hpi.selection.ranking import Candidate

logger = logging.getLogger(__name__)


class RefusedError(BackendError):
    """The parity gate refuses a candidate."""


def load(spec: ModelSpec, candidate: Candidate, options: SessionOptions) -> Session:
    """Load a candidate as it is, not validated: to be measured, or to be validated.

    Raises:
        HpiError: it cannot be loaded.
    """
    return BACKENDS[candidate.backend].load(spec.files, replace(options, variant=candidate.variant))


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

    If it fails in FP32 with a rewritten graph, the graph is taken as it was exported.

    Raises:
        HpiError: it cannot be loaded, or it fails.
    """
    return _with_verdict(spec, load(spec, candidate, options), candidate, options)


def open_named(spec: ModelSpec, candidate: Candidate, options: SessionOptions) -> Session:
    """Load what was asked for by name in FP32: validated only if it was rewritten, and never refused.

    Raises:
        HpiError: it cannot be loaded, or it fails.
    """
    session = load(spec, candidate, options)
    if not must_be_validated(session.info.rewrites):
        return session
    return _with_verdict(spec, session, candidate, options)[0]


def _with_verdict(
    spec: ModelSpec, session: Session, candidate: Candidate, options: SessionOptions
) -> tuple[Session, Verdict]:
    try:
        verdict = validated(spec, session, candidate, options)
    except BaseException:
        session.close()
        raise
    if verdict.passed or not session.info.rewrites or candidate.variant.precision != "fp32":
        return session, verdict
    session.close()
    rewrites = ", ".join(session.info.rewrites)
    logger.warning("%s: %s runs without the rewrites %s: %s", spec.name, candidate, rewrites, verdict.summary)
    return open_with_verdict(spec, candidate, replace(options, as_exported=True))


def validated(spec: ModelSpec, session: Session, candidate: Candidate, options: SessionOptions) -> Verdict:
    """The parity gate's verdict on a candidate, cached or fresh.

    The reference is the most trusted runtime that can run the model. If it fails, the next one takes its place.

    Raises:
        HpiError: the candidate failed.
    """
    for reference in references(spec.files, options):
        if reference == candidate and _runs_as_reference(session, options):
            return Verdict(True, "it is the reference", 0.0)
        try:
            return _validate_against(reference, spec, session, candidate, options)
        except _NoReferenceError as error:
            logger.warning("%s: %s cannot serve as the reference: %s", spec.name, reference, error)
    return Verdict(True, "no reference is available to compare with")


def _runs_as_reference(session: Session, options: SessionOptions) -> bool:
    return session.info.device == "cpu" and not options.backend_options and not must_be_validated(session.info.rewrites)


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
        "yml": spec.files.content if spec.yml == spec.files.onnx else content_hash([spec.yml]),
        "candidate": str(candidate),
        "version": session.info.version,
        "reference": str(reference),
        "device": str(device_class(options.device) or options.device),
        "reference images": ReferenceImages.load().of(spec.skeleton).key,
        "rules": RULES,
        **options.key,
        **rewrites_key(session.info.rewrites),
    }
    if candidate.variant.precision == INT8 and spec.int8 is not None:
        key["int8"] = spec.int8.note.sha256

    def build(target: Path) -> None:
        try:
            own = replace(options, device="cpu", backend_options={}, as_exported=True, workers=1)
            with load(spec, reference, own) as trusted:
                expected = reference_results(spec, trusted, session.info.precision)
        except HpiError as error:
            raise _NoReferenceError(str(error)) from error
        validate(spec, session, expected).write(target)

    return Verdict.read(options.artifacts.get("parity", key, "verdict.json", build))


def references(files: ModelFiles, options: SessionOptions) -> list[Candidate]:
    """The candidates that can serve as the reference, most trusted first. They run on the CPU, for a single caller."""
    on_cpu = replace(options, device="cpu", variant=Variant(), backend_options={}, workers=1)
    able = (
        (backend.trust, backend.name)
        for backend in BACKENDS.values()
        if backend.trust is not None and backend.unavailable(files, on_cpu) is None
    )
    return [Candidate(name, BACKENDS[name].reference) for _, name in sorted(able)]
