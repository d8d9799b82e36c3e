"""``hpi batch``."""

from __future__ import annotations

from typing import Annotated

import typer

from hpi.cli import options as given
from hpi.cli.command import Debug, Quiet, Verbose

EXAMPLES = """\
[bold]hpi batch images/ --output poses[/]

[bold]hpi batch "images/**/*.jpg" clips/ shards/ --output poses --processes 4[/]

[bold]hpi batch s3://bucket/images --output s3://bucket/poses[/]

[bold]hpi batch @list.txt --output s3://bucket/poses --ray auto[/]

The same command again goes on where an interrupted one stopped.

Exit codes: 0 for success, 1 if an image cannot be used or a part was given up, 2 for wrong usage."""

_BATCH = "How the work is shared out"


def batch(
    context: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Folders, images, videos, tars of images (WebDataset), patterns in quotes, @LIST with a file on each "
            "line; also URLs (s3://, gs://, https://).",
            metavar="SOURCE...",
        ),
    ],
    output: Annotated[
        str, typer.Option(help="Folder of the results, or a URL such as s3://bucket/poses.", metavar="DIR|URL")
    ],
    ray: Annotated[
        str | None,
        typer.Option(
            help="Run on a Ray cluster: its address, or auto. By default in processes of this machine.",
            metavar="auto|ADDRESS",
            rich_help_panel=_BATCH,
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            help="Processes of this machine, each with models of its own and a share of the cores. By default one for "
            "each 4 cores, or for each GPU that --device names.",
            rich_help_panel=_BATCH,
        ),
    ] = None,
    part_size: Annotated[
        int,
        typer.Option(
            "--part_size",
            min=1,
            max=100_000,
            help="Most images of a part, which is done again after a kill, and of a file of results.",
            rich_help_panel=_BATCH,
        ),
    ] = 1000,
    det_threshold: given.DetThreshold = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch_size",
            min=1,
            help="How many images go through the detector together. By default as many as measure best during the run.",
        ),
    ] = None,
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
    max_deviation: given.MaxDeviation = None,
    max_ap_loss: given.MaxApLoss = None,
    threads: given.Threads = None,
    workers: given.Workers = None,
    calibrate: given.Calibrate = None,
    tracker: given.Tracker = "auto",
    det_every: given.DetEvery = "1",
    allow_network: given.AllowNetwork = False,
    allow_private: given.AllowPrivate = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find people and their keypoints in very many images and videos; write Parquet.

    The output gets a table with a row for each person (people/), and one with a row for each image (images/), also for
    images without people and those that cannot be used. What is interrupted goes on by the same command.
    """
    from hpi.cli.batch import run
    from hpi.distributed.job import Job
    from hpi.sources.streams import StreamOptions

    job = Job(
        tuple(sources),
        output,
        given.predictor_call(context, calibrate=True, for_many=True),
        threshold=det_threshold,
        batch_size=batch_size,
        part_size=part_size,
        tracker=given.or_none(tracker),
        det_every=given.read_det_every(det_every),
        network=StreamOptions(allow_network=allow_network, allow_private=allow_private),
        processes=processes,
        ray=ray,
    )
    run(job, quiet=quiet)
