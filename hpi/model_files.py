"""A model folder becomes a :class:`ModelSpec`: its files and, from its yml, what to do before and after it.

Three layouts are read: ``inference.json`` with ``inference.yml`` (Paddle 3, PaddleX), ``*.pdmodel`` with
``infer_cfg.yml`` (PaddleDetection), and ``*.onnx`` with either yml. Nothing is guessed from a model's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from hpi.backends.base import ModelFiles, Normalization, PaddleFiles
from hpi.errors import ModelError, ModelNotFoundError
from hpi.validation import Record, parse, read_yaml

Task = Literal["object_detection", "keypoint_detection"]

Side = Annotated[int, Field(gt=0, le=8192)]

YML_NAMES = ("inference.yml", "infer_cfg.yml")


class Resize(Record):
    """Scale the image to ``target_size`` (height, width) regardless of its aspect ratio."""

    type: Literal["Resize"]
    target_size: tuple[Side, Side]
    keep_ratio: Literal[False]
    interp: Annotated[int, Field(ge=0, le=4)] = 1


class TopDownEvalAffine(Record):
    """Crop one person to ``trainsize`` (width, height) with an affine map."""

    type: Literal["TopDownEvalAffine"]
    trainsize: tuple[Side, Side]
    use_udp: bool = False


Rgb = tuple[float, float, float]


class NormalizeImage(Record):
    """Scale to [0, 1] (``is_scale``), subtract ``mean``, divide by ``std``; per channel, RGB."""

    type: Literal["NormalizeImage"]
    mean: Rgb
    std: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    is_scale: bool = True
    norm_type: Literal["mean_std"] = "mean_std"

    @property
    def normalization(self) -> Normalization:
        """The same as one factor and one summand a channel, as the reference computes it."""
        unit = 1 / 255 if self.is_scale else 1.0
        red, green, blue = zip(self.mean, self.std, strict=True)
        scale = (unit / red[1], unit / green[1], unit / blue[1])
        return Normalization(scale, (-red[0] / red[1], -green[0] / green[1], -blue[0] / blue[1]))


class Permute(Record):
    """Channels first."""

    type: Literal["Permute"]


Operator = Annotated[Resize | TopDownEvalAffine | NormalizeImage | Permute, Field(discriminator="type")]


class TopDown(Record):
    """How a keypoint model's crop and heatmap grid are laid out: an extension of PaddleX's ``inference.yml``.

    Attributes:
        padding: enlargement of the person's box before the crop.
        heatmap_offset: a joint is at ``(heatmap index + heatmap_offset) * stride`` in crop pixels.
    """

    padding: Annotated[float, Field(gt=0, le=100)] = 1.25
    heatmap_offset: Annotated[float, Field(ge=0, le=1)] = 0.0


class _Global(BaseModel):
    model_config = ConfigDict(protected_namespaces=())
    model_name: str


class InferenceYml(BaseModel):
    """The fields of ``inference.yml`` / ``infer_cfg.yml`` that matter here; the others are left to their readers."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, protected_namespaces=())
    global_section: _Global | None = Field(None, alias="Global")
    preprocess: Annotated[list[Operator], Field(alias="Preprocess", min_length=1)]
    label_list: Annotated[list[str], BeforeValidator(lambda labels: labels or [])] = []
    draw_threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    top_down: TopDown = Field(TopDown(), alias="TopDown")


@dataclass(frozen=True)
class ModelSpec:
    """Everything known about a model before a runtime loads it.

    Attributes:
        name: the model's name.
        task: what it does, from its preprocessing: ``Resize`` or ``TopDownEvalAffine`` decides.
        folder: where it lies.
        yml: the file that describes it.
        files: what the runtimes load.
        geometry: how the image becomes the input: scaled whole by a detector, cropped to a person otherwise.
        top_down: keypoint models: padding and heatmap grid.
        labels: detectors: name of each class.
        draw_threshold: detectors: default score threshold.
    """

    name: str
    task: Task
    folder: Path
    yml: Path
    files: ModelFiles
    geometry: Resize | TopDownEvalAffine
    top_down: TopDown
    labels: tuple[str, ...]
    draw_threshold: float

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) of the model's input, pixels."""
        if isinstance(self.geometry, TopDownEvalAffine):
            return self.geometry.trainsize
        height, width = self.geometry.target_size
        return width, height


def read_model(folder: Path, name: str | None = None) -> ModelSpec:
    """Read a model folder.

    Args:
        folder: a folder in one of the three layouts.
        name: the name it must have, when its yml states one; by default the yml's, else the folder's.

    Raises:
        ModelError: a file is missing, or the yml is not understood; the message names file and field.
    """
    if not folder.is_dir():
        raise ModelNotFoundError(f"{folder}: no such model folder")
    yml = _find_yml(folder)
    content = parse(InferenceYml, read_yaml(yml, ModelError), str(yml), ModelError)
    stated = content.global_section.model_name if content.global_section else None
    if name and stated and name != stated:
        raise ModelError(f"{yml}: Global.model_name is {stated!r}, but model {name!r} was asked for")
    match content.preprocess:
        case [Resize() | TopDownEvalAffine() as geometry, NormalizeImage() as normalize, Permute()]:
            pass
        case operators:
            raise ModelError(
                f"{yml}: field 'Preprocess' is {', '.join(operator.type for operator in operators)}; "
                "supported is Resize or TopDownEvalAffine, then NormalizeImage, then Permute"
            )
    model = name or stated or folder.name
    return ModelSpec(
        name=model,
        task="object_detection" if isinstance(geometry, Resize) else "keypoint_detection",
        folder=folder,
        yml=yml,
        files=_find_files(folder, model, normalize.normalization),
        geometry=geometry,
        top_down=content.top_down,
        labels=tuple(content.label_list),
        draw_threshold=content.draw_threshold,
    )


def _find_yml(folder: Path) -> Path:
    for name in YML_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise ModelNotFoundError(f"{folder}: no {' or '.join(YML_NAMES)} in this model folder")


def _find_files(folder: Path, name: str, normalization: Normalization) -> ModelFiles:
    program, onnx = _only_file(folder, "inference.json", "*.pdmodel"), _only_file(folder, "*.onnx")
    if program is None and onnx is None:
        raise ModelNotFoundError(f"{folder}: no inference.json, *.pdmodel or *.onnx in this model folder")
    paddle = PaddleFiles(program, program.with_suffix(".pdiparams")) if program else None
    if paddle and not paddle.params.is_file():
        raise ModelNotFoundError(f"{paddle.program}: its weights {paddle.params.name} are missing")
    for file in (onnx, paddle and paddle.program, paddle and paddle.params):
        if file and file.stat().st_size == 0:
            raise ModelError(f"{file}: the file is empty")
    return ModelFiles(name, paddle, onnx, normalization)


def _only_file(folder: Path, *patterns: str) -> Path | None:
    """The one file of the first pattern that any file has."""
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            raise ModelError(f"{folder}: several {pattern} files: {', '.join(file.name for file in found)}; keep one")
        if found:
            return found[0]
    return None
