"""An SDK folder of mmdeploy becomes a :class:`hpi.models.spec.ModelSpec`.

``pipeline.json`` says how images are prepared and what the outputs mean, ``deploy.json`` which file the graph is.
``detail.json`` names the training, which may tell the skeleton.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from hpi.backends.onnx_header import Value
from hpi.errors import ModelError, ModelNotFoundError
from hpi.io.validation import parse, read_json
from hpi.models.readers.graph import Graph, Size, folder_of, graphs_in, only_graph, reading_of
from hpi.models.readers.reading import Hints, Reading
from hpi.models.readers.skeletons import skeleton_of

FORMAT = "mmdeploy SDK folder"
PIPELINE, DEPLOY, DETAIL = "pipeline.json", "deploy.json", "detail.json"
THRESHOLD = 0.3
"""The score of people that mmpose keeps above."""
WORDS = {"coco17": {"coco", "body", "body7", "body8"}, "ap10k17": {"ap10k", "animal"}}
"""Words in the name of a training that speak for one of the skeletons of 17 keypoints."""
CLASSES = {"person": {"person", "human", "humanart"}, "hand": {"hand", "onehand10k"}}
"""Words in the name of a training that speak for a detector of one class."""

_COMPONENTS = {
    "SimCCLabelDecode": "PoseDetector", "TopdownHeatmapSimpleHeadDecode": "PoseDetector", "UNKNOWN": "PoseDetector",
    "ResizeBBox": "Detector", "RTMDetSepBNHead": "Detector",
}  # fmt: skip
"""What is known of postprocessing, and the task of each; that of RTMO has no name in mmdeploy."""
_WITHOUT_EFFECT = {
    "LoadImageFromFile", "Lift", "ImageToTensor", "DefaultFormatBundle", "Collect", "PackPoseInputs",
    "PackDetPoseInputs",
}  # fmt: skip


class _Part(BaseModel):
    """A part of a JSON, of which only what matters is declared."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


Text = Annotated[str, Field(max_length=1000)]
Side = Annotated[int, Field(gt=0, le=8192)]
Sides = Annotated[tuple[Side, Side], BeforeValidator(lambda size: (size, size) if isinstance(size, int) else size)]
Level = Annotated[float, Field(ge=0, le=255)]
Channels = tuple[float, float, float]
Deviation = Annotated[float, Field(gt=0)]


class CenterScale(_Part):
    """The box of a person, enlarged."""

    type: Literal["TopDownGetBboxCenterScale"]
    padding: Annotated[float, Field(gt=0, le=100)] = 1.25
    image_size: Sides | None = None


class Affine(_Part):
    """The person, cut out to ``image_size`` (width, height)."""

    type: Literal["TopDownAffine"]
    image_size: Sides
    use_udp: bool = False


class BottomupResize(_Part):
    """The image, in the middle of ``input_size`` (width, height)."""

    type: Literal["BottomupResize"]
    input_size: Sides
    pad_val: tuple[Level, Level, Level] = (114, 114, 114)
    resize_mode: Literal["fit"] = "fit"
    use_udp: Literal[False] = False


class Resize(_Part):
    """The image as far as it fits into ``size`` (width, height), or stretched to it."""

    type: Literal["Resize"]
    size: Sides
    keep_ratio: bool = False
    interpolation: Literal["bilinear"] = "bilinear"


def _of_image(value: Any) -> Any:
    """The colour of the image among those that ``pad_val`` may have."""
    value = value.get("img") if isinstance(value, Mapping) else value
    return value if isinstance(value, (list, tuple)) else (value,) * 3


class Pad(_Part):
    """Filled up at the right and at the bottom, to ``size`` or to multiples of ``size_divisor``."""

    type: Literal["Pad"]
    size: Sides | None = None
    size_divisor: Annotated[int, Field(ge=1, le=1024)] = 1
    pad_to_square: bool = False
    pad_val: Annotated[tuple[Level, Level, Level], BeforeValidator(_of_image)] = (0, 0, 0)


