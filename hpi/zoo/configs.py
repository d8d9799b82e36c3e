"""The registry: one YAML file of ``configs/models`` for each known model."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from hpi.heads.base import Task
from hpi.io.validation import Record, parse, read_yaml

OPENMMLAB = "openmmlab"
"""The key of a source: the path of a file on OpenMMLab's server, of which there is a copy on the Hugging Face Hub."""
MIRROR = "Tau-J/RTMPose"
SERVER = "https://download.openmmlab.com/mmpose/v1/projects/"


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

    @property
    def place(self) -> str:
        """Where it is from, in lists."""
        return "the package"


FileOfRepository = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][\w.+-]*(/[A-Za-z0-9_][\w.+-]*)*$")]
"""The path of a file in a repository: no folder of it is hidden, or leads out."""


class HuggingFace(Record):
    """A repository on the Hugging Face Hub, or a file of it.

    Attributes:
        hugging_face: ``"owner/name"``.
        file: an ``.onnx`` graph or an archive; None: the repository holds a model in Paddle's layout.
        beside: further files that go into the graph's folder, such as its preprocessing.
        revision: a branch, tag or commit; None: the newest.
        sha256: hash of the file, in hexadecimal.

    Example:
        >>> str(HuggingFace(hugging_face="PaddlePaddle/PP-TinyPose_128x96"))
        'Hugging Face PaddlePaddle/PP-TinyPose_128x96'
        >>> str(HuggingFace(hugging_face="onnx-community/vitpose-base-simple", file="onnx/model.onnx"))
        'Hugging Face onnx-community/vitpose-base-simple, onnx/model.onnx'
    """

    hugging_face: str
    file: FileOfRepository | None = None
    beside: tuple[FileOfRepository, ...] = ()
    revision: str | None = None
    sha256: str | None = None

    @model_validator(mode="after")
    def _of_a_file(self) -> HuggingFace:
        if self.file is None and (self.beside or self.sha256):
            raise PydanticCustomError("file", "beside and sha256 belong to a file; name it")
        return self

    @property
    def place(self) -> str:
        """Where it is from, in lists."""
        return f"huggingface.co/{self.hugging_face.partition('/')[0]}"

    def __str__(self) -> str:
        return ", ".join(filter(None, (f"Hugging Face {self.hugging_face}", self.file)))


class Url(Record):
    """A file at an http(s) address.

    Attributes:
        url: the address of an archive, or of an ``.onnx`` graph.
        sha256: hash of the file, in hexadecimal. Without it, the size that the server announces is checked.

    Example:
        >>> Url(url="https://example.org/model.tar").sha256 is None
        True
    """

    url: str
    sha256: str | None = None

    @property
    def place(self) -> str:
        """Where it is from, in lists."""
        return urlsplit(self.url).hostname or self.url


class Export(Record):
    """A training checkpoint, of which PaddleDetection makes a model that can run.

    Attributes:
        weights: address of its ``.pdparams``.
        config: the YAML that it was trained with, in a checkout of PaddleDetection.

    Example:
        >>> export = packaged_configs()["hrnet_w32_256x192"].export
        >>> export.folder
        'output_inference/hrnet_w32_256x192'
        >>> export.command.split(" -o ")[0]
        'python tools/export_model.py -c configs/keypoint/hrnet/hrnet_w32_256x192.yml'
    """

    weights: str
    config: str

    @property
    def command(self) -> str:
        """To be run in a checkout of PaddleDetection; it downloads the weights itself."""
        return f"python tools/export_model.py -c {self.config} -o weights={self.weights}"

    @property
    def folder(self) -> str:
        """Where the command puts the model."""
        return f"output_inference/{PurePosixPath(self.config).stem}"


class ModelConfig(Record):
    """One file of ``configs/models``.

    Attributes:
        name: also the name of the model's folder in the cache.
        task: what the model does.
        summary: one line for lists of models.
        input_size: height and width of the model's input, pixels.
        kind: what the model is, one of :data:`hpi.models.readers.plain_onnx.KINDS`, where its files may not say it.
        skeleton: name of the skeleton whose keypoints the model finds; None for a detector.
        license: SPDX identifier.
        size_mb: of the graph with its weights, 10^6 bytes, as its source says.
        accuracy: its published accuracy, where there is one.
        sources: where to get it, in the order in which they are tried. In a file ``{openmmlab: PATH}`` stands for both
            places of a file of OpenMMLab.
        export: what to make it from, where it cannot be downloaded ready to run.

    Example:
        >>> config = packaged_configs()["PP-TinyPose_128x96"]
        >>> config.task, config.input_size, config.skeleton, config.license
        ('keypoint_detection', (128, 96), 'coco17', 'Apache-2.0')
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    task: Task
    summary: str
    input_size: tuple[int, int]
    kind: str | None = None
    skeleton: str | None = None
    license: str
    size_mb: Annotated[float, Field(gt=0)] | None = None
    accuracy: Accuracy | None = None
    sources: tuple[Bundled | HuggingFace | Url, ...] = ()
    export: Export | None = None

    @field_validator("sources", mode="before")
    @classmethod
    def _with_mirrors(cls, sources: Any) -> Any:
        return [one for source in sources for one in _of_openmmlab(source)] if isinstance(sources, list) else sources

    @model_validator(mode="after")
    def _has_origin(self) -> ModelConfig:
        if bool(self.sources) == bool(self.export):
            raise PydanticCustomError("origin", "give sources to download it from, or what to export it from")
        return self


def _of_openmmlab(source: Any) -> list[Any]:
    """A source as it is; in place of a file of OpenMMLab, whose server was down in June 2026, both its places."""
    if not isinstance(source, Mapping) or OPENMMLAB not in source:
        return [source]
    file, others = source[OPENMMLAB], {name: value for name, value in source.items() if name != OPENMMLAB}
    return [{"hugging_face": MIRROR, "file": file, **others}, {"url": f"{SERVER}{file}", **others}]


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
        >>> configs = packaged_configs().items()
        >>> [name for name, config in configs if any(isinstance(one, Bundled) for one in config.sources)]
        ['MoveNet-Thunder_256x256', 'PicoDet-S_person_416']
    """
    configs = {}
    for entry in sorted((files("hpi.configs") / "models").iterdir(), key=lambda entry: entry.name):
        with as_file(entry) as path:
            config = read_config(path)
        configs[config.name] = config
    return configs
