"""Small graphs with the inputs and outputs of well-known families, for tests.

What they find means nothing, but it hangs smoothly on what the image shows, where, and in which colours: a place is a
random function of the image, and heatmaps and SimCC have their peak there. So two programs that run such a graph find
the same only where they prepare its input and read its outputs in the same way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from hpi.benchmarks.graphs.builder import Dimension, GraphBuilder

KEYPOINTS = 17
CANDIDATES = 6
"""Boxes before non-maximum suppression."""
CLASSES = 2
SIGMA = 2.0
"""Width of a peak, cells or pixels."""
STRIDES = (8, 16, 32)
_POOL, _FEATURES = 8, 64
_LEVELS = 1 / 64
"""Brings levels from 0 to 255 to the range of normalised ones."""

Size = tuple[int, int]


def simcc(size: Size, seed: int) -> Any:
    """RTMPose: ``input [N, 3, H, W]``, ``simcc_x [N, 17, 2 W]``, ``simcc_y [N, 17, 2 H]``; of each its own height.

    Example:
        >>> [output.name for output in simcc((64, 64), seed=0).graph.output]
        ['simcc_x', 'simcc_y']
    """
    builder = GraphBuilder(seed)
    features = _features(builder, "input", size)
    bins = {"simcc_x": 2 * size[0], "simcc_y": 2 * size[1]}
    for name, count in bins.items():
        builder.add("Mul", _height(builder, features), _peak(builder, features, count, 2 * SIGMA), output=name)
    return _model(builder, "simcc", size, {name: (KEYPOINTS, count) for name, count in bins.items()})


def vitpose(size: Size, seed: int) -> Any:
    """ViTPose: ``input [N, 3, H, W]``, ``heatmaps [N, 17, H / 4, W / 4]``.

    Example:
        >>> [side.dim_value for side in vitpose((192, 256), seed=0).graph.output[0].type.tensor_type.shape.dim]
        [0, 17, 64, 48]
    """
    builder = GraphBuilder(seed)
    features = _features(builder, "input", size)
    width, height = size[0] // 4, size[1] // 4
    columns = _peak(builder, features, width, SIGMA)
    rows = builder.add("Mul", _height(builder, features), _peak(builder, features, height, SIGMA))
    of_rows, of_columns = (
        builder.add("Unsqueeze", one, builder.constant([axis], np.int64)) for one, axis in ((rows, 3), (columns, 2))
    )
    builder.add("Mul", of_rows, of_columns, output="heatmaps")
    return _model(builder, "vitpose", size, {"heatmaps": (KEYPOINTS, height, width)})


def detector(size: Size, seed: int, *, levels: bool = False) -> Any:
    """RTMDet or YOLOX with its suppression: ``dets [N, M, 5]``, best first, and ``labels [N, M]``.

    Rows that are left over score 0.

    Args:
        size: (width, height) of the input, pixels.
        seed: of the weights.
        levels: whether the input has levels from 0 to 255 (YOLOX), or normalised ones (RTMDet).

    Example:
        >>> [output.name for output in detector((64, 64), seed=0).graph.output]
        ['dets', 'labels']
    """
    builder = GraphBuilder(seed)
    features = _features(builder, "input", size, levels=levels)
    boxes = _boxes(builder, features, size)
    classes = builder.linear(features, _FEATURES, CANDIDATES * CLASSES)
    labels = builder.add("ArgMax", builder.reshape(classes, 0, CANDIDATES, CLASSES), axis=2, keepdims=0)
    order = _suppressed(builder, boxes, "dets")
    builder.add("GatherElements", labels, order, axis=1, output="labels")
    outputs = {"dets": (CANDIDATES, 5), "labels": (CANDIDATES,)}
    return _model(builder, "detector", size, outputs, integers=["labels"])


def rtmo(size: Size, seed: int) -> Any:
    """RTMO with its suppression: ``dets [N, M, 5]`` and ``keypoints [N, M, 17, 3]``, of levels from 0 to 255.

    Example:
        >>> [output.name for output in rtmo((64, 64), seed=0).graph.output]
        ['dets', 'keypoints']
    """
    builder = GraphBuilder(seed)
    features = _features(builder, "input", size, levels=True)
    boxes = _boxes(builder, features, size)
    places = _between(builder, _reshaped(builder, features, CANDIDATES, KEYPOINTS, 3), 0.5, 0.4)
    spread = builder.constant([*size, 1])
    order = _suppressed(builder, boxes, "dets")
    points = builder.reshape(builder.add("Mul", places, spread), 0, CANDIDATES, KEYPOINTS * 3)
    chosen = _rows(builder, points, order, KEYPOINTS * 3)
    builder.add("Reshape", chosen, builder.constant([0, CANDIDATES, KEYPOINTS, 3], np.int64), output="keypoints")
    return _model(builder, "rtmo", size, {"dets": (CANDIDATES, 5), "keypoints": (CANDIDATES, KEYPOINTS, 3)})


def yolox_raw(size: Size, seed: int) -> Any:
    """YOLOX without suppression: ``output [N, A, 5 + C]``: place and size to be decoded, then two kinds of scores.

    Example:
        >>> [side.dim_value for side in yolox_raw((64, 64), seed=0).graph.output[0].type.tensor_type.shape.dim]
        [0, 84, 7]
    """
    builder = GraphBuilder(seed)
    features = _features(builder, "input", size, levels=True)
    anchors = sum(size[0] // stride * (size[1] // stride) for stride in STRIDES)
    raw = _reshaped(builder, features, anchors, 5 + CLASSES)
    parts = [4, 1 + CLASSES]
    places, logits = builder.add_split(
        "Split", raw, builder.constant(parts, np.int64), outputs=["places", "logits"], axis=2
    )
    builder.add("Concat", places, builder.add("Sigmoid", logits), axis=2, output="output")
    return _model(builder, "yolox", size, {"output": (anchors, 5 + CLASSES)})


def _features(builder: GraphBuilder, x: str, size: Size, *, levels: bool = False) -> str:
    """``[N, 64]`` numbers from -1 to 1 that say what is where in the image."""
    if levels:
        x = builder.add("Mul", x, builder.constant(_LEVELS))
    x = builder.add("AveragePool", x, kernel_shape=[_POOL] * 2, strides=[_POOL] * 2)
    for before in (3, 16):
        x = builder.conv(x, before, 16, kernel=3, stride=2)
    cells = size[0] // (4 * _POOL) * (size[1] // (4 * _POOL))
    return builder.add("Tanh", builder.linear(builder.reshape(x, 0, -1), 16 * cells, _FEATURES))


def _reshaped(builder: GraphBuilder, features: str, *shape: int) -> str:
    return builder.reshape(builder.linear(features, _FEATURES, int(np.prod(shape))), 0, *shape)


def _between(builder: GraphBuilder, x: str, middle: float, reach: float) -> str:
    """Numbers that are at most so far from a middle."""
    scaled = builder.add("Mul", builder.add("Tanh", x), builder.constant(reach))
    return builder.add("Add", scaled, builder.constant(middle))


def _height(builder: GraphBuilder, features: str) -> str:
    return _between(builder, _reshaped(builder, features, KEYPOINTS, 1), 0.6, 0.35)


def _peak(builder: GraphBuilder, features: str, bins: int, sigma: float) -> str:
    """``[N, 17, bins]``: a Gaussian of height 1 for each keypoint, not close to an end."""
    place = _between(builder, _reshaped(builder, features, KEYPOINTS, 1), 0.5 * bins, 0.35 * bins)
    off = builder.add("Sub", builder.constant(np.arange(bins)), place)
    return builder.add("Exp", builder.add("Mul", builder.add("Mul", off, off), builder.constant(-0.5 / sigma**2)))


def _boxes(builder: GraphBuilder, features: str, size: Size) -> str:
    """``[N, M, 5]``: x1, y1, x2, y2 in pixels of the input, and a score."""
    middle = _between(builder, _reshaped(builder, features, CANDIDATES, 2), 0.5, 0.35)
    half = _between(builder, _reshaped(builder, features, CANDIDATES, 2), 0.15, 0.1)
    score = _between(builder, _reshaped(builder, features, CANDIDATES, 1), 0.6, 0.39)
    corners = builder.add("Concat", builder.add("Sub", middle, half), builder.add("Add", middle, half), axis=2)
    return builder.add("Concat", builder.add("Mul", corners, builder.constant([*size, *size])), score, axis=2)


def _suppressed(builder: GraphBuilder, boxes: str, output: str) -> str:
    """Writes the boxes, best first, the score of those that are dropped 0; returns ``[N, M]``: the row of each."""
    corners, score = builder.add_split(
        "Split", boxes, builder.constant([4, 1], np.int64), outputs=["corners", "score"], axis=2
    )
    by_class = builder.add("Transpose", score, perm=[0, 2, 1])
    most = builder.constant([CANDIDATES], np.int64)
    kept = builder.add("NonMaxSuppression", corners, by_class, most, builder.constant([0.6]), builder.constant([0.05]))
    flat = builder.add("Squeeze", score, builder.constant([2], np.int64))
    where = builder.add("Gather", kept, builder.constant([0, 2], np.int64), axis=1)
    nothing = builder.add("Mul", flat, builder.constant(0))
    alive = builder.add("GatherND", flat, where)
    final = builder.add("ScatterND", nothing, where, alive)
    best, order = builder.add_split("TopK", final, most, outputs=["best", "order"], axis=1)
    best = builder.add("Unsqueeze", best, builder.constant([2], np.int64))
    builder.add("Concat", _rows(builder, corners, order, 4), best, axis=2, output=output)
    return order


def _rows(builder: GraphBuilder, values: str, order: str, width: int) -> str:
    """``values [N, M, width]`` in the order ``[N, M]``."""
    column = builder.add("Unsqueeze", order, builder.constant([2], np.int64))
    every = builder.add("Expand", column, builder.constant([1, 1, width], np.int64))
    return builder.add("GatherElements", values, every, axis=1)


def _model(
    builder: GraphBuilder, name: str, size: Size, outputs: Mapping[str, tuple[int, ...]], integers: Collection[str] = ()
) -> Any:
    ends: dict[str, tuple[Dimension, ...]] = {one: ("N", *shape) for one, shape in outputs.items()}
    return builder.model(name, {"input": ("N", 3, size[1], size[0])}, ends, integers)
