"""Models that the Triton server runs itself, as a runtime of this process.

Triton's Python backend calls it Business Logic Scripting: a Python model sends requests to other models of its server.
This works only while it answers a request itself, not while it is loaded.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from hpi.backends.base import (
    Array,
    Backend,
    Feeds,
    ModelFiles,
    Session,
    SessionInfo,
    SessionOptions,
    TensorSpec,
    Variant,
    with_batch_of,
)
from hpi.backends.onnx_header import read_header
from hpi.errors import BackendError

MODULE = "triton_python_backend_utils"
"""What Triton's Python backend offers to the models that run in it; it exists only there."""


class NativeModels(Backend):
    """The native models of a Triton server, by the names of the models.

    It is always validated against the reference: what runs the graphs there is not known here.

    Args:
        runtime: what the server runs them on, such as ``"onnxruntime on gpu"``; verdicts hang on it.

    Example:
        >>> NativeModels("onnxruntime on cpu").cannot_read(ModelFiles("mine"))
        'there is no ONNX file beside it'
    """

    name = "triton"
    package = MODULE
    install = "it works only in the Python backend of a Triton server"

    def __init__(self, runtime: str) -> None:
        self._runtime = runtime

    def is_doubtful(self, variant: Variant, device: str) -> bool:  # noqa: D102
        return True

    def cannot_read(self, files: ModelFiles) -> str | None:  # noqa: D102
        return None if files.onnx else "there is no ONNX file beside it"

    def load(self, files: ModelFiles, options: SessionOptions) -> Session:  # noqa: D102
        assert files.onnx is not None  # as cannot_read makes sure
        version = f"{self._runtime}, server {os.environ.get('NVIDIA_TRITON_SERVER_VERSION', 'of unknown version')}"
        return NativeSession(self.name, version, files, files.onnx, options)


class NativeSession(Session):
    """A native model of the server; the parts of a batch go to it at the same time, so that it may join them."""

    def __init__(self, backend: str, version: str, files: ModelFiles, graph: Path, options: SessionOptions) -> None:
        header = read_header(graph)
        inputs = [TensorSpec(one.name, np.dtype(one.dtype), one.shape or ()) for one in header.inputs]
        super().__init__(
            SessionInfo(
                backend=backend,
                version=version,
                device=options.device,
                variant=options.variant,
                threads=options.thread_count,
                model_path=graph,
                inputs=with_batch_of([one.shape or () for one in header.outputs], inputs),
                outputs=tuple(files.outputs_read([one.name for one in header.outputs])),
                workers=options.workers,
            )
        )
        self._model = files.name
        self._triton = import_module(MODULE)

    def _run_parts(self, parts: list[Feeds]) -> list[list[Array]]:
        return [self._run(parts[0])] if len(parts) == 1 else asyncio.run(self._run_together(parts))

    async def _run_together(self, parts: Sequence[Feeds]) -> list[list[Array]]:
        answers = await asyncio.gather(*(self._request(part).async_exec() for part in parts))
        return [self._outputs(answer) for answer in answers]

    def _run(self, feeds: Feeds) -> list[Array]:
        return self._outputs(self._request(feeds).exec())

    def _request(self, feeds: Feeds) -> Any:
        triton = self._triton
        return triton.InferenceRequest(
            model_name=self._model,
            requested_output_names=list(self.info.outputs),
            inputs=[triton.Tensor(name, array) for name, array in feeds.items()],
            preferred_memory=triton.PreferredMemory(triton.TRITONSERVER_MEMORY_CPU),
        )

    def _outputs(self, answer: Any) -> list[Array]:
        if answer.has_error():
            raise BackendError(answer.error().message())
        tensors = (self._triton.get_output_tensor_by_name(answer, name) for name in self.info.outputs)
        return [np.array(tensor.as_numpy()) for tensor in tensors]  # a copy: the memory is the answer's

    def _release(self) -> None:
        """Nothing: the server keeps its models."""
