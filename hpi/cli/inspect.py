"""``hpi inspect``: what a model was taken for, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from hpi.backends import BACKENDS
from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import SessionOptions
from hpi.backends.gpu import gpu_count
from hpi.cli.tables import new_table
from hpi.errors import ConfigError, ConfigNotFoundError
from hpi.io.files import save
from hpi.models.description import NAME
from hpi.models.readers import Hints, Reading, read
from hpi.models.readers.graph import graphs_in
from hpi.zoo import Zoo, suggestion, why_not_fetched


def inspect(model: str, hints: Hints, *, write: bool, force: bool, as_json: bool) -> None:
    """Print what a model was taken for; with ``write`` also save it beside the graph.

    Args:
        model: a path, or the name of a known model.
        hints: what its files do not say.
        write: save an ``hpi.yml``.
        force: replace one that is there.
        as_json: print JSON.

    Raises:
        HpiError: the model cannot be read, or there is nothing to write.
    """
    zoo = Zoo.default()
    if config := zoo.models.get(model):
        if write:
            raise ConfigError(f"{model} opens by its name; --write is for a model of your own, given by its path")
        hints = Hints(hints.kind or config.kind, hints.skeleton or config.skeleton)
        reading = read(zoo.find(model).folder, model, hints)
    elif model and Path(model).exists():
        reading = read(Path(model).absolute(), hints=hints)
    else:
        raise ConfigNotFoundError(
            why_not_fetched(model)
            or f"{model!r} is not a known model, and no folder or file; {suggestion(model, zoo.models)}"
        )
    file = write_description(reading, force=force) if write else None
    about = {**describe(reading), "written": file and str(file)}
    if as_json:
        print(json.dumps(about, indent=2))  # noqa: T201
    else:
        _show(about)


def describe(reading: Reading) -> dict[str, Any]:
    """All of a reading, and which runtimes can load the model here, in plain Python types.

    Example:
        >>> about = describe(read(Zoo.default().find("MoveNet-Thunder_256x256").folder))
        >>> about["format"], about["head"], about["runtimes"]["onnxruntime"]
        ('PaddleX or PaddleDetection folder', {'type': 'heatmap', 'offset': 0.5}, None)
    """
    spec, description = reading.spec, reading.description
    head = {"type": spec.head.type, **spec.head.model_dump(mode="json", exclude_defaults=True)}
    return {
        "name": spec.name,
        "task": spec.task,
        "format": reading.format,
        "described_by": str(reading.path),
        "graph": str(spec.files.onnx or (spec.files.paddle and spec.files.paddle.program)),
        "input": description.input.model_dump(mode="json") if description else _as_dictionary(spec.normalization),
        "transform": description.written["transform"] if description else _as_dictionary(spec.transform),
        "head": head,
        "skeleton": spec.skeleton and spec.skeleton.name,
        "classes": list(spec.labels),
        "threshold": None if spec.transform.takes_regions else spec.draw_threshold,
        "because": list(reading.because),
        "runtimes": _runtimes(reading),
    }


def write_description(reading: Reading, *, force: bool = False) -> Path:
    """Save what a model was taken for as an ``hpi.yml``, with which it opens by its path alone.

    Args:
        reading: of the model.
        force: replace the file if it is there.

    Raises:
        ConfigError: there is nothing to write, the file is there, or it would be taken for that of other graphs.
    """
    spec, description = reading.spec, reading.description
    file = spec.folder / NAME
    if description is None:
        raise ConfigError(f"{reading.path}: says all of it; a {reading.format} needs no {NAME}")
    if file.exists() and not force:
        raise ConfigError(f"{file}: is there; give --force to replace it")
    if len(graphs := graphs_in(spec.folder)) > 1:
        names = ", ".join(graph.name for graph in graphs)
        raise ConfigError(f"{spec.folder}: holds several graphs, {names}: move the one into a folder of its own first")
    if spec.files.onnx == reading.path:  # a lone file has its own name, not that of its folder
        description = description.model_copy(update={"name": spec.name})
    reasons = "".join(f"# - {why}\n" for why in reading.because)
    content = yaml.safe_dump(description.written, sort_keys=False, default_flow_style=None, allow_unicode=True)
    save(file, f"# Taken for a {reading.format}:\n{reasons}{content}".encode(), ConfigError)
    return file


def _runtimes(reading: Reading) -> dict[str, str | None]:
    """Why each runtime cannot load a model here; None of those that can."""
    options = SessionOptions(ArtifactCache(Zoo.default().artifacts), "gpu:0" if gpu_count() else "cpu")
    return {name: backend.unavailable(reading.spec.files, options) for name, backend in BACKENDS.items()}


def _as_dictionary(part: Any) -> dict[str, Any]:
    """A transform or a normalization."""
    return {} if part is None else {"type": type(part).__name__, **asdict(part)}


def _show(about: Mapping[str, Any]) -> None:
    console = Console(highlight=False)
    console.print(f"[bold]{about['name']}[/] ({about['task']})")
    finds_keypoints = about["task"] == "keypoint_detection"
    lines = {
        "format": about["format"],
        "described": about["described_by"],
        "graph": about["graph"],
        "input": _fields(about["input"]),
        "transform": _fields(about["transform"]),
        "head": _fields(about["head"]),
        "skeleton": (about["skeleton"] or "none: keypoints have numbers") if finds_keypoints else None,
        "classes": _shortened(about["classes"]),
        "threshold": None if about["threshold"] is None else f"{about['threshold']:g}",
        "written": about["written"],
    }
    for name, text in lines.items():
        if text:
            console.print(f"  {name:<10}{text}", soft_wrap=True, markup=False)
    console.print("\n[bold]because[/]")
    for why in about["because"]:
        console.print(f"  {why}", soft_wrap=True, markup=False)
    table = new_table("runtime", "can load it")
    for name, reason in about["runtimes"].items():
        table.add_row(name, "yes" if reason is None else f"no: {reason}")
    console.print("", table)


def _fields(section: Mapping[str, Any]) -> str:
    """A section on one line.

    >>> _fields({"type": "simcc", "split_ratio": 2.0, "size": [192, 256]})
    'simcc, split_ratio 2.0, size 192 256'
    """
    shown = [
        f"{name} {' '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}"
        for name, value in section.items()
        if value is not None
    ]
    return ", ".join(shown).removeprefix("type ")


def _shortened(classes: list[str], most: int = 10) -> str:
    more = f" and {len(classes) - most} more" if len(classes) > most else ""
    return ", ".join(classes[:most]) + more
