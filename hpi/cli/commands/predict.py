"""``hpi predict``."""

from __future__ import annotations

from typing import Annotated

import typer

from hpi.cli import options as given
from hpi.cli.command import Debug, Quiet, Verbose

EXAMPLES = """\
[bold]hpi predict people.jpg --save_path output[/]

[bold]hpi predict folder/ match.mp4 --json --quiet > results.jsonl[/]

[bold]hpi predict people.jpg --model PP-TinyPose_256x192 --backend openvino --verbose[/]

Exit codes: 0 for success, 1 if an image cannot be used or a result cannot be saved, 2 for wrong usage."""


def predict(
    context: typer.Context,
    inputs: given.Inputs,
    save_path: given.SavePath = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON for each image, and nothing else.")
    ] = False,
    det_threshold: given.DetThreshold = None,
    batch_size: given.BatchSize = None,
    pipeline: given.Pipeline = None,
    model: given.Model = None,
    model_dir: given.ModelDir = None,
    device: given.Device = None,
    backend: given.BackendName = None,
    precision: given.Precision = None,
    objective: given.Objective = None,
    max_p99: given.MaxP99 = None,
    max_deviation: given.MaxDeviation = None,
    threads: given.Threads = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find people and their keypoints; print them, or save them with --save_path.

    The default pipeline is part of the package and needs no network.
    """
    from hpi.cli.predict import Output, run

    output = Output(save_path, as_json=as_json, quiet=quiet)
    arguments = {"batch_size": batch_size, "det_threshold": det_threshold}
    run(lambda: given.open_predictor(context), inputs, output, **arguments)
