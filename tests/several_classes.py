"""Exports RTMDet-nano as PaddleDetection exports detectors, with three classes; run as a process of its own.

    python several_classes.py GRAPH.onnx FOLDER

The folder gets ``model.json`` and ``model.pdiparams``: inputs ``im_shape``, ``image`` of any size and ``scale_factor``,
non-maximum suppression in the graph, boxes in pixels of the image. Class 0 are people; each is also found as class 1,
with a higher score, and as class 2, with half the score.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import paddle
from onnx import numpy_helper
from paddle.nn import functional

STRIDES = (8, 16, 32)


def network(graph: onnx.GraphProto, image: paddle.Tensor) -> list[paddle.Tensor]:
    """The outputs of an ONNX graph, with its nodes as operators of Paddle."""
    values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    values[graph.input[0].name] = image
    for node in graph.node:
        attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        if node.op_type == "Constant":
            values[node.output[0]] = numpy_helper.to_array(attributes["value"])
            continue
        values[node.output[0]] = operator(node.op_type, [values[name] for name in node.input if name], attributes)
    return [values[one.name] for one in graph.output]


def operator(kind: str, inputs: list, attributes: dict) -> paddle.Tensor:
    """One node."""
    first = inputs[0]
    match kind:
        case "Conv":
            weight, *bias = map(weights, inputs[1:])
            pads = attributes.get("pads", [0, 0, 0, 0])
            stride, groups = attributes.get("strides", [1, 1]), attributes.get("group", 1)
            return functional.conv2d(first, weight, *bias, stride=stride, padding=pads[:2], groups=groups)
        case "Mul" | "Add":
            left, right = (one if isinstance(one, paddle.pir.Value) else weights(one) for one in inputs)
            return left * right if kind == "Mul" else left + right
        case "Sigmoid":
            return functional.sigmoid(first)
        case "HardSigmoid":
            return functional.hardsigmoid(first, slope=attributes.get("alpha", 0.2), offset=attributes.get("beta", 0.5))
        case "Concat":
            return paddle.concat(inputs, axis=attributes["axis"])
        case "GlobalAveragePool":
            return functional.adaptive_avg_pool2d(first, 1)
        case "MaxPool":
            size, pads = attributes["kernel_shape"], attributes["pads"]
            return functional.max_pool2d(first, size, attributes["strides"], pads[:2])
        case "Transpose":
            return first.transpose(attributes["perm"])
        case "Resize":
            return functional.interpolate(first, scale_factor=2, mode="nearest")
    raise NotImplementedError(kind)


def weights(array: np.ndarray) -> paddle.Tensor:
    """A parameter of the program; a number for a single one."""
    if array.ndim == 0:
        return float(array)
    initializer = paddle.nn.initializer.Assign(array)
    return paddle.create_parameter(array.shape, "float32", default_initializer=initializer)


def detections(
    heads: list[paddle.Tensor], im_shape: paddle.Tensor, scale_factor: paddle.Tensor
) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Rows (class, score, x1, y1, x2, y2), inside the image, and their number for each image."""
    every_box, every_score = [], []
    for stride, head in zip(STRIDES, heads, strict=True):
        height, width = paddle.shape(head)[1], paddle.shape(head)[2]
        down, across = paddle.meshgrid(paddle.arange(height), paddle.arange(width))
        corners = paddle.stack([across, down, across, down], axis=-1).astype("float32") * stride
        boxes = corners.unsqueeze(0) + head[..., 1:] * paddle.assign(np.array([-1, -1, 1, 1], np.float32))
        every_box.append(boxes.reshape([0, -1, 4]))
        every_score.append(functional.sigmoid(head[..., :1]).reshape([0, -1, 1]))
    boxes, person = paddle.concat(every_box, axis=1), paddle.concat(every_score, axis=1)
    scale = paddle.concat([scale_factor[:, 1:], scale_factor[:, :1]] * 2, axis=1).unsqueeze(1)
    size = paddle.concat([im_shape[:, 1:], im_shape[:, :1]] * 2, axis=1).unsqueeze(1)
    boxes = paddle.minimum(paddle.maximum(boxes, paddle.zeros_like(size)), size) / scale
    scores = paddle.concat([person, person**0.9, person * 0.5], axis=-1).transpose([0, 2, 1])
    rows, _, counts = paddle._C_ops.multiclass_nms3(boxes, scores, None, 0.05, 1000, 100, 0.6, True, 1.0, -1)
    return rows, counts


def main(graph: str, folder: Path) -> None:
    """Write the model."""
    paddle.enable_static()
    program, start = paddle.static.Program(), paddle.static.Program()
    with paddle.static.program_guard(program, start):
        im_shape = paddle.static.data("im_shape", [None, 2])
        image = paddle.static.data("image", [None, 3, None, None])
        scale_factor = paddle.static.data("scale_factor", [None, 2])
        heads = network(onnx.load(graph).graph, paddle.flip(image, axis=[1]))  # it takes BGR
        rows, counts = detections(heads, im_shape, scale_factor)
        executor = paddle.static.Executor(paddle.CPUPlace())
        executor.run(start)
        folder.mkdir(parents=True, exist_ok=True)
        paddle.static.save_inference_model(
            str(folder / "model"), [im_shape, image, scale_factor], [rows, counts], executor, program=program
        )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
