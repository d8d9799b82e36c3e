"""The ONNX graph that readers have in common: where it lies, and what it takes and gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hpi.backends.base import image_input, onnx_files
from hpi.backends.file_checks import problem_with
from hpi.backends.onnx_header import OnnxHeader, Value, read_header
from hpi.errors import ModelError, ModelNotFoundError
from hpi.io.validation import parse
from hpi.models.description import NAME, Description, spec_of
from hpi.models.readers.reading import Reading

Size = tuple[int, int]
"""Width and height, pixels."""


@dataclass(frozen=True)
class Graph:
    """An ONNX graph.

    Attributes:
        path: its file.
        header: its inputs and outputs.

    Example:
        >>> from hpi.zoo import Zoo
        >>> graph = Graph.read(Zoo.default().find("MoveNet-Thunder_256x256").files.onnx)
        >>> graph.layout, graph.size
        ('nchw', (256, 256))
    """

    path: Path
    header: OnnxHeader

    @classmethod
    def read(cls, path: Path) -> Graph:
        """Read what a file says of itself, and check it for plain damage.

        Raises:
            ModelError: it is damaged, or files of it are missing.
        """
        check_graph(path)
        return cls(path, read_header(path))

    @property
    def image(self) -> Value:
        """The input that takes images.

        Raises:
            ModelError: there are several, or it takes no images.
        """
        name = image_input([value.name for value in self.header.inputs])
        found = next((value for value in self.header.inputs if value.name == name), None)
        if found is None or found.shape is None or len(found.shape) != 4 or 3 not in (found.shape[1], found.shape[3]):
            raise ModelError(
                f"{self.path}: none of its inputs takes images [N, 3, height, width] or [N, height, width, 3]: {self}"
            )
        if found.dtype not in {"float32", "int32"}:
            raise ModelError(
                f"{self.path}: its input {found.name} takes {found.dtype or 'another type'}; export it with float32"
            )
        return found

    @property
    def layout(self) -> Literal["nchw", "nhwc"]:
        """Of the input."""
        shape = self.image.shape
        return "nchw" if shape is not None and shape[1] == 3 else "nhwc"

    @property
    def size(self) -> Size | None:
        """Of the input; None where it is free."""
        shape = self.image.shape or ()
        height, width = shape[2:] if self.layout == "nchw" else shape[1:3]
        return (width, height) if width and height else None

    @property
    def needed_size(self) -> Size:
        """Of the input.

        Raises:
            ModelError: it is free.
        """
        if self.size is None:
            raise ModelError(
                f"{self.path}: its input {self.image} has no fixed height and width, and nothing else says them; "
                f"export it with a fixed size, or describe it in an {NAME}"
            )
        return self.size

    @property
    def outputs(self) -> tuple[Value, ...]:
        """Its outputs."""
        return self.header.outputs

    def gives(self, *shapes: tuple[int | None, ...]) -> bool:
        """Whether its outputs have just these shapes; None, and a free side, may be anything."""
        return len(self.outputs) == len(shapes) and all(map(_is_like, self.outputs, shapes))

    @property
    def input_section(self) -> dict[str, Any]:
        """What a description says of the input, as far as the graph says it: nothing where that is the usual."""
        said: dict[str, Any] = {} if self.layout == "nchw" else {"layout": self.layout}
        if self.image.dtype != "float32":
            said["dtype"] = self.image.dtype
        return said if len(self.header.inputs) == 1 else {"name": self.image.name, **said}

    def __str__(self) -> str:
        """The inputs and outputs, for messages."""
        takes, gives = ("; ".join(map(str, values)) or "nothing" for values in (self.header.inputs, self.outputs))
        return f"it takes {_short(takes)} and gives {_short(gives)}"


def reading_of(
    what: str, content: dict[str, Any], source: Path, graph: Path, name: str | None, because: Sequence[str]
) -> Reading:
    """The reading of a description.

    Args:
        what: the format.
        content: that of an ``hpi.yml``.
        source: the file that says it; the graph itself where it does.
        graph: the graph.
        name: what to call the model.
        because: why.

    Raises:
        ModelError: the content contradicts itself.
    """
    description = parse(Description, content, str(source), ModelError)
    return Reading(what, spec_of(description, source, graph, name), tuple(because), description)


def folder_of(path: Path) -> Path:
    """The folder of a model: a folder ``onnx`` beside a Hugging Face model's files is a part of it.

    Example:
        >>> folder_of(Path("missing/model.onnx")).name
        'missing'
    """
    folder = path if path.is_dir() else path.parent
    return folder.parent if folder.name == "onnx" and (folder.parent / "config.json").is_file() else folder


def graph_of(path: Path) -> Path:
    """The graph that a path means: itself, or the one in a folder.

    Raises:
        ModelError: there is none, there are several, or it is plainly damaged.
    """
    if path.suffix == ".onnx" and path.is_file():
        check_graph(path)
        return path
    return only_graph(folder_of(path))


def lone_graph(path: Path) -> Graph | None:
    """An ONNX file, or the only one in a folder, read; None where there is none.

    Raises:
        ModelError: there are several, or it is damaged.

    Example:
        >>> lone_graph(Path("configs")) is None
        True
    """
    has_graph = path.suffix == ".onnx" if path.is_file() else bool(graphs_in(path))
    return Graph.read(graph_of(path)) if has_graph else None


def only_graph(folder: Path) -> Path:
    """The one ONNX graph of a folder, or of the folder ``onnx`` in it, where ``model.onnx`` is the one.

    Raises:
        ModelError: there is none, there are several, or it is plainly damaged.
    """
    graphs = graphs_in(folder)
    if not graphs:
        raise ModelNotFoundError(f"{folder}: no *.onnx in this model folder; copy the graph into it")
    if len(graphs) > 1:
        names = ", ".join(graph.name for graph in graphs)
        raise ModelError(f"{folder}: several *.onnx files: {names}; give the path of the one that is meant")
    check_graph(graphs[0])
    return graphs[0]


def graphs_in(folder: Path) -> list[Path]:
    """The ONNX graphs of a folder, as :func:`only_graph` looks for them."""
    inner = folder / "onnx"
    if graphs := sorted(folder.glob("*.onnx")):
        return graphs
    return [inner / "model.onnx"] if (inner / "model.onnx").is_file() else sorted(inner.glob("*.onnx"))


def check_graph(graph: Path) -> None:
    """Check the files of a graph for plain damage.

    Raises:
        ModelError: one is damaged or missing.
    """
    for file in onnx_files(graph):
        if problem := problem_with(file):
            raise ModelError(f"{file}: {problem}")


def _is_like(value: Value, sides: tuple[int | None, ...]) -> bool:
    """Whether an output has so many sides, each of the given length where one is given."""
    if value.shape is None or len(value.shape) != len(sides):
        return False
    return all(want in {None, side} or side is None for side, want in zip(value.shape, sides, strict=True))


def _short(text: str, most: int = 400) -> str:
    return text if len(text) <= most else f"{text[:most]}..."
