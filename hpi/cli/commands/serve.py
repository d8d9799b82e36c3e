"""``hpi serve``."""

from __future__ import annotations

from typing import Annotated

import typer

from hpi.cli import options as given
from hpi.cli.command import Debug


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
    token: given.Token = None,
    allow_url: given.AllowUrl = None,
    cors: given.Cors = None,
    processes: Annotated[
        int, typer.Option("--workers", min=1, help="Processes, each with its own models and its own workers.")
    ] = 1,
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
    """Serve PaddleX's HTTP protocol and the Open Inference Protocol, with batching, limits, metrics and a page at /.

    A pipeline is served, or a model that finds people with their keypoints itself. Further settings go under
    Serving: extra: in the pipeline's YAML.
    """
    from hpi.serving import serve as run_service

    name = given.predictor_name(pipeline, model)
    arguments = given.predictor_arguments(context)
    if model_dir is not None:
        arguments["model_dir"] = str(model_dir)
    run_service(
        name,
        arguments,
        given.service_settings(context),
        is_model=model is not None,
        host=host,
        port=port,
        grpc_port=grpc_port,
        workers=processes,
        json_logs=json_logs,
    )
