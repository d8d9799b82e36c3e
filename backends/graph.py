"""Edits of ONNX graphs: FP16, and detectors without their NMS."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hpi.backends.base import TensorSpec, import_runtime
from hpi.backends.messages import summarize
from hpi.errors import BackendError
from hpi.kernels.nms import NmsSpec

INSTALL = 'pip install "hpi-pose[gpu]"'
VERSION = "1"
"""Part of the key of what is made from an edited graph: to be raised with every change of what is done to one."""

SENSITIVE_SHARE = 0.25
"""Part of the convolutions, from the input on, whose rounding to FP16 moves joints most; see benchmarks/NOTES.md."""

_SHAPE_BYTES = 1024
"""Constants up to this size may be shapes; what is larger is weights."""


def read_graph(path: Path) -> Any:
    """Read a graph as a ``ModelProto`` in which nodes have names, constants are initializers and nothing is a copy.

    Raises:
        BackendError: it cannot be read, it has branches or loops, or onnx is not installed.
    """
    onnx = import_runtime("onnx", INSTALL)
    try:
        model = onnx.load(str(path))
    except Exception as error:
        raise BackendError(f"{path} cannot be read as an ONNX graph: {summarize(str(error))}") from error
    if any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute):
        raise BackendError(f"{path} has branches or loops, which are not read here; export the model without them")
    _tidy(model.graph)
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"node.{index}"
    return model


def inputs_of(model: Any) -> tuple[TensorSpec, ...]:
    """What a graph takes."""
    onnx = import_runtime("onnx", INSTALL)
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


def cut_nms(model: Any) -> tuple[Any, NmsSpec | None]:
    """Cut a PaddleDetection detector before its NMS.

    Args:
        model: a graph of :func:`read_graph`.

    Returns:
        The graph whose outputs are boxes ``[B, A, 4]`` and scores ``[B, C, A]``, with a free batch B if nothing else
        in it fixes that, and what the NMS does. A graph without NMS as it is, and None.

    Raises:
        BackendError: its NMS is not as PaddleDetection and paddle2onnx write it.
    """
    suppressions = [node for node in model.graph.node if node.op_type == "NonMaxSuppression"]
    if not suppressions:
        return model, None
    if len(suppressions) > 1 or len(suppressions[0].input) != 5:
        raise BackendError("the graph's NonMaxSuppression is not one of a PaddleDetection export")
    boxes, scores, *limits = suppressions[0].input
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    per_class, iou_threshold, score_threshold = (_number(constants, name) for name in limits)
    spec = NmsSpec(float(score_threshold), float(iou_threshold), int(per_class), _boxes_per_image(model, constants))
    head = _ending_in(model, [boxes, scores])
    _free_batch(head)
    return head, spec


def decoding_nodes(model: Any) -> set[str]:
    """Names of the nodes after the last convolutions.

    There a detector's boxes become pixels, which FP16 has only in steps of 0.5 from 512 on and of 2 from 2048 on.
    """
    before_convolution: set[str] = set()
    names = set()
    for node in reversed(model.graph.node):
        if node.op_type == "Conv" or before_convolution.intersection(node.output):
            before_convolution.update(node.input)
        else:
            names.add(node.name)
    return names


def sensitive_nodes(model: Any) -> set[str]:
    """Names of the nodes up to the last of the first convolutions; their share is :data:`SENSITIVE_SHARE`."""
    nodes = model.graph.node
    convolutions = [index for index, node in enumerate(nodes) if node.op_type == "Conv"]
    after = round(len(convolutions) * SENSITIVE_SHARE)
    end = convolutions[after] if after < len(convolutions) else 0
    return {node.name for node in islice(nodes, end)}


def to_fp16(model: Any, keep_fp32: Collection[str] = ()) -> Any:
    """The graph in FP16, with its inputs and outputs in float32 still.

    Args:
        model: a graph of :func:`read_graph`; is not changed.
        keep_fp32: names of nodes that stay in FP32.

    Raises:
        BackendError: onnxconverter-common is not installed. What it raises for a graph passes through.
    """
    float16 = import_runtime("onnxconverter_common.float16", INSTALL)
    copy = type(model)()
    copy.CopyFrom(model)
    _fold_batch_norms(copy.graph)
    _part_outputs(copy.graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights too small for FP16, one line each
        return float16.convert_float_to_float16(
            copy,
            max_finite_val=float(np.finfo(np.float16).max),
            keep_io_types=True,
            node_block_list=list(keep_fp32),
        )


def _part_outputs(graph: Any) -> None:
    """Give every output of the graph a node of its own.

    The converter would leave other nodes that read the same value with the wrong type.
    """
    names = {value.name: f"{value.name}.inside" for value in graph.output}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for name, inside in names.items():
        graph.node.add(op_type="Identity", name=f"{name}.outside", input=[inside], output=[name])


def _tidy(graph: Any) -> None:
    """Turn constants into initializers, and read copies from the original.

    Inference of shapes, the converter to FP16 and the reading of NMS see only initializers.
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
    _retain(graph.node, lambda node: node.output[0] not in originals)


