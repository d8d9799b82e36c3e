"""Options that several commands share, their shell completion, and the predictor that they describe."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hpi.errors import ConfigError
from hpi.io.times import seconds_of

if TYPE_CHECKING:
    from hpi.predictor import Predictor

DEFAULT_PIPELINE = "human_keypoint_detection_lite"
DEVICES = ("cpu", "gpu", "npu", "xpu", "mlu", "dcu", "gcu")
"""For shell completion. Without indices: bash splits words at colons."""


def complete_pipelines() -> list[str]:
    """The pipelines of the package, for shell completion.

    Example:
        >>> [name for name in complete_pipelines() if name.startswith("body26")]
        ['body26', 'body26-accurate', 'body26-balanced', 'body26-light']
    """
    from hpi.compat.paddlex.config import pipeline_names

    return pipeline_names()


def complete_models() -> list[tuple[str, str]]:
    """The known models and what they are, for shell completion.

    Example:
        >>> "PP-TinyPose_128x96" in dict(complete_models())
        True
    """
    from hpi.zoo import Zoo

    return [(name, config.summary) for name, config in Zoo.default().models.items()]


def _kinds() -> list[str]:
    from hpi.models.readers.plain_onnx import KINDS

    return list(KINDS)


def _skeletons() -> list[str]:
    from hpi.skeletons import skeleton_names

    return skeleton_names()


def _backends() -> list[str]:
    from hpi.backends import BACKENDS

    return ["auto", *BACKENDS]


def _precisions() -> list[str]:
    from hpi.selection.ranking import PRECISIONS

    return ["auto", *PRECISIONS]


def _objectives() -> list[str]:
    from hpi.selection.ranking import OBJECTIVES

    return ["auto", *OBJECTIVES]


def _devices() -> list[str]:
    return ["auto", *DEVICES]


def _trackers() -> list[str]:
    from hpi.tracking.base import TRACKERS

    return ["auto", *TRACKERS, NONE]


def _filters() -> list[str]:
    from hpi.tracking.smoothing import FILTERS

    return [*FILTERS, NONE]


def _formats() -> list[str]:
    from hpi.sinks.formats import FORMATS

    return list(FORMATS)


_MODEL, _RUNTIME, _SERVICE = "Which models", "What they run on", "Where the service listens"
_LIMITS = "Batches and limits"
_VIDEO = "Videos, cameras and streams"
NONE = "none"

Inputs = Annotated[
    list[str],
    typer.Argument(
        help="Images, folders, URLs of images; videos, numbered images (frames/%05d.png), cameras (0, /dev/video0), "
        "network streams (rtsp://...).",
        metavar="INPUT...",
    ),
]
Tracker = Annotated[
    str,
    typer.Option(
        help="How people are followed: bytetrack or ocsort by boxes, oks by keypoints, embedding by a FairMOT's "
        "embeddings, or none. auto: embedding with a FairMOT, else oks, of a detector alone bytetrack.",
        autocompletion=_trackers,
        rich_help_panel=_VIDEO,
    ),
]
DetEvery = Annotated[
    str,
    typer.Option(
        "--det_every",
        help="Run the detector on every N-th frame, and in between where it is needed. auto: as seldom as the scene "
        "allows.",
        metavar="N|auto",
        rich_help_panel=_VIDEO,
    ),
]
Smooth = Annotated[
    str,
    typer.Option(
        help="Filter that steadies the keypoints in the annotated video: oneeuro, ema or none.",
        autocompletion=_filters,
        rich_help_panel=_VIDEO,
    ),
]
FillGaps = Annotated[
    int,
    typer.Option(
        "--fill_gaps", min=0, help="Fill gaps of at most this many frames in a track.", rich_help_panel=_VIDEO
    ),
]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        help="What to save: video, jsonl, coco, csv, parquet, openpose or trc; repeat for several. By default video "
        "and jsonl.",
        autocompletion=_formats,
        rich_help_panel=_VIDEO,
    ),
]
SmoothResults = Annotated[
    bool,
    typer.Option(
        "--smooth_results",
        help="Save the smoothed keypoints too, in jsonl, csv and parquet; alone in trc.",
        rich_help_panel=_VIDEO,
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue the files of an interrupted command.", rich_help_panel=_VIDEO)
]
Rate = Annotated[
    float | None,
    typer.Option(help="Frames per second of numbered images, or asked of a camera.", rich_help_panel=_VIDEO),
]
AllowNetwork = Annotated[
    bool, typer.Option("--allow_network", help="Allow streams from the network.", rich_help_panel=_VIDEO)
]
AllowPrivate = Annotated[
    bool,
    typer.Option(
        "--allow_private", help="Allow them from private addresses too; RTSP needs it.", rich_help_panel=_VIDEO
    ),
]
Pipeline = Annotated[
    str | None,
    typer.Option(
        help=f"Name or YAML file of a pipeline. By default {DEFAULT_PIPELINE}.",
        metavar="NAME|FILE",
        autocompletion=complete_pipelines,
        rich_help_panel=_MODEL,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="One model instead of a pipeline: a name of [bold]hpi models[/], or the folder or file of your own.",
        metavar="NAME|PATH",
        autocompletion=complete_models,
        rich_help_panel=_MODEL,
    ),
]
ModelDir = Annotated[
    Path | None,
    typer.Option("--model_dir", help="Folder of the model's files; needs --model.", rich_help_panel=_MODEL),
]
Kind = Annotated[
    str | None,
    typer.Option(
        help="What the model is, such as simcc or yolox, where its files do not say it.",
        autocompletion=_kinds,
        rich_help_panel=_MODEL,
    ),
]
DetKind = Annotated[
    str | None,
    typer.Option(
        "--det_kind", help="The same of the detector in --det_model_dir.", autocompletion=_kinds, rich_help_panel=_MODEL
    ),
]
Skeleton = Annotated[
    str | None,
    typer.Option(
        help="The model's keypoints, such as coco17, or a YAML file, where its files do not say them.",
        metavar="NAME|FILE",
        autocompletion=_skeletons,
        rich_help_panel=_MODEL,
    ),
]
DetModelDir = Annotated[
    Path | None,
    typer.Option(
        "--det_model_dir",
        help="Folder or file of a detector, instead of a pipeline; needs --keypoint_model_dir.",
        rich_help_panel=_MODEL,
    ),
]
KeypointModelDir = Annotated[
    Path | None,
    typer.Option(
        "--keypoint_model_dir",
        help="Folder or file of a keypoint model, for the people that the detector finds. Without --det_model_dir, it "
        "takes whole images: one person each, or everyone if the model is bottom-up.",
        rich_help_panel=_MODEL,
    ),
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
        help="fp32 (the default), bf16, fp16, int8 of a detector after [bold]hpi quantize[/], or auto for any that "
        "gives the same keypoints.",
        autocompletion=_precisions,
        rich_help_panel=_RUNTIME,
    ),
]
Objective = Annotated[
    str | None,
    typer.Option(
        help="What to optimise: latency, throughput or memory. By default auto: the latency of single images, the "
        "throughput of many.",
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
MaxApLoss = Annotated[
    float | None,
    typer.Option(
        "--max_ap_loss",
        help="Let --precision auto use a detector in INT8 that loses at most so many points of AP.",
        rich_help_panel=_RUNTIME,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1, help="CPU threads, with --workers of each; by default all usable cores.", rich_help_panel=_RUNTIME
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Whole pipelines side by side on the CPU. By default one for single images, and as many as measure best "
        "for many.",
        rich_help_panel=_RUNTIME,
    ),
]
Calibrate = Annotated[
    bool | None,
    typer.Option(
        "--calibrate/--no-calibrate",
        help="At the first start on a CPU that has not been measured, take up to 1.5 s to measure the runtimes.",
        show_default=False,
        rich_help_panel=_RUNTIME,
    ),
]
DetThreshold = Annotated[
    float | None, typer.Option("--det_threshold", min=0, max=1, help="Keep people that score above it.")
]
BatchSize = Annotated[
    int | None, typer.Option("--batch_size", min=1, help="How many images go through the detector together.")
]
SavePath = Annotated[
    Path | None,
    typer.Option(
        "--save_path",
        help="Folder for a picture and a JSON file of each image, a video and a file of results of each stream.",
        metavar="FOLDER",
    ),
]
Host = Annotated[
    str,
    typer.Option(help="Address to listen on; 0.0.0.0 for every address of this machine.", rich_help_panel=_SERVICE),
]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.", rich_help_panel=_SERVICE)]
Token = Annotated[
    str | None, typer.Option(envvar="HPI_TOKEN", help="Token that clients must send as Authorization: Bearer.")
]
AllowUrl = Annotated[bool | None, typer.Option("--allow-url", help="Fetch images from public http(s) addresses.")]
Cors = Annotated[
    list[str] | None,
    typer.Option(metavar="ORIGIN", help="Allow pages of this origin, such as https://a.org, or * for all. Repeatable."),
]
JsonLogs = Annotated[bool, typer.Option("--json_logs", help="Log one JSON object per line.")]
Otlp = Annotated[
    str | None,
    typer.Option(
        metavar="URL|env",
        help="Send traces to this OpenTelemetry collector, such as http://127.0.0.1:4318; env: to where the variables "
        "OTEL_EXPORTER_OTLP_... say.",
    ),
]
MaxBatch = Annotated[
    int | None,
    typer.Option("--max_batch", help="Images in a batch; 1 turns batching off. Default 8.", rich_help_panel=_LIMITS),
]
MaxWaitMs = Annotated[
    float | None,
    typer.Option("--max_wait_ms", help="How long an image waits for others. Default 2.", rich_help_panel=_LIMITS),
]
MaxRequests = Annotated[
    int | None,
    typer.Option(
        "--max_requests", help="Requests at a time; further ones get 503. Default 64.", rich_help_panel=_LIMITS
    ),
]
Deadline = Annotated[
    float | None, typer.Option(help="Seconds after which a request gets 504. Default 30.", rich_help_panel=_LIMITS)
]
MaxBodyMb = Annotated[
    float | None,
    typer.Option(
        "--max_body_mb", help="Maximum body size in MiB; larger ones get 413. Default 32.", rich_help_panel=_LIMITS
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        "--max_pixels",
        help="Maximum pixels of an image; larger ones get 422. Default 50,000,000.",
        rich_help_panel=_LIMITS,
    ),
]

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8080

_ARGUMENTS = {
    "kind": "kind",
    "skeleton": "skeleton",
    "device": "device",
    "backend": "backend",
    "precision": "precision",
    "objective": "objective",
    "max_p99": "max_p99_ms",
    "max_deviation": "max_deviation_px",
    "max_ap_loss": "max_ap_loss",
    "threads": "threads",
    "workers": "workers",
    "calibrate": "calibrate",
}
"""Options of the commands, and the arguments of the Predictor that they set."""

_SETTINGS = {
    "max_batch": "max_batch",
    "max_wait_ms": "max_wait_ms",
    "max_requests": "max_requests",
    "deadline": "deadline_s",
    "max_body_mb": "max_body_mb",
    "max_pixels": "max_pixels",
    "allow_url": "allow_url",
    "token": "token",
    "cors": "cors_origins",
    "otlp": "otlp",
}
"""Options of a service, and the settings that they set."""


def or_none(name: str) -> str | None:
    """A name, or None for ``"none"``.

    Example:
        >>> or_none("oks"), or_none("none")
        ('oks', None)
    """
    return None if name == NONE else name


def read_det_every(text: str) -> int | Literal["auto"]:
    """Parse how often the detector runs.

    Raises:
        typer.BadParameter: it is neither a number from 1 nor ``auto``.

    Example:
        >>> read_det_every("5"), read_det_every("auto")
        (5, 'auto')
    """
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"--det_every {text}: give a number from 1, or auto")
    return int(text)


def open_predictor(context: typer.Context, *, calibrate: bool = False, for_many: bool = False) -> Predictor:
    """The predictor that the options of a command describe; options that the command lacks keep their defaults.

    Args:
        context: the command.
        calibrate: whether it calibrates where neither its options nor the environment say.
        for_many: only many images come, so it opens what these go through and nothing else.
    """
    return predictor_call(context, calibrate=calibrate, for_many=for_many)()


def predictor_call(context: typer.Context, *, calibrate: bool = False, for_many: bool = False) -> partial[Predictor]:
    """What opens that predictor, with the arguments of :func:`open_predictor`; it can be pickled."""
    from hpi.predictor import Predictor
    from hpi.selection.calibration import is_wanted

    given, arguments = context.params, predictor_arguments(context)
    arguments["calibrate"] = is_wanted(given.get("calibrate"), calibrate)
    if for_many and arguments["objective"] in {None, "auto"}:
        arguments["objective"] = "throughput"
    if given.get("det_model_dir") or given.get("keypoint_model_dir"):
        return _folders_call(given, arguments)
    if given.get("det_kind") is not None:
        raise typer.BadParameter("--det_kind is for --det_model_dir")
    name = predictor_name(given["pipeline"], given["model"])
    return partial(Predictor, name, model_dir=given["model_dir"], **arguments)


def _folders_call(given: Mapping[str, Any], arguments: Mapping[str, Any]) -> partial[Predictor]:
    """What opens the models in ``--det_model_dir`` and ``--keypoint_model_dir``."""
    from hpi.predictor import Predictor

    detector, keypoint_model = given["det_model_dir"], given["keypoint_model_dir"]
    for option in ("pipeline", "model", "model_dir"):
        if given[option] is not None:
            named = "--det_model_dir" if detector else "--keypoint_model_dir"
            raise typer.BadParameter(f"{named} names a model by its folder; leave out --{option}")
    if keypoint_model is None:
        raise typer.BadParameter(
            "--det_model_dir needs --keypoint_model_dir; for a detector alone give --model NAME --model_dir FOLDER"
        )
    return partial(Predictor.of_folders, keypoint_model, detector, det_kind=given["det_kind"], **arguments)


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


def service_settings(context: typer.Context) -> dict[str, Any]:
    """Settings of a service from its command's options; those that are not given are left to the YAML."""
    given = context.params
    return {setting: given[option] for option, setting in _SETTINGS.items() if given.get(option) not in (None, [], ())}


def read_seconds(text: str) -> float:
    """Parse a time, in seconds.

    Raises:
        typer.BadParameter: it is not a time of at least a second.

    Example:
        >>> read_seconds("60"), read_seconds("2m")
        (60.0, 120.0)
    """
    try:
        return seconds_of(text)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None
