"""Rewrite: outputs that nobody reads."""

from __future__ import annotations

from typing import Any

from hpi.backends.base import ModelFiles
from hpi.backends.graph.protobuf import copied, drop_unread, retain


def drop_outputs(model: Any, files: ModelFiles) -> tuple[Any, int]:
    """Leave out the outputs that nobody reads, with all that only they need.

    PaddleDetection's heatmap models also return the cell of each maximum, which DARK looks for itself.

    Args:
        model: a graph of :func:`hpi.backends.graph.read_graph`.
        files: the model, which says what is read.

    Returns:
        The graph, and how many outputs it has lost; the same graph and 0 where all are read.

    Example:
        >>> from hpi.backends.graph.protobuf import import_onnx
        >>> header = '<ir_version: 8, opset_import: ["": 13]>'
        >>> text = "g (float[4] x) => (float[4] y, int64[1] at) { y = Relu(x) at = ArgMax(y) }"
        >>> left, count = drop_outputs(import_onnx().parser.parse_model(f"{header} {text}"), ModelFiles("m", outputs=1))
        >>> [node.op_type for node in left.graph.node], count
        (['Relu'], 1)
    """
    names = [value.name for value in model.graph.output]
    read = files.outputs_read(names)
    if read == names:
        return model, 0
    left = copied(model)
    retain(left.graph.output, lambda value: value.name in read)
    drop_unread(left.graph)
    return left, len(names) - len(read)
