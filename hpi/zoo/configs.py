"""The registry: one YAML file of ``configs/models`` for each known model."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

from pydantic import Field

from hpi.heads.base import Task
from hpi.io.validation import Record, parse, read_yaml


class Accuracy(Record):
    """A published or measured accuracy.

    Attributes:
        metric: its name, such as ``"AP"``.
        value: in the unit of the metric.
        dataset: the images it was measured on.
        by: who measured it; ``"hpi"`` for this project.
    """

    metric: str
    value: float
    dataset: str
    by: str


class Bundled(Record):
    """An archive inside the package.

    Attributes:
        bundled: file name in ``configs/bundled``.
        sha256: hash of the archive, in hexadecimal.
    """

    bundled: str
    sha256: str


class HuggingFace(Record):
    """A repository on the Hugging Face Hub.

    Attributes:
        hugging_face: ``"owner/name"``.
    """

    hugging_face: str


class Url(Record):
    """An archive at an http(s) address.

    Attributes:
        url: its address.
        sha256: hash of the archive, in hexadecimal. Without it, the size that the server announces is checked.
    """

    url: str
    sha256: str | None = None


class ModelConfig(Record):
    """One file of ``configs/models``.

    Attributes:
        name: also the name of the model's folder in the cache.
        task: what the model does.
        summary: one line for lists of models.
        input_size: height and width of the model's input, pixels.
        skeleton: name of the skeleton whose keypoints the model finds; None for a detector.
        license: SPDX identifier.
        accuracy: its published accuracy, where there is one.
        sources: where to get it, in the order in which they are tried.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    task: Task
    summary: str
    input_size: tuple[int, int]
    skeleton: str | None = None
    license: str
    accuracy: Accuracy | None = None
    sources: Annotated[list[Bundled | HuggingFace | Url], Field(min_length=1)]


def read_config(path: Path) -> ModelConfig:
    """Read the YAML file of a model.

    Raises:
        ConfigError: the file is missing, or a field is wrong; the message names file and field.
    """
    return parse(ModelConfig, read_yaml(path), str(path))


def packaged_configs() -> dict[str, ModelConfig]:
    """Every model that the package describes, by name."""
    configs = {}
    for entry in sorted((files("hpi.configs") / "models").iterdir(), key=lambda entry: entry.name):
        with as_file(entry) as path:
            config = read_config(path)
        configs[config.name] = config
    return configs
