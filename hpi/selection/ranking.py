"""The candidates for a model, ranked by measurements."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hpi.backends import BACKENDS
from hpi.backends.base import INT8, Backend, SessionOptions, Variant, device_kind
from hpi.errors import ConfigError
from hpi.models import model_class
from hpi.models.spec import ModelSpec
from hpi.options import AUTO
from hpi.selection.basis import Basis, Estimate, Key
from hpi.selection.priors import Priors, device_class

PRECISIONS = ("fp32", "bf16", "fp16", INT8)
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

    @property
    def key(self) -> Key:
        """As measurements name it."""
        return self.backend, self.variant

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
        max_ap_loss: most points of AP that a detector in INT8 may lose; in addition to the parity gate's limits.

    Example:
        >>> from pathlib import Path
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
    max_ap_loss: float | None = None
    backend_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)

    def session_options(self, candidate: Candidate) -> SessionOptions:
        """The session options for a candidate."""
        own = self.backend_options.get(candidate.backend, {})
        return replace(self.options, variant=candidate.variant, backend_options=own)

    @property
    def threads(self) -> int:
        """Of all workers together."""
        return self.options.thread_count * self.options.workers

    def on_workers(self, workers: int) -> Request:
        """The same request with its threads shared by so many workers."""
        return replace(self, options=replace(self.options, threads=max(self.threads // workers, 1), workers=workers))


def basis_of(spec: ModelSpec, request: Request, priors: Priors) -> Basis | None:
    """The measurements that a request is ranked by; None without any."""
    options = request.options
    return priors.basis(spec.name, device_class(options.device), options.thread_count, options.workers)


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

    def cost(one: Ranked) -> tuple[float, ...]:
        elsewhere = basis.ratios.of_all(one.candidate.key, batches) if basis else math.inf
        return one.unavailable is not None, *_cost(one.estimate, request.objective), elsewhere

    # The sort is stable: what nothing distinguishes stays in the order of the registry, the most trusted first.
    tied = _ties(ranked, min(ranked, key=cost), request.objective)
    return (*tied, *sorted((one for one in ranked if one not in tied), key=cost))


def _ties(ranked: Sequence[Ranked], best: Ranked, objective: str) -> list[Ranked]:
    """The best candidate, and those that the measurements do not distinguish from it."""
    if best.estimate is None or best.unavailable or objective == "memory":
        return [best]
    return [one for one in ranked if one.estimate and not one.unavailable and one.estimate.ties_with(best.estimate)]


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
