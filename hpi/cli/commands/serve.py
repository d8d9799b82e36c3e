"""``hpi serve``."""

from __future__ import annotations

from typing import Annotated

import typer

from hpi.cli import options as given
from hpi.cli.command import Debug

_LIMITS = "Batches and limits"


def serve(
    context: typer.Context,
    pipeline: given.Pipeline = None,
    model: given.Model = None,
    model_dir: given.ModelDir = None,
    kind: given.Kind = None,
    skeleton: given.Skeleton = None,
    host: given.Host = given.DEFAULT_HOST,
    port: given.Port = given.DEFAULT_PORT,
    grpc_port: Annotated[
        int | None,
        typer.Option(
            "--grpc_port",
            min=1,
            max=65535,
            help="Port of the Open Inference Protocol over gRPC; without it, over HTTP only.",
        ),
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="HPI_TOKEN", help="Token that clients must send as Authorization: Bearer.")
    ] = None,
    allow_url: Annotated[
        bool | None, typer.Option("--allow-url", help="Fetch images from public http(s) addresses.")
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN", help="Allow pages of this origin, such as https://a.org, or * for all. Repeatable."
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option("--workers", min=1, help="Processes, each with its own models and its own workers.")
    ] = 1,
    json_logs: Annotated[bool, typer.Option("--json_logs", help="Log one JSON object per line.")] = False,
    otlp: Annotated[
        str | None,
        typer.Option(
            metavar="URL|env",
            help="Send traces to this OpenTelemetry collector, such as http://127.0.0.1:4318; env: to where the "
            "variables OTEL_EXPORTER_OTLP_... say.",
        ),
    ] = None,
    max_batch: Annotated[
        int | None,
        typer.Option(
            "--max_batch", help="Images in a batch; 1 turns batching off. Default 8.", rich_help_panel=_LIMITS
        ),
    ] = None,
    max_wait_ms: Annotated[
        float | None,
        typer.Option("--max_wait_ms", help="How long an image waits for others. Default 2.", rich_help_panel=_LIMITS),
    ] = None,
    max_requests: Annotated[
        int | None,
        typer.Option(
            "--max_requests",
            help="Requests at a time; further ones get 503. Default 64.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    deadline: Annotated[
        float | None, typer.Option(help="Seconds after which a request gets 504. Default 30.", rich_help_panel=_LIMITS)
    ] = None,
    max_body_mb: Annotated[
        float | None,
        typer.Option(
            "--max_body_mb", help="Maximum body size in MiB; larger ones get 413. Default 32.", rich_help_panel=_LIMITS
        ),
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            "--max_pixels",
            help="Maximum pixels of an image; larger ones get 422. Default 50,000,000.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    device: given.Device = None,
    backend: given.BackendName = None,
    precision: given.Precision = None,
    max_ap_loss: given.MaxApLoss = None,
    objective: given.Objective = None,
    threads: given.Threads = None,
    calibrate: given.Calibrate = None,
    debug: Debug = False,
) -> None:
    """Serve PaddleX's HTTP protocol and the Open Inference Protocol, with batching, limits, metrics and a page at /.

    A pipeline is served, or a model that finds people with their keypoints itself. Further settings go under
    Serving: extra: in the pipeline's YAML.
    """
    overrides = {
        "max_batch": max_batch,
        "max_wait_ms": max_wait_ms,
        "max_requests": max_requests,
        "deadline_s": deadline,
        "max_body_mb": max_body_mb,
        "max_pixels": max_pixels,
        "allow_url": allow_url,
        "token": token,
        "cors_origins": cors or None,
        "otlp": otlp,
    }
    from hpi.serving import serve as run_service

    name = given.predictor_name(pipeline, model)
    arguments = given.predictor_arguments(context)
    if model_dir is not None:
        arguments["model_dir"] = str(model_dir)
    run_service(
        name,
        arguments,
        overrides,
        is_model=model is not None,
        host=host,
        port=port,
        grpc_port=grpc_port,
        workers=processes,
        json_logs=json_logs,
    )
