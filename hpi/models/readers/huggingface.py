"""A folder of Hugging Face with a ViTPose as ONNX becomes a :class:`hpi.models.spec.ModelSpec`.

``preprocessor_config.json`` says how images are prepared, ``config.json`` may name the keypoints, and the graph is
``model.onnx`` or ``onnx/model.onnx``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hpi.errors import ModelError
from hpi.io.validation import parse, read_json
from hpi.models.readers.graph import Graph, folder_of, graph_of, reading_of
from hpi.models.readers.reading import Hints, Reading
from hpi.models.readers.skeletons import skeleton_of, skeletons_of
from hpi.skeletons import load_skeleton

FORMAT = "Hugging Face folder"
PREPROCESSOR, CONFIG = "preprocessor_config.json", "config.json"
PROCESSORS = ("VitPoseImageProcessor", "VitPoseImageProcessorFast", "ViTPoseImageProcessor")

Side = Annotated[int, Field(gt=0, le=8192)]
Mean = Annotated[float, Field(ge=-1000, le=1000)]
Deviation = Annotated[float, Field(gt=0, le=1000)]


class _Size(BaseModel):
    height: Side
    width: Side


class Preprocessor(BaseModel):
    """What matters of ``preprocessor_config.json``.

    Attributes:
        image_processor_type: the class of transformers that reads it.
        size: of the input.
        do_affine_transform: people are cut out by the UDP convention.
        do_rescale: levels are multiplied by ``rescale_factor``.
        rescale_factor: see there.
        do_normalize: ``image_mean`` is subtracted, then divided by ``image_std``.
        image_mean: of each channel, RGB.
        image_std: of each channel, RGB.

    Example:
        >>> said = Preprocessor(image_processor_type="VitPoseImageProcessor", size={"height": 256, "width": 192})
        >>> said.input_section
        {'mean': (123.675, 116.28, 103.53), 'std': (58.395, 57.12, 57.375)}
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)
    image_processor_type: str
    size: _Size
    do_affine_transform: Literal[True] = True
    do_rescale: bool = True
    rescale_factor: Annotated[float, Field(gt=0, le=1000)] = 1 / 255
    do_normalize: bool = True
    image_mean: tuple[Mean, Mean, Mean] = (0.485, 0.456, 0.406)
    image_std: tuple[Deviation, Deviation, Deviation] = (0.229, 0.224, 0.225)

    @property
    def input_section(self) -> dict[str, Any]:
        """The same as mean and deviation of levels from 0 to 255."""
        factor = self.rescale_factor if self.do_rescale else 1.0
        mean, std = (self.image_mean, self.image_std) if self.do_normalize else ((0.0,) * 3, (1.0,) * 3)
        return {"mean": tuple(_plain(one / factor) for one in mean), "std": tuple(_plain(one / factor) for one in std)}


class Config(BaseModel):
    """What matters of ``config.json``.

    Attributes:
        id2label: the name of each keypoint.
    """

    model_config = ConfigDict(frozen=True)
    id2label: dict[Annotated[int, Field(ge=0, lt=1000)], Annotated[str, Field(max_length=1000)]] = Field(
        default_factory=dict
    )


def is_huggingface(path: Path) -> bool:
    """Whether there is a ``preprocessor_config.json``.

    Example:
        >>> is_huggingface(Path("docs"))
        False
    """
    return (folder_of(path) / PREPROCESSOR).is_file()


def read_huggingface(path: Path, name: str | None, hints: Hints) -> Reading:
    """Read a folder of Hugging Face, or a file in one.

    Args:
        path: the folder or file.
        name: what to call the model.
        hints: its skeleton, where ``config.json`` does not tell.

    Raises:
        ModelError: it is no ViTPose, something is missing, or its files contradict each other.
    """
    folder = folder_of(path)
    source = folder / PREPROCESSOR
    raw = read_json(source, ModelError)
    kind = raw.get("image_processor_type") if isinstance(raw, dict) else None
    if isinstance(kind, str) and kind not in PROCESSORS:
        raise ModelError(
            f"{source}: image_processor_type {kind[:100]!r} is not read; read is {PROCESSORS[0]}, of ViTPose"
        )
    said = parse(Preprocessor, raw, str(source), ModelError)
    graph = Graph.read(graph_of(path))
    size = (said.size.width, said.size.height)
    if graph.size not in {None, size}:
        raise ModelError(
            f"{source}: size is {size[0]}x{size[1]} (width x height), but {graph.path} takes {graph.image}"
        )
    keypoints = _keypoints(graph)
    skeleton, why = skeleton_of(keypoints, hints, *_named(folder, keypoints))
    content = {
        "input": {**graph.input_section, **said.input_section},
        "transform": {"type": "top_down", "size": size, "udp": True},
        "head": {"type": "heatmap", "decoder": "dark_udp", "align": "corners"},
        "skeleton": skeleton,
    }
    because = [
        f"{PREPROCESSOR} is that of a {kind or PROCESSORS[0]}: an input of {size[0]}x{size[1]}, cut out by UDP",
        f"{graph.path.name} gives {graph.outputs[0]}, which are heatmaps",
        why,
    ]
    return reading_of(FORMAT, content, source, graph.path, name, because)


def _keypoints(graph: Graph) -> int | None:
    heatmaps, *others = graph.outputs
    if others or (heatmaps.shape is not None and len(heatmaps.shape) != 4):
        raise ModelError(
            f"{graph.path}: a ViTPose gives heatmaps [N, keypoints, height, width] and nothing else, but {graph}"
        )
    return None if heatmaps.shape is None else heatmaps.shape[1]


def _named(folder: Path, keypoints: int | None) -> tuple[Path, tuple[str, ...]]:
    """``config.json``, and the skeletons that have just the keypoints that it names."""
    file = folder / CONFIG
    if not file.is_file():
        return folder / PREPROCESSOR, ()
    labels = parse(Config, read_json(file, ModelError), str(file), ModelError).id2label
    if keypoints is None or {*labels} != {*range(keypoints)}:
        return file, ()
    names = [_spelled(labels[index]) for index in range(keypoints)]
    return file, tuple(
        one for one in skeletons_of(keypoints) if [_spelled(name) for name in load_skeleton(one).keypoints] == names
    )


def _spelled(name: str) -> str:
    """A keypoint's name in one spelling.

    >>> _spelled("L_Eye"), _spelled("left_eye")
    ('left eye', 'left eye')
    """
    words = name.lower().replace("_", " ").replace("-", " ").split()
    return " ".join({"l": "left", "r": "right"}.get(word, word) for word in words)


def _plain(value: float) -> float:
    """A number without the last digits of a division by 1 / 255."""
    return float(f"{value:.9g}")
