"""OpenVINO on CPU, always at a stated precision."""

from __future__ import annotations

import threading
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
    Variant,
    import_runtime,
)
from hpi.backends.cpu import this_cpu
from hpi.backends.messages import essence
from hpi.backends.paddle_to_onnx import ReadsOnnx
from hpi.errors import BackendError

BUCKETS = (32, 16, 8, 4, 2, 1)
"""Batch sizes that a static session compiles for; a batch is split into the largest that fit."""

_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


class OpenVino(ReadsOnnx):
    """Intel's OpenVINO with its CPU plugin."""

    name = "openvino"
    package = "openvino"
    install = 'pip install "hpi-pose[openvino]"'

    def variants(self) -> tuple[Variant, ...]:  # noqa: D102
        precisions = ("fp32", "bf16") if this_cpu().has_bf16 else ("fp32",)
        return tuple(Variant(precision, static) for precision in precisions for static in (False, True))

    def open(self, graph: Path, options: SessionOptions) -> Session:  # noqa: D102
        return OpenVinoSession(graph, options.variant, options.thread_count)


class OpenVinoSession(Session):
    """A model compiled once, or with static batches once for each size, when that size is first needed.

    ``INFERENCE_PRECISION_HINT`` is always given: OpenVINO's default on a CPU with bf16 instructions is bf16, which
    moves PP-TinyPose's joints by up to 44 px.
    """

    def __init__(self, path: Path, variant: Variant, threads: int) -> None:
        ov = import_runtime(OpenVino.package, OpenVino.install)
        self._core = ov.Core()
        self._settings = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[variant.precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        self._compiling = threading.Lock()
        self._compiled: dict[int | None, _Compiled] = {}
        try:
            self._model: Any = self._core.read_model(str(path))
            inputs = tuple(_spec(port) for port in self._model.inputs)
            outputs = tuple(port.any_name for port in self._model.outputs)
            self._static = variant.static_batch
            first = self._compile(1 if self._static else None)
        except BackendError:
            raise
        except Exception as error:
            raise BackendError(f"openvino cannot load {path}: {essence(str(error))}") from error
        super().__init__(
            SessionInfo(
                backend=OpenVino.name,
                version=ov.__version__,
                device="cpu",
                precision=variant.precision,
                threads=first.model.get_property("INFERENCE_NUM_THREADS"),
                model_path=path,
                inputs=inputs,
                outputs=outputs,
                notes=("static batches",) if self._static else (),
            )
        )

    def _run(self, feeds: Mapping[str, Array]) -> list[Array]:
        if not self._static:
            return self._compile(None).run(feeds)
        count = len(next(iter(feeds.values())))
        parts, start = [], 0
        for size in split_batch(count):
            part = {name: array[start : start + size] for name, array in feeds.items()}
            parts.append(self._compile(size).run(part))
            start += size
        return parts[0] if len(parts) == 1 else [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def _compile(self, batch: int | None) -> _Compiled:
        with self._compiling:
            if batch not in self._compiled:
                model = self._model
                if batch is not None:
                    model = model.clone()
                    model.reshape({port.any_name: _with_batch(port, batch) for port in model.inputs})
                compiled = self._core.compile_model(model, "CPU", self._settings)
                _check_engaged(compiled, self._settings["INFERENCE_PRECISION_HINT"])
                self._compiled[batch] = _Compiled(compiled)
            return self._compiled[batch]

    def _release(self) -> None:
        self._model = None
        self._compiled = {}


class _Compiled:
    """A compiled model and as many infer requests as callers run it at once."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._idle: SimpleQueue[Any] = SimpleQueue()

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self.model.create_infer_request()
        outputs = list(request.infer(dict(feeds), share_inputs=True).to_tuple())
        self._idle.put(request)
        return outputs


def _check_engaged(compiled: Any, precision: object) -> None:
    devices = compiled.get_property("EXECUTION_DEVICES")
    engaged = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if devices != ["CPU"] or engaged != precision:
        raise BackendError(f"openvino engaged {devices} at {engaged} instead of CPU at {precision}")


def split_batch(count: int) -> list[int]:
    """Sizes of :data:`BUCKETS` that add up to a batch, largest first: 9 is 8 + 1."""
    sizes = []
    for size in BUCKETS:
        whole, count = divmod(count, size)
        sizes += [size] * whole
    return sizes


def _with_batch(port: Any, batch: int) -> list[int]:
    shape = [size.get_length() if size.is_static else -1 for size in port.partial_shape]
    return [batch, *shape[1:]]


def _spec(port: Any) -> TensorSpec:
    shape = tuple(size.get_length() if size.is_static else None for size in port.partial_shape)
    return TensorSpec(port.any_name, np.dtype(port.element_type.to_dtype()), shape)
