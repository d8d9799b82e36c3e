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

    Example:
        >>> accuracy = packaged_configs()["PP-TinyPose_128x96"].accuracy
        >>> accuracy.metric, accuracy.value, accuracy.by
        ('keypoint AP', 58.4, 'PaddleX')
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

    Example:
        >>> (source,) = packaged_configs()["PicoDet-S_person_416"].sources
        >>> source.bundled
        'PicoDet-S_person_416_infer.tar.xz'
    """

    bundled: str
    sha256: str


class HuggingFace(Record):
    """A repository on the Hugging Face Hub.

    Attributes:
        hugging_face: ``"owner/name"``.

    Example:
        >>> HuggingFace(hugging_face="PaddlePaddle/PP-TinyPose_128x96").hugging_face
        'PaddlePaddle/PP-TinyPose_128x96'
    """

    hugging_face: str


class Url(Record):
    """An archive at an http(s) address.

    Attributes:
        url: its address.
        sha256: hash of the archive, in hexadecimal. Without it, the size that the server announces is checked.

    Example:
        >>> Url(url="https://example.org/model.tar").sha256 is None
        True
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

    Example:
        >>> config = packaged_configs()["PP-TinyPose_128x96"]
        >>> config.task, config.input_size, config.skeleton, config.license
        ('keypoint_detection', (128, 96), 'coco17', 'Apache-2.0')
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

    Example:
        >>> path = files("hpi.configs") / "models" / "PP-TinyPose_128x96.yaml"
        >>> read_config(Path(str(path))).summary
        '17 keypoints of one person, Lite-HRNet, 1.3 M parameters'
    """
    return parse(ModelConfig, read_yaml(path), str(path))


def packaged_configs() -> dict[str, ModelConfig]:
    """Every model that the package describes, by name.

    Example:
        >>> [name for name, config in packaged_configs().items() if isinstance(config.sources[0], Bundled)]
        ['MoveNet-Thunder_256x256', 'PicoDet-S_person_416']
    """
    configs = {}
    for entry in sorted((files("hpi.configs") / "models").iterdir(), key=lambda entry: entry.name):
        with as_file(entry) as path:
            config = read_config(path)
        configs[config.name] = config
    return configs
