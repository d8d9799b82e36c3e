"""A folder of PaddleX or PaddleDetection becomes a :class:`hpi.models.spec.ModelSpec`.

Three layouts are read: ``inference.json`` with ``inference.yml`` (Paddle 3, PaddleX), ``*.pdmodel`` or ``model.json``
with ``infer_cfg.yml`` (PaddleDetection), and ``*.onnx`` with either yml. Nothing is guessed from a model's name. What
a yml leaves out has PaddleX's default.
"""

from __future__ import annotations

import os
import reprlib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from hpi.backends.base import ModelFiles, Normalization, PaddleFiles, onnx_files
from hpi.backends.file_checks import problem_with
from hpi.errors import ModelError, ModelNotFoundError
from hpi.heads import HEADS
from hpi.heads.base import Head
from hpi.heads.boxes import BoxesHead
from hpi.heads.embedded_boxes import EmbeddedBoxesHead, Metric
from hpi.heads.heatmap import HeatmapHead
from hpi.heads.tags import TagsHead
from hpi.io.validation import Record, nearest, parse, read_yaml
from hpi.models.description import skeleton_beside
from hpi.models.readers.reading import Hints, Reading
from hpi.models.spec import STATED, ModelSpec
from hpi.skeletons import COCO
from hpi.transforms import (
    CROPS,
    CenteredLetterbox,
    Crop,
    KeepRatio,
    Letterbox,
    ShortSide,
    Stretch,
    TopDownAffine,
    Transform,
)


def _whole(value: Any) -> Any:
    """PaddleX writes levels as 114.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Side = Annotated[int, Field(gt=0, le=8192)]
Level = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=255)]

FORMAT = "PaddleX or PaddleDetection folder"
YML_NAMES = ("inference.yml", "infer_cfg.yml")
SUPPORTED = (
    "Resize, Pad (after a Resize with keep_ratio), LetterBoxResize, TopDownEvalAffine or EvalAffine, NormalizeImage "
    "(may be left out), Permute, PadStride (may be left out), in this order"
)

_SUFFIXES = {".json", ".onnx", ".pdiparams", ".pdmodel", ".yml"}
_INTERPOLATIONS = {"NEAREST": 0, "LINEAR": 1, "BICUBIC": 2, "AREA": 3, "LANCZOS4": 4}


Sides = Annotated[tuple[Side, Side], BeforeValidator(lambda size: (size, size) if isinstance(size, int) else size)]


class Resize(Record):
    """Scale the image to ``target_size`` (height, width; one number for both).

    With ``keep_ratio`` and no ``Pad`` the short side becomes the smaller number, and the long one at most the larger.

    Attributes:
        type: the operator's name.
        target_size: pixels.
        keep_ratio: keeping its aspect ratio; with a ``Pad``, as far as it fits.
        interp: as OpenCV numbers it, or by the name that PaddleX has for it.

    Example:
        >>> resize = parse(Resize, {"type": "Resize", "target_size": 320, "interp": "BICUBIC"}, "inference.yml")
        >>> resize.target_size, resize.keep_ratio, resize.interp
        ((320, 320), False, 2)
    """

    type: Literal["Resize"]
    target_size: Sides
    keep_ratio: bool = False
    interp: Annotated[
        int,
        Field(ge=0, le=4),
        BeforeValidator(lambda name: _INTERPOLATIONS.get(name.upper(), name) if isinstance(name, str) else name),
    ] = 2


class Pad(Record):
    """Fill up to ``size`` (height, width) at the right and at the bottom with ``fill_value``, RGB.

    Example:
        >>> parse(Pad, {"type": "Pad", "size": [640, 640], "fill_value": [114.0, 114.0, 114.0]}, "inference.yml")
        Pad(type='Pad', size=(640, 640), fill_value=(114, 114, 114))
    """

    type: Literal["Pad"]
    size: tuple[Side, Side]
    fill_value: tuple[Level, Level, Level] = (114, 114, 114)


class PadStride(Record):
    """Fill up to multiples of ``stride`` at the right and at the bottom, with 0 after normalisation; 0, -1: not at all.

    Example:
        >>> parse(PadStride, {"type": "PadStride", "stride": 32}, "infer_cfg.yml").stride
        32
    """

    type: Literal["PadStride"]
    stride: Annotated[int, Field(ge=-1, le=1024)] = 0


class LetterBoxResize(Record):
    """Scale the image as far as it fits into ``target_size`` (height, width), in the middle of grey.

    Example:
        >>> parse(LetterBoxResize, {"type": "LetterBoxResize", "target_size": [320, 576]}, "infer_cfg.yml").target_size
        (320, 576)
    """

    type: Literal["LetterBoxResize"]
    target_size: Sides


class TopDownEvalAffine(Record):
    """Crop one person to ``trainsize`` (width, height) with an affine map.

    Example:
        >>> parse(TopDownEvalAffine, {"type": "TopDownEvalAffine", "trainsize": [192, 256]}, "inference.yml").use_udp
        False
    """

    type: Literal["TopDownEvalAffine"]
    trainsize: tuple[Side, Side]
    use_udp: bool = False


class EvalAffine(Record):
    """Scale the short side of the image to ``size``; both become multiples of 64, which ``stride`` must say.

    Example:
        >>> parse(EvalAffine, {"type": "EvalAffine", "size": 512}, "infer_cfg.yml")
        EvalAffine(type='EvalAffine', size=512, stride=64)
    """

    type: Literal["EvalAffine"]
    size: Annotated[Side, Field(multiple_of=64)]
    stride: Literal[64] = 64


Rgb = tuple[float, float, float]


class NormalizeImage(Record):
    """Scale to [0, 1] (``is_scale``), subtract ``mean``, divide by ``std``; per channel, RGB.

    With the ``norm_type`` ``none`` PaddleDetection ignores mean and std, while PaddleX applies them. So they must be
    those that change nothing, as in the exports of PP-YOLOE+.

    Example:
        >>> levels = NormalizeImage(type="NormalizeImage", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)).normalization
        >>> round(255 * levels.scale[0], 6), levels.shift[0]
        (2.0, -1.0)
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
    """Channels first.

    Example:
        >>> parse(Permute, {"type": "Permute"}, "inference.yml")
        Permute(type='Permute')
    """

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


