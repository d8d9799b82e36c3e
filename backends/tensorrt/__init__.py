"""NVIDIA's TensorRT: an engine built for the very GPU it runs on, in the precision that the ONNX graph states."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from hpi.backends.base import ModelFiles, Session, SessionOptions, Variant, is_installed
from hpi.backends.gpu import INSTALL
from hpi.backends.paddle_to_onnx import ReadsOnnx
from hpi.backends.tensorrt.engine import MIXED
from hpi.backends.tensorrt.session import TensorRTSession

__all__ = ["TensorRT", "TensorRTSession"]

_ALSO_NEEDED = ("cupy", "onnx", "onnxconverter_common")


class TensorRT(ReadsOnnx):
    """TensorRT 10 and 11.

    Its options are scalar attributes of ``IBuilderConfig``, such as ``builder_optimization_level``.
    """

    name = "tensorrt"
    package = "tensorrt"
    install = INSTALL
    devices = ("gpu",)
    takes_options = True
    reserved_options: ClassVar[Mapping[str, str]] = {"flags": "precision=", "profile_stream": "device="}

    def variants(self, device: str = "gpu") -> tuple[Variant, ...]:  # noqa: D102
        return Variant("fp32"), Variant("fp16", MIXED), Variant("fp16")

    def arithmetic(self, variant: Variant) -> str:  # noqa: D102
        return str(variant)

    def unavailable(self, files: ModelFiles, options: SessionOptions) -> str | None:  # noqa: D102
        if reason := super().unavailable(files, options):
            return reason
        missing = [package for package in _ALSO_NEEDED if not is_installed(package)]
        return f"not installed: {', '.join(missing)}; {self.install}" if missing else None

    def open(self, files: ModelFiles, graph: Path, options: SessionOptions) -> Session:  # noqa: D102
        return TensorRTSession(self.name, files, graph, options)
