"""What a model is, as data that can be written down: the content of a file ``hpi.yml``.

Readers of foreign formats translate into it, and :func:`spec_of` makes of it what the engine runs. A person can write
it beside a graph that does not say these things itself.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
from pydantic import Field, SerializeAsAny, ValidationError, field_validator

from hpi.backends.base import ModelFiles, Normalization
from hpi.errors import ConfigError, ModelError
from hpi.heads import HEADS
from hpi.heads.base import Head
from hpi.instances import Skeleton
from hpi.io.validation import Record, is_yaml, nearest
from hpi.models.spec import STATED, ModelSpec
from hpi.skeletons import load_skeleton
from hpi.transforms import (
    CenteredLetterbox,
    Fit,
    KeepRatio,
    Letterbox,
    RoundedLetterbox,
    Stretch,
    TopDownAffine,
    Transform,
)

NAME = "hpi.yml"
"""The file beside a graph."""

Side = Annotated[int, Field(gt=0, le=8192)]
Size = tuple[Side, Side]
Level = Annotated[int, Field(ge=0, le=255)]
Color = tuple[Level, Level, Level]
Channels = tuple[float, float, float]
Interpolation = Literal["nearest", "linear", "cubic", "area"]

_INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA,
}  # fmt: skip


class InputDescription(Record):
    """How the batch of images is handed to the network: ``(level - mean) / std`` for levels from 0 to 255.

    Attributes:
        name: of the input; None: the only one, or ``image``.
        layout: ``"nchw"`` or ``"nhwc"``.
        color: order of the channels, also that of ``mean`` and ``std``.
        mean: of each channel.
        std: of each channel.
        dtype: ``"float32"``, or ``"int32"`` of graphs that normalise themselves.

    Example:
        >>> InputDescription(std=(255, 255, 255)).normalization.scale[0] == 1 / 255
        True
    """

    name: str | None = None
    layout: Literal["nchw", "nhwc"] = "nchw"
    color: Literal["rgb", "bgr"] = "rgb"
    mean: Channels = (0.0, 0.0, 0.0)
    std: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (1, 1, 1)
    dtype: Literal["float32", "int32"] = "float32"

    @property
    def normalization(self) -> Normalization:
        """The same as one factor and one summand a channel, in the order RGB."""
        pairs = list(zip(self.mean, self.std, strict=True))
        if self.color == "bgr":
            pairs.reverse()
        red, green, blue = ((1 / std, -mean / std) for mean, std in pairs)
        scale, shift = zip(red, green, blue, strict=True)
        return Normalization(scale, shift, self.color, self.layout, self.dtype)


class _TransformDescription(Record):
    type: str

    @property
    @abstractmethod
    def transform(self) -> Transform:
        """The transform that it means."""


class TopDownDescription(_TransformDescription):
    """One person, cut out: the box enlarged by ``padding`` and widened to the aspect ratio of the input.

    Example:
        >>> TopDownDescription(type="top_down", size=(192, 256)).transform
        TopDownAffine(size=(192, 256), udp=False, padding=1.25)
    """

    type: Literal["top_down"] = "top_down"
    size: Size
    padding: Annotated[float, Field(gt=0, le=100)] = 1.25
    udp: bool = False

    @property
    def transform(self) -> Transform:  # noqa: D102
        return TopDownAffine(self.size, self.udp, self.padding)


class StretchDescription(_TransformDescription):
    """The whole image, stretched to ``size`` (width, height).

    Example:
        >>> StretchDescription(type="stretch", size=(320, 320)).transform
        Stretch(size=(320, 320), interpolation=1)
    """

    type: Literal["stretch"] = "stretch"
    size: Size
    interpolation: Interpolation = "linear"

    @property
    def transform(self) -> Transform:  # noqa: D102
        return Stretch(self.size, _INTERPOLATIONS[self.interpolation])


class LetterboxDescription(_TransformDescription):
    """The whole image as far as it fits into ``size`` (width, height), in a corner or in the middle of a colour.

    Attributes:
        size: width and height, pixels.
        position: ``"corner"``: the upper left one; ``"center"``.
        sides: how they become whole pixels: ``"cut"`` or ``"rounded"``, as mmdet and mmdeploy do it; in the middle they
            are always rounded.
        interpolation: of the resizing.
        fill: RGB of the rest.

    Example:
        >>> LetterboxDescription(size=(640, 640), position="center").transform
        CenteredLetterbox(size=(640, 640), interpolation=1, fill=(114, 114, 114))
    """

    type: Literal["letterbox"] = "letterbox"
    size: Size
    position: Literal["corner", "center"] = "corner"
    sides: Literal["cut", "rounded"] = "cut"
    interpolation: Interpolation = "linear"
    fill: Color = (114, 114, 114)

    @property
    def transform(self) -> Transform:  # noqa: D102
        in_corner = {"cut": Letterbox, "rounded": RoundedLetterbox}
        kind = CenteredLetterbox if self.position == "center" else in_corner[self.sides]
        return kind(self.size, _INTERPOLATIONS[self.interpolation], self.fill)


class FitDescription(_TransformDescription):
    """The whole image, moved and scaled by one affine map, as far as it fits into the middle of a colour.

    Attributes:
        size: width and height, pixels.
        fill: RGB of the rest.

    Example:
        >>> FitDescription(size=(640, 640)).transform
        Fit(size=(640, 640), fill=(114, 114, 114))
    """

    type: Literal["fit"] = "fit"
    size: Size
    fill: Color = (114, 114, 114)

    @property
    def transform(self) -> Transform:  # noqa: D102
        return Fit(self.size, self.fill)


class LongSideDescription(_TransformDescription):
    """The whole image, its longer side scaled to ``length``, both sides then filled up to a multiple with black.

    The shorter side is rounded to whole pixels, and the image scaled to that; the way back is the exact ratio.

    Example:
        >>> LongSideDescription(length=256, multiple=32).transform
        KeepRatio(short=256, long=256, multiple=32, interpolation=1, by_ratio=False)
    """

    type: Literal["long_side"] = "long_side"
    length: Side
    multiple: Annotated[int, Field(ge=1, le=1024)] = 1
    interpolation: Interpolation = "linear"

    @property
    def transform(self) -> Transform:  # noqa: D102
        interpolation = _INTERPOLATIONS[self.interpolation]
        return KeepRatio(self.length, self.length, self.multiple, interpolation, by_ratio=False)


TransformDescription = (
    TopDownDescription | StretchDescription | LetterboxDescription | FitDescription | LongSideDescription
)


class Description(Record):
    """The content of an ``hpi.yml``.

    Attributes:
        name: the model's name; None: that of the folder or the file.
        input: how images are handed to the network.
        transform: how an image becomes its input.
        head: what its outputs mean: ``type``, one of :data:`hpi.heads.HEADS`, and its fields.
        skeleton: of keypoint models: a name of ``configs/skeletons``, or a YAML file beside this one. None: numbered
            keypoints.
        classes: of detectors: the name of each class; a first one called ``person`` is what pipelines look for.
        threshold: of models that find people themselves: the score to keep above by default.

    Example:
        >>> text = {"transform": {"type": "top_down", "size": [192, 256]}, "head": {"type": "heatmap"}}
        >>> description = Description.model_validate(text)
        >>> description.head.type, description.transform.size, description.written["head"]
        ('heatmap', (192, 256), {'type': 'heatmap'})
    """

    name: str | None = None
    input: InputDescription = InputDescription()
    transform: Annotated[TransformDescription, Field(discriminator="type")]
    head: SerializeAsAny[Head]
    skeleton: str | None = None
    classes: tuple[str, ...] = ()
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5

    @field_validator("head", mode="before")
    @classmethod
    def _of_known_type(cls, head: Any) -> Any:
        if isinstance(head, Head) or not isinstance(head, Mapping):
            return head
        kind = head.get("type")
        if kind not in HEADS:
            meant = nearest(str(kind), HEADS)
            hint = f"did you mean {meant!r}?" if meant else f"known are {', '.join(HEADS)}"
            raise ValueError(f"unknown type {kind!r}, {hint}")
        try:
            return HEADS[kind].model_validate(head)
        except ValidationError as error:
            wrong = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise ValueError("; ".join(wrong)) from None

    @property
    def written(self) -> dict[str, Any]:
        """What stands in a file: the fields that are not their defaults, and the type of each section."""
        content = self.model_dump(mode="json", exclude_defaults=True)
        for name in ("transform", "head"):
            content[name] = {"type": getattr(self, name).type, **content.get(name, {})}
        return content


def spec_of(description: Description, source: Path, onnx: Path, name: str | None = None) -> ModelSpec:
    """What the engine runs, of an ONNX graph and its description.

    Args:
        description: what the model is.
        source: the file that says so; the graph itself where it does.
        onnx: the graph.
        name: what to call the model; None: as its description says, else the folder, or the file where that is alone.

    Raises:
        ModelError: the description contradicts itself, or its skeleton cannot be read.
    """
    transform, head = description.transform.transform, description.head
    normalization = description.input.normalization
    if transform.pads_input and any(normalization.shift) and head.finds_keypoints:
        raise ModelError(f"{source}: {description.transform.type} fills up with black, so mean must be 0")
    stated = name or description.name
    # The path may be relative: "." has no name.
    model = stated or (onnx.stem if source == onnx else Path(os.path.abspath(source.parent)).name)  # noqa: PTH100
    return ModelSpec(
        name=model,
        folder=source.parent,
        yml=source,
        # A runtime that normalises would do so with padding, too.
        files=ModelFiles(
            model,
            onnx=onnx,
            normalization=None if transform.pads_input else normalization,
            outputs=head.wanted_outputs,
        ),
        transform=transform,
        head=head,
        labels=description.classes,
        draw_threshold=description.threshold,
        skeleton=skeleton_beside(description.skeleton, source),
        skeleton_is=None if description.skeleton is None else STATED,
        name_is_stated=stated is not None,
        normalization=normalization,
        image_input=description.input.name,
    )


def skeleton_beside(name: str | None, file: Path) -> Skeleton | None:
    """The skeleton that a file names: one of the package, or a YAML relative to the file.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    if name is None:
        return None
    try:
        return load_skeleton(str(file.parent / name) if is_yaml(name) else name)
    except ConfigError as error:
        raise ModelError(f"{file}: skeleton: {error}") from error