_OPERATORS = {
    "Resize", "Pad", "PadStride", "LetterBoxResize", "TopDownEvalAffine", "EvalAffine", "NormalizeImage", "Permute",
}  # fmt: skip
Operator = Annotated[
    Annotated[
        Resize | Pad | PadStride | LetterBoxResize | TopDownEvalAffine | EvalAffine | NormalizeImage | Permute,
        Field(discriminator="type"),
    ],
    BeforeValidator(_known_operator),
]


class TopDown(Record):
    """How a keypoint model's crop and heatmap grid are laid out: an extension of PaddleX's ``inference.yml``.

    Attributes:
        crop: how people are cut out: as PaddleX does it, or as PaddleDetection.
        padding: enlargement of the person's box before the crop; by default 1.25 for PaddleX's, 1.3 for the other.
        heatmap_offset: a keypoint is at ``(heatmap index + heatmap_offset) * stride`` in crop pixels.

    Example:
        >>> parse(TopDown, {"padding": 1.1}, "inference.yml")
        TopDown(crop='paddlex', padding=1.1, heatmap_offset=0.0)
    """

    crop: Crop = "paddlex"
    padding: Annotated[float, Field(gt=0, le=100)] | None = None
    heatmap_offset: Annotated[float, Field(ge=0, le=1)] = 0.0


class Own(Record):
    """The section ``hpi`` of a yml: what PaddleX's fields cannot say.

    Attributes:
        skeleton: name of a skeleton of the package, or path of a YAML file, relative to the yml.
        image_input: name of the input that takes images, where there are several.
        head: what the outputs mean: ``type`` and the fields of :data:`hpi.heads.HEADS`.

    Example:
        >>> own = parse(Own, {"skeleton": "hand21", "head": {"type": "heatmap"}}, "inference.yml")
        >>> own.skeleton, own.head
        ('hand21', {'type': 'heatmap'})
    """

    skeleton: str | None = None
    image_input: str | None = None
    head: dict[str, Any] | None = None


