"""Inference runtimes behind one contract (:mod:`hpi.backends.base`); adding one is one file and one line here."""

from hpi.backends.base import Backend
from hpi.backends.onnxruntime import OnnxRuntime, OnnxRuntimeTensorRt
from hpi.backends.openvino import OpenVino
from hpi.backends.paddle import Paddle, PaddleTensorRt
from hpi.backends.tensorrt import TensorRT

BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (OnnxRuntime(), OpenVino(), Paddle(), TensorRT(), OnnxRuntimeTensorRt(), PaddleTensorRt())
}
"""Every known runtime by name. None is imported before it loads its first model."""
