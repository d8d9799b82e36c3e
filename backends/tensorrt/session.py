"""A session on a TensorRT engine."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np

from hpi.backends.base import Array, Feeds, ModelFiles, Session, SessionInfo, SessionOptions, import_runtime, size_of
from hpi.backends.gpu import INSTALL, Gpu, gpu_of
from hpi.backends.graph import cut_nms, inputs_of, read_graph, suppressions_in
from hpi.backends.messages import summarize
from hpi.backends.tensorrt.batching import batch_range, bounds, bucket_of, split_batch
from hpi.backends.tensorrt.bucket import Bucket
from hpi.backends.tensorrt.engine import (
    EngineBuild,
    build_engine,
    engine_key,
    open_engine,
    timings_name,
    with_precision,
)
from hpi.backends.tensorrt.logs import new_log
from hpi.errors import BackendError
from hpi.kernels.nms import batched_nms

logger = logging.getLogger(__name__)


class TensorRTSession(Session):
    """An engine on its own stream, with a context and buffers for each of the batch sizes 1, 2, 4, 8 and so on.

    A batch is padded to the next of these, which costs a GPU less than a second run. A size is set up at its first use
    and replayed as a CUDA graph from then on. A detector's NMS runs on the CPU.
    """

    accepts_gpu_arrays = True

    def __init__(self, backend: str, files: ModelFiles, path: Path, options: SessionOptions) -> None:
        self._trt = import_runtime("tensorrt", INSTALL)
        self._cupy = import_runtime("cupy", INSTALL)
        self._backend = backend
        gpu = gpu_of(options.device)
        self._log = new_log(self._trt)
        self._running = threading.Lock()
        self._buckets: dict[int, Bucket] = {}
        self._captures = True
        try:
            self._device: Any = self._cupy.cuda.Device(gpu.index)
            with self._device:
                self._stream: Any = self._cupy.cuda.Stream(non_blocking=True)
                info = self._open(files, path, options, gpu)
        except BackendError:
            raise
        except Exception as error:
            raise BackendError(f"tensorrt cannot load {path}: {summarize(str(error))}{self._log.said()}") from error
        super().__init__(info)

    def _open(self, files: ModelFiles, path: Path, options: SessionOptions, gpu: Gpu) -> SessionInfo:
        """Open the graph's engine."""
        trt = self._trt
        model = read_graph(path)
        head, self._nms = cut_nms(model)
        if suppressions_in(head):
            raise BackendError(
                f"TensorRT needs to know how many rows {path} returns, which its NonMaxSuppression decides; use "
                "onnxruntime on this device, or export the model without its postprocessing"
            )
        self._head_outputs = [value.name for value in head.graph.output]
        inputs = inputs_of(head)
        self._batches = batch_range(inputs, has_nms=self._nms is not None)
        key = engine_key(files.name, path, options, self._batches, gpu, trt.__version__)
        timings = options.artifacts.root / self._backend / timings_name(gpu, trt.__version__)

        def build(target: Path) -> None:
            edited = with_precision(head, options.variant).SerializeToString()
            wanted = EngineBuild(files.name, edited, bounds(inputs, self._batches), timings, options)
            target.write_bytes(build_engine(trt, self._log, wanted))

        self._engine: Any = open_engine(trt, self._log, options.artifacts, key, build)
        return SessionInfo(
            backend=self._backend,
            version=trt.__version__,
            device=options.device,
            variant=options.variant,
            threads=options.thread_count,
            model_path=path,
            inputs=inputs,
            outputs=tuple(value.name for value in model.graph.output),
            notes=options.notes,
        )

    def split(self, count: int) -> list[int]:  # noqa: D102
        return split_batch(count, self._batches.most)

    def _run(self, feeds: Feeds) -> list[Array]:
        count = size_of(feeds)
        on_gpu = not all(isinstance(feed, np.ndarray) for feed in feeds.values())
        with self._running, self._device:
            bucket = self._bucket(bucket_of(count))
            if on_gpu:
                self._copy_from_gpu(bucket, feeds)
            else:
                bucket.upload(feeds, self._stream)
            self._launch(bucket)
            if on_gpu and self._nms is None:
                return self._copy_to_gpu(bucket, count)
            return self._finish(bucket.download(self._head_outputs, count, self._stream))

    def _finish(self, heads: list[Array]) -> list[Array]:
        """The outputs, from views of what the engine returned."""
        self._stream.synchronize()
        if self._nms is None:
            return [head.copy() for head in heads]
        boxes, scores = heads
        if not np.isfinite(scores).all():  # NMS would drop NaN silently
            raise BackendError("its scores are NaN or infinite")
        return list(batched_nms(boxes, scores, self._nms))

    def _bucket(self, size: int) -> Bucket:
        if self._engine is None:
            raise BackendError("closed")
        if size not in self._buckets:
            with self._stream:  # on which the buffers are cleared
                self._buckets[size] = Bucket(self._trt, self._cupy, self._engine, size)
        return self._buckets[size]

    def _copy_from_gpu(self, bucket: Bucket, feeds: Feeds) -> None:
        self._stream.wait_event(self._cupy.cuda.get_current_stream().record())
        with self._stream:
            for name, feed in feeds.items():
                bucket.buffers[name][: len(feed)] = feed

    def _copy_to_gpu(self, bucket: Bucket, count: int) -> list[Array]:
        """Copies of the outputs, which the next run overwrites.

        Their memory belongs to the caller's stream, so that CuPy reuses it only in the order of that stream.
        """
        heads = [bucket.buffers[name][:count] for name in self._head_outputs]
        outputs = [self._cupy.empty(head.shape, head.dtype) for head in heads]
        with self._stream:
            for output, head in zip(outputs, heads, strict=True):
                output[...] = head
        self._cupy.cuda.get_current_stream().wait_event(self._stream.record())
        return outputs

    def _launch(self, bucket: Bucket) -> None:
        if bucket.graph is not None:
            bucket.graph.launch(self._stream)
            return
        self._enqueue(bucket)
        if self._captures:
            self._capture(bucket)

    def _capture(self, bucket: Bucket) -> None:
        """Capture what a run enqueues; only a context that has run once may be captured."""
        self._stream.synchronize()  # so that an error of that run is not taken for one of the capture
        try:
            self._stream.begin_capture()
            try:
                self._enqueue(bucket)
            finally:
                graph = self._stream.end_capture()  # even an error must end the capture
        except Exception as error:  # noqa: BLE001 - whatever the reason, it runs without CUDA graphs
            self._captures = False
            logger.warning("%s runs without CUDA graphs, more slowly: %s", self._where(), summarize(str(error)))
        else:
            bucket.graph = graph

    def _enqueue(self, bucket: Bucket) -> None:
        if not bucket.context.execute_async_v3(self._stream.ptr):
            raise BackendError(f"the engine did not run a batch of {bucket.size}{self._log.said()}")

    def _release(self) -> None:
        with self._running, self._device:
            self._buckets.clear()
            self._engine = None
