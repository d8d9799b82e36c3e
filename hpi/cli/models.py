"""The list of models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Console

from hpi.cli.tables import new_table
from hpi.compat.paddlex.config import pipeline_names, read_pipeline
from hpi.skeletons import load_skeleton
from hpi.zoo import ModelConfig, Zoo


def show() -> None:
    """Print the models, by what they find, and the pipelines."""
    zoo = Zoo.default()
    console = Console(highlight=False)
    for title, models in _groups(zoo):
        _show_models(console, title, zoo, models)
    pipelines = new_table("name", "detector", "keypoint model", title="Pipelines")
    for name in pipeline_names():
        modules = read_pipeline(name).modules
        pipelines.add_row(name, modules.ObjectDetection.model_name, modules.KeypointDetection.model_name)
    console.print(pipelines, "")
    console.print(f"Models are kept in {zoo.home / 'models'}", soft_wrap=True, markup=False)


def _groups(zoo: Zoo) -> Iterator[tuple[str, list[ModelConfig]]]:
    """Detectors, the models of each skeleton, and those that must be exported; each with a title."""
    models = sorted(zoo.models.values(), key=lambda config: config.name.casefold())
    ready = [one for one in models if one.sources]
    yield "Detectors", [one for one in ready if one.task == "object_detection"]
    posing = [one for one in ready if one.task == "keypoint_detection"]
    skeletons = {name: load_skeleton(name) if name else None for name in {one.skeleton for one in posing}}
    for name, skeleton in sorted(skeletons.items(), key=lambda item: (len(item[1] or ()), item[0] or "")):
        title = f"{len(skeleton)} keypoints: {name}" if skeleton else "Other keypoints"
        yield title, [one for one in posing if one.skeleton == name]
    to_export = [one for one in models if one.export]
    yield "To be exported by PaddleDetection first; hpi explain --model says how", to_export


def _show_models(console: Console, title: str, zoo: Zoo, models: list[ModelConfig]) -> None:
    """A table of models, and below it what many of them share: where they are from, licences, data sets."""
    with_size, with_place = any(one.size_mb for one in models), any(one.sources for one in models)
    headings = ["name", "input", *["MB"] * with_size, *["here"] * with_place, "accuracy"]
    table = new_table(*headings, title=title)
    for one in models:
        size = [f"{one.size_mb:.0f}" if one.size_mb else "-"] * with_size
        place = [zoo.place_of(one.name)] * with_place
        accuracy = f"{one.accuracy.value} {one.accuracy.metric}" if one.accuracy else "-"
        table.add_row(one.name, "{}x{}".format(*one.input_size), *size, *place, accuracy)
    console.print(table)
    if with_place:
        places = {source.place for one in models for source in one.sources}
        console.print(f"from {', '.join(sorted(places))}", markup=False)
    _show_shared(console, "licence", ((one.license, one.name) for one in models))
    measured = ((f"{one.accuracy.dataset}, by {one.accuracy.by}", one.name) for one in models if one.accuracy)
    _show_shared(console, "accuracy on", measured)
    console.print()


def _show_shared(console: Console, what: str, said: Iterable[tuple[str, str]]) -> None:
    """A line for each thing that is said of models, with their names where it is not one thing for all."""
    names: dict[str, list[str]] = {}
    for thing, name in said:
        names.setdefault(thing, []).append(name)
    for thing, those in names.items():
        of_whom = f": {', '.join(those)}" if len(names) > 1 else ""
        console.print(f"{what} {thing}{of_whom}", markup=False)