class Normalize(_Part):
    """``(level - mean) / std`` of channels in the order RGB if ``to_rgb``, else BGR."""

    type: Literal["Normalize"]
    mean: Channels
    std: tuple[Deviation, Deviation, Deviation]
    to_rgb: bool


Step = Annotated[CenterScale | Affine | BottomupResize | Resize | Pad | Normalize, Field(discriminator="type")]


class Task(_Part):
    """A task of a pipeline."""

    module: Text
    transforms: list[dict[str, Any]] = Field(default_factory=list)
    component: Text | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    output_map: dict[str, str] = Field(default_factory=dict)


class _Tasks(_Part):
    tasks: Annotated[list[Task], Field(min_length=1)]


class _Steps(_Part):
    transforms: list[Step]


class _PipelineFile(_Part):
    pipeline: _Tasks


class _Net(_Part):
    net: Text
    backend: Text = "onnxruntime"


class _DeployFile(_Part):
    task: Text
    models: Annotated[list[_Net], Field(min_length=1)]


class _Training(_Part):
    config: Text | None = None


class _DetailFile(_Part):
    codebase: _Training = _Training()


class Codec(_Part):
    """What matters of ``params`` of a keypoint model's postprocessing."""

    type: Text | None = None
    input_size: Sides | None = None
    simcc_split_ratio: Annotated[float, Field(gt=0, le=64)] = 2.0
    use_dark: bool = False
    export_postprocess: bool = False
    use_udp: bool = False
    unbiased: Literal[False] = False
    blur_kernel_size: Literal[11] = 11
    post_process: Text = "default"
    heatmap_type: Text = "gaussian"


class _Suppression(_Part):
    iou_threshold: Annotated[float, Field(ge=0, le=1)]


class _Points(_Part):
    strides: Annotated[tuple[Side, ...], Field(min_length=3, max_length=3)]
    offset: Literal[0] = 0


class RawBoxes(_Part):
    """What matters of ``params`` of an RTMDet whose graph suppresses nothing: its ``test_cfg``, and where cells are."""

    score_thr: Annotated[float, Field(ge=0, lt=1)]
    nms: _Suppression
    max_per_img: Annotated[int, Field(gt=0, le=10_000)]
    anchor_generator: _Points


def is_mmdeploy(path: Path) -> bool:
    """Whether there is a ``pipeline.json`` or ``deploy.json``.

    Example:
        >>> is_mmdeploy(Path("docs"))
        False
    """
    return any((folder_of(path) / name).is_file() for name in (PIPELINE, DEPLOY))


def read_mmdeploy(path: Path, name: str | None, hints: Hints) -> Reading:
    """Read an SDK folder, or a file in one.

    Args:
        path: the folder or file.
        name: what to call the model.
        hints: its skeleton, where ``detail.json`` does not tell.

    Raises:
        ModelError: a file is missing or damaged, or they contradict each other or the graph.
    """
    folder = folder_of(path)
    source = folder / PIPELINE
    if not source.is_file():
        raise ModelNotFoundError(
            f"{folder}: there is a {DEPLOY}, but no {PIPELINE}, which says how images are prepared"
        )
    pipeline = parse(_PipelineFile, read_json(source, ModelError), str(source), ModelError).pipeline
    task, graph = _deployed(folder)
    if path.suffix == ".onnx" and path.resolve() != graph.path.resolve():
        raise ModelError(
            f"{path}: the {PIPELINE} beside it is of {graph.path.name}; give that, or move this file into a folder of "
            "its own"
        )
    post = _one(source, "component", [one for one in pipeline.tasks if one.component is not None])
    net = _one(source, "module Net", [one for one in pipeline.tasks if one.module == "Net"])
    prepare = _one(source, "transforms", [one for one in pipeline.tasks if one.transforms])
    if post.component not in _COMPONENTS or task not in {None, _COMPONENTS[post.component]}:
        known = " and ".join(f"{name} of a {of}" for name, of in _COMPONENTS.items())
        raise ModelError(
            f"{source}: the component {post.component} of a {task or 'model'} is not read; read are {known}"
        )
    codec = parse(Codec, post.params, f"{source}: params of {post.component}", ModelError)
    geometry, normalize = _steps(prepare, source)
    transform, because = _transform(geometry, codec, graph, source)
    head, keypoints = _head(post, codec, net, graph, source)
    _check(transform, head, source)
    content: dict[str, Any] = {
        "input": {
            **graph.input_section,
            "color": "rgb" if normalize.to_rgb else "bgr",
            "mean": normalize.mean,
            "std": normalize.std,
        },
        "transform": transform,
        "head": head,
    }
    words = _words(folder / DETAIL)
    if transform["type"] != "top_down":
        content["threshold"] = THRESHOLD
    if keypoints == 0:
        named = tuple(name for name, of in CLASSES.items() if of & words)[:1]
        content["classes"] = named
        because.append(
            f"{DETAIL} speaks for {named[0]}" if named else "nothing names its classes, so they have numbers"
        )
    else:
        spoken_for = [name for name, of in WORDS.items() if of & words]
        detail = folder / DETAIL
        content["skeleton"], why = skeleton_of(keypoints, hints, detail if detail.is_file() else source, spoken_for)
        because.append(why)
    because.insert(0, f"{PIPELINE} has the component {post.component}")
    return reading_of(FORMAT, content, source, graph.path, name, because)


