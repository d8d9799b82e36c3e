"""A model folder becomes a :class:`ModelSpec`: its files and, from its yml, what to do before and after it.

Three layouts are read: ``inference.json`` with ``inference.yml`` (Paddle 3, PaddleX), ``*.pdmodel`` or ``*.json``
with ``infer_cfg.yml`` (PaddleDetection), and ``*.onnx`` with either yml. Nothing is guessed from a model's name. What
a yml leaves out has PaddleX's default.
"""

from __future__ import annotations

import difflib
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from hpi.backends.base import ModelFiles, Normalization, PaddleFiles, onnx_files
from hpi.backends.file_checks import problem_with
from hpi.errors import ModelError, ModelNotFoundError
from hpi.instances import Skeleton
from hpi.io.validation import Record, parse, read_yaml

Task = Literal["object_detection", "keypoint_detection"]

Side = Annotated[int, Field(gt=0, le=8192)]

YML_NAMES = ("inference.yml", "infer_cfg.yml")
SUPPORTED = "Resize or TopDownEvalAffine, NormalizeImage (may be left out), Permute, in this order"

_SUFFIXES = {".json", ".onnx", ".pdiparams", ".pdmodel", ".yml"}
_INTERPOLATIONS = {"NEAREST": 0, "LINEAR": 1, "BICUBIC": 2, "AREA": 3, "LANCZOS4": 4}


def _refuse_letterbox(keep_ratio: bool) -> bool:
    if keep_ratio:
        raise PydanticCustomError(
            "letterbox", "scaling that keeps the aspect ratio is not supported; export the model with false"
        )
    return keep_ratio


class Resize(Record):
    """Scale the image to ``target_size`` (height, width; one number for both) regardless of its aspect ratio.

    Attributes:
        type: the operator's name.
        target_size: pixels.
        keep_ratio: always false.
        interp: as OpenCV numbers it, or by the name that PaddleX has for it.
    """

    type: Literal["Resize"]
    target_size: Annotated[
        tuple[Side, Side], BeforeValidator(lambda size: (size, size) if isinstance(size, int) else size)
    ]
    keep_ratio: Annotated[bool, AfterValidator(_refuse_letterbox)] = False
    interp: Annotated[
        int,
        Field(ge=0, le=4),
        BeforeValidator(lambda name: _INTERPOLATIONS.get(name.upper(), name) if isinstance(name, str) else name),
    ] = 2


class TopDownEvalAffine(Record):
    """Crop one person to ``trainsize`` (width, height) with an affine map."""

    type: Literal["TopDownEvalAffine"]
    trainsize: tuple[Side, Side]
    use_udp: bool = False


Rgb = tuple[float, float, float]


class NormalizeImage(Record):
    """Scale to [0, 1] (``is_scale``), subtract ``mean``, divide by ``std``; per channel, RGB.

    With the ``norm_type`` ``none`` PaddleDetection ignores mean and std, while PaddleX applies them. So they must be
    those that change nothing, as in the exports of PP-YOLOE+.
    """

    type: Literal["NormalizeImage"]
    mean: Rgb
    std: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    is_scale: bool = True
    norm_type: Literal["mean_std", "none"] | None = None

    @model_validator(mode="after")
    def _agree(self) -> NormalizeImage:
        if self.norm_type == "none" and (self.mean, self.std) != ((0, 0, 0), (1, 1, 1)):
            raise PydanticCustomError(
                "contradiction",
                "norm_type none contradicts mean and std; write mean_std to apply them, or mean 0 and std 1",
            )
        return self

    @property
    def normalization(self) -> Normalization:
        """The same as one factor and one summand a channel, as the reference computes it."""
        unit = 1 / 255 if self.is_scale else 1.0
        red, green, blue = zip(self.mean, self.std, strict=True)
        scale = (unit / red[1], unit / green[1], unit / blue[1])
        return Normalization(scale, (-red[0] / red[1], -green[0] / green[1], -blue[0] / blue[1]))


