"""ONNX Runtime: the embedded default, and the reference that other runtimes are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hpi.backends.base import (
    Array,
    Feeds,
    ModelFiles,
    Session,
    SessionInfo,
    SessionOptions,
    TensorSpec,
    Variant,
    import_runtime,
)
from hpi.backends.messages import essence
from hpi.backends.paddle_to_onnx import ReadsOnnx
from hpi.errors import BackendError

_DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}


class OnnxRuntime(ReadsOnnx):
    """Microsoft's ONNX Runtime with its CPU execution provider."""

    name = "onnxruntime"
    package = "onnxruntime"
    install = "pip install onnxruntime"
    trust = 1

    def open(self, files: ModelFiles, graph: Path, options: SessionOptions) -> Session:  # noqa: D102
        return OnnxRuntimeSession(graph, options.thread_count)


class OnnxRuntimeSession(Session):
    """One ``InferenceSession``; ONNX Runtime lets any number of threads call it at once."""

    def __init__(self, path: Path, threads: int) -> None:
        ort = import_runtime(OnnxRuntime.package, OnnxRuntime.install)
        wanted = ["CPUExecutionProvider"]
        try:
            self._session: Any = ort.InferenceSession(str(path), session_options(ort, threads), providers=wanted)
        except Exception as error:
            raise BackendError(f"onnxruntime cannot load {path}: {essence(str(error))}") from error
        engaged = self._session.get_providers()
        if engaged != wanted:
            raise BackendError(f"onnxruntime engaged {engaged} for {path.name} instead of {wanted}")
        super().__init__(
            SessionInfo(
                backend=OnnxRuntime.name,
                version=ort.__version__,
                device="cpu",
                variant=Variant(),
                threads=threads,
                model_path=path,
                inputs=tuple(_spec(path, value) for value in self._session.get_inputs()),
                outputs=tuple(value.name for value in self._session.get_outputs()),
            )
        )

    def _run(self, feeds: Feeds) -> list[Array]:
        outputs: list[Array] = self._session.run(None, dict(feeds))
        return outputs

    def _release(self) -> None:
        self._session = None


def session_options(ort: Any, threads: int) -> Any:
    """ONNX Runtime's own options of a session on so many threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors are raised too
    # Its threads spin for work between the operators of a run, but not after it: there they would take the cores from
    # the model that runs next (another runtime's pose model behind this one's detector: half the speed).
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _spec(path: Path, value: object) -> TensorSpec:
    name, kind, shape = value.name, value.type, value.shape  # type: ignore[attr-defined]
    if kind not in _DTYPES:
        raise BackendError(f"{path}: input {name!r} is of type {kind}; known are {', '.join(_DTYPES)}")
    return TensorSpec(name, np.dtype(_DTYPES[kind]), tuple(d if isinstance(d, int) else None for d in shape))
