"""A graph with an ``hpi.yml`` beside it becomes a :class:`hpi.models.spec.ModelSpec`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hpi.errors import ModelError
from hpi.io.validation import read_yaml
from hpi.models.description import NAME, Description, spec_of
from hpi.models.readers.graph import folder_of, graph_of, reading_of
from hpi.models.readers.reading import Hints, Reading
from hpi.models.spec import ASKED_FOR

FORMAT = f"ONNX graph with {NAME}"
DESCRIBED = "ONNX graph with a description"


def is_own(path: Path) -> bool:
    """Whether there is an ``hpi.yml``."""
    return (folder_of(path) / NAME).is_file()


def read_own(path: Path, name: str | None, hints: Hints) -> Reading:
    """Read a folder that holds an ``hpi.yml`` and one ONNX graph, or either of these files.

    Args:
        path: the folder or file.
        name: what to call the model.
        hints: nothing of them is needed.

    Raises:
        ModelError: the file is not understood, or there is not just one graph beside it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "hpi.yml")
        ...     _ = path.write_text("{transform: {type: top_down, size: [192, 256]}, head: {type: heatmap}}")
        ...     _ = path.with_name("model.onnx").write_bytes(bytes([8, 7]))
        ...     read_own(path, None, Hints()).spec.input_size
        (192, 256)
    """
    yml = folder_of(path) / NAME
    return reading_of(FORMAT, read_yaml(yml, ModelError), yml, graph_of(path), name, [f"{NAME} says all of it"])


def read_described(path: Path, name: str | None, description: Description) -> Reading:
    """Read an ONNX graph that somebody describes, whatever lies beside it.

    Args:
        path: the graph, or a folder with just one.
        name: what to call the model.
        description: what it is.

    Raises:
        ModelError: there is not just one graph, or the description contradicts itself.

    Example:
        >>> import tempfile
        >>> text = {"transform": {"type": "top_down", "size": [192, 256]}, "head": {"type": "heatmap"}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "model.onnx")
        ...     _ = path.write_bytes(bytes([8, 7]))
        ...     read_described(path, None, Description.model_validate(text)).spec.input_size
        (192, 256)
    """
    graph = graph_of(path)
    spec = spec_of(description, graph, graph, name)
    if spec.skeleton is not None:
        spec = replace(spec, skeleton_is=ASKED_FOR)
    return Reading(DESCRIBED, spec, ("it is described",), description)
