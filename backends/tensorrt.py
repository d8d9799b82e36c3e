"""NVIDIA's TensorRT: an engine built for this very card, in the precision that the ONNX graph states."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hpi.backends.artifacts import ArtifactCache, content_hash, staging_folder
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
    is_installed,
    onnx_files,
    size_of,
)
from hpi.backends.gpu import INSTALL, Gpu, gpu_of
from hpi.backends.graph import VERSION as GRAPH_VERSION
from hpi.backends.graph import cut_nms, decoding_nodes, inputs_of, read_graph, sensitive_nodes, to_fp16
from hpi.backends.messages import summarize
from hpi.backends.paddle_to_onnx import ReadsOnnx
from hpi.errors import BackendError
from hpi.kernels.nms import NmsSpec, batched_nms

logger = logging.getLogger(__name__)

Shape = tuple[int, ...]

_ALSO_NEEDED = ("cupy", "onnx", "onnxconverter_common")
_PROGRESS_S = 10  # between two lines about a build


@dataclass(frozen=True)
class Profile:
    """Batch sizes that an engine is built for: the least, the one to be fastest at, and the most, a power of two."""

    least: int
    best: int
    most: int


CROPS = Profile(1, 8, 32)
"""Of a model with a free batch: the pipeline never runs more than 32 people at once."""

IMAGES = Profile(1, 1, 8)
"""Of a detector with a free batch: its inputs are larger, and one is the rule."""

ONE = Profile(1, 1, 1)
"""Of a model with a fixed batch."""


MIXED = "mixed"
"""The profile whose layers that suffer most from a lower precision stay in FP32."""


class TensorRT(ReadsOnnx):
    """TensorRT 10 and 11."""

    name = "tensorrt"
    package = "tensorrt"
    install = INSTALL
    devices = ("gpu",)

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
        return TensorRTSession(files, graph, options)


class TensorRTSession(Session):
    """An engine on a stream of its own, with a context and buffers for each of the batch sizes 1, 2, 4, 8 and so on.

    A batch is padded to the next of these, which costs a GPU less than a second run. A size is set up when it is first
    needed, and replayed as a CUDA graph from then on. A detector's NMS runs on the CPU.
    """

    accepts_gpu_arrays = True

    def __init__(self, files: ModelFiles, path: Path, options: SessionOptions) -> None:
        self._trt = import_runtime(TensorRT.package, TensorRT.install)
        self._cupy = import_runtime("cupy", INSTALL)
        gpu = gpu_of(options.device)
        self._log = new_log(self._trt)
        self._running = threading.Lock()
        self._buckets: dict[int, _Bucket] = {}
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
        self._head_outputs = [value.name for value in head.graph.output]
        inputs = inputs_of(head)
        self._profile = profile_of(inputs, self._nms)
        key = engine_key(files.name, path, options.variant, self._profile, gpu, trt.__version__)
        timings = options.artifacts.root / TensorRT.name / timings_name(gpu, trt.__version__)

        def build(target: Path) -> None:
            edited = with_precision(head, options.variant).SerializeToString()
            target.write_bytes(build_engine(trt, self._log, edited, bounds(inputs, self._profile), timings, files.name))

        self._engine: Any = open_engine(trt, self._log, options.artifacts, key, build)
        return SessionInfo(
            backend=TensorRT.name,
            version=trt.__version__,
            device=options.device,
            variant=options.variant,
            threads=options.thread_count,
            model_path=path,
            inputs=inputs,
            outputs=tuple(value.name for value in model.graph.output),
        )

    def split(self, count: int) -> list[int]:  # noqa: D102
        return split_batch(count, self._profile.most)

    def _run(self, feeds: Feeds) -> list[Array]:
        count = size_of(feeds)
        on_card = not all(isinstance(feed, np.ndarray) for feed in feeds.values())
        with self._running, self._device:
            bucket = self._bucket(bucket_of(count))
            if on_card:
                self._take_from_card(bucket, feeds)
            else:
                bucket.upload(feeds, self._stream)
            self._launch(bucket)
            if on_card and self._nms is None:
                return self._give_to_card(bucket, count)
            return self._finish(bucket.download(self._head_outputs, count, self._stream))

    def _finish(self, heads: list[Array]) -> list[Array]:
        """The outputs, from views of what the engine gave."""
        self._stream.synchronize()
        if self._nms is None:
            return [head.copy() for head in heads]
        boxes, scores = heads
        if not np.isfinite(scores).all():  # no comparison holds for NaN, and so NMS would find nothing
            raise BackendError("its scores are NaN or infinite")
        return list(batched_nms(boxes, scores, self._nms))

    def _bucket(self, size: int) -> _Bucket:
        if self._engine is None:
            raise BackendError("closed")
        if size not in self._buckets:
            with self._stream:  # which then is the one that clears the buffers
                self._buckets[size] = _Bucket(self._trt, self._cupy, self._engine, size)
        return self._buckets[size]

    def _take_from_card(self, bucket: _Bucket, feeds: Feeds) -> None:
        self._stream.wait_event(self._cupy.cuda.get_current_stream().record())
        with self._stream:
            for name, feed in feeds.items():
                bucket.buffers[name][: len(feed)] = feed

    def _give_to_card(self, bucket: _Bucket, count: int) -> list[Array]:
        """Copies of the outputs, which the next run overwrites.

        Their memory comes from the caller's stream: once they are let go it is used again there, and so not too early.
        """
        heads = [bucket.buffers[name][:count] for name in self._head_outputs]
        outputs = [self._cupy.empty(head.shape, head.dtype) for head in heads]
        with self._stream:
            for output, head in zip(outputs, heads, strict=True):
                output[...] = head
        self._cupy.cuda.get_current_stream().wait_event(self._stream.record())
        return outputs

    def _launch(self, bucket: _Bucket) -> None:
        if bucket.graph is not None:
            bucket.graph.launch(self._stream)
            return
        self._enqueue(bucket)
        if self._captures:
            self._capture(bucket)

    def _capture(self, bucket: _Bucket) -> None:
        """Record what a run enqueues; only a context that has run once may be recorded."""
        self._stream.synchronize()  # an error of that run is none of the recording
        try:
            self._stream.begin_capture()
            try:
                self._enqueue(bucket)
            finally:
                graph = self._stream.end_capture()  # an error, too, must not leave the stream recording
        except Exception as error:  # noqa: BLE001 - whatever the reason, it runs without
            self._captures = False
            logger.warning("%s runs without CUDA graphs, more slowly: %s", self._where(), summarize(str(error)))
        else:
            bucket.graph = graph

    def _enqueue(self, bucket: _Bucket) -> None:
        if not bucket.context.execute_async_v3(self._stream.ptr):
            raise BackendError(f"the engine did not run a batch of {bucket.size}{self._log.said()}")

    def _release(self) -> None:
        with self._running, self._device:
            self._buckets.clear()
            self._engine = None


class _Bucket:
    """What a batch size runs on.

    Attributes:
        size: the batch.
        context: the execution context.
        buffers: for each input and output its CuPy array, which lasts as long as this does.
        graph: the CUDA graph of a run, once there is one.
    """

    def __init__(self, trt: Any, cupy: Any, engine: Any, size: int) -> None:
        self.size = size
        self.context: Any = engine.create_execution_context()
        self.graph: Any = None
        context = self.context
        if context is None:
            raise BackendError("no execution context can be made, perhaps for lack of memory on the GPU")
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
        """Pinned memory of the host for each buffer: only that is copied without waiting."""
        cupyx = import_runtime("cupyx", INSTALL)
        return {name: cupyx.empty_pinned(buffer.shape, buffer.dtype) for name, buffer in self.buffers.items()}

    def upload(self, feeds: Feeds, stream: Any) -> None:
        """Enqueue the copy of the feeds to the card; what they leave of the buffers keeps what it had."""
        for name, feed in feeds.items():
            staged = self.staged[name][: len(feed)]
            staged[...] = feed
            self.buffers[name][: len(feed)].set(staged, stream=stream)

    def download(self, names: Sequence[str], count: int, stream: Any) -> list[Array]:
        """Enqueue the copy of outputs to the host; they are there once the stream has come so far."""
        for name in names:
            self.buffers[name][:count].get(stream=stream, out=self.staged[name][:count], blocking=False)
        return [self.staged[name][:count] for name in names]


def profile_of(inputs: Sequence[TensorSpec], nms: NmsSpec | None) -> Profile:
    """The batch sizes to build a graph's engine for.

    Raises:
        BackendError: more than its batch is free.
    """
    for spec in inputs:
        if None in spec.shape[1:]:
            raise BackendError(
                f"TensorRT needs fixed dimensions besides the batch, and input {spec.name!r} has {spec.shape}; "
                "export the model with fixed ones"
            )
    if any(spec.shape[0] is not None for spec in inputs):
        return ONE
    return CROPS if nms is None else IMAGES


def bounds(inputs: Sequence[TensorSpec], profile: Profile) -> dict[str, tuple[Shape, Shape, Shape]]:
    """For each input with a free batch the least, best and largest shape."""
    batches = (profile.least, profile.best, profile.most)
    return {
        spec.name: tuple((batch, *spec.shape[1:]) for batch in batches)  # type: ignore[misc]
        for spec in inputs
        if spec.shape[0] is None
    }


def split_batch(count: int, most: int) -> list[int]:
    """Sizes of the runs of a batch: as many of the most as fit, and what is left."""
    whole, left = divmod(count, most)
    return [most] * whole + ([left] if left else [])


def bucket_of(count: int) -> int:
    """The power of two that a batch is padded to."""
    return 1 << (count - 1).bit_length()


def checked_shape(name: str, shape: Shape, batch: int) -> Shape:
    """The shape of a buffer.

    Raises:
        BackendError: it is not known before the run, or does not begin with the batch.
    """
    if -1 in shape or shape[:1] != (batch,):
        raise BackendError(
            f"{name!r} has the shape {shape} in a batch of {batch}; the batch must come first, all known"
        )
    return shape


def with_precision(model: Any, variant: Variant) -> Any:
    """The graph as a variant runs it; inputs and outputs are float32 in each."""
    if variant.precision == "fp32":
        return model
    return to_fp16(model, decoding_nodes(model) | (sensitive_nodes(model) if variant.profile == MIXED else set()))


def engine_key(name: str, graph: Path, variant: Variant, profile: Profile, gpu: Gpu, version: str) -> Mapping[str, str]:
    """What an engine depends on."""
    return {
        "model": name,
        "content": content_hash(onnx_files(graph)),
        "edits": GRAPH_VERSION,
        "variant": str(variant),
        "profile": str(profile),
        "gpu": gpu.name,
        "compute_capability": str(gpu.compute_capability),
        "cuda": str(gpu.cuda),
        "tensorrt": version,
    }


def timings_name(gpu: Gpu, version: str) -> str:
    """Name of the file with what TensorRT has timed on a card, for any model."""
    return re.sub(r"\W+", "_", f"timings {gpu.name} {gpu.compute_capability} {gpu.cuda} {version}")


def open_engine(
    trt: Any, log: Any, artifacts: ArtifactCache, key: Mapping[str, str], build: Callable[[Path], None]
) -> Any:
    """The engine from the cache, built when it is missing, and once more when TensorRT refuses it.

    Raises:
        BackendError: it cannot be built, or TensorRT refuses it fresh.
    """
    runtime = trt.Runtime(log)
    file = artifacts.get(TensorRT.name, key, "model.engine", build)
    engine = runtime.deserialize_cuda_engine(file.read_bytes())
    if engine is None:
        logger.warning("%s is of no use to TensorRT, the engine is built anew%s", file, log.said())
        artifacts.discard(file)
        file = artifacts.get(TensorRT.name, key, "model.engine", build)
        engine = runtime.deserialize_cuda_engine(file.read_bytes())
    if engine is None:
        raise BackendError(f"TensorRT refuses the engine {file}, also anew{log.said()}; remove it if you can")
    return engine


def build_engine(
    trt: Any,
    log: Any,
    graph: bytes,
    shapes: Mapping[str, tuple[Shape, Shape, Shape]],
    timings: Path,
    name: str,
) -> Any:
    """Build an engine, which takes minutes.

    Args:
        trt: the package.
        log: from :func:`new_log`.
        graph: a serialized ONNX model; layers run in the precision that it states.
        shapes: for each input with a free batch the least, best and largest shape.
        timings: file with what was timed before, to be brought up to date.
        name: of the model, for messages.

    Returns:
        The serialized engine, a buffer.

    Raises:
        BackendError: TensorRT cannot read the graph, or build an engine for it.
    """
    logger.info("building TensorRT's engine for %s (once on this GPU; takes some minutes)", name)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(graph):
        problems = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
        raise BackendError(f"{name}: TensorRT cannot read the graph: {problems}{log.said()}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # FP32 shall be FP32
    progress = new_progress(trt, name)
    config.progress_monitor = progress
    if shapes:
        optimization = builder.create_optimization_profile()
        for of_input, (least, best, most) in shapes.items():
            optimization.set_shape(of_input, least, best, most)
        config.add_optimization_profile(optimization)
    cache = _use_timings(config, timings)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BackendError(f"{name}: TensorRT cannot build an engine{log.said()}")
    _save(timings, cache.serialize())
    logger.info("built TensorRT's engine for %s", name)
    return engine


def _use_timings(config: Any, file: Path) -> Any:
    """Let a build use what was timed before, and note what it times; where that is damaged, from nothing."""
    cache = config.create_timing_cache(file.read_bytes() if file.is_file() else b"")
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _save(file: Path, content: Any) -> None:
    """Replace a file whole; where it cannot be written, the next build takes longer."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with staging_folder(file) as staging:
            written = staging / file.name
            written.write_bytes(content)
            written.replace(file)
    except OSError as error:
        logger.info("what TensorRT timed cannot be kept for the next build: %s", error)


