"""A lone ONNX file becomes a :class:`hpi.models.spec.ModelSpec` by what it takes and gives.

These are the files that rtmlib runs, and exports without anything beside them. Shapes tell the families from each
other, and a family says how its images are prepared. What shapes do not tell is asked for by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hpi.backends.onnx_header import Value
from hpi.errors import ConfigError, ModelError
from hpi.heads.yolox import STRIDES
from hpi.io.validation import nearest
from hpi.models.description import NAME
from hpi.models.readers.coco_classes import COCO_CLASSES
from hpi.models.readers.graph import Graph, reading_of
from hpi.models.readers.reading import Hints, Reading
from hpi.models.readers.skeletons import skeleton_of, skeletons_of
from hpi.skeletons import COCO, load_skeleton

FORMAT = "plain ONNX file"

IMAGENET: dict[str, Any] = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
"""What most networks subtract and divide by, in the order RGB."""
UNIT: dict[str, Any] = {"std": (255.0, 255.0, 255.0)}
"""Levels from 0 to 1."""
LEVELS: dict[str, Any] = {"color": "bgr"}
"""Levels from 0 to 255."""
IMAGENET_BGR: dict[str, Any] = {"color": "bgr", **{name: channels[::-1] for name, channels in IMAGENET.items()}}
CORNER: dict[str, Any] = {"type": "letterbox"}
CENTER: dict[str, Any] = {"type": "letterbox", "position": "center"}

_FINISHED = 300
"""Rows of a YOLO that suppresses itself."""


@dataclass(frozen=True)
class Fit:
    """One thing that a graph can be.

    Attributes:
        what: in words.
        content: of its description, but for the size of the input and the skeleton.
        keypoints: how many it finds; 0 of a detector, None where the graph does not say.
        choose: the hint that tells it from others, such as ``("kind", "yolox")``; None where there is none.
        skeletons: those that the family has.
    """

    what: str
    content: Mapping[str, Any]
    keypoints: int | None
    choose: tuple[str, str] | None
    skeletons: tuple[str, ...] = ()

    @property
    def how(self) -> str:
        """How to say that it is this one."""
        return f"described in an {NAME}" if self.choose is None else "{}={!r}".format(*self.choose)


@dataclass(frozen=True)
class Kind:
    """A family of models.

    Attributes:
        gives: its outputs, in words.
        heads: the heads that its models have.
        fits: what a graph can be among them, given the number of keypoints that somebody asks for.

    Example:
        >>> sorted(KINDS["yolox"].heads)
        ['dets', 'yolox']
    """

    gives: str
    heads: frozenset[str]
    fits: Callable[[Graph, int | None], Iterator[Fit]]


def read_plain(graph: Graph, name: str | None, hints: Hints) -> Reading:
    """Read a graph without anything that says what it is.

    Args:
        graph: the graph.
        name: what to call the model.
        hints: which family it is of, and which skeleton it has, where its shapes leave that open.

    Raises:
        ModelError: it is of no known family, may be of several, or is not of the one that is asked for.
        ConfigError: there is no such family or skeleton.
    """
    fit = _the_one(graph, _all(graph, hints))
    content = {**fit.content, "input": {**graph.input_section, **fit.content["input"]}}
    because = [str(graph), f"these are {fit.what}"]
    if content["transform"]["type"] != "long_side":
        content["transform"] = {**content["transform"], "size": graph.needed_size}
    if fit.keypoints != 0:
        content["skeleton"], why = skeleton_of(fit.keypoints, hints, graph.path, fit.skeletons)
        because.append(why)
    elif not content.get("classes"):
        because.append("nothing names its classes, so they have numbers")
    because.append("nothing in the file says how images are prepared: as this family is trained")
    return reading_of(FORMAT, content, graph.path, graph.path, name, because)


def check_kind(kind: str) -> None:
    """Check the name of a family.

    Raises:
        ConfigError: there is none.

    Example:
        >>> check_kind("simc")
        Traceback (most recent call last):
        hpi.errors.ConfigError: unknown kind 'simc'; did you mean 'simcc'?
    """
    if kind not in KINDS:
        meant = nearest(str(kind), {*KINDS, *_MODELS})
        raise ConfigError(
            f"unknown kind {kind!r}; "
            + (f"did you mean {_MODELS.get(meant, meant)!r}?" if meant else f"known are {', '.join(KINDS)}")
        )


def _all(graph: Graph, hints: Hints) -> list[Fit]:
    """All that a graph can be, as far as the hints allow."""
    kinds = KINDS if hints.kind is None else {hints.kind: KINDS[hints.kind]}
    asked = None if hints.skeleton is None else len(load_skeleton(hints.skeleton))
    found = [fit for kind in kinds.values() for fit in kind.fits(graph, asked)]
    if not found:
        wanted = "; ".join(f"{name} gives {kind.gives}" for name, kind in kinds.items())
        of_none = "it is of no known family" if hints.kind is None else f"it is no {hints.kind}"
        raise ModelError(f"{graph.path}: {of_none}: {graph}. {wanted}. Others are described in an {NAME} beside them")
    if ("kind", hints.kind) in [fit.choose for fit in found]:
        found = [fit for fit in found if fit.choose == ("kind", hints.kind)]
    if asked is None:
        return found
    posing = [fit for fit in found if fit.keypoints != 0]
    if not posing:
        raise ModelError(
            f"{graph.path}: the skeleton {hints.skeleton} was asked for, but these are {found[0].what}: {graph}; leave "
            "it out, or name one that fits"
        )
    return [fit for fit in posing if fit.keypoints in {asked, None}] or posing


def _the_one(graph: Graph, fits: list[Fit]) -> Fit:
    if len(fits) == 1:
        return fits[0]
    may_be = " or ".join(f"{fit.what} ({fit.how})" for fit in fits)
    option = next("--{} {}".format(*fit.choose) for fit in fits if fit.choose)
    raise ModelError(
        f"{graph.path}: may be {may_be}: {graph}. Say which; for the command line that is {option} or the like, and "
        f"once and for all hpi inspect {graph.path} {option} --write"
    )


# What a graph can be. A free side of a shape may be anything.


def _simcc(graph: Graph, asked: int | None) -> Iterator[Fit]:
    names = [value.name for value in graph.outputs]
    is_named = {"simcc_x", "simcc_y"} == {*names}
    ordered = sorted(graph.outputs, key=lambda value: value.name) if is_named else graph.outputs
    if not _gives(graph, *[(None, None, None)] * 2):
        return
    (_, keypoints, along_x), (_, others, along_y) = map(_sides, ordered)
    if not along_x or not along_y or keypoints != others:
        return
    width, height = graph.size or (along_x, along_y)
    if along_x * height != along_y * width or (width == height and not is_named):  # which of two equal ones is x?
        return
    head: dict[str, Any] = {"type": "simcc", "split_ratio": along_x / width}
    if ordered[0].name != names[0]:
        head["outputs"] = tuple(value.name for value in ordered)
    content = {"input": IMAGENET, "transform": {"type": "top_down"}, "head": head}
    yield Fit(f"SimCC vectors of {keypoints} keypoints (RTMPose, RTMW, DWPose)", content, keypoints, ("kind", "simcc"))


def _vitpose(graph: Graph, asked: int | None) -> Iterator[Fit]:
    width, height = graph.size or (0, 0)
    if not _gives(graph, (None, None, height // 4, width // 4)):
        return
    keypoints = _sides(graph.outputs[0])[1]
    head = {"type": "heatmap", "decoder": "dark_udp", "align": "corners"}
    content = {"input": IMAGENET, "transform": {"type": "top_down", "udp": True}, "head": head}
    yield Fit(f"heatmaps of {keypoints} keypoints of a ViTPose", content, keypoints, ("kind", "vitpose"))
    yield Fit(f"heatmaps of {keypoints} keypoints of another network, such as HRNet", {}, keypoints, None)


def _rtmo(graph: Graph, asked: int | None) -> Iterator[Fit]:
    if _gives(graph, (None, None, 5), (None, None, None, 3)):
        keypoints = _sides(graph.outputs[1])[2]
        content = _whole(LEVELS, {"type": "fit"}, {"type": "rtmo"}, 0.3)
        yield Fit(f"boxes and {keypoints} keypoints of everyone (RTMO)", content, keypoints, ("kind", "rtmo"))


def _yolox(graph: Graph, asked: int | None) -> Iterator[Fit]:
    if _gives_dets(graph):
        yield Fit("finished boxes of a YOLOX", _whole(LEVELS, CORNER, {"type": "dets"}, 0.3), 0, ("kind", "yolox"))
    elif _gives(graph, (None, _cells(graph), None)):
        columns = _sides(graph.outputs[0])[2]
        if columns is None or columns > 5:
            content = _whole(LEVELS, CORNER, {"type": "yolox"}, 0.3, columns and columns - 5)
            yield Fit("the cells of a YOLOX", content, 0, ("kind", "yolox"))


def _rtmdet(graph: Graph, asked: int | None) -> Iterator[Fit]:
    if _gives_dets(graph):
        content = _whole(IMAGENET_BGR, CORNER, {"type": "dets"}, 0.3)
        yield Fit("finished boxes of an RTMDet", content, 0, ("kind", "rtmdet"))
        return
    width, height = graph.size or (0, 0)
    levels = [(None, height // stride, width // stride, None) for stride in STRIDES]
    if _gives(graph, *levels) and len(last := {_sides(level)[3] for level in graph.outputs}) == 1:
        columns = last.pop()
        if columns is None or columns > 4:
            content = _whole(IMAGENET_BGR, CORNER, {"type": "rtmdet"}, 0.3, columns and columns - 4)
            yield Fit("the levels of an RTMDet", content, 0, ("kind", "rtmdet"))


def _yolo(graph: Graph, asked: int | None) -> Iterator[Fit]:
    rows = _sides(graph.outputs[0])[1] if _gives(graph, (None, None, _cells(graph))) else None
    if rows is None or rows < 5:
        return
    content = _whole(UNIT, CENTER, {"type": "yolo_boxes"}, 0.25, rows - 4)
    yield Fit(f"boxes of {rows - 4} classes of a YOLO v8 or 11", content, 0, None)
    keypoints = (rows - 5) // 3 if asked is None else asked
    classes, known = rows - 4 - 3 * keypoints, skeletons_of(keypoints)
    if classes > 0 if asked else classes == 1 and known:
        content = _whole(UNIT, CENTER, {"type": "yolo_pose", "classes": classes, "keypoints": keypoints}, 0.25)
        choose = ("skeleton", known[-1]) if known else None
        yield Fit(f"people with {keypoints} keypoints of a YOLO v8 or 11", content, keypoints, choose)


def _yolo26(graph: Graph, asked: int | None) -> Iterator[Fit]:
    columns = _sides(graph.outputs[0])[2] if _gives(graph, (None, _FINISHED, None)) else None
    if columns == 6:
        content = _whole(UNIT, CENTER, {"type": "yolo26_boxes"}, 0.25)
        yield Fit("finished boxes of a YOLO26", content, 0, ("kind", "yolo26"))
    elif columns and columns > 6 and columns % 3 == 0:
        keypoints = columns // 3 - 2
        content = _whole(UNIT, CENTER, {"type": "yolo26_pose"}, 0.25)
        yield Fit(f"people with {keypoints} keypoints of a YOLO26", content, keypoints, ("kind", "yolo26"))


def _multipose(graph: Graph, asked: int | None) -> Iterator[Fit]:
    rows, *others = graph.outputs
    takes_it = graph.size is None and graph.image.dtype == "int32" and graph.layout == "nhwc"
    if takes_it and not others and (rows.shape is None or graph.gives((None, 6, 56))):
        transform = {"type": "long_side", "length": 256, "multiple": 32}
        content = {"input": {}, "transform": transform, "head": {"type": "multipose"}}
        what = "six people with 17 keypoints each (MoveNet MultiPose)"
        yield Fit(what, content, 17, ("kind", "multipose"), (COCO,))


def _whole(
    prepared: dict[str, Any],
    transform: dict[str, Any],
    head: dict[str, Any],
    threshold: float,
    classes: int | None = None,
) -> dict[str, Any]:
    """The description of a model of whole images; that of 80 classes has those of COCO."""
    content = {"input": prepared, "transform": transform, "head": head, "threshold": threshold}
    return {**content, "classes": COCO_CLASSES} if classes == len(COCO_CLASSES) else content


def _gives_dets(graph: Graph) -> bool:
    """Whether the outputs are finished boxes ``[N, M, 5]``, perhaps with their classes ``[N, M]``."""
    if _sides(graph.outputs[0])[-1:] != (5,):  # free sides fit everything
        return False
    return _gives(graph, (None, None, 5)) or (
        _gives(graph, (None, None, 5), (None, None)) and graph.outputs[1].dtype in {"int32", "int64"}
    )


def _gives(graph: Graph, *shapes: tuple[int | None, ...]) -> bool:
    """Whether a graph takes images as most do, and gives outputs of just these shapes."""
    return graph.layout == "nchw" and graph.image.dtype == "float32" and graph.gives(*shapes)


def _sides(value: Value) -> tuple[int | None, ...]:
    return value.shape or ()


def _cells(graph: Graph) -> int | None:
    """How many cells the strides 8, 16 and 32 have; None where the size is free."""
    if graph.size is None:
        return None
    width, height = graph.size
    return sum((width // stride) * (height // stride) for stride in STRIDES)


KINDS: dict[str, Kind] = {
    "simcc": Kind("simcc_x [N, keypoints, bins] and simcc_y", frozenset({"simcc"}), _simcc),
    "vitpose": Kind("heatmaps [N, keypoints, height / 4, width / 4]", frozenset({"heatmap"}), _vitpose),
    "rtmo": Kind("dets [N, people, 5] and keypoints [N, people, keypoints, 3]", frozenset({"rtmo"}), _rtmo),
    "yolox": Kind("dets [N, boxes, 5], or [N, cells, 5 + classes]", frozenset({"dets", "yolox"}), _yolox),
    "rtmdet": Kind(
        "dets [N, boxes, 5], or levels [N, height, width, classes + 4]", frozenset({"dets", "rtmdet"}), _rtmdet
    ),
    "yolo": Kind("[N, 4 + classes + 3 * keypoints, cells]", frozenset({"yolo_boxes", "yolo_pose"}), _yolo),
    "yolo26": Kind("[N, 300, 6 + 3 * keypoints]", frozenset({"yolo26_boxes", "yolo26_pose"}), _yolo26),
    "multipose": Kind("[1, 6, 56], and takes int32 images of any size", frozenset({"multipose"}), _multipose),
}
"""The families that can be distinguished, by the names that ``kind=`` takes."""
_MODELS = {
    "rtmpose": "simcc", "rtmw": "simcc", "dwpose": "simcc", "yolov8": "yolo", "yolo11": "yolo", "yolov8-pose": "yolo",
    "yolo11-pose": "yolo", "yolo26-pose": "yolo26", "movenet-multipose": "multipose",
}  # fmt: skip
"""The kinds of models that somebody may name instead."""