def _one(source: Path, what: str, found: list[Task]) -> Task:
    if len(found) != 1:
        raise ModelError(f"{source}: just one of its tasks must have {what}, but {len(found) or 'none'} has")
    return found[0]


def _deployed(folder: Path) -> tuple[str | None, Graph]:
    """The task and the graph that ``deploy.json`` names; without it the only graph."""
    file = folder / DEPLOY
    if not file.is_file():
        return None, Graph.read(only_graph(folder))
    said = parse(_DeployFile, read_json(file, ModelError), str(file), ModelError)
    if said.task not in _COMPONENTS.values():
        raise ModelError(f"{file}: a model for the task {said.task!r}; read are PoseDetector and Detector")
    if len(said.models) > 1:
        raise ModelError(f"{file}: several models: {', '.join(one.net for one in said.models)}; one can be read")
    net = said.models[0].net
    if Path(net).suffix != ".onnx":
        raise ModelError(f"{file}: {net} is for {said.models[0].backend}; export the model for onnxruntime")
    if Path(net).name != net or "\\" in net:
        raise ModelError(f"{file}: net {net!r} is not in this folder; give the name of a file beside it")
    if not (folder / net).is_file():
        beside = ", ".join(one.name for one in graphs_in(folder))
        raise ModelNotFoundError(
            f"{file}: net {net} is missing{f', there is {beside}' if beside else ''}; copy it here"
        )
    return said.task, Graph.read(folder / net)


def _steps(prepare: Task, source: Path) -> tuple[list[Step], Normalize]:
    """The steps that have an effect, without and with normalisation."""
    named = [one for one in prepare.transforms if str(one.get("type")) not in _WITHOUT_EFFECT]
    steps = parse(_Steps, {"transforms": named}, f"{source}: tasks", ModelError).transforms
    normalizing = [step for step in steps if isinstance(step, Normalize)]
    if len(normalizing) != 1:
        raise ModelError(f"{source}: transforms: {len(normalizing) or 'no'} Normalize; there must be one")
    after = steps[steps.index(normalizing[0]) + 1 :]
    moving = [step for step in after if not (isinstance(step, Pad) and step.size is None and not step.pad_to_square)]
    if moving:
        raise ModelError(f"{source}: transforms: {moving[0].type} after Normalize is not read; export it before")
    return [step for step in steps if step is not normalizing[0]], normalizing[0]


