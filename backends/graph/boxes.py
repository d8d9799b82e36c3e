"""Rewrite: a converted detector whose number of boxes depends on the image."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np

from hpi.backends.graph.protobuf import copied, import_onnx


def count_boxes(model: Any) -> Any:
    """Let a graph count its boxes, where paddle2onnx has written -1 for their number.

    After the NMS the score of a box is looked up at ``class * number of boxes + box``. With -1 in it each class but the
    first has the scores of other boxes.

    Args:
        model: a graph of :func:`hpi.backends.graph.read_graph`.

    Returns:
        The graph with the number taken from the shape of the scores ``[B, C, A]``.

    Example:
        >>> header = '<ir_version: 8, opset_import: ["": 13]>'
        >>> text = '''g (float[1, A, 4] b, float[1, C, A] s) => (int64[M, 1] at)
        ... <int64[1] unknown = {-1}, int64[1] one = {1}>
        ... { kept = NonMaxSuppression(b, s) label = Gather <axis = 1> (kept, one) at = Mul(label, unknown) }'''
        >>> counted = count_boxes(import_onnx().parser.parse_model(f"{header} {text}"))
        >>> [node.op_type for node in counted.graph.node], list(counted.graph.node[-1].input)
        (['Shape', 'Gather', 'NonMaxSuppression', 'Gather', 'Mul'], ['label', 'kept.boxes'])
    """
    onnx = import_onnx()
    counted = copied(model)
    graph = counted.graph
    small = [tensor for tensor in graph.initializer if list(tensor.dims) == [1]]
    unknown = {tensor.name for tensor in small if onnx.numpy_helper.to_array(tensor)[0] == -1}
    for index, node in reversed(list(enumerate(graph.node))):
        if node.op_type == "NonMaxSuppression" and (offsets := _offsets(graph, node.output[0], unknown)):
            count = f"{node.output[0]}.boxes"
            for offset in offsets:
                offset.input[1] = count
            shape, last = f"{count}.shape", f"{count}.last"
            graph.initializer.append(onnx.numpy_helper.from_array(np.array([2]), last))
            graph.node.insert(index, onnx.helper.make_node("Gather", [shape, last], [count], count))
            graph.node.insert(index, onnx.helper.make_node("Shape", [node.input[1]], [shape], shape))
    return counted


def _offsets(graph: Any, kept: str, unknown: Set[str]) -> list[Any]:
    """The nodes that multiply the class of each kept box by a number that is unknown."""
    columns = {node.output[0] for node in graph.node if node.op_type == "Gather" and node.input[0] == kept}
    products = [node for node in graph.node if node.op_type == "Mul"]
    return [node for node in products if node.input[0] in columns and node.input[1] in unknown]
