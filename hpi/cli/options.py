"""Options that several commands share, their shell completion, and the predictor that they describe."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hpi.predictor import Predictor

DEFAULT_PIPELINE = "human_keypoint_detection_lite"
DEVICES = ("cpu", "gpu", "npu", "xpu", "mlu", "dcu", "gcu")
"""For shell completion. Without indices: bash splits words at colons."""


def complete_pipelines() -> list[str]:
    """The pipelines of the package, for shell completion.

    Example:
        >>> complete_pipelines()
        ['human_keypoint_detection', 'human_keypoint_detection_lite']
    """
    from hpi.compat.paddlex.config import pipeline_names

    return pipeline_names()


def _models() -> list[tuple[str, str]]:
    from hpi.zoo import Zoo

    return [(name, config.summary) for name, config in Zoo.default().models.items()]


def _backends() -> list[str]:
    from hpi.backends import BACKENDS

    return ["auto", *BACKENDS]


def _precisions() -> list[str]:
    from hpi.selection.choice import PRECISIONS

    return ["auto", *PRECISIONS]


def _objectives() -> list[str]:
    from hpi.selection.choice import OBJECTIVES

    return list(OBJECTIVES)


def _devices() -> list[str]:
    return ["auto", *DEVICES]


_MODEL, _RUNTIME, _SERVICE = "Which models", "What they run on", "Where the service listens"

Inputs = Annotated[list[str], typer.Argument(help="Images, videos, folders or http(s) URLs.", metavar="INPUT...")]
Pipeline = Annotated[
    str | None,
    typer.Option(
        help=f"Name or YAML file of a pipeline. By default {DEFAULT_PIPELINE}.",
        metavar="NAME|FILE",
        autocompletion=complete_pipelines,
        rich_help_panel=_MODEL,
    ),
]
PipelineOrDefault = Annotated[
    str,
    typer.Option(
        help="Name or YAML file of a pipeline.",
        metavar="NAME|FILE",
        autocompletion=complete_pipelines,
        rich_help_panel=_MODEL,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="One model instead of a pipeline; [bold]hpi models[/] lists them.",
        metavar="NAME|FILE",
        autocompletion=_models,
        rich_help_panel=_MODEL,
    ),
]
ModelDir = Annotated[
    Path | None,
    typer.Option("--model_dir", help="Folder of the model's files; needs --model.", rich_help_panel=_MODEL),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="cpu, gpu, gpu:1; gpu:0,1 for several; npu:0 and the like with Paddle. By default the first GPU, or else "
        "the CPU.",
        autocompletion=_devices,
        rich_help_panel=_RUNTIME,
    ),
]
BackendName = Annotated[
    str | None,
    typer.Option(
        "--backend",
        help="onnxruntime, openvino, paddle; on a GPU also tensorrt, onnxruntime_tensorrt, paddle_tensorrt. By default "
        "auto: the fastest that gives the same keypoints.",
        autocompletion=_backends,
        rich_help_panel=_RUNTIME,
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        help="fp32 (the default), bf16, fp16, or auto for any that gives the same keypoints.",
        autocompletion=_precisions,
        rich_help_panel=_RUNTIME,
    ),
]
Objective = Annotated[
    str | None,
    typer.Option(
        help="What to optimise: latency (the default), throughput or memory.",
        autocompletion=_objectives,
        rich_help_panel=_RUNTIME,
    ),
]
MaxP99 = Annotated[
    float | None,
    typer.Option(
        "--max_p99", help="Use only runtimes with a measured p99 of at most this many ms.", rich_help_panel=_RUNTIME
    ),
]
MaxDeviation = Annotated[
    float | None,
    typer.Option(
        "--max_deviation",
        help="Use only runtimes whose keypoints deviate from the reference by at most this many pixels.",
        rich_help_panel=_RUNTIME,
    ),
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="CPU threads; by default all usable cores.", rich_help_panel=_RUNTIME)
]
DetThreshold = Annotated[
    float | None, typer.Option("--det_threshold", min=0, max=1, help="Keep people that score above it.")
]
BatchSize = Annotated[
    int | None, typer.Option("--batch_size", min=1, help="How many images go through the detector together.")
]
SavePath = Annotated[
    Path | None,
    typer.Option("--save_path", help="Folder for a picture and a JSON file of each image.", metavar="FOLDER"),
]
Host = Annotated[
    str,
    typer.Option(help="Address to listen on; 0.0.0.0 for every address of this machine.", rich_help_panel=_SERVICE),
]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.", rich_help_panel=_SERVICE)]

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8080

_ARGUMENTS = {
    "device": "device",
    "backend": "backend",
    "precision": "precision",
    "objective": "objective",
    "max_p99": "max_p99_ms",
    "max_deviation": "max_deviation_px",
    "threads": "threads",
}
"""Options of the commands, and the arguments of the Predictor that they set."""


def open_predictor(context: typer.Context) -> Predictor:
    """The predictor that the options of a command describe; options that the command lacks keep their defaults."""
    from hpi.predictor import Predictor

    given = context.params
    name = predictor_name(given["pipeline"], given["model"])
    return Predictor(name, model_dir=given["model_dir"], **predictor_arguments(context))


def predictor_name(pipeline: str | None, model: str | None) -> str:
    """The name of the given pipeline or model, or else of the default pipeline.

    Example:
        >>> predictor_name(None, "PP-TinyPose_128x96"), predictor_name(None, None)
        ('PP-TinyPose_128x96', 'human_keypoint_detection_lite')
    """
    if pipeline is not None and model is not None:
        raise typer.BadParameter("give --pipeline or --model, not both")
    return pipeline or model or DEFAULT_PIPELINE


def predictor_arguments(context: typer.Context) -> dict[str, Any]:
    """Arguments of the Predictor from the options that the command has; None leaves the decision to the YAML."""
    given = context.params
    return {argument: given[option] for option, argument in _ARGUMENTS.items() if option in given}


def read_seconds(text: str) -> float:
    """Parse a time, in seconds.

    Raises:
        typer.BadParameter: it is not a time of at least a second.

    Example:
        >>> read_seconds("60"), read_seconds("2m")
        (60.0, 120.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|)", text.strip())
    seconds = float(match[1]) * (60 if match[2] == "m" else 1) if match else 0.0
    if seconds < 1:
        raise typer.BadParameter(f"{text!r}: give a time of at least a second, such as 60, 60s or 2m")
    return seconds