def _fold_batch_norms(graph: Any) -> None:
    """Make batch normalisations part of the convolutions before them.

    TensorRT does so too, but with what was rounded to FP16 before, which a small variance does not survive.
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
    _retain(graph.node, lambda node: node.name not in folded)
    needed = {name for node in graph.node for name in node.input}
    _retain(graph.initializer, lambda tensor: tensor.name in needed)


def _fold(norm: Any, convolution: Any, constants: Mapping[str, Any], initializers: Any) -> None:
    """Let a convolution give what the normalisation behind it gave."""
    numpy_helper = import_runtime("onnx", INSTALL).numpy_helper
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


def _number(constants: Mapping[str, Any], name: str) -> float:
    onnx = import_runtime("onnx", INSTALL)
    value = onnx.numpy_helper.to_array(constants[name]) if name in constants else np.empty(0)
    if value.size != 1:
        raise BackendError(f"the graph's NMS takes {name!r}, which is not a constant number")
    return float(value.reshape(()))


def _boxes_per_image(model: Any, constants: Mapping[str, Any]) -> int:
    """The limit after NMS: paddle2onnx takes the least of it and of the boxes that are left."""
    makers = {node.output[0]: node for node in model.graph.node}
    for node in model.graph.node:
        limits = makers.get(node.input[0]) if node.op_type == "ReduceMin" else None
        given = [name for name in limits.input if name in constants] if limits is not None else []
        if len(given) == 1:
            return int(_number(constants, given[0]))
    raise BackendError("the graph has NMS, but no limit of boxes per image as paddle2onnx writes it")


def _ending_in(model: Any, outputs: list[str]) -> Any:
    """The part of a graph that makes some of its inner values, without the shapes of these."""
    onnx = import_runtime("onnx", INSTALL)
    cut = type(model)()
    cut.CopyFrom(model)
    graph = cut.graph
    needed = set(outputs)
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
    _retain(graph.node, lambda node: bool(needed.intersection(node.output)))
    _retain(graph.initializer, lambda tensor: tensor.name in needed)
    _retain(graph.input, lambda value: value.name in needed)
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    del graph.output[:], graph.value_info[:]
    graph.output.extend(values)
    return cut


def _free_batch(model: Any) -> None:
    """Free the batch of a cut detector, unless something inside fixes it; its outputs get their shapes."""
    is_free = all(shape[:1] == [2] for shape in _output_shapes(model, 2))
    batch: int | str = "batch" if is_free else 1
    for value in model.graph.input:
        _set_sizes(value, [batch, *_sizes(value)[1:]])
    for value, shape in zip(model.graph.output, _output_shapes(model, 1), strict=True):
        _set_sizes(value, [batch, *shape[1:]])


def _output_shapes(model: Any, batch: int) -> list[list[int]]:
    """The shapes that follow from a batch size; 0 is not known."""
    onnx = import_runtime("onnx", INSTALL)
    sketch = type(model)()
    sketch.CopyFrom(model)
    for tensor in sketch.graph.initializer:
        if len(tensor.raw_data) > _SHAPE_BYTES:
            tensor.ClearField("raw_data")  # inference copies the graph several times
    for value in sketch.graph.input:
        _set_sizes(value, [batch, *_sizes(value)[1:]])
    inferred = onnx.shape_inference.infer_shapes(sketch, data_prop=True)
    return [_sizes(value) for value in inferred.graph.output]


def _sizes(value: Any) -> list[int]:
    return [size.dim_value for size in value.type.tensor_type.shape.dim]


def _set_sizes(value: Any, sizes: Sequence[int | str]) -> None:
    shape = value.type.tensor_type.shape
    del shape.dim[:]
    for size in sizes:
        shape.dim.add(**({"dim_param": size} if isinstance(size, str) else {"dim_value": size}))


def _retain(items: Any, wanted: Callable[[Any], bool]) -> None:
    """Remove the others from a protobuf list; what stays is not copied."""
    for index in reversed([index for index, item in enumerate(items) if not wanted(item)]):
        del items[index]
