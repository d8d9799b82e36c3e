"""PaddleX's command lines: ``paddlex``, and its ``main.py`` (``-c``, ``-o``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from hpi.cli import options as given
from hpi.cli.command import Debug
from hpi.errors import ConfigError

PLUGINS = {
    "hpi-cpu": ("onnxruntime", "cpu"),
    "hpi-gpu": ("cupy", "gpu"),
    "serving": ("fastapi", "serve"),
    "paddle2onnx": ("paddle2onnx", "paddle"),
}
"""PaddleX's plugins that have a counterpart here: the package they need, and the extra that installs it."""

SETTINGS = {"ignore_unknown_options": True}
"""Context settings of the command, which reports unknown options itself."""

EXAMPLES = """\
[bold]hpi --pipeline human_keypoint_detection --input people.jpg --save_path output --device gpu:0[/]

[bold]hpi --get_pipeline_config human_keypoint_detection --save_path my_path[/]

[bold]hpi --serve --pipeline human_keypoint_detection --port 8080[/]

[bold]hpi --paddle2onnx --paddle_model_dir my_model --onnx_model_dir my_onnx_model[/]

[bold]hpi -c PP-TinyPose_128x96.yaml -o Global.mode=predict -o Predict.input=people.jpg[/]"""

_RUNTIME = {"pipeline", "device", "strict_device", "engine", "engine_config", "backend", "use_hpip", "hpi_config"}
"""Options that set what a pipeline runs on."""

_RUN, _SERVE, _CONVERT = (
    "Run a pipeline",
    "Serve a pipeline: also with --pipeline, --device and so on",
    "Convert a model",
)
_MODULE, _INSTALL = "Run a module, as python main.py does", "Install: there is nothing to install"


