"""ONNX graphs that return what a test plants, whatever the image shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hpi.instances import Skeleton

from poses import pose


def save_planted(
    path: Path,
    outputs: Mapping[str, NDArray[np.generic]],
    shape: Sequence[int | str] = ("N", 3, 256, 192),
    *,
    name: str = "input",
    dtype: int = TensorProto.FLOAT,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Save a graph with one input for images, whose outputs are given values.

    Args:
        path: the file.
        outputs: of each output the value of one item, ``[1, ...]``; repeated for a batch whose size is free.
        shape: of the input; text is a free dimension.
        name: of the input.
        dtype: of the input, an enum of ONNX.
        metadata: what the file says of itself.
    """
    nodes = [
        helper.make_node("Cast", [name], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("Shape", ["as_float"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "one"], ["batch"]),
        # Depends on every pixel, so that no runtime drops the input.
        helper.make_node("ReduceSum", ["as_float"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "nothing"], ["none"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([0]), "zero"),
        numpy_helper.from_array(np.array([1]), "one"),
        numpy_helper.from_array(np.float32(0), "nothing"),
    ]
    for output, value in outputs.items():
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        constants.append(numpy_helper.from_array(value, f"{output}.one"))
        constants.append(numpy_helper.from_array(np.array(value.shape[1:], np.int64), f"{output}.rest"))
        nodes += [
            helper.make_node("Cast", ["none"], [f"{output}.none"], to=kind),
            helper.make_node("Add", [f"{output}.one", f"{output}.none"], [f"{output}.value"]),
            helper.make_node("Concat", ["batch", f"{output}.rest"], [f"{output}.shape"], axis=0),
            helper.make_node("Expand", [f"{output}.value", f"{output}.shape"], [output]),
        ]
    batch = shape[0]
    graph = helper.make_graph(
        nodes,
        "planted",
        [helper.make_tensor_value_info(name, dtype, list(shape))],
        [
            helper.make_tensor_value_info(
                output, helper.np_dtype_to_tensor_dtype(value.dtype), [batch, *value.shape[1:]]
            )
            for output, value in outputs.items()
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    for key, text in (metadata or {}).items():
        model.metadata_props.add(key=key, value=text)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def save_planted_pose(folder: Path, skeleton: Skeleton, size: tuple[int, int] = (192, 256)) -> NDArray[np.float32]:
    """Save a model that finds the same pose in every crop, and give it: ``[K, 3]``, x and y in pixels of the input."""
    points = (np.array(size) * (0.1 + 0.8 * pose(skeleton))).astype(np.float32)
    found = np.column_stack([points, np.linspace(0.5, 0.9, len(points), dtype=np.float32)])
    save_planted(folder / "model.onnx", {"keypoints": found[None]}, ("N", 3, *size[::-1]))
    description = {
        "transform": {"type": "top_down", "size": list(size), "padding": 1.0},
        "head": {"type": "keypoints"},
        "skeleton": skeleton.name,
    }
    (folder / "hpi.yml").write_text(yaml.safe_dump(description))
    return found
