"""Inference runtimes behind one contract, :mod:`hpi.backends.base`.

Adding one takes one file and one line: here, or in another package as an entry point of the group ``hpi.backends``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from hpi.backends.base import Backend

    BACKENDS: MutableMapping[str, Backend]
    """Every known runtime by name. None is imported before it loads its first model."""


def __getattr__(name: str) -> object:
    """Make ``BACKENDS`` when it is first used: it needs NumPy, without which ``hpi doctor`` must still start."""
    if name != "BACKENDS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hpi.backends.onnxruntime import OnnxRuntime, OnnxRuntimeTensorRt
    from hpi.backends.openvino import OpenVino
    from hpi.backends.paddle import Paddle, PaddleTensorRt
    from hpi.backends.registry import Registry
    from hpi.backends.tensorrt import TensorRT

    built_in = [OnnxRuntime(), OpenVino(), Paddle(), TensorRT(), OnnxRuntimeTensorRt(), PaddleTensorRt()]
    return globals().setdefault(name, Registry(built_in))
