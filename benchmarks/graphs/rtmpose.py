"""RTMPose: the backbone CSPNeXt with the head RTMCC, in the form in which mmdeploy exports it, with random weights.

The architecture is that of the paper (Jiang et al., RTMPose, 2023) and of mmpose's configurations, such as
``rtmpose-m_8xb256-420e_coco-256x192``; what a network of this kind costs does not depend on its weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpi.benchmarks.graphs.builder import GraphBuilder

STRIDE = 32
SPLIT = 2
"""Bins of SimCC a pixel."""
HIDDEN, ATTENTION, EXPANSION = 256, 128, 2
"""Of the gated attention unit: width of its tokens, of its queries and keys, and how much wider the gate is."""
STAGES = ((128, 3, True), (256, 6, True), (512, 6, True), (1024, 3, False))
"""Channels, blocks, and whether a block adds its input; before ``widen`` and ``deepen``."""
POOLS = (5, 9, 13)


@dataclass(frozen=True)
class RtmPose:
    """A network of the family.

    Attributes:
        size: (width, height) of the input, pixels.
        keypoints: how many it finds.
        deepen: factor of the numbers of blocks.
        widen: factor of the numbers of channels.

    Example:
        >>> tiny = RtmPose(size=(64, 64), keypoints=5, deepen=0.1, widen=0.0625).build(seed=0)
        >>> [output.name for output in tiny.graph.output]
        ['simcc_x', 'simcc_y']
    """

    size: tuple[int, int] = (192, 256)
    keypoints: int = 17
    deepen: float = 0.67
    widen: float = 0.75

    def build(self, seed: int) -> Any:
        """The graph: ``input [N, 3, H, W]``, ``simcc_x [N, K, 2 W]`` and ``simcc_y [N, K, 2 H]``, all float32."""
        builder = GraphBuilder(seed)
        width, height = self.size
        features, channels = self._backbone(builder, "input")
        tokens = self._tokens(builder, features, channels)
        tokens = _gated_attention(builder, tokens)
        ends = {"simcc_x": width * SPLIT, "simcc_y": height * SPLIT}
        for name, bins in ends.items():
            builder.linear(tokens, HIDDEN, bins, output=name)
        outputs = {name: ("N", self.keypoints, bins) for name, bins in ends.items()}
        return builder.model("rtmpose", {"input": ("N", 3, height, width)}, outputs)

    def _backbone(self, builder: GraphBuilder, x: str) -> tuple[str, int]:
        """CSPNeXt: the features of the last stage, and their channels."""
        channels = self._wide(64)
        for before, after, stride in ((3, channels // 2, 2), (channels // 2,) * 2 + (1,), (channels // 2, channels, 1)):
            x = builder.conv(x, before, after, kernel=3, stride=stride)
        for number, (after, blocks, adds) in enumerate(STAGES):
            x = builder.conv(x, channels, self._wide(after), kernel=3, stride=2)
            channels = self._wide(after)
            if number == len(STAGES) - 1:
                x = _pyramid_pooling(builder, x, channels)
            x = _csp_layer(builder, x, channels, max(round(blocks * self.deepen), 1), adds=adds)
        return x, channels

    def _wide(self, channels: int) -> int:
        return int(channels * self.widen)

    def _tokens(self, builder: GraphBuilder, x: str, channels: int) -> str:
        """A token for each keypoint, ``[N, K, HIDDEN]``, from its map."""
        cells = self.size[0] // STRIDE * (self.size[1] // STRIDE)
        x = builder.conv(x, channels, self.keypoints, kernel=7, silu=False)
        x = _scale_norm(builder, builder.reshape(x, 0, 0, -1), cells)
        return builder.linear(x, cells, HIDDEN)


def _pyramid_pooling(builder: GraphBuilder, x: str, channels: int) -> str:
    x = builder.conv(x, channels, channels // 2)
    pools = [builder.add("MaxPool", x, kernel_shape=[side] * 2, strides=[1, 1], pads=[side // 2] * 4) for side in POOLS]
    joined = builder.add("Concat", x, *pools, axis=1)
    return builder.conv(joined, channels // 2 * (len(pools) + 1), channels)


def _csp_layer(builder: GraphBuilder, x: str, channels: int, blocks: int, *, adds: bool) -> str:
    """Two branches, one of them through blocks, weighted by the attention of their channels and joined."""
    half = channels // 2
    short, main = builder.conv(x, channels, half), builder.conv(x, channels, half)
    for _ in range(blocks):
        main = _block(builder, main, half, adds=adds)
    joined = builder.add("Concat", main, short, axis=1)
    return builder.conv(_attended(builder, joined, 2 * half), 2 * half, channels)


def _block(builder: GraphBuilder, x: str, channels: int, *, adds: bool) -> str:
    y = builder.conv(x, channels, channels, kernel=3)
    y = builder.conv(y, channels, channels, kernel=5, groups=channels)
    y = builder.conv(y, channels, channels)
    return builder.add("Add", x, y) if adds else y


def _attended(builder: GraphBuilder, x: str, channels: int) -> str:
    mean = builder.add("GlobalAveragePool", x)
    weight = builder.conv(mean, channels, channels, silu=False)
    return builder.add("Mul", x, builder.add("HardSigmoid", weight, alpha=1 / 6, beta=0.5))


def _scale_norm(builder: GraphBuilder, x: str, channels: int) -> str:
    """``x`` over its root mean square, times a weight."""
    length = builder.add("ReduceL2", x, axes=[-1], keepdims=1)
    root_mean_square = builder.add("Mul", length, builder.constant(channels**-0.5))
    bounded = builder.add("Clip", root_mean_square, builder.constant(1e-5))
    return builder.add("Mul", builder.add("Div", x, bounded), builder.constant([1]))


def _gated_attention(builder: GraphBuilder, x: str) -> str:
    """The gated attention unit between the tokens of the keypoints."""
    wide = HIDDEN * EXPANSION
    everything = builder.silu(builder.linear(_scale_norm(builder, x, HIDDEN), HIDDEN, 2 * wide + ATTENTION))
    sizes: Sequence[int] = (wide, wide, ATTENTION)
    gate, value, base = builder.add_split(
        "Split", everything, builder.constant(sizes, np.int64), outputs=["gate", "value", "base"], axis=-1
    )
    query, key = (
        builder.add(
            "Add", builder.add("Mul", base, builder.weights(ATTENTION, inputs=1)), builder.constant([0.0] * ATTENTION)
        )
        for _ in range(2)
    )
    alike = builder.add("MatMul", query, builder.add("Transpose", key, perm=[0, 2, 1]))
    near = builder.add("Relu", builder.add("Div", alike, builder.constant(ATTENTION**0.5)))
    attended = builder.add("MatMul", builder.add("Mul", near, near), value)
    y = builder.linear(builder.add("Mul", gate, attended), wide, HIDDEN)
    return builder.add("Add", builder.add("Mul", x, builder.constant([1.0] * HIDDEN)), y)