def main(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="PLUGIN", hidden=True)] = None,
    pipeline: Annotated[
        str | None,
        typer.Option(
            help="Name or YAML file of a pipeline.", autocompletion=given.complete_pipelines, rich_help_panel=_RUN
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--input", help="Image, video, folder or http(s) URL.", rich_help_panel=_RUN)
    ] = None,
    save_path: given.SavePath = None,
    det_threshold: Annotated[
        str | None,
        typer.Option(
            "--det_threshold", metavar="NUMBER", help="Keep people that score above it.", rich_help_panel=_RUN
        ),
    ] = None,
    batch_size: given.BatchSize = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="cpu, gpu:0, gpu:0,1 and the like. If the GPU cannot be used, the CPU is, with a warning.",
            autocompletion=lambda: list(given.DEVICES),
            rich_help_panel=_RUN,
        ),
    ] = None,
    strict_device: Annotated[
        bool, typer.Option("--strict_device", help="Fail if the GPU cannot be used.", rich_help_panel=_RUN)
    ] = False,
    engine: Annotated[
        str | None,
        typer.Option(help="hpi for the fastest runtime, or onnxruntime, paddle and the like.", rich_help_panel=_RUN),
    ] = None,
    engine_config: Annotated[
        str | None,
        typer.Option("--engine_config", metavar="DICT", help="Has no effect.", rich_help_panel=_RUN),
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="As in hpi predict; outranks --hpi_config.", rich_help_panel=_RUN)
    ] = None,
    use_hpip: Annotated[bool, typer.Option("--use_hpip", help="Always on.", rich_help_panel=_RUN)] = False,
    hpi_config: Annotated[
        str | None,
        typer.Option(
            "--hpi_config",
            metavar="DICT",
            help="PaddleX's dictionary, in Python or JSON syntax.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    get_pipeline_config: Annotated[
        str | None,
        typer.Option(
            "--get_pipeline_config",
            metavar="NAME",
            help="Write a pipeline's YAML into --save_path, or print it.",
            autocompletion=given.complete_pipelines,
            rich_help_panel=_RUN,
        ),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the pipeline; hpi serve has more options.", rich_help_panel=_SERVE)
    ] = False,
    host: given.Host = given.DEFAULT_HOST,
    port: given.Port = given.DEFAULT_PORT,
    paddle2onnx: Annotated[
        bool, typer.Option("--paddle2onnx", help="Convert a Paddle model to ONNX.", rich_help_panel=_CONVERT)
    ] = False,
    paddle_model_dir: Annotated[
        Path | None, typer.Option("--paddle_model_dir", help="Folder of the Paddle model.", rich_help_panel=_CONVERT)
    ] = None,
    onnx_model_dir: Annotated[
        Path | None,
        typer.Option(
            "--onnx_model_dir",
            help="Folder for the ONNX model; by default that of the Paddle model.",
            rich_help_panel=_CONVERT,
        ),
    ] = None,
    opset_version: Annotated[
        int | None,
        typer.Option("--opset_version", min=7, help="Lowest ONNX opset; by default 13.", rich_help_panel=_CONVERT),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("-c", "--config", metavar="FILE", help="YAML file of a module.", rich_help_panel=_MODULE),
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option(
            "-o",
            "--override",
            metavar="KEY=VALUE",
            help="Replace a field of it, such as Global.mode=check_dataset, evaluate or predict.",
            rich_help_panel=_MODULE,
        ),
    ] = None,
    profiler_options: Annotated[
        str | None, typer.Option("-p", "--profiler_options", help="Has no effect.", rich_help_panel=_MODULE)
    ] = None,
    install: Annotated[
        bool,
        typer.Option(
            "--install", help="Check whether the packages of PLUGIN... are installed.", rich_help_panel=_INSTALL
        ),
    ] = False,
    no_deps: Annotated[bool, typer.Option("--no_deps", rich_help_panel=_INSTALL)] = False,
    platform: Annotated[str | None, typer.Option(rich_help_panel=_INSTALL)] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", rich_help_panel=_INSTALL)] = False,
    use_local_repos: Annotated[bool, typer.Option("--use_local_repos", rich_help_panel=_INSTALL)] = False,
    deps_to_replace: Annotated[str | None, typer.Option("--deps_to_replace", rich_help_panel=_INSTALL)] = None,
    debug: Debug = False,
) -> None:
    """Run PaddleX's command lines, with every option that concerns human keypoints.

    The word paddlex may be omitted.
    """
    if install:
        _check_plugins(words or [])
    elif words:
        _refuse(context, words)
    elif config is not None or override or profiler_options is not None:
        _take_only(context, "-c", {"config", "override", "profiler_options", "strict_device"})
        from hpi.compat.paddlex.modules import run

        run(config, override or [], strict_device=strict_device)
    elif serve:
        _take_only(context, "--serve", {*_RUNTIME, "host", "port"})
        _serve(pipeline or given.DEFAULT_PIPELINE, _runtime(context), host, port)
    elif paddle2onnx:
        _take_only(context, "--paddle2onnx", {"paddle_model_dir", "onnx_model_dir", "opset_version"})
        _convert(paddle_model_dir, onnx_model_dir, opset_version)
    elif get_pipeline_config is not None:
        _take_only(context, "--get_pipeline_config", {"save_path"})
        _write_config(get_pipeline_config, save_path)
    elif pipeline is not None and source is not None:
        _take_only(context, "--pipeline", {*_RUNTIME, "source", "save_path", "det_threshold", "batch_size"})
        arguments = {"det_threshold": _read_threshold(det_threshold), "batch_size": batch_size}
        _predict(pipeline, source, save_path, _runtime(context), arguments)
    else:
        raise typer.BadParameter("give --pipeline and --input together, or use: hpi predict INPUT")


def _take_only(context: typer.Context, mode: str, taken: set[str]) -> None:
    """Refuse options that have no effect in this mode."""
    for option in _given_options(context):
        if mode not in option.opts and option.name not in {*taken, "debug"}:
            raise typer.BadParameter(f"{mode} takes no {option.opts[-1]}")


def _refuse(context: typer.Context, words: Sequence[str]) -> NoReturn:
    """Report words that belong to no option, and unknown options."""
    from hpi.io.validation import nearest

    word = words[0]
    options = [name for parameter in context.command.params for name in parameter.opts if name.startswith("-")]
    if word.startswith("-"):
        near = nearest(word.partition("=")[0], options)
        hint = f"did you mean {near}?" if near else "options of PaddleX's other pipelines are not supported"
        raise typer.BadParameter(f"{word} is not an option of human keypoint pipelines; {hint}")
    if context.parent and word in context.parent.command.commands:  # type: ignore[attr-defined]
        raise typer.BadParameter(f"{_given_options(context)[0].opts[-1]} must come after '{word}'")
    raise typer.BadParameter(f"{word!r} belongs to no option; for several inputs use: hpi predict INPUT...")


