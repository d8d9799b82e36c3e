"""Measuring every candidate of a model, and the stages of a pipeline with each runtime."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
from rich.progress import Progress

from hpi import Predictor
from hpi.backends import BACKENDS
from hpi.backends.base import SessionOptions
from hpi.benchmarks.compare.findings import Breakdown, Entrant, Findings, Pick
from hpi.benchmarks.compare.starts import cold_start
from hpi.benchmarks.pipeline import Stages, pipeline_of
from hpi.benchmarks.regret import choice_and_best
from hpi.errors import BackendError, HpiError
from hpi.models.spec import ModelSpec
from hpi.selection.measure import Failure, Measurement, Protocol, measure
from hpi.selection.priors import Priors, device_class
from hpi.selection.ranking import Candidate

Evaluate = Callable[[Predictor], float | None]
"""The AP of a model on some dataset, percent."""
ImageFile = tuple[str, bytes]
"""Name and encoded content."""


@dataclass(frozen=True)
class Model:
    """A model to compare the candidates of."""

    spec: ModelSpec
    options: SessionOptions
    priors: Priors


def compare(
    model: Model, protocol: Protocol, findings: Findings, progress: Progress, evaluate: Evaluate | None = None
) -> None:
    """Measure the candidates of a model; the findings grow as they come in.

    Args:
        model: the model.
        protocol: what to measure.
        findings: taken further.
        progress: shows how far it is.
        evaluate: gives the AP of a model. It runs once for each runtime and precision that passes the gate: how a
            batch is split changes nothing in it.

    Raises:
        BackendError: nothing could be measured.
    """
    measured = _measure(model, protocol, findings, progress)
    picks = (pick_of(model, batch, measured) for batch in protocol.batches)
    findings.picks += [pick for pick in picks if pick is not None]
    candidates = {one.candidate: one.verdict for one in measured}
    for candidate in progress.track(list(candidates), description=f"{model.spec.name}: starts"):
        _add_start(model, candidate, findings)
    if evaluate is not None:
        alike = _alike([candidate for candidate, verdict in candidates.items() if verdict.passed])
        for group in progress.track(alike, description=f"{model.spec.name}: accuracy"):
            _add_accuracy(model, group, findings, evaluate)


def _measure(model: Model, protocol: Protocol, findings: Findings, progress: Progress) -> list[Measurement]:
    name = model.spec.name
    task = progress.add_task(f"{name}: loading, memory", total=None)

    def on_progress(result: Measurement | Failure) -> None:
        candidate = str(result.candidate)
        if isinstance(result, Failure):
            findings.failures.append((name, candidate, result.reason))
            return
        progress.update(task, description=f"{name}: batch {result.batch} is measured")
        findings.rows.append(result.row(name))
        findings.entrants.setdefault(
            (name, candidate), Entrant(name, candidate, result.session_version, result.threads, result.verdict)
        )

    measured = measure(model.spec, model.options, protocol, on_progress)
    progress.update(task, description=f"{name}: times and memory", total=1, completed=1)
    return measured


def pick_of(model: Model, batch: int, measured: Sequence[Measurement]) -> Pick | None:
    """What ``auto`` takes for a batch size, beside the best of this run.

    Only FP32 that passed the gate counts, as for ``auto`` itself; None where there is none.
    """
    times = {
        one.candidate: one.median
        for one in measured
        if one.batch == batch and one.verdict.passed and one.candidate.variant.precision == "fp32"
    }
    if not times:
        return None
    options = model.options
    basis = model.priors.basis(model.spec.name, device_class(options.device), options.thread_count)
    auto, best = choice_and_best(model.spec, options, batch, basis, times)
    return Pick(model.spec.name, batch, str(auto), times[auto], str(best), times[best])


def _add_start(model: Model, candidate: Candidate, findings: Findings) -> None:
    key = model.spec.name, str(candidate)
    try:
        start = cold_start(model.spec, candidate, model.options)
    except HpiError as error:
        findings.failures.append((*key, f"start: {error}"))
    else:
        findings.entrants[key] = replace(findings.entrants[key], start=start)


def _alike(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """The candidates that compute the same and only split batches in other ways, together.

    Of those that differ in more, as FP16 with and without some layers in FP32, only what a Predictor takes for the
    precision is evaluated; so they are left out.
    """
    groups: dict[tuple[str, str], list[Candidate]] = {}
    for one in candidates:
        groups.setdefault((one.backend, one.variant.precision), []).append(one)
    return [
        group for group in groups.values() if len({BACKENDS[one.backend].arithmetic(one.variant) for one in group}) == 1
    ]


def _add_accuracy(model: Model, alike: Sequence[Candidate], findings: Findings, evaluate: Evaluate) -> None:
    spec, options = model.spec, model.options
    backend, precision = alike[0].backend, alike[0].variant.precision
    try:
        with Predictor(
            spec.name,
            model_dir=spec.folder,
            device=options.device,
            backend=backend,
            precision=precision,
            threads=options.threads,
        ) as predictor:
            ap = evaluate(predictor)
    except HpiError as error:
        findings.failures.append((spec.name, f"{backend} {precision}", f"AP: {error}"))
        return
    for candidate in alike:
        key = spec.name, str(candidate)
        findings.entrants[key] = replace(findings.entrants[key], ap=ap)


def break_down(
    pipeline: str,
    image: ImageFile,
    seconds: float,
    rounds: int,
    options: SessionOptions,
    findings: Findings,
    progress: Progress,
) -> None:
    """Time the stages of a pipeline with ``auto`` and with each runtime that was measured; these take turns.

    Args:
        pipeline: its name or YAML file.
        image: what goes through it.
        seconds: time of one runtime.
        rounds: turns in which it gets that time.
        options: device and threads.
        findings: taken further.
        progress: shows how far it is.

    Raises:
        ConfigError: it is no pipeline of a detector and a keypoint model.
    """
    with ExitStack() as stack:
        opened: dict[str, tuple[Predictor, Stages]] = {}
        for asked in ("auto", *dict.fromkeys(row.backend for row in findings.rows)):
            try:
                predictor = Predictor(pipeline, backend=asked, device=options.device, threads=options.threads)
            except BackendError as error:
                findings.failures.append((pipeline, asked, str(error)))
            else:
                stack.enter_context(predictor)
                opened[asked] = predictor, Stages(pipeline_of(predictor))
        turns = [stages for _ in range(rounds) for _, stages in opened.values()]
        for stages in progress.track(turns, description="stages of the pipeline"):
            _take_turn(stages, image, seconds / rounds)
        findings.breakdowns += [_breakdown(asked, *of_one) for asked, of_one in opened.items()]


def _take_turn(stages: Stages, image: ImageFile, seconds: float) -> None:
    name, data = image
    end = time.perf_counter() + seconds
    stages.run([data], [name])
    while time.perf_counter() < end:
        stages.run([data], [name])


def _breakdown(asked: str, predictor: Predictor, stages: Stages) -> Breakdown:
    runs_on = tuple(f"{model['backend']} {model['variant']}" for model in predictor.describe()["models"])
    return Breakdown(asked, runs_on, {name: float(np.median(times)) for name, times in stages.times.items()})