def new_log(trt: Any) -> Any:
    """A logger for TensorRT that remembers what it says of errors, for our own messages."""
    severity = trt.ILogger.Severity
    serious = (severity.INTERNAL_ERROR, severity.ERROR)

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._errors: deque[str] = deque(maxlen=10)

        def log(self, severity: Any, message: str) -> None:
            if severity in serious:
                self._errors.append(message.strip())
            logger.debug("TensorRT: %s", message)

        def said(self) -> str:
            """The errors since it was last asked, to be put behind a message."""
            said = "; ".join(self._errors)
            self._errors.clear()
            return f"; TensorRT says: {said}" if said else ""

    return Log()


def new_progress(trt: Any, name: str) -> Any:
    """A monitor that logs how far a build is, every few seconds."""

    class Progress(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._steps: dict[str, int] = {}
            self._said = time.monotonic()

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            del parent
            self._steps[phase] = steps

        def step_complete(self, phase: str, step: int) -> bool:
            if time.monotonic() - self._said > _PROGRESS_S:
                self._said = time.monotonic()
                logger.info("%s: %s, %d of %d", name, phase, step + 1, self._steps.get(phase, 0))
            return True

        def phase_finish(self, phase: str) -> None:
            self._steps.pop(phase, None)

    return Progress()
