"""Graphs that find what a test plants, in the forms that rtmlib runs, and images for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray

from hpi.benchmarks.graphs.builder import GraphBuilder

from planted import save_planted

W, H = 192, 256
"""Sides of the inputs of keypoint models."""
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
"""What these subtract and divide by, in the order RGB."""
ABOVE = 10
"""So the values of :func:`save_channels` are above 0."""
PLACES = ((40, 100, 120, 300), (200, 100, 280, 300), (400, 100, 480, 300))
"""Where :func:`save_places` looks for people in an image of 640x640 pixels."""


def one_hot(keypoints: ArrayLike, bins: int, heights: ArrayLike) -> NDArray[np.float32]:
    """Vectors ``[1, K, bins]`` whose largest value, of a given height, is at the given bin."""
    places = np.asarray(keypoints)
    vectors = np.zeros((1, len(places), bins), np.float32)
    vectors[0, np.arange(len(places)), places] = heights
    return vectors


def save_simcc(path: Path, x: ArrayLike, y: ArrayLike, heights_x: float = 0.8, heights_y: float = 0.8) -> Path:
    """A SimCC graph that always finds these bins."""
    return save_planted(path, {"simcc_x": one_hot(x, 2 * W, heights_x), "simcc_y": one_hot(y, 2 * H, heights_y)})


def save_dets(path: Path, boxes: ArrayLike, labels: Sequence[int] | None = None, side: int = 320) -> Path:
    """A detector that always finds these rows (x1, y1, x2, y2, score)."""
    outputs: dict[str, NDArray[np.generic]] = {"dets": np.array([boxes], np.float32)}
    if labels is not None:
        outputs["labels"] = np.array([labels], np.int64)
    return save_planted(path, outputs, ("N", 3, side, side))


def save_rtmo(path: Path, dets: ArrayLike, keypoints: ArrayLike) -> Path:
    """An RTMO that always finds these people: rows (x1, y1, x2, y2, score) and ``[M, 17, 3]``."""
    outputs = {"dets": np.array([dets], np.float32), "keypoints": np.array([keypoints], np.float32)}
    return save_planted(path, outputs, ("N", 3, 640, 640))


def save_channels(path: Path) -> Path:
    """SimCC of three keypoints, each as high as its channel of the input is on average, plus :data:`ABOVE`."""
    builder = GraphBuilder(seed=0)
    mean = builder.add("ReduceMean", "input", axes=[2, 3], keepdims=0)
    heights = builder.add("Add", mean, builder.constant(ABOVE))
    column = builder.add("Unsqueeze", heights, builder.constant([2], np.int64))
    outputs = {"simcc_x": ("N", 3, 2 * W), "simcc_y": ("N", 3, 2 * H)}
    for name, (_, _, bins) in outputs.items():
        builder.add("Mul", column, builder.constant(one_hot([100] * 3, bins, 1)), output=name)
    onnx.save(builder.model("channels", {"input": ("N", 3, H, W)}, outputs), path)
    return path


def save_seeing(path: Path) -> Path:
    """Heatmaps that show the image itself: a bright spot is where the keypoint is."""
    builder = GraphBuilder(seed=0)
    spread, middle = (builder.constant(one.reshape(1, 3, 1, 1) / 255) for one in (STD, MEAN))
    levels = builder.add("Add", builder.add("Mul", "input", spread), middle)
    grey = builder.add("ReduceMean", levels, axes=[1], keepdims=1)
    scales = builder.constant([1, 1, 0.25, 0.25])
    builder.add(
        "Resize", grey, "", scales, output="heatmaps", mode="linear", coordinate_transformation_mode="align_corners"
    )
    model = builder.model("seeing", {"input": ("N", 3, H, W)}, {"heatmaps": ("N", 1, H // 4, W // 4)})
    onnx.save(model, path)
    return path


def spot(size: tuple[int, int], center: ArrayLike, sigma: float) -> NDArray[np.uint8]:
    """An image of a size (width, height) with a bright spot."""
    y, x = np.mgrid[: size[1], : size[0]]
    column, row = np.asarray(center)
    level = 250 * np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * sigma**2))
    return np.repeat(np.rint(level).astype(np.uint8)[..., None], 3, axis=2)


def save_places(path: Path, side: int = 640) -> Path:
    """A detector of people at the given places, each as sure as the place is bright."""
    builder = GraphBuilder(seed=0)
    rows = []
    for place in PLACES:
        x1, y1, x2, y2 = place
        starts, ends, axes = (builder.constant(one, np.int64) for one in ([y1, x1], [y2, x2], [2, 3]))
        mean = builder.add("ReduceMean", builder.add("Slice", "input", starts, ends, axes), axes=[1, 2, 3], keepdims=0)
        score = builder.reshape(builder.add("Mul", mean, builder.constant(1 / 255)), -1, 1, 1)
        nothing = builder.add("Mul", score, builder.constant(0))
        box = builder.add("Add", nothing, builder.constant(np.reshape(place, (1, 1, 4))))
        rows.append(builder.add("Concat", box, score, axis=2))
    builder.add("Concat", *rows, axis=1, output="dets")
    model = builder.model("places", {"input": ("N", 3, side, side)}, {"dets": ("N", len(PLACES), 5)})
    onnx.save(model, path)
    return path


def scene(who: Sequence[int], side: int = 640) -> NDArray[np.uint8]:
    """An image with people at some of the places."""
    image = np.zeros((side, side, 3), np.uint8)
    for one in who:
        x1, y1, x2, y2 = PLACES[one]
        image[y1:y2, x1:x2] = 255 - 20 * one
    return image
