"""What one batch size runs on: an execution context with its buffers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from hpi.backends.base import Array, Feeds, import_runtime
from hpi.backends.gpu import INSTALL
from hpi.backends.tensorrt.batching import checked_shape
from hpi.errors import BackendError


class Bucket:
    """One batch size of an engine.

    Attributes:
        size: the batch.
        context: the execution context.
        buffers: for each input and output its CuPy array, which lives as long as this object.
        graph: the CUDA graph of a run, once it is captured.
    """

    def __init__(self, trt: Any, cupy: Any, engine: Any, size: int) -> None:
        self.size = size
        self.context: Any = engine.create_execution_context()
        self.graph: Any = None
        context = self.context
        if context is None:
            raise BackendError("no execution context can be created, perhaps for lack of GPU memory")
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        for name in names:
            shape = tuple(engine.get_tensor_shape(name))
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            if is_input and not context.set_input_shape(name, (size, *shape[1:])):
                raise BackendError(f"the engine does not take a batch of {size} as its input {name!r}")
        self.buffers: dict[str, Any] = {}
        for name in names:
            shape = checked_shape(name, tuple(context.get_tensor_shape(name)), size)
            self.buffers[name] = cupy.zeros(shape, trt.nptype(engine.get_tensor_dtype(name)))
            context.set_tensor_address(name, self.buffers[name].data.ptr)

    @cached_property
    def staged(self) -> dict[str, Array]:
        """Pinned host memory for each buffer: only pinned memory is copied asynchronously."""
        cupyx = import_runtime("cupyx", INSTALL)
        return {name: cupyx.empty_pinned(buffer.shape, buffer.dtype) for name, buffer in self.buffers.items()}

    def upload(self, feeds: Feeds, stream: Any) -> None:
        """Enqueue the copy of the feeds to the GPU; the padding keeps its previous content."""
        for name, feed in feeds.items():
            staged = self.staged[name][: len(feed)]
            staged[...] = feed
            self.buffers[name][: len(feed)].set(staged, stream=stream)

    def download(self, names: Sequence[str], count: int, stream: Any) -> list[Array]:
        """Enqueue the copy of outputs to the host; they are valid once the stream has reached this point."""
        for name in names:
            self.buffers[name][:count].get(stream=stream, out=self.staged[name][:count], blocking=False)
        return [self.staged[name][:count] for name in names]