def _transform(geometry: list[Step], codec: Codec, graph: Graph, source: Path) -> tuple[dict[str, Any], list[str]]:
    """The transform, and what is worth saying about it."""
    fill = [step for step in geometry if isinstance(step, Pad) and step.size is None and not step.pad_to_square]
    match [step for step in geometry if step not in fill]:
        case [CenterScale() as box, Affine() as crop]:
            stated = {"TopDownGetBboxCenterScale": box.image_size, "TopDownAffine": crop.image_size}
            size, notes = _size({**stated, "input_size": codec.input_size}, graph, source)
            transform: dict[str, Any] = {"type": "top_down", "padding": box.padding, "udp": crop.use_udp}
        case [BottomupResize(pad_val=color) as fit]:
            size, notes = _size({"BottomupResize": fit.input_size, "input_size": codec.input_size}, graph, source)
            transform = {"type": "fit", "fill": _levels(color, source)}
        case [Resize(keep_ratio=True) as resize, Pad() as pad] if pad.size or resize.size[0] == resize.size[1]:
            size, notes = _size({"Resize": resize.size, "Pad": pad.size}, graph, source)
            transform = {"type": "letterbox", "sides": "rounded", "fill": _levels(pad.pad_val, source)}
        case [Resize(keep_ratio=False) as resize]:
            size, notes = _size({"Resize": resize.size}, graph, source)
            transform = {"type": "stretch"}
        case others:
            raise ModelError(
                f"{source}: transforms are {', '.join(step.type for step in others) or 'missing'}; read are "
                "TopDownGetBboxCenterScale and TopDownAffine, Resize and Pad to one size, Resize, or BottomupResize"
            )
    if any(side % step.size_divisor for step in fill for side in size):
        raise ModelError(f"{source}: Pad to multiples of {fill[0].size_divisor} changes the size {size[0]}x{size[1]}")
    return {**transform, "size": size}, notes


def _size(stated: Mapping[str, Size | None], graph: Graph, source: Path) -> tuple[Size, list[str]]:
    """The size of the input: what all say; else that of the graph where ``input_size`` says it, too.

    mmdeploy's folders of hand models have another ``image_size`` than their network takes.
    """
    said = {name: size for name, size in stated.items() if size is not None}
    if graph.size is not None:
        said["the graph"] = graph.size
    shown = ", ".join("{} {}x{}".format(name, *size) for name, size in said.items())
    if len({*said.values()}) == 1:
        return next(iter(said.values())), []
    if graph.size is not None and said.get("input_size") == graph.size:
        return graph.size, [f"sizes differ ({shown}); that of the graph and of input_size holds"]
    raise ModelError(f"{source}: the sizes (width x height) contradict each other: {shown}")


def _levels(color: tuple[float, ...], source: Path) -> tuple[int, ...]:
    """A colour, which is BGR in these files, as RGB."""
    if any(level != int(level) for level in color):
        raise ModelError(f"{source}: pad_val {list(color)}: give whole levels from 0 to 255")
    return tuple(map(int, reversed(color)))


def _head(post: Task, codec: Codec, net: Task, graph: Graph, source: Path) -> tuple[dict[str, Any], int | None]:
    """The head, and how many keypoints it finds: 0 of a detector, None where the graph does not say."""
    where = f"{source}: {post.component}"
    match post.component, codec.type:
        case "SimCCLabelDecode", _:
            if codec.export_postprocess or codec.use_dark:
                wrong = "export_postprocess" if codec.export_postprocess else "use_dark"
                raise ModelError(f"{where}: {wrong} is not read; export the model without it")
            x, y = _outputs(net, graph, where, simcc_x=3, simcc_y=3)
            return _reading_outputs({"type": "simcc", "split_ratio": codec.simcc_split_ratio}, graph, x, y), _side(x, 1)
        case "TopdownHeatmapSimpleHeadDecode", _:
            heatmaps = graph.outputs[0]
            if heatmaps.shape is not None and len(heatmaps.shape) != 4:
                raise ModelError(f"{where}: needs heatmaps [N, keypoints, height, width], but {graph}")
            return _heatmaps(codec, where), _side(heatmaps, 1)
        case "ResizeBBox", _:
            (dets,) = _outputs(net, graph, where, dets=3)
            labels = [value for value in graph.outputs if value.name == "labels"]
            return _reading_outputs({"type": "dets"}, graph, dets, *labels), 0
        case "RTMDetSepBNHead", _:
            said = parse(RawBoxes, post.params, f"{source}: params of {post.component}", ModelError)
            return _levels_of(said, graph, where), 0
        case _, "YOLOXPoseAnnotationProcessor":
            dets, keypoints = _outputs(net, graph, where, dets=3, keypoints=4)
            return _reading_outputs({"type": "rtmo"}, graph, dets, keypoints), _side(keypoints, 2)
    raise ModelError(f"{where}: the codec {codec.type} is not read")


