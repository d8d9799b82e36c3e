"""The list of models."""

from __future__ import annotations

from rich.console import Console

from hpi.cli.tables import new_table
from hpi.compat.paddlex.config import pipeline_names, read_pipeline
from hpi.zoo import ModelConfig, Zoo

KINDS = {"Person detectors": "object_detection", "Keypoint models": "keypoint_detection"}


def show() -> None:
    """Print the models and the pipelines."""
    zoo = Zoo.default()
    console = Console(highlight=False)
    for title, task in KINDS.items():
        _show_models(console, title, zoo, [one for one in zoo.models.values() if one.task == task and one.sources])
    to_export = [one for one in zoo.models.values() if one.export]
    _show_models(console, "To be exported by PaddleDetection first; hpi explain --model says how", None, to_export)
    pipelines = new_table("name", "detector", "keypoint model", title="Pipelines")
    for name in pipeline_names():
        modules = read_pipeline(name).modules
        pipelines.add_row(name, modules.ObjectDetection.model_name, modules.KeypointDetection.model_name)
    console.print(pipelines, "")
    console.print(f"Models are kept in {zoo.home / 'models'}", soft_wrap=True, markup=False)


def _show_models(console: Console, title: str, zoo: Zoo | None, models: list[ModelConfig]) -> None:
    """A table of models, and below it the data sets of their accuracy; with a zoo also where they are."""
    table = new_table("name", "input", "licence", *(["here"] if zoo else []), "accuracy", title=title)
    measured: dict[str, list[str]] = {}
    for config in models:
        height, width = config.input_size
        figure = config.accuracy
        accuracy = f"{figure.value} {figure.metric}" if figure else "-"
        place = [zoo.place_of(config.name)] if zoo else []
        table.add_row(config.name, f"{height}x{width}", config.license, *place, accuracy)
        if figure:
            measured.setdefault(f"{figure.dataset}, by {figure.by}", []).append(config.name)
    console.print(table)
    for where, names in measured.items():
        console.print(f"accuracy of {', '.join(names)}: on {where}", markup=False)
    console.print()
