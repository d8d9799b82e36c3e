"""The list of models."""

from __future__ import annotations

from rich.console import Console

from hpi.cli.tables import new_table
from hpi.compat.paddlex.config import pipeline_names, read_pipeline
from hpi.zoo import Bundled, ModelConfig, Zoo

KINDS = {"Person detectors": "object_detection", "Keypoint models": "keypoint_detection"}


def show() -> None:
    """Print the models and the pipelines."""
    zoo = Zoo.default()
    console = Console(highlight=False)
    for title, task in KINDS.items():
        models = {name: config for name, config in zoo.models.items() if config.task == task}
        _show_models(console, title, zoo, models)
    pipelines = new_table("name", "detector", "keypoint model", title="Pipelines")
    for name in pipeline_names():
        modules = read_pipeline(name).modules
        pipelines.add_row(name, modules.ObjectDetection.model_name, modules.KeypointDetection.model_name)
    console.print(pipelines, "")
    console.print(f"Models are kept in {zoo.home / 'models'}", soft_wrap=True, markup=False)


def _show_models(console: Console, title: str, zoo: Zoo, models: dict[str, ModelConfig]) -> None:
    """A table of models, and below it the data sets of their accuracy."""
    table = new_table("name", "input", "licence", "here", "accuracy", title=title)
    measured: dict[str, list[str]] = {}
    for name, config in models.items():
        height, width = config.input_size
        figure = config.accuracy
        accuracy = f"{figure.value} {figure.metric}" if figure else "-"
        table.add_row(name, f"{height}x{width}", config.license, _place(zoo, config), accuracy)
        if figure:
            measured.setdefault(f"{figure.dataset}, by {figure.by}", []).append(name)
    console.print(table)
    for where, names in measured.items():
        console.print(f"accuracy of {', '.join(names)}: on {where}", markup=False)
    console.print()


def _place(zoo: Zoo, config: ModelConfig) -> str:
    if zoo.cached(config.name):
        return "cached"
    if zoo.of_paddlex(config.name):
        return "of PaddleX"
    return "bundled" if isinstance(config.sources[0], Bundled) else "to download"
