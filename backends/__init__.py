"""Inference runtimes behind one contract, :mod:`hpi.backends.base`.

Adding one takes one file and one line: here, or in another package as an entry point of the group ``hpi.backends``.
"""

from collections.abc import MutableMapping

from hpi.backends.base import Backend
from hpi.backends.onnxruntime import OnnxRuntime, OnnxRuntimeTensorRt
from hpi.backends.openvino import OpenVino
from hpi.backends.paddle import Paddle, PaddleTensorRt
from hpi.backends.registry import Registry
from hpi.backends.tensorrt import TensorRT

BACKENDS: MutableMapping[str, Backend] = Registry(
    [OnnxRuntime(), OpenVino(), Paddle(), TensorRT(), OnnxRuntimeTensorRt(), PaddleTensorRt()]
)
"""Every known runtime by name. None is imported before it loads its first model."""
