"""An ONNX file that Ultralytics exported becomes a :class:`hpi.models.spec.ModelSpec` by what its metadata say.

YOLO v8 and 11 leave suppression to whoever runs them; YOLO26, and exports with ``nms=True``, give finished rows. Only
the metadata are read, as literals: nothing in them is executed. Such models are under the AGPL; they are read from
files of yours and never fetched.
"""

from __future__ import annotations

import ast
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hpi.errors import ModelError
from hpi.io.validation import parse
from hpi.models.readers.graph import Graph, Size, reading_of
from hpi.models.readers.plain_onnx import CENTER, UNIT
from hpi.models.readers.reading import Hints, Reading
from hpi.models.readers.skeletons import skeleton_of
from hpi.skeletons import COCO

FORMAT = "ONNX file of Ultralytics"
TASKS = ("detect", "pose")
MAX_LITERAL = 100_000
"""Metadata that are longer are an error."""
THRESHOLD = 0.25
"""The score that Ultralytics keeps above."""

Side = Annotated[int, Field(gt=0, le=8192)]
Name = Annotated[str, Field(max_length=1000)]


class Metadata(BaseModel):
    """What matters of the metadata; the rest is left to its readers.

    Attributes:
        task: what the model does.
        names: of its classes, by their numbers.
        imgsz: height and width.
        kpt_shape: of pose models: how many keypoints, and numbers for each: x, y and perhaps a score.
        end2end: the network finishes its rows itself.
        args: of the export; ``nms``: suppression is in the graph.

    Example:
        >>> Metadata(task="detect", names={0: "person", 2: "dog"}, imgsz=(640, 640)).classes
        ('person', '1', 'dog')
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)
    task: str
    names: dict[Annotated[int, Field(ge=0, lt=10_000)], Name] = Field(min_length=1)
    imgsz: tuple[Side, Side]
    kpt_shape: tuple[Annotated[int, Field(gt=0, le=1000)], Literal[2, 3]] | None = None
    end2end: bool = False
    args: dict[str, Any] = Field(default_factory=dict)

    @property
    def is_finished(self) -> bool:
        """Whether the graph gives finished rows, as far as the metadata say."""
        return self.end2end or self.args.get("nms") is True

    @property
    def classes(self) -> tuple[str, ...]:
        """The names in the order of their numbers; a number without a name is its name."""
        return tuple(self.names.get(index, str(index)) for index in range(max(self.names) + 1))


def is_ultralytics(graph: Graph) -> bool:
    """Whether Ultralytics exported a graph.

    Example:
        >>> from hpi.zoo import Zoo
        >>> is_ultralytics(Graph.read(Zoo.default().find("MoveNet-Thunder_256x256").files.onnx))
        False
    """
    metadata = graph.header.metadata
    return metadata.get("author") == "Ultralytics" or {"task", "names", "stride"} <= metadata.keys()


def read_ultralytics(graph: Graph, name: str | None, hints: Hints) -> Reading:
    """Read a graph that Ultralytics exported.

    Args:
        graph: the graph.
        name: what to call the model.
        hints: its skeleton, where its metadata do not say it.

    Raises:
        ModelError: the metadata are damaged, contradict the outputs, or are of a task other than pose and detection.
    """
    said = parse(Metadata, _literals(graph), f"{graph.path}: metadata", ModelError)
    if said.task not in TASKS:
        raise ModelError(
            f"{graph.path}: a model of Ultralytics for the task {said.task[:100]!r}; read are those for "
            f"{' and '.join(TASKS)}"
        )
    head, why = _head(graph, said)
    content: dict[str, Any] = {
        "input": {**graph.input_section, **UNIT},
        "transform": {**CENTER, "size": _size(graph, said)},
        "head": head,
        "threshold": THRESHOLD,
        "classes": said.classes,
    }
    because = [f"its metadata say that Ultralytics exported it for the task {said.task}", why]
    if said.kpt_shape is not None and (said.classes == ("person",) or hints.skeleton):
        content["skeleton"], named = skeleton_of(said.kpt_shape[0], hints, graph.path, (COCO,))
        because.append(named)
    elif said.kpt_shape is not None:
        because.append(f"its classes are {', '.join(said.classes)}, so its keypoints have numbers")
    because.append("images are prepared as Ultralytics does: RGB from 0 to 1, in the middle of grey")
    return reading_of(FORMAT, content, graph.path, graph.path, name, because)


def _literals(graph: Graph) -> dict[str, Any]:
    """The metadata that matter, which Ultralytics writes as Python's literals."""
    metadata = graph.header.metadata
    said: dict[str, Any] = {"task": metadata.get("task")} if "task" in metadata else {}
    for key in Metadata.model_fields.keys() & metadata.keys() - {"task"}:
        text = metadata[key]
        try:
            if len(text) > MAX_LITERAL:
                raise ValueError(f"it has {len(text)} letters")
            said[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            if key == "args":  # nothing in them is needed
                continue
            raise ModelError(f"{graph.path}: metadata: {key} cannot be read: {error}; export the model anew") from error
    return said


def _size(graph: Graph, said: Metadata) -> Size:
    """Of the input: that of the graph, else what the metadata say."""
    stated = said.imgsz[::-1]
    if graph.size not in {None, stated}:
        raise ModelError(
            f"{graph.path}: its metadata say imgsz {list(said.imgsz)} (height, width), but it takes {graph.image}; "
            "export the model anew"
        )
    return stated


def _head(graph: Graph, said: Metadata) -> tuple[dict[str, Any], str]:
    """The head, and why: by the shape of the output where that is known, else by the metadata."""
    keypoints, numbers = said.kpt_shape or (0, 3)
    if (said.task == "pose") != bool(keypoints):
        raise ModelError(f"{graph.path}: metadata: the task {said.task} contradicts kpt_shape {said.kpt_shape}")
    if numbers != 3:
        raise ModelError(
            f"{graph.path}: metadata: kpt_shape {list(said.kpt_shape or ())}: keypoints without scores are not read; "
            "train the model with kpt_shape [..., 3]"
        )
    rows, columns = 4 + len(said.classes) + 3 * keypoints, 6 + 3 * keypoints
    output, *others = graph.outputs
    if not others and output.shape is not None and len(output.shape) == 3:
        is_raw = output.shape[1] in {rows, None} and output.shape[2] != columns
        is_finished = output.shape[2] in {columns, None} and output.shape[1] != rows
        if is_raw and is_finished:
            is_raw, is_finished = not said.is_finished, said.is_finished
        if is_finished:
            return {"type": "yolo26_pose" if keypoints else "yolo26_boxes"}, f"{output} are finished rows"
        if is_raw and said.is_finished:
            raise ModelError(
                f"{graph.path}: its metadata speak of finished rows (end2end or nms), but {output} are not; export "
                "it anew"
            )
        if is_raw:
            of_pose = {"type": "yolo_pose", "classes": len(said.classes), "keypoints": keypoints}
            why = f"{output} are rows that nothing has suppressed yet"
            return of_pose if keypoints else {"type": "yolo_boxes"}, why
    raise ModelError(
        f"{graph.path}: {graph}, but for the task {said.task} of {len(said.classes)} classes that would be "
        f"[N, {rows}, cells] or, finished, [N, boxes, {columns}]; export it anew"
    )
