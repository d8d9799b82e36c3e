"""Rewrite: products of a matrix and a constant vector."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpi.backends.graph.protobuf import drop_unread, import_onnx
from hpi.backends.graph.reading import copy_at_opset

OPSET = 13
"""The first in which Squeeze takes its axes as an input."""


def multiply_by_columns(model: Any) -> tuple[Any, int]:
    """Multiply a matrix by a matrix of one column in the place of a vector.

    PicoDet's boxes are means of eight distances, ``Softmax(x) @ [0, ..., 7]``. ONNX Runtime takes a vector for a batch
    of products, which is many times slower than the one product that it is.

    Args:
        model: a graph of :func:`hpi.backends.graph.read_graph`.

    Returns:
        The graph, of opset 13 at least, and how many products it has been written for; the same graph and 0 where there
        is none, or where the graph cannot be brought to this opset.

    Example:
        >>> header = '<ir_version: 8, opset_import: ["": 13]>'
        >>> text = "g (float[N, 2] x) => (float[N] y) <float[2] v = {0, 1}> { y = MatMul(x, v) }"
        >>> rewritten, count = multiply_by_columns(import_onnx().parser.parse_model(f"{header} {text}"))
        >>> [node.op_type for node in rewritten.graph.node], list(rewritten.graph.initializer[-1].dims), count
        (['MatMul', 'Squeeze'], [2, 1], 1)
    """
    if not _products(model.graph) or (rewritten := copy_at_opset(model, OPSET)) is None:
        return model, 0
    onnx, graph = import_onnx(), rewritten.graph
    products = _products(graph)
    last = "matrix_vector.last"
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1]), last))
    for index, vector in reversed(products.items()):
        node = graph.node[index]
        result, column = node.output[0], f"{node.output[0]}.column"
        values = onnx.numpy_helper.to_array(vector)[:, np.newaxis]
        graph.initializer.append(onnx.numpy_helper.from_array(values, f"{result}.vector"))
        node.input[1], node.output[0] = f"{result}.vector", column
        graph.node.insert(index + 1, onnx.helper.make_node("Squeeze", [column, last], [result], f"{column}.squeezed"))
    drop_unread(graph)
    return rewritten, len(products)


def _products(graph: Any) -> dict[int, Any]:
    """The places of the nodes that multiply by a constant vector, each with the vector."""
    vectors = {tensor.name: tensor for tensor in graph.initializer if len(tensor.dims) == 1}
    return {
        index: vectors[node.input[1]]
        for index, node in enumerate(graph.node)
        if node.op_type == "MatMul" and node.input[1] in vectors and node.input[0] not in vectors
    }
