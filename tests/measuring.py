"""A detector without weights whose input has any size, as PaddleDetection would export it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
import yaml

PREPROCESS = [
    {"type": "Resize", "interp": 2, "keep_ratio": True, "target_size": [320, 480]},
    {"type": "NormalizeImage", "is_scale": True, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    {"type": "Permute"},
    {"type": "PadStride", "stride": 32},
]

MEASURES = """
<ir_version: 8, opset_import: ["": 13]>
measures (float[N, 2] im_shape, float[N, 3, H, W] image, float[N, 2] scale_factor)
=> (float[M, 6] rows, int64[N] counts)
<int64[1] lines = {1}, int64[2] table = {-1, 6}, float none = {0.0}, float sure = {0.875}, float surer = {1.0},
 float two = {2.0}>
{
    levels = Abs (image)
    columns = ReduceMax <axes = [1, 2], keepdims = 0> (levels)
    down = ReduceMax <axes = [1, 3], keepdims = 0> (levels)
    column = Greater (columns, none)
    row = Greater (down, none)
    column_count = Cast <to = 1> (column)
    row_count = Cast <to = 1> (row)
    width = ReduceSum <keepdims = 1> (column_count, lines)
    height = ReduceSum <keepdims = 1> (row_count, lines)
    used = Concat <axis = 1> (height, width)
    used_of_image = Div (used, scale_factor)
    said_of_image = Div (im_shape, scale_factor)
    used_y, used_x = Split <axis = 1> (used_of_image)
    said_y, said_x = Split <axis = 1> (said_of_image)
    zero = Mul (used_x, none)
    one = Add (zero, surer)
    score = Add (zero, sure)
    pairs = Concat <axis = 1> (zero, score, zero, zero, used_x, used_y, one, one, zero, zero, said_x, said_y)
    rows = Reshape (pairs, table)
    number = Add (zero, two)
    numbers = Cast <to = 7> (number)
    counts = ReduceSum <keepdims = 0> (numbers, lines)
}
"""
"""A detector without weights. In each image it finds a person, as large as the part of the input that is not 0, and a
dog, as large as ``im_shape`` says."""


def write_yml(folder: Path, labels: Sequence[str]) -> None:
    """Write what PaddleDetection writes beside such a model."""
    content = {
        "mode": "paddle", "draw_threshold": 0.5, "metric": "COCO", "use_dynamic_shape": True, "arch": "YOLO",
        "min_subgraph_size": 3, "Preprocess": PREPROCESS, "label_list": list(labels),
    }  # fmt: skip
    (folder / "infer_cfg.yml").write_text(yaml.safe_dump(content, sort_keys=False))


def write_measuring(folder: Path) -> Path:
    """Write it to a folder, which is returned."""
    onnx.save(onnx.parser.parse_model(MEASURES), folder / "model.onnx")
    write_yml(folder, ["person", "dog"])
    return folder