def _levels_of(said: RawBoxes, graph: Graph, where: str) -> dict[str, Any]:
    """The head of an RTMDet that gives classes and distances of three levels."""
    strides = said.anchor_generator.strides
    width, height = graph.size or (None, None)
    sizes = [(height and height // stride, width and width // stride) for stride in strides]
    split = [(None, None, *size) for size in sizes] + [(None, 4, *size) for size in sizes]
    joined = [(None, *size, None) for size in sizes]
    if not graph.gives(*split) and not graph.gives(*joined):
        raise ModelError(
            f"{where}: needs outputs of the strides {', '.join(map(str, strides))}: three of classes "
            f"[N, classes, height, width], then three of distances [N, 4, height, width]; but {graph}"
        )
    return {
        "type": "rtmdet",
        "score_threshold": said.score_thr,
        "iou_threshold": said.nms.iou_threshold,
        "most": said.max_per_img,
    }


def _heatmaps(codec: Codec, where: str) -> dict[str, Any]:
    """The head of a codec of heatmaps: refined as mmpose does by UDP, else as mmdeploy's SDK does."""
    if codec.type not in {None, "MSRAHeatmap", "UDPHeatmap"} or codec.heatmap_type.lower() != "gaussian":
        raise ModelError(
            f"{where}: the codec {codec.type} ({codec.heatmap_type}) is not read; read are MSRAHeatmap and UDPHeatmap "
            "(gaussian)"
        )
    if codec.use_udp or codec.type == "UDPHeatmap":
        return {"type": "heatmap", "decoder": "dark_udp", "align": "corners"}
    if codec.post_process != "default":
        raise ModelError(f"{where}: post_process {codec.post_process!r} is not read; read is 'default'")
    return {"type": "heatmap", "decoder": "quarter"}


def _outputs(net: Task, graph: Graph, where: str, **ranks: int) -> list[Value]:
    """Outputs by the names that the SDK has for them, each of so many dimensions."""
    values = {net.output_map.get(value.name, value.name): value for value in graph.outputs}
    for name, rank in ranks.items():
        if name not in values or len(values[name].shape or (None,) * rank) != rank:
            raise ModelError(f"{where}: needs an output {name} of {rank} dimensions, but {graph}")
    return [values[name] for name in ranks]


def _reading_outputs(head: dict[str, Any], graph: Graph, *outputs: Value) -> dict[str, Any]:
    """A head that reads these outputs; by name where they are not the first ones."""
    if outputs == graph.outputs[: len(outputs)]:
        return head
    return {**head, "outputs": tuple(value.name for value in outputs)}


def _side(value: Value, index: int) -> int | None:
    return None if value.shape is None else value.shape[index]


def _check(transform: Mapping[str, Any], head: Mapping[str, Any], source: Path) -> None:
    """Check that people are cut out for heads of one person, by the convention of their heatmaps, and for no others.

    Raises:
        ModelError: they are not.
    """
    takes_people, is_of_one = transform["type"] == "top_down", head["type"] in {"simcc", "heatmap"}
    if takes_people != is_of_one:
        taken, found = ("one person" if one else "whole images" for one in (takes_people, is_of_one))
        raise ModelError(f"{source}: the transforms are for {taken}, but the component is for {found}")
    if takes_people and transform["udp"] != (head.get("align") == "corners"):
        raise ModelError(f"{source}: use_udp {transform['udp']} of TopDownAffine contradicts the codec")


def _words(detail: Path) -> set[str]:
    """The words in the name of the training that ``detail.json`` names."""
    if not detail.is_file():
        return set()
    training = parse(_DetailFile, read_json(detail, ModelError), str(detail), ModelError).codebase
    return set(re.split(r"[^a-z0-9]+", (training.config or "").lower()))
