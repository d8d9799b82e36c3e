"""Rewrite: a graph that is exported for one item, with a free batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpi.backends.graph.protobuf import copied, import_onnx, set_sizes, sizes_of

_SHAPE_BYTES = 1024
"""Constants up to this size may be shapes; larger ones are weights."""
TRIED_SIDE = 64
"""For free sides of a graph that is tried; the least that networks take which halve them six times."""


def is_for_one_item(model: Any) -> bool:
    """Whether the inputs leave the batch free, but an output has a batch of 1.

    Example:
        >>> header = '<ir_version: 8, opset_import: ["": 13]>'
        >>> parse = import_onnx().parser.parse_model
        >>> is_for_one_item(parse(f"{header} g (float[N, 4] x) => (float[1, 4] y) {{ y = Relu(x) }}"))
        True
    """
    graph = model.graph
    return all(sizes_of(value)[:1] == [0] for value in graph.input) and any(
        sizes_of(value)[:1] == [1] for value in graph.output
    )


def free_batch(model: Any) -> Any | None:
    """Let reshapes keep the batch that they are given, where an export has written 1.

    PaddleDetection flattens the maps of HigherHRNet with ``reshape([1, K, -1])``; ``reshape([0, K, -1])`` is the same
    for one image, and takes several.

    Args:
        model: a graph of :func:`hpi.backends.graph.read_graph`.

    Returns:
        The graph with a free batch at its inputs and outputs; None where something else fixes the batch. That each item
        of a batch has the results that it has alone must still be tried: the shapes do not tell.

    Example:
        >>> header = '<ir_version: 8, opset_import: ["": 13]>'
        >>> text = "g (float[N, 4, 2] x) => (float[1, 8] y) <int64[2] flat = {1, -1}> { y = Reshape(x, flat) }"
        >>> freed = free_batch(import_onnx().parser.parse_model(f"{header} {text}"))
        >>> [sizes_of(value) for value in freed.graph.output]
        [[0, 8]]
    """
    onnx = import_onnx()
    freed = copied(model)
    graph = freed.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    uses = [name for node in graph.node for name in node.input]
    for node in graph.node:
        shape = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is None or node.input[0] in constants or uses.count(shape.name) > 1:
            continue
        sizes = onnx.numpy_helper.to_array(shape)
        if len(sizes) > 1 and sizes[0] == 1 and -1 in sizes:
            kept = np.concatenate([np.zeros(1, sizes.dtype), sizes[1:]])
            shape.CopyFrom(onnx.numpy_helper.from_array(kept, shape.name))
    for value in [*graph.input, *graph.output]:
        others = (size or f"{value.name}.{axis}" for axis, size in enumerate(sizes_of(value)) if axis > 0)
        set_sizes(value, ["batch", *others])
    return freed if all(shape[:1] in ([2], [0]) for shape in output_shapes(freed, 2)) else None  # 0: not inferred


def output_shapes(model: Any, batch: int) -> list[list[int]]:
    """The shapes of the outputs for a batch size; 0 where one is unknown.

    Args:
        model: a graph of :func:`hpi.backends.graph.read_graph`.
        batch: the batch size.

    Example:
        >>> header = '<ir_version: 8, opset_import: ["": 13]>'
        >>> model = import_onnx().parser.parse_model(f"{header} g (float[N, 4] x) => (float[N, 4] y) {{ y = Relu(x) }}")
        >>> output_shapes(model, 2)
        [[2, 4]]
    """
    onnx = import_onnx()
    sketch = copied(model)
    for tensor in sketch.graph.initializer:
        if len(tensor.raw_data) > _SHAPE_BYTES:
            tensor.ClearField("raw_data")  # shape inference copies the graph several times
    for value in sketch.graph.input:
        set_sizes(value, [batch, *(size or TRIED_SIDE for size in sizes_of(value)[1:])])
    del sketch.graph.value_info[:]
    for value in sketch.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(sketch, data_prop=True)
    return [sizes_of(value) for value in inferred.graph.output]
