"""``hpi deploy``."""

from __future__ import annotations

from typing import Annotated

import typer

from hpi.cli import options as given
from hpi.cli.command import Command, Debug
from hpi.errors import ConfigError

app = typer.Typer(
    help="Start the service on a cluster.",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
)

EXAMPLES = """\
[bold]hpi deploy ray --replicas 2[/]

[bold]hpi deploy ray --ray auto --host 0.0.0.0 --gpus 1 --min_replicas 1 --max_replicas 8[/]"""

_CLUSTER = "On the cluster"


@app.command(cls=Command, epilog=EXAMPLES)
def ray(
    context: typer.Context,
    address: Annotated[
        str,
        typer.Option(
            "--ray",
            help="The Ray cluster: auto for the one that this machine is in, host:port, or local to start one here, "
            "which ends with the command.",
            metavar="auto|ADDRESS",
            rich_help_panel=_CLUSTER,
        ),
    ] = "local",
    name: Annotated[
        str,
        typer.Option(help="Name of the application; one of this name is updated.", rich_help_panel=_CLUSTER),
    ] = "hpi",
    replicas: Annotated[
        int | None, typer.Option(min=1, help="How many replicas. By default one.", rich_help_panel=_CLUSTER)
    ] = None,
    min_replicas: Annotated[
        int | None,
        typer.Option("--min_replicas", min=0, help="Fewest replicas, with --max_replicas.", rich_help_panel=_CLUSTER),
    ] = None,
    max_replicas: Annotated[
        int | None,
        typer.Option(
            "--max_replicas", min=1, help="Let their number follow the load, up to this many.", rich_help_panel=_CLUSTER
        ),
    ] = None,
    cpus: Annotated[
        float, typer.Option(help="CPUs of each replica, which are its threads.", rich_help_panel=_CLUSTER)
    ] = 1,
    gpus: Annotated[float, typer.Option(help="GPUs of each replica.", rich_help_panel=_CLUSTER)] = 0,
    max_surge_percent: Annotated[
        int,
        typer.Option(
            "--max_surge_percent",
            min=0,
            max=100,
            help="Replicas that may run besides during an update, in percent; the cluster must have room for them.",
            rich_help_panel=_CLUSTER,
        ),
    ] = 0,
    route_prefix: Annotated[
        str, typer.Option("--route_prefix", help="Path in front of the service's own.", rich_help_panel=_CLUSTER)
    ] = "/",
    pipeline: given.Pipeline = None,
    model: given.Model = None,
    model_dir: given.ModelDir = None,
    kind: given.Kind = None,
    skeleton: given.Skeleton = None,
    host: given.Host = given.DEFAULT_HOST,
    port: given.Port = given.DEFAULT_PORT,
    token: given.Token = None,
    allow_url: given.AllowUrl = None,
    cors: given.Cors = None,
    json_logs: given.JsonLogs = False,
    otlp: given.Otlp = None,
    max_batch: given.MaxBatch = None,
    max_wait_ms: given.MaxWaitMs = None,
    max_requests: given.MaxRequests = None,
    deadline: given.Deadline = None,
    max_body_mb: given.MaxBodyMb = None,
    max_pixels: given.MaxPixels = None,
    device: given.Device = None,
    backend: given.BackendName = None,
    precision: given.Precision = None,
    max_ap_loss: given.MaxApLoss = None,
    objective: given.Objective = None,
    threads: given.Threads = None,
    calibrate: given.Calibrate = None,
    debug: Debug = False,
) -> None:
    """Start the service with Ray Serve: replicas on many machines, and updates that lose no request.

    It answers as [bold]hpi serve[/] does. The same command with other options updates it, replica by replica.
    """
    try:
        from hpi.distributed.serve_app import deploy as deploy_service
    except ImportError as error:
        raise ConfigError(f'the service is not installed ({error}): pip install "hpi-pose[ray]"') from error

    predictor = given.predictor_arguments(context)
    if model_dir is not None:
        predictor["model_dir"] = str(model_dir.absolute())
    deploy_service(
        {
            "pipeline": None if model else given.predictor_name(pipeline, model),
            "model": model,
            "predictor": {name: value for name, value in predictor.items() if value is not None},
            "settings": given.service_settings(context),
            "json_logs": json_logs,
            "cpus": cpus,
            "gpus": gpus,
            "replicas": replicas,
            "min_replicas": min_replicas,
            "max_replicas": max_replicas,
            "max_surge_percent": max_surge_percent,
        },
        address=address,
        host=host,
        port=port,
        name=name,
        route_prefix=route_prefix,
    )
