"""Writing an ONNX graph layer by layer, with random weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

OPSET = 13
IR_VERSION = 8
GAIN = 1.7
"""With weights that are so much larger than one over the root of their number, SiLU keeps the variance."""

Dimension = int | str


class GraphBuilder:
    """A graph under construction; tensors are known by their names.

    Args:
        seed: of the weights: the same graph has the same ones every time.

    Example:
        >>> builder = GraphBuilder(seed=0)
        >>> y = builder.conv("x", 3, 8, kernel=3, stride=2)
        >>> model = builder.model("tiny", {"x": ("N", 3, 32, 32)}, {y: ("N", 8, 16, 16)})
        >>> [node.op_type for node in model.graph.node]
        ['Conv', 'Sigmoid', 'Mul']
    """

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._nodes: list[Any] = []
        self._tensors: list[Any] = []

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """A node with one output, whose name is returned."""
        return self.add_split(operator, *inputs, outputs=[output or f"{operator}.{len(self._nodes)}"], **attributes)[0]

    def add_split(self, operator: str, *inputs: str, outputs: Sequence[str], **attributes: Any) -> list[str]:
        """A node with several outputs, whose names are returned."""
        self._nodes.append(helper.make_node(operator, inputs, outputs, f"node.{len(self._nodes)}", **attributes))
        return list(outputs)

    def constant(self, value: ArrayLike, dtype: type[np.generic] = np.float32) -> str:
        """A constant."""
        name = f"constant.{len(self._tensors)}"
        self._tensors.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def weights(self, *shape: int, inputs: int, gain: float = 1.0) -> str:
        """Normally distributed weights, for sums of so many inputs."""
        return self.constant(self._random.standard_normal(shape) * gain / np.sqrt(inputs))

    def conv(
        self, x: str, channels: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1, *, silu: bool = True
    ) -> str:
        """A convolution with padding, its batch normalisation in it, and SiLU."""
        inputs = channels // groups * kernel**2
        weights = self.weights(out, channels // groups, kernel, kernel, inputs=inputs, gain=GAIN if silu else 1)
        bias = self.weights(out, inputs=out)
        sides = [kernel] * 2
        y = self.add(
            "Conv", x, weights, bias, group=groups, kernel_shape=sides, strides=[stride] * 2, pads=[kernel // 2] * 4
        )
        return self.silu(y) if silu else y

    def linear(self, x: str, channels: int, out: int, output: str | None = None) -> str:
        """A linear layer without bias, on the last axis."""
        return self.add("MatMul", x, self.weights(channels, out, inputs=channels), output=output)

    def silu(self, x: str) -> str:
        """``x * sigmoid(x)``."""
        return self.add("Mul", x, self.add("Sigmoid", x))

    def reshape(self, x: str, *shape: int) -> str:
        """Another shape; 0 keeps a side, -1 is the rest."""
        return self.add("Reshape", x, self.constant(shape, np.int64))

    def model(
        self,
        name: str,
        inputs: Mapping[str, Sequence[Dimension]],
        outputs: Mapping[str, Sequence[Dimension]],
        integers: Collection[str] = (),
    ) -> Any:
        """The finished graph, checked; text in shapes is a free dimension. All is float32, but those that are int64."""
        takes, gives = (
            [
                helper.make_tensor_value_info(
                    end, TensorProto.INT64 if end in integers else TensorProto.FLOAT, list(shape)
                )
                for end, shape in of_these.items()
            ]
            for of_these in (inputs, outputs)
        )
        graph = helper.make_graph(self._nodes, name, takes, gives, self._tensors)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="hpi"
        )
        onnx.checker.check_model(model, full_check=True)
        return model
