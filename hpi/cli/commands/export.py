"""``hpi export``: pipelines for other servers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hpi.cli import options as given
from hpi.cli.command import Command, Debug, Verbose

app = typer.Typer(help="Write a pipeline for another server.", pretty_exceptions_enable=False, no_args_is_help=True)

EXAMPLES = """\
[bold]hpi export triton human_keypoint_detection_lite --output repository[/]

[bold]hpi export triton human_keypoint_detection_lite --output repository --models own[/]"""


@app.command(cls=Command, epilog=EXAMPLES)
def triton(
    pipeline: Annotated[
        str,
        typer.Argument(
            help="Name or YAML file of a pipeline.", metavar="PIPELINE", autocompletion=given.complete_pipelines
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder of the model repository; must be new or empty.")],
    models: Annotated[
        Literal["native", "own"],
        typer.Option(
            help="native: Triton runs the two models itself. own: they run in the Python process of the pipeline, on "
            "the runtimes of hpi; Triton then needs its Python backend only."
        ),
    ] = "native",
    backend: Annotated[
        Literal["onnxruntime", "openvino", "tensorrt"],
        typer.Option(
            help="Triton's backend of native models. tensorrt: for those that an engine was built of on this machine, "
            "which must have the GPU and TensorRT of the server."
        ),
    ] = "onnxruntime",
    device: Annotated[Literal["cpu", "gpu"], typer.Option(help="What the models run on.")] = "cpu",
    instances: Annotated[int, typer.Option(min=1, help="How many of each model run side by side, on each device.")] = 1,
    max_batch: Annotated[
        int,
        typer.Option(
            "--max_batch",
            min=1,
            help="Requests that the pipeline takes together. From 2 on, Triton's batch dimension comes before each "
            "tensor.",
        ),
    ] = 1,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Write a model repository for NVIDIA's Triton Inference Server.

    The pipeline becomes a model of Triton's Python backend, in which hpi must be installed.
    """
    from hpi.export.triton.repository import Settings, export_triton

    if models == "own" and backend != "onnxruntime":
        raise typer.BadParameter("--backend is for --models native")
    settings = Settings(backend if models == "native" else None, device, instances, max_batch)
    for model in export_triton(pipeline, output, settings):
        typer.echo(f"{output / model.name}: {model.runtime}")
    typer.echo(f"start it with: tritonserver --model-repository={output}")
