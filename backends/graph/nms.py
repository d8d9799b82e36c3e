"""Rewrite: a PaddleDetection detector without its NMS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpi.backends.graph.batch import output_shapes
from hpi.backends.graph.protobuf import copied, drop_unread, import_onnx, number, retain, set_sizes, sizes_of
from hpi.kernels.nms import NmsSpec


def cut_nms(model: Any) -> tuple[Any, NmsSpec | None]:
    """Cut a PaddleDetection detector before its NMS.

    Args:
        model: a graph of :func:`read_graph`.

    Returns:
        The graph that ends in float32 boxes ``[B, A, 4]`` and scores ``[B, C, A]``, with a free batch B unless
        something else in it fixes that, and the parameters of its NMS. A graph without NMS, or with one that is not
        written as by PaddleDetection and paddle2onnx, is returned as it is, with None.

    Example:
        >>> from hpi.backends.graph.reading import read_graph
        >>> from hpi.zoo import Zoo
        >>> head, spec = cut_nms(read_graph(Zoo.default().find("PicoDet-S_person_416").files.onnx))
        >>> [sizes_of(value) for value in head.graph.output], spec.per_image
        ([[0, 3598, 4], [0, 1, 3598]], 100)
    """
    suppressions = suppressions_in(model)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    most = _boxes_per_image(model, constants)
    if len(suppressions) != 1 or most is None or not _gives_rows(model):
        return model, None
    boxes, scores, *limits = suppressions[0].input
    if len(limits) != 3 or not constants.keys() >= set(limits):
        return model, None
    per_class, iou_threshold, score_threshold = (number(constants, name) for name in limits)
    spec = NmsSpec(float(score_threshold), float(iou_threshold), int(per_class), most)
    head = _ending_in(model, [boxes, scores])
    _free_batch(head)
    return head, spec


def suppressions_in(model: Any) -> list[Any]:
    """The NonMaxSuppression nodes of a graph.

    Example:
        >>> from hpi.backends.graph.reading import read_graph
        >>> from hpi.zoo import Zoo
        >>> len(suppressions_in(read_graph(Zoo.default().find("PicoDet-S_person_416").files.onnx)))
        1
    """
    return [node for node in model.graph.node if node.op_type == "NonMaxSuppression"]


def _gives_rows(model: Any) -> bool:
    """Whether the outputs may be rows ``[M, 6]`` and their number for each image."""
    sizes = [sizes_of(value) for value in model.graph.output]
    return len(sizes) == 2 and len(sizes[0]) <= 2 and sizes[0][1:] in ([6], [0], [])


def _boxes_per_image(model: Any, constants: Mapping[str, Any]) -> int | None:
    """The limit after NMS: paddle2onnx writes the minimum of it and of the number of boxes left."""
    makers = {node.output[0]: node for node in model.graph.node}
    for node in model.graph.node:
        limits = makers.get(node.input[0]) if node.op_type == "ReduceMin" else None
        given = [name for name in limits.input if name in constants] if limits is not None else []
        if len(given) == 1:
            return int(number(constants, given[0]))
    return None


def _ending_in(model: Any, outputs: list[str]) -> Any:
    """The part of a graph that computes some of its inner values; their shapes are left open."""
    onnx = import_onnx()
    cut = copied(model)
    graph = cut.graph
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    del graph.output[:], graph.value_info[:]
    graph.output.extend(values)
    needed = drop_unread(graph)
    retain(graph.input, lambda value: value.name in needed)
    return cut


def _free_batch(model: Any) -> None:
    """Free the batch of a cut detector, unless something inside fixes it, and declare the shapes of its outputs."""
    is_free = all(shape[:1] == [2] for shape in output_shapes(model, 2))
    batch: int | str = "batch" if is_free else 1
    for value in model.graph.input:
        set_sizes(value, [batch, *sizes_of(value)[1:]])
    for value, shape in zip(model.graph.output, output_shapes(model, 1), strict=True):
        set_sizes(value, [batch, *shape[1:]])
