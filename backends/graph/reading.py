"""Reading a graph in the form that the rewrites expect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hpi.backends.base import TensorSpec
from hpi.backends.graph.protobuf import copied, import_onnx, retain
from hpi.backends.messages import summarize
from hpi.errors import BackendError


def read_graph(path: Path) -> Any:
    """Read a graph as a ``ModelProto`` in which every node has a name and every constant is an initializer.

    Raises:
        BackendError: the file cannot be read, the graph has branches or loops, or onnx is not installed.

    Example:
        >>> from hpi.zoo import Zoo
        >>> model = read_graph(Zoo.default().find("PicoDet-S_person_416").files.onnx)
        >>> all(node.name for node in model.graph.node), any(node.op_type == "Constant" for node in model.graph.node)
        (True, False)
    """
    onnx = import_onnx()
    try:
        model = onnx.load(str(path))
    except Exception as error:
        raise BackendError(f"{path} cannot be read as an ONNX graph: {summarize(str(error))}") from error
    if any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute):
        raise BackendError(f"{path} has branches or loops, which cannot be rewritten; export the model without them")
    _tidy(model.graph)
    return model


def copy_at_opset(model: Any, least: int) -> Any | None:
    """A copy of a graph in an opset, or in its own where that is later; None where it cannot be brought there.

    Args:
        model: a graph of :func:`read_graph`.
        least: the opset.

    Example:
        >>> header = '<ir_version: 8, opset_import: ["": 11]>'
        >>> model = import_onnx().parser.parse_model(f"{header} g (float[4] x) => (float[4] y) {{ y = Relu(x) }}")
        >>> copy_at_opset(model, 14).opset_import[0].version
        14
    """
    import_onnx()
    from onnx import version_converter

    version = max((one.version for one in model.opset_import if one.domain in {"", "ai.onnx"}), default=0)
    if version >= least:
        return copied(model)
    try:
        raised = version_converter.convert_version(model, least)
    except Exception:  # noqa: BLE001 - its own, of operators that it does not know
        return None
    _tidy(raised.graph)  # it writes attributes that have become inputs as nodes
    return raised


def inputs_of(model: Any) -> tuple[TensorSpec, ...]:
    """The inputs of a graph, without those that have a default.

    Example:
        >>> header = '<ir_version: 8, opset_import: ["": 13]>'
        >>> model = import_onnx().parser.parse_model(f"{header} g (float[N, 4] x) => (float[N, 4] y) {{ y = Relu(x) }}")
        >>> inputs_of(model)
        (TensorSpec(name='x', dtype=dtype('float32'), shape=(None, 4)),)
    """
    onnx = import_onnx()
    given = {tensor.name for tensor in model.graph.initializer}
    return tuple(
        TensorSpec(
            value.name,
            np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
            tuple(size.dim_value or None for size in value.type.tensor_type.shape.dim),
        )
        for value in model.graph.input
        if value.name not in given
    )


def _tidy(graph: Any) -> None:
    """Turn constants into initializers, bypass Identity nodes and give every node a name.

    Shape inference, the FP16 converter and the rewrites see only initializers.
    """
    outputs = {value.name for value in graph.output}
    originals: dict[str, str] = {}
    for node in graph.node:
        node.input[:] = [originals.get(name, name) for name in node.input]
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            graph.initializer.add().CopyFrom(node.attribute[0].t)
            graph.initializer[-1].name = originals[node.output[0]] = node.output[0]
        elif node.op_type == "Identity" and node.output[0] not in outputs:
            originals[node.output[0]] = node.input[0]
    retain(graph.node, lambda node: node.output[0] not in originals)
    for index, node in enumerate(graph.node):
        node.name = node.name or f"node.{index}"
