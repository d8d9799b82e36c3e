"""Helpers for the protobuf messages of a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hpi.backends.base import import_runtime
from hpi.backends.gpu import INSTALL
from hpi.errors import BackendError


def import_onnx() -> Any:
    """The onnx package.

    Raises:
        BackendError: it is not installed.

    Example:
        >>> import_onnx().__name__
        'onnx'
    """
    return import_runtime("onnx", INSTALL)


def copied(model: Any) -> Any:
    """A copy of a model, for a rewrite to change.

    Example:
        >>> header = '<ir_version: 8, opset_import: ["": 13]>'
        >>> model = import_onnx().parser.parse_model(f"{header} g (float[4] x) => (float[4] y) {{ y = Relu(x) }}")
        >>> copied(model) == model, copied(model) is model
        (True, False)
    """
    copy = type(model)()
    copy.CopyFrom(model)
    return copy


def number(constants: Mapping[str, Any], name: str) -> float:
    """The value of a constant that is a single number.

    Raises:
        BackendError: it is none.

    Example:
        >>> limit = import_onnx().numpy_helper.from_array(np.array([100.0]))
        >>> number({"limit": limit}, "limit")
        100.0
    """
    onnx = import_onnx()
    value = onnx.numpy_helper.to_array(constants[name]) if name in constants else np.empty(0)
    if value.size != 1:
        raise BackendError(f"the graph's NMS takes {name!r}, which is not a constant number")
    return float(value.reshape(()))


def sizes_of(value: Any) -> list[int]:
    """The dimensions of an input or output; 0 where one is free.

    Example:
        >>> graph = import_onnx().parser.parse_graph("g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }")
        >>> sizes_of(graph.input[0])
        [0, 4]
    """
    return [size.dim_value for size in value.type.tensor_type.shape.dim]


def set_sizes(value: Any, sizes: Sequence[int | str]) -> None:
    """Set the dimensions of an input or output; a string names a free one.

    Example:
        >>> graph = import_onnx().parser.parse_graph("g (float[1, 4] x) => (float[1, 4] y) { y = Relu(x) }")
        >>> set_sizes(graph.input[0], ["batch", 4])
        >>> sizes_of(graph.input[0])
        [0, 4]
    """
    shape = value.type.tensor_type.shape
    del shape.dim[:]
    for size in sizes:
        shape.dim.add(**({"dim_param": size} if isinstance(size, str) else {"dim_value": size}))


def retain(items: Any, wanted: Callable[[Any], bool]) -> None:
    """Keep only the wanted items of a protobuf list, without copying them.

    Example:
        >>> graph = import_onnx().parser.parse_graph("g (float[4] x) => (float[4] y) { z = Abs(x) y = Relu(z) }")
        >>> retain(graph.node, lambda node: node.op_type == "Relu")
        >>> [node.op_type for node in graph.node]
        ['Relu']
    """
    for index in reversed([index for index, item in enumerate(items) if not wanted(item)]):
        del items[index]


def drop_unread(graph: Any) -> set[str]:
    """Remove the nodes and constants that no output depends on; returns the names of the values that are left.

    Example:
        >>> graph = import_onnx().parser.parse_graph("g (float[4] x) => (float[4] y) { z = Abs(x) y = Relu(x) }")
        >>> sorted(drop_unread(graph))
        ['x', 'y']
        >>> [node.op_type for node in graph.node]
        ['Relu']
    """
    read = {value.name for value in graph.output}
    for node in reversed(graph.node):
        if read.intersection(node.output):
            read.update(node.input)
    retain(graph.node, lambda node: bool(read.intersection(node.output)))
    retain(graph.initializer, lambda tensor: tensor.name in read)
    return read
