"""Commands and options of ``hpi``, and PaddleX's own spelling of them."""

from __future__ import annotations

import ast
import json
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hpi.cli import cache
from hpi.compat.paddlex.config import pipeline_text
from hpi.errors import ConfigError, HpiError

if TYPE_CHECKING:
    from hpi.predictor import Predictor

DEFAULT_PIPELINE = "human_keypoint_detection_lite"

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    no_args_is_help=False,
)

Inputs = Annotated[list[str], typer.Argument(help="Images, videos, folders or http(s) URLs.", metavar="INPUT...")]
Pipeline = Annotated[str | None, typer.Option(help="Name or YAML file of a pipeline.")]
Model = Annotated[str | None, typer.Option(help="One model instead of a pipeline; see [bold]hpi models[/].")]
ModelDir = Annotated[Path | None, typer.Option("--model_dir", help="Folder of the model's files, with --model.")]
Device = Annotated[
    str, typer.Option(help="Where to run: auto, cpu, gpu, gpu:1; gpu:0,1 for several; npu:0 and the like with Paddle.")
]
BackendName = Annotated[
    str,
    typer.Option(
        "--backend",
        help="auto, onnxruntime, openvino, paddle; on a GPU also tensorrt, onnxruntime_tensorrt, paddle_tensorrt.",
    ),
]
Precision = Annotated[str, typer.Option(help="fp32, bf16, fp16, or auto for any that gives the same joints.")]
Objective = Annotated[str, typer.Option(help="What to choose the runtime for: latency, throughput or memory.")]
MaxP99 = Annotated[
    float | None, typer.Option("--max_p99", help="Only runtimes with a measured p99 of at most so many ms.")
]
MaxDeviation = Annotated[
    float | None,
    typer.Option("--max_deviation", help="Only runtimes whose joints are so close to the reference's, in px."),
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; by default all usable cores.")]
DetThreshold = Annotated[
    float | None, typer.Option("--det_threshold", min=0, max=1, help="Keep people that score above it.")
]
BatchSize = Annotated[int | None, typer.Option("--batch_size", min=1, help="Images that go together.")]
SavePath = Annotated[Path | None, typer.Option("--save_path", help="Folder for pictures and JSON files.")]
Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every one of this machine.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


_ARGUMENTS = {
    "device": "device",
    "backend": "backend",
    "precision": "precision",
    "objective": "objective",
    "max_p99": "max_p99_ms",
    "max_deviation": "max_deviation_px",
    "threads": "threads",
}
"""Options of the commands that are arguments of the Predictor."""
_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""Of commands whose options another command line reads, ``--help`` too."""


@app.callback(invoke_without_command=True)
def paddlex(
    context: typer.Context,
    pipeline: Annotated[str | None, typer.Option(help="Name or YAML file of a pipeline.")] = None,
    source: Annotated[str | None, typer.Option("--input", help="Image, folder or http(s) URL.")] = None,
    start_service: Annotated[bool, typer.Option("--serve", help="Serve the pipeline; see hpi serve.")] = False,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    device: Device = "auto",
    backend: BackendName = "auto",
    det_threshold: DetThreshold = None,
    save_path: SavePath = None,
    get_pipeline_config: Annotated[
        str | None,
        typer.Option("--get_pipeline_config", metavar="NAME", help="Write a pipeline's YAML into --save_path."),
    ] = None,
    use_hpip: Annotated[bool, typer.Option("--use_hpip", help="Accepted: always on.")] = False,
    engine: Annotated[str | None, typer.Option("--engine", help="PaddleX's name of a runtime, or hpi.")] = None,
    hpi_config: Annotated[
        str | None,
        typer.Option("--hpi_config", metavar="DICT", help="PaddleX's dictionary; its 'backend' counts."),
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    debug: Debug = False,
) -> None:
    """Human keypoints: people in a photo in, joints out.

    [bold]hpi predict photo.jpg --save_path output[/] needs no network. The options below are PaddleX's spelling:
    [bold]hpi --pipeline NAME --input photo.jpg --save_path ./output/[/]
    """
    del use_hpip
    if context.invoked_subcommand is not None:
        _refuse_options_before(context)
        return
    with _friendly_errors(debug=debug):
        if version:
            from importlib.metadata import version as installed

            typer.echo(f"hpi-pose {installed('hpi-pose')}")
        elif get_pipeline_config is not None:
            _write_config(get_pipeline_config, save_path)
        elif start_service:
            if source is not None or save_path is not None or det_threshold is not None:
                raise typer.BadParameter("--serve takes no --input, --save_path or --det_threshold")
            from hpi.compat.paddlex.api import with_engine

            chosen = with_engine(_read_hpi_config(hpi_config), engine)
            _serve(
                pipeline or DEFAULT_PIPELINE,
                {"device": device, "backend": backend, "hpi_config": chosen},
                {},
                host=host,
                port=port,
                workers=1,
                json_logs=False,
            )
        elif pipeline is not None and source is not None:
            from hpi.cli.predict import run
            from hpi.compat.paddlex.api import create_pipeline

            chosen = _read_hpi_config(hpi_config)
            if backend != "auto":
                chosen["backend"] = backend
            with create_pipeline(pipeline, device=device, hpi_config=chosen, engine=engine) as predictor:
                run(predictor, [source], save_path, lambda result: result.print(), det_threshold=det_threshold)
        elif pipeline is not None or source is not None:
            raise typer.BadParameter("give --pipeline and --input together, or use: hpi predict INPUT")
        else:
            typer.echo(context.get_help())


@app.command()
def predict(
    context: typer.Context,
    inputs: Inputs,
    pipeline: Pipeline = None,
    model: Model = None,
    model_dir: ModelDir = None,
    device: Device = "auto",
    backend: BackendName = "auto",
    precision: Precision = "fp32",
    objective: Objective = "latency",
    max_p99: MaxP99 = None,
    max_deviation: MaxDeviation = None,
    threads: Threads = None,
    det_threshold: DetThreshold = None,
    batch_size: BatchSize = None,
    save_path: SavePath = None,
    debug: Debug = False,
) -> None:
    """Find people and their joints; print them, and with --save_path save pictures and JSON files.

    The default pipeline, human_keypoint_detection_lite, comes with the package and needs no network.
    """
    with _friendly_errors(debug=debug):
        from hpi.cli.predict import run, show

        with _predictor(context) as predictor:
            run(predictor, inputs, save_path, show, batch_size=batch_size, det_threshold=det_threshold)


@app.command()
def explain(
    context: typer.Context,
    pipeline: Pipeline = None,
    model: Model = None,
    model_dir: ModelDir = None,
    device: Device = "auto",
    backend: BackendName = "auto",
    precision: Precision = "fp32",
    objective: Objective = "latency",
    max_p99: MaxP99 = None,
    max_deviation: MaxDeviation = None,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    debug: Debug = False,
) -> None:
    """Say what each model runs on, what that rests on, and why the other candidates were not taken."""
    with _friendly_errors(debug=debug):
        from hpi.cli import selection

        with _predictor(context) as predictor:
            selection.explain(predictor, as_json=as_json)


@app.command()
def tune(
    context: typer.Context,
    pipeline: Pipeline = None,
    model: Model = None,
    model_dir: ModelDir = None,
    budget: Annotated[str, typer.Option(help="Time for all of it: 60, 60s or 2m.")] = "60s",
    device: Device = "auto",
    objective: Objective = "latency",
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Measure every runtime on this machine with real crops; from then on the choice rests on that."""
    with _friendly_errors(debug=debug):
        from hpi.cli import selection

        seconds = _seconds(budget)
        with _predictor(context) as predictor:
            before = selection.summary(predictor.describe())
            selection.tune(predictor, seconds)
        with _predictor(context) as predictor:
            after = selection.summary(predictor.describe())
        for name, choice in after.items():
            typer.echo(f"{name}: {choice} (before: {before[name]})")


@app.command()
def evaluate(
    context: typer.Context,
    dataset: Annotated[Literal["coco", "mpii"], typer.Option(help="Whose annotations and measure.")],
    annotations: Annotated[
        Path,
        typer.Option(help="COCO: person_keypoints_*.json; MPII: the JSON that HRNet, mmpose, PaddleDetection share."),
    ],
    images: Annotated[Path, typer.Option(help="Folder of the images that the annotations name.")],
    pipeline: Pipeline = None,
    model: Model = None,
    model_dir: ModelDir = None,
    boxes: Annotated[
        str | None,
        typer.Option(help="gt, detector, or a .json of COCO's detections. By default a pipeline's detector, else gt."),
    ] = None,
    headboxes: Annotated[
        Path | None, typer.Option(help="MPII: .mat or .json with headboxes_src; without, from head_top and upper_neck.")
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored crop.")] = False,
    backend: Annotated[list[str], typer.Option(help="Repeat for several, a column each.")] = ["auto"],  # noqa: B006
    precision: Annotated[list[str], typer.Option(help="Repeat for several, a column each.")] = ["fp32"],  # noqa: B006
    device: Device = "auto",
    batch_size: Annotated[int, typer.Option("--batch_size", min=1, help="Images that go together.")] = 8,
    output: Annotated[
        Path | None, typer.Option(help="Folder for report, pictures and predictions, with which a later run goes on.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew.")] = False,
    debug: Debug = False,
) -> None:
    """Measure accuracy on annotated photos: COCO's keypoint and box AP, or MPII's PCKh."""
    name = _name(pipeline, model)
    asked = {name: value for name, value in context.params.items() if name not in {"backend", "precision", "debug"}}
    asked["pipeline"] = None if model else name
    with _friendly_errors(debug=debug):
        from hpi.cli.evaluate import Asked, run

        run(Asked(**asked, backends=backend, precisions=precision))


@app.command()
def serve(
    context: typer.Context,
    pipeline: Annotated[str, typer.Option(help="Name or YAML file of a pipeline.")] = DEFAULT_PIPELINE,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    device: Device = "auto",
    backend: BackendName = "auto",
    precision: Precision = "fp32",
    objective: Objective = "latency",
    threads: Threads = None,
    max_batch: Annotated[int | None, typer.Option("--max_batch", help="Photos in a batch; 1: none. Default 8.")] = None,
    max_wait_ms: Annotated[
        float | None, typer.Option("--max_wait_ms", help="How long a photo waits for others. Default 2.")
    ] = None,
    max_requests: Annotated[
        int | None, typer.Option("--max_requests", help="Requests at a time; further ones get 503. Default 64.")
    ] = None,
    deadline: Annotated[float | None, typer.Option(help="Seconds until a request gets 504. Default 30.")] = None,
    max_body_mb: Annotated[
        float | None, typer.Option("--max_body_mb", help="Largest body, MiB; then 413. Default 32.")
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option("--max_pixels", help="Largest photo; then 422. Default 50,000,000.")
    ] = None,
    allow_url: Annotated[
        bool | None, typer.Option("--allow-url", help="Fetch photos from public http(s) addresses.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="HPI_TOKEN", help="Clients must send it as Authorization: Bearer.")
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN", help="Let pages of an origin use it, such as https://a.org; *: all. Repeatable."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with its own copy of the models.")] = 1,
    json_logs: Annotated[bool, typer.Option("--json_logs", help="One JSON object a line.")] = False,
    debug: Debug = False,
) -> None:
    """Serve PaddleX's HTTP interface, with dynamic batching, limits, metrics and a page at /.

    Everything else that can be set stands under Serving: extra: in the pipeline's YAML.
    """
    asked = {
        "max_batch": max_batch,
        "max_wait_ms": max_wait_ms,
        "max_requests": max_requests,
        "deadline_s": deadline,
        "max_body_mb": max_body_mb,
        "max_pixels": max_pixels,
        "allow_url": allow_url,
        "token": token,
        "cors_origins": cors or None,
    }
    with _friendly_errors(debug=debug):
        _serve(pipeline, _arguments(context), asked, host=host, port=port, workers=workers, json_logs=json_logs)


def _serve(pipeline: str, predictor: dict[str, Any], asked: dict[str, Any], **options: Any) -> None:
    try:
        from hpi.serving.run import serve as run_service
    except ImportError as error:
        raise ConfigError(f'the service is not installed ({error}): pip install "hpi-pose[serve]"') from error
    run_service(pipeline, predictor, asked, **options)


@app.command()
def models(debug: Debug = False) -> None:
    """List the models: what they do, how good they are, whether they are on this machine, their licence."""
    with _friendly_errors(debug=debug):
        from hpi.cli.models import show

        show()


@app.command("check-dataset")
def check_dataset(
    folder: Annotated[
        Path, typer.Argument(help="Folder with images/ and annotations/instance_{train,val}.json.", metavar="DIR")
    ],
    output: Annotated[Path, typer.Option(help="Folder for the result and the pictures.")] = Path("output"),
    split: Annotated[
        tuple[int, int] | None,
        typer.Option(
            help="First divide the photos of both sets anew, such as [bold]--split 80 20[/]; the annotations as they "
            "were are kept as .bak.",
            metavar="TRAIN VAL",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of --split: the same seed divides the same way.")] = 0,
    debug: Debug = False,
) -> None:
    """Check a data set of keypoints in COCO's form, as PaddleX does before it trains on one.

    Every annotation and every photo's header is looked at, and all that is wrong is listed with file, id and what to
    do. Writes check_dataset_result.json with PaddleX's fields, and check_dataset/ with the first photos, their boxes
    and joints drawn on them, and a histogram. Exit code 1: the data set is not sound.
    """
    with _friendly_errors(debug=debug):
        from hpi.cli.check_dataset import run

        run(folder, output, split, seed)


@app.command(context_settings=_PASSED_ON, add_help_option=False)
def benchmark(context: typer.Context) -> None:
    """Measure: pipeline, kernels, runtimes, service, published tables. See [bold]hpi benchmark --help[/]."""
    _run_benchmarks(context.args, "hpi benchmark")


@app.command(context_settings=_PASSED_ON, add_help_option=False)
def compare(context: typer.Context) -> None:
    """Compare every runtime with the pipeline's models in one HTML report. See [bold]hpi compare --help[/]."""
    _run_benchmarks(["compare", *context.args], "hpi")


def _run_benchmarks(arguments: list[str], name: str) -> None:
    with _friendly_errors(debug=False):
        from hpi.benchmarks.__main__ import app as benchmarks

        benchmarks(arguments, prog_name=name)


def _predictor(context: typer.Context) -> Predictor:
    """The predictor that a command's options describe; those that the command does not have keep their defaults."""
    from hpi.predictor import Predictor

    given = context.params
    name = _name(given["pipeline"], given["model"])
    return Predictor(name, model_dir=given["model_dir"], **_arguments(context))


def _name(pipeline: str | None, model: str | None) -> str:
    if pipeline is not None and model is not None:
        raise typer.BadParameter("give --pipeline or --model, not both")
    return pipeline or model or DEFAULT_PIPELINE


def _arguments(context: typer.Context) -> dict[str, Any]:
    """Arguments of the Predictor, from those options that the command has."""
    given = context.params
    return {argument: given[option] for option, argument in _ARGUMENTS.items() if option in given}


def _seconds(text: str) -> float:
    """A time such as 60, 60s or 2m in seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|)", text.strip())
    seconds = float(match[1]) * (60 if match[2] == "m" else 1) if match else 0.0
    if seconds < 1:
        raise typer.BadParameter(f"{text!r} is no time of at least a second; write 60, 60s or 2m")
    return seconds


def _refuse_options_before(context: typer.Context) -> None:
    """Options of PaddleX's spelling have no effect before a command, so they must not look as if they had."""
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"{parameter.opts[0]} belongs behind '{context.invoked_subcommand}'")


app.add_typer(cache.app, name="cache")


@contextmanager
def _friendly_errors(*, debug: bool) -> Iterator[None]:
    """Turn this project's errors into one line and an exit code: 2 for wrong usage, 1 for the rest."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.DEBUG if debug else logging.WARNING)
    try:
        yield
    except HpiError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from error


def _write_config(name: str, save_path: Path | None) -> None:
    text = pipeline_text(name)
    if save_path is None:
        typer.echo(text, nl=False)
        return
    target = save_path if save_path.suffix in {".yaml", ".yml"} else save_path / f"{name}.yaml"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{target} exists already; remove it or give another --save_path") from error
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written: {error.strerror or error}") from error
    typer.echo(f"wrote {target}")


def _read_hpi_config(text: str | None) -> dict[str, Any]:
    """``--hpi_config``, as the Python literal that PaddleX takes or as JSON."""
    if text is None:
        return {}
    for read in (json.loads, ast.literal_eval):
        try:
            content = read(text)
        except (ValueError, SyntaxError):
            continue
        if isinstance(content, dict):
            return content
    raise ConfigError(f"--hpi_config {text!r}: give a dictionary, such as {{'backend': 'openvino'}}")