class TrackerSection(BaseModel):
    """The section ``tracker`` of a model that finds people for a tracker, with the defaults of PaddleDetection.

    Attributes:
        conf_thres: boxes that score more are of people.
        tracked_thresh: largest distance of two embeddings of one person.
        metric_type: how that distance is measured.
        min_box_area: boxes that are not larger are left out, square pixels.
        vertical_ratio: boxes that are wider than this times their height are left out; 0 or less: none is.

    Example:
        >>> section = {"conf_thres": 0.4, "metric_type": "cosine", "tracked_thresh": 0.4}
        >>> head = parse(TrackerSection, section, "infer_cfg.yml").head
        >>> head.metric, head.same_below, head.max_aspect
        ('cosine', 0.4, 0.0)
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)
    conf_thres: Annotated[float, Field(ge=0, le=1)] = 0.0
    tracked_thresh: Annotated[float, Field(ge=0)] = 0.7
    metric_type: Metric = "euclidean"
    min_box_area: Annotated[float, Field(ge=0)] = 0.0
    vertical_ratio: float = 0.0

    @property
    def head(self) -> EmbeddedBoxesHead:
        """The head that it means."""
        return EmbeddedBoxesHead(
            metric=self.metric_type,
            same_below=self.tracked_thresh,
            min_area=self.min_box_area,
            max_aspect=max(self.vertical_ratio, 0),
        )


class _Global(BaseModel):
    model_config = ConfigDict(protected_namespaces=())
    model_name: str


class InferenceYml(BaseModel):
    """The fields of ``inference.yml`` / ``infer_cfg.yml`` that matter here; the others are left to their readers.

    Example:
        >>> steps = [{"type": "Resize", "target_size": [416, 416]}, {"type": "Permute"}]
        >>> content = parse(InferenceYml, {"Preprocess": steps, "label_list": ["person"]}, "inference.yml")
        >>> [step.type for step in content.preprocess], content.label_list, content.draw_threshold
        (['Resize', 'Permute'], ['person'], 0.5)
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, protected_namespaces=())
    global_section: _Global | None = Field(None, alias="Global")
    preprocess: Annotated[list[Operator], Field(alias="Preprocess", min_length=1)]
    label_list: Annotated[list[str], BeforeValidator(lambda labels: [] if labels is None else labels)] = []
    draw_threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    use_dark: bool = True
    metric: str | None = None
    tracker: Any = None
    top_down: TopDown = Field(TopDown(), alias="TopDown")
    own: Own = Field(Own(), alias="hpi")

    def has(self, operator: type[Record]) -> bool:
        """Whether the preprocessing has an operator."""
        return any(isinstance(one, operator) for one in self.preprocess)


def is_paddle(path: Path) -> bool:
    """Whether there is an ``inference.yml``, an ``infer_cfg.yml`` or a Paddle program.

    Example:
        >>> from hpi.zoo import Zoo
        >>> is_paddle(Zoo.default().find("MoveNet-Thunder_256x256").folder), is_paddle(Path("docs"))
        (True, False)
    """
    folder = path if path.is_dir() else path.parent
    return _find_yml(folder) is not None or any(any(folder.glob(f"*{suffix}")) for suffix in (".pdmodel", ".pdiparams"))


def read_paddle(path: Path, name: str | None, hints: Hints) -> Reading:
    """Read a model folder.

    Args:
        path: a folder in one of the three layouts; also one that holds nothing but such a folder, or a file in one.
        name: the name it must have, when its yml states one; by default the yml's, else the folder's.
        hints: nothing of them is needed.

    Raises:
        ModelError: a file is missing or is plainly damaged, or the yml is not understood.
    """
    folder = _find_folder(path)
    spec = _read_folder(folder, name)
    return Reading(FORMAT, spec, (f"{spec.yml.name} says all of it",))


def _read_folder(folder: Path, name: str | None) -> ModelSpec:
    yml = _find_yml(folder)
    if yml is None:
        raise ModelNotFoundError(f"{folder}: no {' or '.join(YML_NAMES)} in this model folder; {_remedy(folder)}")
    _check(yml)
    content = parse(InferenceYml, _with_labels_as_written(yml, read_yaml(yml, ModelError)), str(yml), ModelError)
    stated = content.global_section.model_name if content.global_section else None
    if name and stated and name != stated:
        raise ModelError(f"{yml}: Global.model_name is {stated!r}, but model {name!r} was asked for")
    transform, normalization = _preprocessing(content, yml)
    tracker = _tracker(content, yml)
    head = _head(content, tracker, yml)
    if transform.pads_input and head.finds_keypoints:
        raise ModelError(
            f"{yml}: a head of the type {head.type} does not take images that are padded after normalisation; export "
            "the model with Resize and Pad to one size, or with EvalAffine"
        )
    if transform.takes_regions and isinstance(head, TagsHead):
        raise ModelError(
            f"{yml}: a head of the type {head.type} finds any number of people, so it needs whole images: a Resize or "
            "EvalAffine in the place of TopDownEvalAffine"
        )
    # The path may be relative: "." has no name.
    model = name or stated or Path(os.path.abspath(folder)).name  # noqa: PTH100 - resolve would follow links
    return ModelSpec(
        name=model,
        folder=folder,
        yml=yml,
        # A runtime that normalises would do so with padding, too.
        files=_find_files(folder, model, head, None if transform.pads_input else normalization),
        transform=transform,
        head=head,
        labels=tuple(content.label_list),
        draw_threshold=_draw_threshold(content, tracker, head),
        skeleton=skeleton_beside(content.own.skeleton or _measured_by(content), yml),
        skeleton_is=None if content.own.skeleton is None else STATED,
        name_is_stated=bool(name or stated),
        normalization=normalization,
        image_input=content.own.image_input,
    )


