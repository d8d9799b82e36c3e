"""A graph with an ``hpi.yml`` beside it becomes a :class:`hpi.models.spec.ModelSpec`."""

from __future__ import annotations

from pathlib import Path

from hpi.backends.base import onnx_files
from hpi.backends.file_checks import problem_with
from hpi.errors import ModelError, ModelNotFoundError
from hpi.io.validation import parse, read_yaml
from hpi.models.description import NAME, Description, spec_of
from hpi.models.readers.reading import Hints, Reading

FORMAT = f"ONNX graph with {NAME}"
GIVEN = "ONNX graph with a description"


def read_own(path: Path, name: str | None, hints: Hints) -> Reading | None:
    """Read a folder that holds an ``hpi.yml`` and one ONNX graph, or either of these files.

    Args:
        path: the folder or file.
        name: what to call the model.
        hints: a description takes the place of ``hpi.yml``.

    Returns:
        None where there is neither.

    Raises:
        ModelError: the file is not understood, or there is not just one graph beside it.
    """
    folder = path if path.is_dir() else path.parent
    yml = folder / NAME
    if hints.description is not None:
        graph = path if path.suffix == ".onnx" else only_graph(folder)
        return Reading(GIVEN, spec_of(hints.description, graph, graph, name), ("it is described",), hints.description)
    if not yml.is_file():
        return None
    description = parse(Description, read_yaml(yml, ModelError), str(yml), ModelError)
    graph = path if path.suffix == ".onnx" else only_graph(folder)
    return Reading(FORMAT, spec_of(description, yml, graph, name), (f"{NAME} says all of it",), description)


def only_graph(folder: Path) -> Path:
    """The one ONNX graph of a folder.

    Raises:
        ModelError: there is none, there are several, or it is plainly damaged.
    """
    graphs = sorted(folder.glob("*.onnx"))
    if not graphs:
        raise ModelNotFoundError(f"{folder}: no *.onnx in this model folder; copy the graph into it")
    if len(graphs) > 1:
        names = ", ".join(graph.name for graph in graphs)
        raise ModelError(f"{folder}: several *.onnx files: {names}; give the path of the one that is meant")
    check_graph(graphs[0])
    return graphs[0]


def check_graph(graph: Path) -> None:
    """Check the files of a graph for plain damage.

    Raises:
        ModelError: one is damaged or missing.
    """
    for file in (graph, *onnx_files(graph)):
        if problem := problem_with(file):
            raise ModelError(f"{file}: {problem}")
