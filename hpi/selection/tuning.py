"""Measuring the models of a predictor on this machine, and keeping the result."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from hpi.models import model_class
from hpi.models.spec import ModelSpec
from hpi.selection.measure import Failure, Measurement, Protocol, measure
from hpi.selection.priors import Prior, Priors
from hpi.selection.ranking import Request, basis_of

OnProgress = Callable[[str, Measurement | Failure], None]


def tune(
    models: Iterable[tuple[ModelSpec, Request]], priors: Priors, seconds: float, on_progress: OnProgress
) -> list[Prior]:
    """Measure every runtime with models, and store the result.

    Args:
        models: each with what is asked of its runtime; of a model that is there twice with as many workers, the last.
        priors: measurements so far, where the result is stored.
        seconds: time for all models; a step that has started is finished.
        on_progress: called with a model's name and each result.

    Returns:
        What was stored.

    Raises:
        BackendError: no runtime can run a model.
        ConfigError: the result cannot be stored.
    """
    rows: list[Prior] = []
    once = {(spec.name, request.options.workers): (spec, request) for spec, request in models}
    for (name, _), (spec, request) in once.items():
        protocol = Protocol(
            batches=request.batches or model_class(spec).tuned_batches(request.objective),
            seconds=seconds / len(once),
            memory=request.objective == "memory",
        )
        measured = measure(spec, request.options, protocol, partial(on_progress, name), basis_of(spec, request, priors))
        fresh = [measurement.row(name) for measurement in measured]
        priors.store(fresh)
        rows += fresh
    return rows
