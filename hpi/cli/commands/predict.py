"""``hpi predict``."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from hpi.cli import options as given
from hpi.cli.command import Debug, Quiet, Verbose

EXAMPLES = """\
[bold]hpi predict people.jpg --save_path output[/]

[bold]hpi predict match.mp4 --save_path output --det_every auto[/]

[bold]hpi predict folder/ --json --quiet > results.jsonl[/]

[bold]hpi predict people.jpg --model PP-TinyPose_256x192 --backend openvino --verbose[/]

[bold]hpi predict people.jpg --det_model_dir my_detector --keypoint_model_dir my_keypoints[/]

Exit codes: 0 for success, 1 if an image cannot be used or a result cannot be saved, 2 for wrong usage."""


def predict(
    context: typer.Context,
    inputs: given.Inputs,
    save_path: given.SavePath = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON for each image or frame, and nothing else.")
    ] = False,
    det_threshold: given.DetThreshold = None,
    batch_size: given.BatchSize = None,
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
    tracker: given.Tracker = "auto",
    det_every: given.DetEvery = "1",
    smooth: given.Smooth = "oneeuro",
    fill_gaps: given.FillGaps = 0,
    formats: given.Formats = None,
    smooth_results: given.SmoothResults = False,
    resume: given.Resume = False,
    rate: given.Rate = None,
    allow_network: given.AllowNetwork = False,
    allow_private: given.AllowPrivate = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find people and their keypoints; print them, or save them with --save_path.

    Videos, cameras and network streams become an annotated video and a file of results, in which people keep their ids.

    The default pipeline is part of the package and needs no network.
    """
    from hpi.cli.predict import Output, StreamSettings, run
    from hpi.sources import count_items, is_stream
    from hpi.sources.streams import StreamOptions

    of_files = {"--format": formats, "--smooth_results": smooth_results, "--resume": resume}
    if save_path is None and (without := [name for name, value in of_files.items() if value]):
        raise typer.BadParameter(f"{', '.join(without)}: give --save_path, the folder of the files")
    if smooth_results and given.NONE in {smooth, tracker}:
        raise typer.BadParameter(
            "--smooth_results: only people who are followed are smoothed; choose a --smooth and a --tracker"
        )
    output = Output(save_path, as_json=as_json, quiet=quiet)
    settings = StreamSettings(
        {
            "tracker": given.or_none(tracker),
            "det_every": given.read_det_every(det_every),
            "smooth": given.or_none(smooth),
            "fill_gaps": fill_gaps,
            "batch_size": batch_size,
            "threshold": det_threshold,
        },
        StreamOptions(rate, allow_network=allow_network, allow_private=allow_private),
        formats,
        smoothed=smooth_results,
        resume=resume,
    )
    arguments = {"batch_size": batch_size, "det_threshold": det_threshold}
    several = len(inputs) > 1 or is_stream(inputs[0]) or count_items(inputs) > 1
    run(partial(given.open_predictor, context, calibrate=several), inputs, output, settings, **arguments)
