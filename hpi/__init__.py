"""hpi: high-performance inference for human keypoints.

    from hpi import Predictor

    with Predictor("human_keypoint_detection_lite") as predictor:
        for result in predictor.predict("people.jpg"):
            result.print()

Names are imported when they are first used, so that ``import hpi`` stays light and loads no runtime.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpi.compat.paddlex.api import create_model, create_pipeline
    from hpi.compat.paddlex.results import DetectionResult, KeypointResult
    from hpi.errors import (
        BackendError,
        ConfigError,
        ConfigNotFoundError,
        HpiError,
        InputError,
        InputNotFoundError,
        ModelError,
        ModelNotFoundError,
    )
    from hpi.instances import Frame, Instances, Skeleton
    from hpi.predictor import Predictor
    from hpi.results import Result

__all__ = [
    "BackendError",
    "ConfigError",
    "ConfigNotFoundError",
    "DetectionResult",
    "Frame",
    "HpiError",
    "InputError",
    "InputNotFoundError",
    "Instances",
    "KeypointResult",
    "ModelError",
    "ModelNotFoundError",
    "Predictor",
    "Result",
    "Skeleton",
    "create_model",
    "create_pipeline",
]

_HOMES = {
    "hpi.errors": (
        "BackendError",
        "ConfigError",
        "ConfigNotFoundError",
        "HpiError",
        "InputError",
        "InputNotFoundError",
        "ModelError",
        "ModelNotFoundError",
    ),
    "hpi.compat.paddlex.api": ("create_model", "create_pipeline"),
    "hpi.predictor": ("Predictor",),
    "hpi.compat.paddlex.results": ("DetectionResult", "KeypointResult"),
    "hpi.instances": ("Frame", "Instances", "Skeleton"),
    "hpi.results": ("Result",),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("hpi-pose")
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'hpi' has no attribute {name!r}")