def _given_options(context: typer.Context) -> list[Any]:
    sources = {one: context.get_parameter_source(str(one.name)) for one in context.command.params}
    return [one for one, source in sources.items() if one.name != "words" and source and source.name == "COMMANDLINE"]


def _runtime(context: typer.Context) -> dict[str, Any]:
    """The arguments of create_pipeline."""
    values = context.params
    configured = _read_dictionary("--hpi_config", values["hpi_config"])
    if values["backend"] is not None:
        configured["backend"] = values["backend"]
    return {
        "device": values["device"],
        "strict_device": values["strict_device"],
        "engine": values["engine"],
        "engine_config": _read_dictionary("--engine_config", values["engine_config"]) or None,
        "hpi_config": configured,
    }


def _read_dictionary(option: str, text: str | None) -> dict[str, Any]:
    from hpi.compat.paddlex.values import read_literal

    try:
        content = {} if text is None else read_literal(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise typer.BadParameter(f"{option} {text!r}: give a dictionary, such as {{'backend': 'openvino'}}")
    return content


def _read_threshold(text: str | None) -> float | None:
    if text is None or text == "None":
        return None
    from hpi.compat.paddlex.values import read_score

    try:
        return read_score(text)
    except ValueError as error:
        raise typer.BadParameter(f"--det_threshold {error}") from None


def _predict(
    pipeline: str, source: str, save_path: Path | None, runtime: dict[str, Any], arguments: dict[str, Any]
) -> None:
    from hpi.compat.paddlex.api import create_pipeline
    from hpi.compat.paddlex.predicting import print_and_save
    from hpi.saving import check_save_path

    if save_path is not None:
        check_save_path(save_path)
    with create_pipeline(pipeline, **runtime) as predictor:
        print_and_save(predictor, source, save_path, **arguments)


def _serve(pipeline: str, runtime: dict[str, Any], host: str, port: int) -> None:
    from hpi.compat.paddlex.api import create_pipeline, with_engine
    from hpi.compat.paddlex.config import tolerant
    from hpi.serving import serve

    device, config = runtime["device"], tolerant(pipeline)
    if device is not None and not runtime["strict_device"]:
        with create_pipeline(pipeline, **runtime) as predictor:  # with PaddleX's fallback to the CPU
            device = predictor.device
    hpi_config = with_engine(runtime["hpi_config"], runtime["engine"])
    served = {"device": device, "config": config, "hpi_config": hpi_config}
    serve(pipeline, served, {}, host=host, port=port, workers=1, json_logs=False)


def _write_config(name: str, save_path: Path | None) -> None:
    from hpi.compat.paddlex.config import pipeline_text

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
        raise ConfigError(f"{target} already exists; remove it or give another --save_path") from error
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written: {error.strerror or error}") from error
    typer.echo(f"wrote {target}")


def _convert(paddle_model_dir: Path | None, onnx_model_dir: Path | None, opset_version: int | None) -> None:
    from hpi.compat.paddlex.paddle2onnx import convert

    if paddle_model_dir is None:
        raise typer.BadParameter("--paddle2onnx: give the model's folder as --paddle_model_dir")
    for file in convert(paddle_model_dir, onnx_model_dir or paddle_model_dir, opset_version):
        typer.echo(f"wrote {file}")


def _check_plugins(names: Sequence[str]) -> None:
    """Report whether the packages of plugins are installed; an error if not, so that a script stops."""
    from hpi.backends.base import is_installed

    for name in names or ["--install"]:
        if name not in PLUGINS:
            raise ConfigError(
                f"{name}: nothing was installed: PaddleX's other plugins are for training and for other tasks, which "
                f"are not supported. Known are {', '.join(PLUGINS)}"
            )
        package, extra = PLUGINS[name]
        if not is_installed(package):
            raise ConfigError(f'{name}: nothing was installed: {package} is missing: pip install "hpi-pose[{extra}]"')
        typer.echo(f"{name}: there is nothing to install, {package} is installed")