def _preprocessing(content: InferenceYml, yml: Path) -> tuple[Transform, Normalization]:
    *geometry, last = content.preprocess
    multiple = 1
    if geometry and isinstance(last, PadStride):
        multiple, last = max(last.stride, 1), geometry.pop()
    normalization = _RAW_LEVELS
    if geometry and isinstance(normalize := geometry[-1], NormalizeImage):
        normalization = normalize.normalization
        geometry.pop()
    if isinstance(last, Permute):
        match geometry:
            case [TopDownEvalAffine() as crop]:
                return _fitting(multiple, _crop(crop, content.top_down), yml), normalization
            case [EvalAffine() as whole]:
                if multiple > 1:
                    raise ModelError(
                        f"{yml}: leave out PadStride after EvalAffine, which itself makes multiples of {whole.stride}"
                    )
                return ShortSide(whole.size), normalization
            case [LetterBoxResize() as resize]:
                return _fitting(multiple, CenteredLetterbox(resize.target_size[::-1]), yml), normalization
            case [Resize(keep_ratio=False) as resize]:
                return _fitting(multiple, Stretch(resize.target_size[::-1], resize.interp), yml), normalization
            case [Resize(keep_ratio=True) as resize, Pad() as pad]:
                return _fitting(multiple, _letterbox(resize, pad, yml), yml), normalization
            case [Resize(keep_ratio=True) as resize]:
                short, long = sorted(resize.target_size)
                return KeepRatio(short, long, multiple, resize.interp), normalization
    raise ModelError(
        f"{yml}: field 'Preprocess' is {', '.join(operator.type for operator in content.preprocess)}; "
        f"supported is {SUPPORTED}"
    )


def _crop(operator: TopDownEvalAffine, how: TopDown) -> TopDownAffine:
    transform = CROPS[how.crop](operator.trainsize, operator.use_udp)
    return transform if how.padding is None else replace(transform, padding=how.padding)


def _fitting(multiple: int, transform: Transform, yml: Path) -> Transform:
    """A transform to sizes that ``PadStride`` leaves as they are."""
    if any(side % multiple for side in transform.size):
        width, height = transform.size
        raise ModelError(
            f"{yml}: PadStride pads to multiples of {multiple}, but the input is {height}x{width} (height x width); "
            "export the model with an input of such multiples, or with Resize and keep_ratio"
        )
    return transform


def _letterbox(resize: Resize, pad: Pad, yml: Path) -> Letterbox:
    if resize.target_size != pad.size:
        raise ModelError(f"{yml}: Resize to {resize.target_size} and Pad to {pad.size}: give both the same size")
    return Letterbox(pad.size[::-1], resize.interp, pad.fill_value)


def _tracker(content: InferenceYml, yml: Path) -> TrackerSection | None:
    """The section ``tracker``, where the model gives embeddings; that of other detectors is left to its readers."""
    if content.tracker is None or not content.has(LetterBoxResize):
        return None
    return parse(TrackerSection, content.tracker, f"{yml}: tracker", ModelError)


def _draw_threshold(content: InferenceYml, tracker: TrackerSection | None, head: Head) -> float:
    if isinstance(head, TagsHead):
        # Of a model without a detector PaddleDetection keeps everyone; it draws the keypoints that score more.
        return 0.0
    return content.draw_threshold if tracker is None else tracker.conf_thres


def _head(content: InferenceYml, tracker: TrackerSection | None, yml: Path) -> Head:
    """What the outputs mean; where the yml does not say, what the reference's models of this kind have."""
    if content.own.head is None:
        if content.has(TopDownEvalAffine):
            offset = content.top_down.heatmap_offset
            return HeatmapHead(decoder="dark" if content.use_dark else "quarter", offset=offset)
        if content.has(EvalAffine):
            return TagsHead()
        if content.has(LetterBoxResize):
            return EmbeddedBoxesHead() if tracker is None else tracker.head
        return BoxesHead()
    kind, where = content.own.head.get("type"), f"{yml}: hpi.head"
    if kind not in HEADS:
        meant = nearest(str(kind), HEADS)
        hint = f"did you mean {meant!r}?" if meant else f"known are {', '.join(HEADS)}"
        raise ModelError(f"{where}: unknown type {reprlib.repr(kind)}, {hint}")
    return parse(HEADS[kind], content.own.head, where, ModelError)


