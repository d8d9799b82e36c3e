"""OpenVINO on CPU, always at a stated precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from hpi.backends.base import (
    Array,
    Session,
    SessionInfo,
    SessionOptions,
    TensorSpec,
    import_runtime,
)
from hpi.backends.messages import essence
from hpi.backends.paddle_to_onnx import ReadsOnnx
from hpi.errors import BackendError


class OpenVino(ReadsOnnx):
    """Intel's OpenVINO with its CPU plugin."""

    name = "openvino"
    package = "openvino"
    install = 'pip install "hpi-pose[openvino]"'

    def open(self, graph: Path, options: SessionOptions) -> Session:  # noqa: D102
        return OpenVinoSession(graph, options.thread_count)


class OpenVinoSession(Session):
    """One compiled model and as many infer requests as callers run it at once.

    ``INFERENCE_PRECISION_HINT`` is always given: OpenVINO's default on a CPU with bf16 instructions is bf16, which
    moves PP-TinyPose's joints by up to 44 px.
    """

    def __init__(self, path: Path, threads: int) -> None:
        ov = import_runtime(OpenVino.package, OpenVino.install)
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        try:
            compiled = ov.Core().compile_model(str(path), "CPU", settings)
        except Exception as error:
            raise BackendError(f"openvino cannot load {path}: {essence(str(error))}") from error
        devices = compiled.get_property("EXECUTION_DEVICES")
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if devices != ["CPU"] or precision != "f32":
            raise BackendError(f"openvino engaged {devices} at {precision} for {path.name} instead of CPU at f32")
        self._compiled: Any = compiled
        self._idle: SimpleQueue[Any] = SimpleQueue()
        super().__init__(
            SessionInfo(
                backend=OpenVino.name,
                version=ov.__version__,
                device="cpu",
                precision="fp32",
                threads=compiled.get_property("INFERENCE_NUM_THREADS"),
                model_path=path,
                inputs=tuple(_spec(port) for port in compiled.inputs),
                outputs=tuple(port.any_name for port in compiled.outputs),
            )
        )

    def _run(self, feeds: Mapping[str, Array]) -> list[Array]:
        compiled, idle = self._compiled, self._idle
        try:
            request = idle.get_nowait()
        except Empty:
            request = compiled.create_infer_request()
        outputs = list(request.infer(dict(feeds), share_inputs=True).to_tuple())
        idle.put(request)
        return outputs

    def _release(self) -> None:
        self._idle = SimpleQueue()
        self._compiled = None


def _spec(port: Any) -> TensorSpec:
    shape = tuple(size.get_length() if size.is_static else None for size in port.partial_shape)
    return TensorSpec(port.any_name, np.dtype(port.element_type.to_dtype()), shape)
