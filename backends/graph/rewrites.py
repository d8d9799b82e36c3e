"""Which rewrites there are, and graphs that are rewritten for a runtime."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import ModelFiles, is_installed
from hpi.backends.graph import VERSION
from hpi.backends.graph.hard_swish import fuse_hard_swish
from hpi.backends.graph.matrix_vector import multiply_by_columns
from hpi.backends.graph.outputs import drop_outputs
from hpi.backends.graph.reading import read_graph
from hpi.backends.messages import summarize
from hpi.errors import BackendError

logger = logging.getLogger(__name__)

UNREAD_OUTPUTS = "unread outputs"
HARD_SWISH = "HardSwish"
MATRIX_VECTOR = "matrix times vector"


@dataclass(frozen=True)
class Rewrite:
    """A rewrite that runtimes may ask for.

    Attributes:
        apply: takes a graph of :func:`read_graph` and its model; returns the graph rewritten, and in how many places; 0
            leaves it as it is.
        version: to be raised with every change to what it does: it is part of the key of all that depends on it.
        is_exact: it changes nothing in how the outputs are computed, so that they need no validation.

    Example:
        >>> REWRITES["HardSwish"].is_exact
        False
    """

    apply: Callable[[Any, ModelFiles], tuple[Any, int]]
    version: int
    is_exact: bool = False


REWRITES = {
    UNREAD_OUTPUTS: Rewrite(drop_outputs, 1, is_exact=True),
    HARD_SWISH: Rewrite(lambda model, _: fuse_hard_swish(model), 1),
    MATRIX_VECTOR: Rewrite(lambda model, _: multiply_by_columns(model), 1),
}
"""By name, in the order in which they are applied."""


@dataclass(frozen=True)
class RewrittenGraph:
    """A graph as a runtime loads it.

    Attributes:
        path: its file.
        rewrites: what was rewritten in it: the name of each rewrite, in how many places.

    Example:
        >>> RewrittenGraph(Path("model.onnx"), {"HardSwish": 78}).rewrites
        {'HardSwish': 78}
    """

    path: Path
    rewrites: Mapping[str, int]


def rewritten(files: ModelFiles, graph: Path, wanted: Collection[str], artifacts: ArtifactCache) -> RewrittenGraph:
    """A graph with the rewrites that a runtime wants, from the cache; as it is where they find nothing in it.

    It also stays as it is where the onnx package is missing, or where it cannot be rewritten or kept. Only the first
    call for a graph reads it.

    Args:
        files: the model.
        graph: its ONNX graph.
        wanted: names of :data:`REWRITES`.
        artifacts: where it is kept.

    Example:
        >>> from hpi.zoo import Zoo
        >>> zoo = Zoo.default()
        >>> files, artifacts = zoo.find("PicoDet-S_person_416").files, ArtifactCache(zoo.artifacts)
        >>> rewritten(files, files.onnx, ["HardSwish", "unread outputs"], artifacts).rewrites
        {'HardSwish': 78}
        >>> rewritten(files, files.onnx, [], artifacts).path == files.onnx
        True
    """
    if not wanted or not is_installed("onnx"):
        return RewrittenGraph(graph, {})
    key = {
        "model": files.name,
        "content": files.content,
        "folder": graph.parent.name,  # of a converted graph: the hash of all that it was made from
        "outputs": str(files.outputs),
        "onnx": version("onnx"),  # it brings graphs to another opset, or cannot yet
        "reading": VERSION,
        **rewrites_key(wanted),
    }
    build = cache(lambda: _rewrite(files, graph, wanted))  # once for both files

    def write_counts(target: Path) -> None:
        target.write_text(json.dumps(build()[1]), encoding="utf-8")

    def write_graph(target: Path) -> None:
        target.write_bytes(build()[0])

    try:
        counts = json.loads(artifacts.get("rewrites", key, "rewrites.json", write_counts).read_text(encoding="utf-8"))
        return RewrittenGraph(artifacts.get("graph", key, "model.onnx", write_graph) if counts else graph, counts)
    except BackendError as error:  # a graph that cannot be kept can still run as it is
        logger.warning("%s", error)
        return RewrittenGraph(graph, {})


def rewrites_key(names: Collection[str]) -> dict[str, str]:
    """What rewrites add to the key of an artifact; nothing without rewrites.

    Example:
        >>> rewrites_key(["HardSwish"]), rewrites_key([])
        ({'rewrites': '{"HardSwish": 1}'}, {})
    """
    versions = {name: rewrite.version for name, rewrite in REWRITES.items() if name in names}
    return {"rewrites": json.dumps(versions)} if versions else {}


def must_be_validated(names: Collection[str]) -> bool:
    """Whether outputs may differ after these rewrites.

    Example:
        >>> must_be_validated(["HardSwish", "unread outputs"]), must_be_validated(["unread outputs"])
        (True, False)
    """
    return not all(REWRITES[name].is_exact for name in names)


def _rewrite(files: ModelFiles, graph: Path, wanted: Collection[str]) -> tuple[bytes, dict[str, int]]:
    """The rewritten graph, serialized, and in how many places each rewrite has found something; nothing for none."""
    counts: dict[str, int] = {}
    try:
        model = read_graph(graph)
        for name, rewrite in REWRITES.items():
            if name in wanted:
                model, count = rewrite.apply(model, files)
                counts |= {name: count} if count else {}
        return (model.SerializeToString() if counts else b""), counts
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the graph, the runtime may still run it
        logger.info("%s is run as it is: %s", graph, summarize(str(error)))
        return b"", {}
