"""A bottom-up model that sees dots: what a network would have to learn, written into a small graph.

The red of a dot says which keypoint it is, its green whose, its blue how clear it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from numpy.typing import NDArray

KEYPOINTS = 17
RED, GREEN = 12, 20
"""Levels between one keypoint, or one person, and the next."""
SIDE = 64

_HEAD = '<ir_version: 8, opset_import: ["": 13]>'
_MAPS = """
    red = Slice (image, zero, one, channel)
    green = Slice (image, one, two, channel)
    blue = Slice (image, two, three, channel)
    off = Sub (red, codes)
    far = Abs (off)
    step = Div (far, reach)
    near = Sub (one_f, step)
    match = Relu (near)
    heatmap = Mul (match, blue)
    tag = Div (green, gap)
    every = Expand (tag, keypoints)
    tagmap = Unsqueeze (every, last)
"""
_PEAKS = """
    highest = MaxPool <kernel_shape = [5, 5], pads = [2, 2, 2, 2]> (heatmap)
    is_peak = Equal (heatmap, highest)
    peak = Cast <to = 1> (is_peak)
    peaks = Mul (heatmap, peak)
    flat = Reshape (peaks, rows)
    heat_k, inds_k = TopK <axis = 2> (flat, most)
"""
_CONSTANTS = {
    "zero": np.array([0]), "one": np.array([1]), "two": np.array([2]), "three": np.array([3]), "channel": np.array([1]),
    "codes": np.float32(RED * np.arange(1, KEYPOINTS + 1) / 255).reshape(1, -1, 1, 1),
    "reach": np.float32([RED / 3 / 255]), "one_f": np.float32([1]), "gap": np.float32([GREEN / 2 / 255]),
    "keypoints": np.array([1, KEYPOINTS, 1, 1]), "last": np.array([4]),
    "rows": np.array([1, KEYPOINTS, -1]), "most": np.array([30]),
}  # fmt: skip


def graph(*, peaks: bool = True, batch: str = "N", sides: str = "H, W") -> Any:
    """The graph; with ``peaks`` as PaddleDetection exports it, for one image."""
    maps = f"float[N, {KEYPOINTS}, H, W] heatmap, float[N, {KEYPOINTS}, H, W, 1] tagmap"
    more = f", float[1, {KEYPOINTS}, 30] heat_k, int64[1, {KEYPOINTS}, 30] inds_k" if peaks else ""
    body = _MAPS + (_PEAKS if peaks else "")
    model = onnx.parser.parse_model(f"{_HEAD} dots (float[{batch}, 3, {sides}] image) => ({maps}{more}) {{ {body} }}")
    used = {name for node in model.graph.node for name in node.input}
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in _CONSTANTS.items() if name in used]
    model.graph.initializer.extend(tensors)
    return model


def save(folder: Path, model: Any | None = None, **fields: Any) -> Path:
    """A folder with the model and its yml, with further fields."""
    folder.mkdir(exist_ok=True)
    onnx.save(graph() if model is None else model, folder / "model.onnx")
    steps = [
        {"type": "EvalAffine", "size": SIDE},
        {"type": "NormalizeImage", "mean": [0, 0, 0], "std": [1, 1, 1], "is_scale": True},
        {"type": "Permute"},
    ]
    content = {"arch": "HigherHRNet", "metric": "COCO", "draw_threshold": 0.5, "Preprocess": steps, **fields}
    (folder / "infer_cfg.yml").write_text(yaml.safe_dump(content))
    return folder


def people(rng: np.random.Generator, count: int, size: tuple[int, int], seen: float = 0.9) -> NDArray[np.float32]:
    """``[count, K, 3]``: x, y and score of keypoints, each three cells from any other; those not seen score 0."""
    columns, rows = size[0] // 3, size[1] // 3
    cells = rng.permutation(columns * rows)[: count * KEYPOINTS].reshape(count, KEYPOINTS)
    scores = np.where(rng.random(cells.shape) < seen, rng.integers(110, 250, cells.shape) / 255, 0)
    scores[:, 0] = 1  # nobody is without
    return np.stack([3 * (cells % columns) + 1, 3 * (cells // columns) + 1, scores], axis=-1).astype(np.float32)


def paint(everyone: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The image ``[H, W, 3]`` BGR of people."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for person, keypoints in enumerate(everyone):
        for keypoint, (x, y, score) in enumerate(keypoints):
            if score > 0:
                image[int(y), int(x)] = round(255 * float(score)), GREEN * (person + 1), RED * (keypoint + 1)
    return image


def constant(maps: Any) -> Any:
    """A graph that finds the same in every image: ``heatmap``, ``tagmap``, ``heat_k`` and ``inds_k`` of one image."""
    names = ("heatmap", "tagmap", "heat_k")
    shapes = {name: ", ".join(map(str, maps[name].shape[1:])) for name in (*names, "inds_k")}
    outputs = ", ".join(f"float[N, {shapes[name]}] {name}" for name in names) + f", int64[N, {shapes['inds_k']}] inds_k"
    lines = [f"shift_{name} = Reshape (nothing, as_{name}) {name} = Add (shift_{name}, all_{name})" for name in names]
    body = f"""
        mean = ReduceMean <axes = [1, 2, 3], keepdims = 0> (image)
        nothing = Mul (mean, no)
        {" ".join(lines)}
        whole = Cast <to = 7> (nothing)
        shift = Reshape (whole, as_heat_k)
        inds_k = Add (shift, all_inds_k)
    """
    model = onnx.parser.parse_model(f"{_HEAD} constant (float[N, 3, H, W] image) => ({outputs}) {{ {body} }}")
    values = {"no": np.float32([0])}
    values |= {f"as_{name}": np.array([-1, *(1 for _ in maps[name].shape[1:])]) for name in names}
    values |= {f"all_{name}": maps[name] for name in (*names, "inds_k")}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in values.items())
    return model
