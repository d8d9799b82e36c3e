"""Rewrite: batch normalisations folded into the convolutions before them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from hpi.backends.graph.protobuf import drop_unread, import_onnx, retain


def fold_batch_norms(graph: Any) -> None:
    """Fold batch normalisations into the convolutions before them, in place.

    TensorRT does so too, but after rounding to FP16, which a small variance does not survive.

    Example:
        >>> graph = import_onnx().parser.parse_graph(
        ...     "g (float[1, 1, 8, 8] x) => (float[1, 1, 8, 8] y) <float[1, 1, 1, 1] w = {2}, float[1] one = {1}>"
        ...     "{ z = Conv(x, w) y = BatchNormalization(z, one, one, one, one) }"
        ... )
        >>> graph.node[0].name, graph.node[1].name = "conv", "norm"
        >>> fold_batch_norms(graph)
        >>> [node.op_type for node in graph.node]
        ['Conv']
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(value.name for value in graph.output)
    convolutions = {node.output[0]: node for node in graph.node if node.op_type == "Conv"}
    folded = set()
    for node in graph.node:
        convolution = convolutions.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        if convolution is None or readers[node.input[0]] > 1:
            continue
        if constants.keys() >= {*convolution.input[1:], *node.input[1:]}:
            _fold(node, convolution, constants, graph.initializer)
            folded.add(node.name)
    retain(graph.node, lambda node: node.name not in folded)
    drop_unread(graph)


def _fold(norm: Any, convolution: Any, constants: Mapping[str, Any], initializers: Any) -> None:
    """Make a convolution return what the normalisation after it returned."""
    numpy_helper = import_onnx().numpy_helper
    gamma, beta, mean, variance = (numpy_helper.to_array(constants[name]) for name in norm.input[1:])
    weight, *bias = (numpy_helper.to_array(constants[name]) for name in convolution.input[1:])
    epsilon = next((attribute.f for attribute in norm.attribute if attribute.name == "epsilon"), 1e-5)
    factor = gamma / np.sqrt(variance.astype(np.float64) + epsilon)
    parts = {
        f"{norm.name}.weight": weight * factor.reshape(-1, *[1] * (weight.ndim - 1)),
        f"{norm.name}.bias": (sum(bias) - mean) * factor + beta,
    }
    initializers.extend(numpy_helper.from_array(part.astype(np.float32), name) for name, part in parts.items())
    convolution.input[1:] = parts
    convolution.output[0] = norm.output[0]