def _measured_by(content: InferenceYml) -> str | None:
    """The skeleton whose AP PaddleDetection measures a model by that finds people itself."""
    return COCO if content.has(EvalAffine) and content.metric == "COCO" else None


def is_part(file: Path) -> bool:
    """Whether a file may be one of a Paddle model, by its name.

    Example:
        >>> is_part(Path("inference.pdmodel")), is_part(Path("best.pt"))
        (True, False)
    """
    return file.suffix in {*_SUFFIXES, ".pdparams"}


def _find_folder(path: Path) -> Path:
    """The model folder that a path stands for: itself, that of a file, or the only one inside."""
    if path.is_file():
        if path.suffix in _SUFFIXES and _find_yml(path.parent):
            return path.parent
        what = problem_with(path)
        if not what and path.suffix == ".pdparams":
            raise ModelError(f"{path}: it is {_checkpoint(path)}")
        what = what or "it is a file"
        raise ModelError(f"{path}: {what}; give the folder that holds {' or '.join(YML_NAMES)} and the model's files")
    if not path.is_dir():
        raise ModelNotFoundError(f"{path}: no such model folder{_hint(path)}")
    if any(file.suffix in _SUFFIXES for file in path.iterdir()):
        return path
    inner = sorted(folder for folder in path.iterdir() if folder.is_dir() and _find_yml(folder))
    if len(inner) > 1:
        raise ModelError(f"{path}: holds several models; give one of {', '.join(folder.name for folder in inner)}")
    return inner[0] if inner else path


def _remedy(folder: Path) -> str:
    """Where the files that a folder lacks come from."""
    for checkpoint in sorted(folder.glob("*.pdparams")):
        return f"{checkpoint.name} is {_checkpoint(checkpoint)}"
    return "copy the missing file from where the model was exported, or export the model anew"


def _checkpoint(file: Path) -> str:
    return (
        "the checkpoint of a training: export it, in a checkout of PaddleDetection with python tools/export_model.py "
        f"-c CONFIG -o weights={file.absolute()}, and give the folder that this writes into output_inference"
    )


def _hint(missing: Path) -> str:
    """Which folder may be meant instead of one that does not exist."""
    beside = [file.name for file in missing.parent.iterdir()] if missing.parent.is_dir() else []
    meant = nearest(missing.name, beside, most=0.2)
    return f"; did you mean {missing.with_name(meant)}?" if meant else ""


def _find_yml(folder: Path) -> Path | None:
    return next((folder / name for name in YML_NAMES if (folder / name).is_file()), None)


def _with_labels_as_written(yml: Path, content: Any) -> Any:
    """The content with its labels as text: YAML takes ``1``, ``yes`` and ``null`` for something else."""
    labels = content.get("label_list") if isinstance(content, dict) else None
    if not isinstance(labels, list) or all(isinstance(label, str) for label in labels):
        return content
    as_text = yaml.load(yml.read_text(encoding="utf-8"), yaml.BaseLoader)
    return {**content, "label_list": as_text["label_list"]}


def _find_files(folder: Path, name: str, head: Head, normalization: Normalization | None) -> ModelFiles:
    program = _only_file(folder, "inference.json", "*.pdmodel") or _only_file(folder, "*.json", if_beside=".pdiparams")
    onnx = _only_file(folder, "*.onnx")
    if program is None and onnx is None and (program := _only_file(folder, "model.json")) is None:
        raise ModelNotFoundError(
            f"{folder}: no inference.json, model.json, *.pdmodel or *.onnx in this model folder; {_remedy(folder)}"
        )
    paddle = PaddleFiles(program, program.with_suffix(".pdiparams")) if program else None
    if paddle and not paddle.params.is_file():
        raise ModelNotFoundError(f"{paddle.program}: its weights {paddle.params.name} are missing; {_remedy(folder)}")
    for file in [*((paddle.program, paddle.params) if paddle else ()), *(onnx_files(onnx) if onnx else ())]:
        _check(file)
    return ModelFiles(name, paddle, onnx, normalization, head.wanted_outputs)


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
