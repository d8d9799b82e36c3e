"""``hpi explain`` and ``hpi tune``: the choice of runtimes."""

from __future__ import annotations

from typing import Annotated

import typer

from hpi.cli import options as given
from hpi.cli.command import Debug, Quiet, Verbose


def explain(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    pipeline: given.Pipeline = None,
    model: given.Model = None,
    model_dir: given.ModelDir = None,
    det_model_dir: given.DetModelDir = None,
    keypoint_model_dir: given.KeypointModelDir = None,
    kind: given.Kind = None,
    skeleton: given.Skeleton = None,
    det_kind: given.DetKind = None,
    device: given.Device = None,
    backend: given.BackendName = None,
    precision: given.Precision = None,
    objective: given.Objective = None,
    max_p99: given.MaxP99 = None,
    max_deviation: given.MaxDeviation = None,
    max_ap_loss: given.MaxApLoss = None,
    threads: given.Threads = None,
    workers: given.Workers = None,
    calibrate: given.Calibrate = None,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Show what each model runs on, the measurements behind the choice, and why other candidates were rejected."""
    from hpi.cli import selection

    with given.open_predictor(context) as predictor:
        selection.explain(predictor, as_json=as_json)


def tune(
    context: typer.Context,
    budget: Annotated[str, typer.Option(help="Time limit of all measurements, such as 60, 60s or 2m.")] = "60s",
    pipeline: given.Pipeline = None,
    model: given.Model = None,
    model_dir: given.ModelDir = None,
    det_model_dir: given.DetModelDir = None,
    keypoint_model_dir: given.KeypointModelDir = None,
    kind: given.Kind = None,
    skeleton: given.Skeleton = None,
    det_kind: given.DetKind = None,
    device: given.Device = None,
    objective: given.Objective = None,
    threads: given.Threads = None,
    workers: given.Workers = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure every runtime on this machine with real crops; later runs choose by these measurements."""
    seconds = given.read_seconds(budget)
    from hpi.cli import selection

    with given.open_predictor(context) as predictor:
        before = selection.summary(predictor)
        selection.tune(predictor, seconds, quiet=quiet)
    with given.open_predictor(context) as predictor:
        after = selection.summary(predictor)
    if not quiet:
        for name, choice in after.items():
            typer.echo(f"{name}: {choice} (before: {before.get(name, 'as one at a time')})")