_RAW_LEVELS = Normalization((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
"""Of a model without ``NormalizeImage``: it takes the levels 0 to 255."""


class Permute(Record):
    """Channels first."""

    type: Literal["Permute"]


def _known_operator(operator: Any) -> Any:
    kind = operator.get("type") if isinstance(operator, dict) else None
    if isinstance(kind, str) and kind not in _OPERATORS:
        raise PydanticCustomError(
            "unknown_operator",
            "operator {kind} is not supported; supported is {supported}",
            {"kind": reprlib.repr(kind), "supported": SUPPORTED},
        )
    return operator


_OPERATORS = {"Resize", "TopDownEvalAffine", "NormalizeImage", "Permute"}
Operator = Annotated[
    Annotated[Resize | TopDownEvalAffine | NormalizeImage | Permute, Field(discriminator="type")],
    BeforeValidator(_known_operator),
]


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
    label_list: Annotated[list[str], BeforeValidator(lambda labels: [] if labels is None else labels)] = []
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
        skeleton: keypoint models: what is known of the keypoints; None where nobody says.
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
    skeleton: Skeleton | None = None

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) of the model's input, pixels."""
        if isinstance(self.geometry, TopDownEvalAffine):
            return self.geometry.trainsize
        height, width = self.geometry.target_size
        return width, height


def read_model(path: Path, name: str | None = None) -> ModelSpec:
    """Read a model folder.

    Args:
        path: a folder in one of the three layouts; also one that holds nothing but such a folder, or a file in one.
        name: the name it must have, when its yml states one; by default the yml's, else the folder's.

    Raises:
        ModelError: a file is missing, is plainly damaged or cannot be read, or the yml is not understood; the message
            names file and field.
    """
    try:
        return _read_folder(_find_folder(path), name)
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from error


def _read_folder(folder: Path, name: str | None) -> ModelSpec:
    yml = _find_yml(folder)
    if yml is None:
        raise ModelNotFoundError(f"{folder}: no {' or '.join(YML_NAMES)} in this model folder")
    _check(yml)
    content = parse(InferenceYml, _with_labels_as_written(yml, read_yaml(yml, ModelError)), str(yml), ModelError)
    stated = content.global_section.model_name if content.global_section else None
    if name and stated and name != stated:
        raise ModelError(f"{yml}: Global.model_name is {stated!r}, but model {name!r} was asked for")
    match content.preprocess:
        case [Resize() | TopDownEvalAffine() as geometry, NormalizeImage() as normalize, Permute()]:
            normalization = normalize.normalization
        case [Resize() | TopDownEvalAffine() as geometry, Permute()]:
            normalization = _RAW_LEVELS
        case operators:
            raise ModelError(
                f"{yml}: field 'Preprocess' is {', '.join(operator.type for operator in operators)}; "
                f"supported is {SUPPORTED}"
            )
    model = name or stated or folder.name
    return ModelSpec(
        name=model,
        task="object_detection" if isinstance(geometry, Resize) else "keypoint_detection",
        folder=folder,
        yml=yml,
        files=_find_files(folder, model, normalization),
        geometry=geometry,
        top_down=content.top_down,
        labels=tuple(content.label_list),
        draw_threshold=content.draw_threshold,
    )


def _find_folder(path: Path) -> Path:
    """The model folder that a path stands for: itself, that of a file, or the only one inside."""
    if path.is_file():
        if path.suffix in _SUFFIXES and _find_yml(path.parent):
            return path.parent
        what = problem_with(path) or "it is a file"
        raise ModelError(f"{path}: {what}; give the folder that holds {' or '.join(YML_NAMES)} and the model's files")
    if not path.is_dir():
        raise ModelNotFoundError(f"{path}: no such model folder{_hint(path)}")
    if any(file.suffix in _SUFFIXES for file in path.iterdir()):
        return path
    inner = sorted(folder for folder in path.iterdir() if folder.is_dir() and _find_yml(folder))
    if len(inner) > 1:
        raise ModelError(f"{path}: holds several models; give one of {', '.join(folder.name for folder in inner)}")
    return inner[0] if inner else path


def _hint(missing: Path) -> str:
    """What a folder may be meant that does not exist, perhaps for upper and lower case."""
    beside = {file.name.lower(): file for file in missing.parent.iterdir()} if missing.parent.is_dir() else {}
    near = difflib.get_close_matches(missing.name.lower(), beside, n=1, cutoff=0.8)
    return f"; did you mean {beside[near[0]]}?" if near else ""


def _find_yml(folder: Path) -> Path | None:
    return next((folder / name for name in YML_NAMES if (folder / name).is_file()), None)


def _with_labels_as_written(yml: Path, content: Any) -> Any:
    """The content with its labels as text: YAML takes ``1``, ``yes`` and ``null`` for something else."""
    labels = content.get("label_list") if isinstance(content, dict) else None
    if not isinstance(labels, list) or all(isinstance(label, str) for label in labels):
        return content
    as_text = yaml.load(yml.read_text(encoding="utf-8"), yaml.BaseLoader)
    return {**content, "label_list": as_text["label_list"]}


def _find_files(folder: Path, name: str, normalization: Normalization) -> ModelFiles:
    program = _only_file(folder, "inference.json", "*.pdmodel") or _only_file(folder, "*.json", if_beside=".pdiparams")
    onnx = _only_file(folder, "*.onnx")
    if program is None and onnx is None:
        raise ModelNotFoundError(f"{folder}: no inference.json, *.pdmodel or *.onnx in this model folder")
    paddle = PaddleFiles(program, program.with_suffix(".pdiparams")) if program else None
    if paddle and not paddle.params.is_file():
        raise ModelNotFoundError(f"{paddle.program}: its weights {paddle.params.name} are missing")
    for file in [*((paddle.program, paddle.params) if paddle else ()), *(onnx_files(onnx) if onnx else ())]:
        _check(file)
    return ModelFiles(name, paddle, onnx, normalization)


def _only_file(folder: Path, *patterns: str, if_beside: str | None = None) -> Path | None:
    """The one file of the first pattern that any file has; only such with a second file of another suffix."""
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if if_beside is not None:
            found = [file for file in found if file.with_suffix(if_beside).is_file()]
        if len(found) > 1:
            raise ModelError(f"{folder}: several {pattern} files: {', '.join(file.name for file in found)}; keep one")
        if found:
            return found[0]
    return None


def _check(file: Path) -> None:
    if problem := problem_with(file):
        raise ModelError(f"{file}: {problem}")
