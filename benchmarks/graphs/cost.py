"""What a graph costs: its parameters, and the multiplications of one item."""

from __future__ import annotations

import math
from typing import Any

from onnx import TensorProto, shape_inference


def parameters(model: Any) -> int:
    """Numbers that the graph holds as weights.

    Example:
        >>> from hpi.benchmarks.graphs.builder import GraphBuilder
        >>> builder = GraphBuilder(seed=0)
        >>> y = builder.conv("x", 3, 8, kernel=3)
        >>> model = builder.model("tiny", {"x": (1, 3, 4, 4)}, {y: (1, 8, 4, 4)})
        >>> parameters(model) == 8 * 3 * 9 + 8
        True
    """
    return sum(math.prod(one.dims) for one in model.graph.initializer if one.data_type == TensorProto.FLOAT)


def multiply_adds(model: Any) -> int:
    """Multiplications with an addition of convolutions and matrix products, of a batch of one.

    Activations, additions, and pooling are not counted, as in the published figures.

    Example:
        >>> from hpi.benchmarks.graphs.builder import GraphBuilder
        >>> builder = GraphBuilder(seed=0)
        >>> y = builder.conv("x", 3, 8, kernel=3)
        >>> model = builder.model("tiny", {"x": ("N", 3, 4, 4)}, {y: ("N", 8, 4, 4)})
        >>> multiply_adds(model) == 8 * 4 * 4 * 3 * 9
        True
    """
    single = type(model)()
    single.CopyFrom(model)
    for value in (*single.graph.input, *single.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    graph = shape_inference.infer_shapes(single, strict_mode=True, data_prop=True).graph
    shapes = {one.name: list(one.dims) for one in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        shapes[value.name] = [side.dim_value for side in value.type.tensor_type.shape.dim]
    each = {"Conv": lambda node: math.prod(shapes[node.input[1]][1:]), "MatMul": lambda node: shapes[node.input[0]][-1]}
    return sum(
        math.prod(shapes[node.output[0]]) * each[node.op_type](node) for node in graph.node if node.op_type in each
    )
