"""The list of models."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from hpi.compat.paddlex.config import pipeline_names, read_pipeline
from hpi.zoo import Bundled, ModelConfig, Zoo


def show() -> None:
    """Print the models and the pipelines that are made of them."""
    zoo = Zoo.default()
    console = Console()
    for title, task in (("Person detectors", "object_detection"), ("Keypoint models", "keypoint_detection")):
        table = _table(title, "name", "input", "here", "licence", "accuracy")
        for name, config in zoo.models.items():
            if config.task == task:
                height, width = config.input_size
                table.add_row(name, f"{height}x{width}", _place(zoo, config), config.license, _accuracy(config))
        console.print(table)
    pipelines = _table("Pipelines", "name", "detector", "keypoint model")
    for name in pipeline_names():
        modules = read_pipeline(name).modules
        pipelines.add_row(name, modules.ObjectDetection.model_name, modules.KeypointDetection.model_name)
    console.print(pipelines)
    console.print(f"Models are kept in {zoo.home / 'models'}", soft_wrap=True)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE, pad_edge=False)
    for heading in headings[:-1]:
        table.add_column(heading, no_wrap=True)
    table.add_column(headings[-1])
    return table


def _accuracy(config: ModelConfig) -> str:
    figure = config.accuracy
    return f"{figure.value} {figure.metric}, {figure.dataset} ({figure.by})" if figure else ""


def _place(zoo: Zoo, config: ModelConfig) -> str:
    if zoo.cached(config.name):
        return "cached"
    if zoo.of_paddlex(config.name):
        return "in PaddleX's cache"
    return "in the package" if isinstance(config.sources[0], Bundled) else "to download"
