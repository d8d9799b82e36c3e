"""The inputs and outputs of the pipeline as a model of Triton, and what else both sides of its folder agree on."""

from __future__ import annotations

from typing import Any

from hpi.export.triton.config_text import Name

IMAGE, ENCODED, THRESHOLD = "image", "encoded", "threshold"
BOXES, SCORES, KEYPOINTS = "boxes", "scores", "keypoints"

NATIVE = "native"
"""Parameter of the configuration: what the server runs the models on; absent where the Python process runs them."""
PIPELINE_FILE = "pipeline.yaml"
"""The pipeline, beside ``model.py``."""

TYPES = {
    "bool": "TYPE_BOOL", "uint8": "TYPE_UINT8", "int8": "TYPE_INT8", "int16": "TYPE_INT16", "int32": "TYPE_INT32",
    "int64": "TYPE_INT64", "float16": "TYPE_FP16", "float32": "TYPE_FP32", "float64": "TYPE_FP64",
    "bfloat16": "TYPE_BF16", "bytes": "TYPE_STRING",
}  # fmt: skip
"""Triton's names for types, by NumPy's."""


def tensor(name: str, dtype: str, dims: list[int], **fields: Any) -> dict[str, Any]:
    """An input or output of a configuration.

    Example:
        >>> tensor("boxes", "float32", [-1, 4])
        {'name': 'boxes', 'data_type': 'TYPE_FP32', 'dims': [-1, 4]}
    """
    return {"name": name, "data_type": Name(TYPES[dtype]), "dims": dims, **fields}


def pipeline_inputs() -> list[dict[str, Any]]:
    """Those of the pipeline: an image as pixels or as a file, and a threshold.

    A tensor has one type in Triton, so pixels and a file have a name each. Images of all sizes may share a batch.

    Example:
        >>> [one["name"] for one in pipeline_inputs()]
        ['image', 'encoded', 'threshold']
    """
    optional = {"optional": True, "allow_ragged_batch": True}
    return [
        tensor(IMAGE, "uint8", [-1, -1, 3], **optional),
        tensor(ENCODED, "bytes", [1], **optional),
        tensor(THRESHOLD, "float32", [1], **optional),
    ]


def pipeline_outputs(keypoints: int) -> list[dict[str, Any]]:
    """Those of the pipeline: a row for each person.

    Args:
        keypoints: how many a person has.

    Example:
        >>> [(one["name"], one["dims"]) for one in pipeline_outputs(17)]
        [('boxes', [-1, 4]), ('scores', [-1]), ('keypoints', [-1, 17, 3])]
    """
    return [
        tensor(BOXES, "float32", [-1, 4]),
        tensor(SCORES, "float32", [-1]),
        tensor(KEYPOINTS, "float32", [-1, keypoints, 3]),
    ]
