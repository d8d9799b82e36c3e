"""OpenVINO on the CPU, always at an explicit precision."""

from __future__ import annotations

import io
import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hpi.backends.artifacts import content_hash
from hpi.backends.base import (
    INT8,
    MAX_BATCH,
    Array,
    Feeds,
    ModelFiles,
    Normalization,
    Session,
    SessionInfo,
    SessionOptions,
    TensorSpec,
    Variant,
    image_input,
    import_runtime,
    onnx_files,
    size_of,
    with_batch_of,
)
from hpi.backends.cpu import this_cpu
from hpi.backends.graph.rewrites import HARD_SWISH, UNREAD_OUTPUTS
from hpi.backends.messages import summarize
from hpi.backends.paddle_to_onnx import ReadsOnnx
from hpi.backends.splits import BatchTimes
from hpi.errors import BackendError

logger = logging.getLogger(__name__)

BUCKETS = tuple(1 << power for power in reversed(range(MAX_BATCH.bit_length())))
"""Batch sizes that a static session compiles for: 32, 16 and so on. A batch is split into the largest that fit."""
MEASURED_BUCKETS = (*BUCKETS, *(size * 3 // 2 for size in BUCKETS if 1 < size < MAX_BATCH))
"""Where measurements say that they pay also 24, 12, 6 and 3; each size needs memory for weights of its own."""


@dataclass(frozen=True)
class Batching:
    """How a session runs a batch.

    Attributes:
        static: the graph is compiled for each size in :data:`BUCKETS`, and a batch is split into these.
        streams: the parts of a split batch run in parallel on one thread each, not in sequence on all threads.

    Example:
        >>> PROFILES["static streams"]
        Batching(static=True, streams=True)
    """

    static: bool = False
    streams: bool = False


PROFILES = {"": Batching(), "static": Batching(static=True), "static streams": Batching(static=True, streams=True)}
"""What the profiles of a variant stand for."""

_PRECISIONS = {"fp32": "f32", "bf16": "bf16", INT8: "f32"}
"""What computes outside of the operators that a graph has in INT8 is stated too."""
_PREPARATION_VERSION = "1"
"""Part of the key of a compiled model; raise it with every change to what happens to a model before compilation."""


class OpenVino(ReadsOnnx):
    """Intel's OpenVINO with its CPU plugin.

    Its options are properties of ``compile_model``, such as ``NUM_STREAMS``.

    Example:
        >>> OpenVino().devices, OpenVino().reserved_options["INFERENCE_NUM_THREADS"]
        (('cpu',), 'threads=')
    """

    name = "openvino"
    package = "openvino"
    install = 'pip install "hpi-pose[openvino]"'
    takes_options = True
    reserved_options: ClassVar[Mapping[str, str]] = {
        "INFERENCE_PRECISION_HINT": "precision=",
        "INFERENCE_NUM_THREADS": "threads=",
    }

    def variants(self, device: str = "cpu") -> tuple[Variant, ...]:  # noqa: D102
        cpu = this_cpu()
        precisions = ("fp32", "bf16", INT8) if cpu.has_bf16 else ("fp32", INT8)
        profiles = [name for name, batching in PROFILES.items() if cpu.cores > 1 or not batching.streams]
        return tuple(Variant(precision, profile) for precision in precisions for profile in profiles)

    def unavailable(self, files: ModelFiles, options: SessionOptions) -> str | None:  # noqa: D102
        if options.variant.precision == INT8 and files.int8 is None:
            return "it is not calibrated for INT8; calibrate a detector with: hpi quantize"
        if PROFILES.get(options.variant.profile, Batching()).streams and options.thread_count == 1:
            return "a single thread runs no parts of a batch side by side"
        return super().unavailable(files, options)

    def rewrites(self, device: str) -> tuple[str, ...]:  # noqa: D102
        return UNREAD_OUTPUTS, HARD_SWISH

    def load(self, files: ModelFiles, options: SessionOptions) -> Session:  # noqa: D102
        if options.variant.precision != INT8:
            return super().load(files, options)
        self.check_options(options)
        if files.int8 is None:
            raise BackendError(f"{files.name}: {self.unavailable(files, options)}")
        return self.open(files, files.int8, options)

    def open(self, files: ModelFiles, graph: Path, options: SessionOptions) -> Session:  # noqa: D102
        return OpenVinoSession(files, graph, options)


class OpenVinoSession(Session):
    """A model compiled once or, for static batches, once for each batch size at its first use.

    ``INFERENCE_PRECISION_HINT`` is always set: on a CPU with bf16 instructions OpenVINO defaults to bf16, which moves
    PP-TinyPose's keypoints by up to 44 px. Compiled models are kept in the artifact cache.
    """

    def __init__(self, files: ModelFiles, path: Path, options: SessionOptions) -> None:
        ov = import_runtime(OpenVino.package, OpenVino.install)
        self._core = ov.Core()
        self._files = files
        self._batching = PROFILES[options.variant.profile]
        self._precision = options.variant.precision
        self._threads = options.thread_count
        self._options = options
        self._content = content_hash(onnx_files(path))
        self._version = ov.__version__
        self._compiling = threading.Lock()
        self._compiled: dict[tuple[int | None, bool], _Compiled] = {}
        try:
            self._model: Any = take_uint8_images(self._core.read_model(str(path)), files.normalization)
            inputs = with_batch_of(map(_shape, self._model.outputs), map(_spec, self._model.inputs))
            outputs = tuple(port.any_name for port in self._model.outputs)
            first = self._compile(1 if self._batching.static else None)
        except BackendError:
            raise
        except Exception as error:
            raise BackendError(f"openvino cannot load {path}{options.with_options}: {summarize(str(error))}") from error
        super().__init__(
            SessionInfo(
                backend=OpenVino.name,
                version=ov.__version__,
                device="cpu",
                variant=options.variant,
                threads=max(first.model.get_property("INFERENCE_NUM_THREADS") // options.workers, 1),
                model_path=path,
                inputs=inputs,
                outputs=outputs,
                notes=tuple(_engaged(first.model, name, value) for name, value in options.backend_options.items()),
                workers=options.workers,
            )
        )
        if self._batching.streams and self.batch_size is None:
            self.trial_items = 2  # a single item starts no streams

    def _split(self, count: int) -> list[int]:
        if not self._batching.static:
            return super()._split(count)
        streams = self._threads if self._batching.streams else 1
        usual = split_batch(count, streams)
        measured = self._times.measured if self._times else {}
        # All streams run at the same time, so a measured batch counts as the part of one of them.
        of_stream = {size // streams: measured[size] for size in measured if size % streams == 0}
        if not of_stream:
            return usual
        most = -(-count // streams)
        faster = BatchTimes(of_stream).faster_split(most, usual[::streams], MEASURED_BUCKETS)
        return usual if faster is None else _on_streams(faster, streams, count)

    def _run_parts(self, parts: list[Feeds]) -> list[list[Array]]:
        if len(parts) == 1 or not self._batching.streams:
            return super()._run_parts(parts)
        return self._run_parallel(parts)

    def _run(self, feeds: Feeds) -> list[Array]:
        size = size_of(feeds) if self._batching.static else None
        return self._compile(size).run(feeds)

    def _run_parallel(self, parts: list[Feeds]) -> list[list[Array]]:
        results: list[list[Array]] = []
        running: deque[tuple[_Compiled, Any]] = deque()
        try:
            for part in parts:
                if len(running) == 2 * self._threads:  # each request has its own memory, so their number is bounded
                    results.append(_finish(*running.popleft()))
                compiled = self._compile(size_of(part), streams=True)
                running.append((compiled, compiled.start(part)))
            while running:
                results.append(_finish(*running.popleft()))
        finally:
            for _, request in running:  # after an error the others still read the caller's arrays
                with suppress(Exception):
                    request.wait()
        return results

    def _compile(self, batch: int | None, *, streams: bool = False) -> _Compiled:
        with self._compiling:
            if (batch, streams) not in self._compiled:
                if self._model is None:
                    raise BackendError("closed")
                streams_per_caller = self._threads if streams else 1
                settings = compile_settings(
                    self._precision, self._threads * self._options.workers, streams_per_caller * self._options.workers
                )
                model = self._from_artifact(batch, {**settings, **self._options.backend_options})
                _check_engaged(model, settings["INFERENCE_PRECISION_HINT"])
                self._compiled[batch, streams] = _Compiled(model)
            return self._compiled[batch, streams]

    def _from_artifact(self, batch: int | None, settings: Mapping[str, Any]) -> Any:
        """The compiled model from the cache, which loads several times faster; else it is compiled and kept."""
        fresh = None

        def compiled() -> Any:
            return self._core.compile_model(with_batch(self._model, batch), "CPU", settings)

        def build(target: Path) -> None:
            nonlocal fresh
            fresh = compiled()
            stream = io.BytesIO()
            fresh.export_model(stream)
            target.write_bytes(stream.getbuffer())

        key = {
            "model": self._files.name,
            "content": self._content,
            "normalization": str(self._files.normalization),
            "preparation": _PREPARATION_VERSION,
            "batch": str(batch or "dynamic"),
            "openvino": self._version,
            "device": str(this_cpu()),
            **{name: str(value) for name, value in settings.items()},
            **self._options.key,
        }
        try:
            blob = self._options.artifacts.get("openvino", key, "model.blob", build)
        except BackendError as error:  # a model that cannot be kept can still run
            logger.warning("%s", error)
            return compiled() if fresh is None else fresh
        if fresh is not None:
            return fresh
        try:
            return self._core.import_model(blob.read_bytes(), "CPU", settings)
        except Exception as error:  # noqa: BLE001 - whatever is wrong, it can be compiled again
            logger.warning("%s: incompatible compiled model, compiling it again: %s", blob, summarize(str(error)))
            self._options.artifacts.discard(blob)
            return compiled()

    def _release(self) -> None:
        with self._compiling:
            self._model = None
            self._compiled = {}


class _Compiled:
    """A compiled model, with as many infer requests as there are concurrent callers."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._idle: deque[Any] = deque()  # last in, first out: an idle request still holds its inputs

    def run(self, feeds: Feeds) -> list[Array]:
        request = self._request()
        outputs = list(request.infer(dict(feeds), share_inputs=True).to_tuple())
        self._idle.append(request)
        return outputs

    def start(self, feeds: Feeds) -> Any:
        """A running request; it reads the feeds until it is done."""
        request = self._request()
        request.start_async(dict(feeds), share_inputs=True)
        return request

    def outputs_of(self, request: Any) -> list[Array]:
        """Copies of the outputs of a request, which is then free again."""
        outputs = [np.array(tensor.data) for tensor in request.output_tensors]
        self._idle.append(request)
        return outputs

    def _request(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            return self.model.create_infer_request()


def take_uint8_images(model: Any, normalization: Normalization | None) -> Any:
    """The model with uint8 BGR ``[N, H, W, 3]`` as its image input; unchanged if it has no float32 input for images.

    A quarter of the bytes are handed over, and OpenVINO fuses the conversion into the first layers.
    """
    name = image_input([port.any_name for port in model.inputs])
    if normalization is None or name is None or normalization.dtype != "float32":
        return model
    from openvino import Layout, Type
    from openvino.preprocess import ColorFormat, PrePostProcessor

    processor = PrePostProcessor(model)
    image = processor.input(name)
    image.tensor().set_element_type(Type.u8).set_layout(Layout("NHWC")).set_color_format(ColorFormat.BGR)
    image.model().set_layout(Layout(normalization.layout.upper()))
    steps = image.preprocess().convert_element_type(Type.f32)
    channels = list(zip(normalization.scale, normalization.shift, strict=True))
    if normalization.color == "rgb":
        steps = steps.convert_color(ColorFormat.RGB)
    else:
        channels.reverse()
    steps.mean([-shift / scale for scale, shift in channels]).scale([1 / scale for scale, _ in channels])
    return processor.build()


def _finish(compiled: _Compiled, request: Any) -> list[Array]:
    request.wait()
    return compiled.outputs_of(request)


def _engaged(compiled: Any, name: str, value: object) -> str:
    """An option as OpenVINO took it, which may round or ignore a value that does not suit the machine."""
    try:
        engaged = compiled.get_property(name)
    except Exception:  # noqa: BLE001 - not every property can be read back
        return f"{name}={value}"
    return f"{name}={value}" if str(engaged) == str(value) else f"{name}={value} (engaged: {engaged})"


def _check_engaged(compiled: Any, precision: str) -> None:
    devices = compiled.get_property("EXECUTION_DEVICES")
    engaged = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if devices != ["CPU"] or engaged != precision:
        raise BackendError(f"openvino engaged {devices} at {engaged} instead of CPU at {precision}")


def split_batch(count: int, side_by_side: int = 1) -> list[int]:
    """Sizes of :data:`BUCKETS` that add up to a batch, largest first.

    Args:
        count: items in the batch.
        side_by_side: how many parts run in parallel; each of these should get a part.

    Example:
        >>> split_batch(9), split_batch(9, side_by_side=2)
        ([8, 1], [4, 4, 1])
    """
    largest = next(size for size in BUCKETS if size * side_by_side <= max(count, side_by_side))
    sizes = []
    for size in BUCKETS[BUCKETS.index(largest) :]:
        whole, count = divmod(count, size)
        sizes += [size] * whole
    return sizes


def _on_streams(sizes: Sequence[int], streams: int, count: int) -> list[int]:
    """Parts of these sizes for each stream, but none without an item."""
    parts = [size for size in sizes for _ in range(streams)]
    while sum(parts[:-1]) >= count:
        parts.pop()
    return parts


def compile_settings(precision: str, threads: int, streams: int) -> dict[str, Any]:
    """The properties for compiling.

    Threads are never pinned to cores: OpenVINO counts from the first core in each session, so two sessions of one
    thread would share it.

    Args:
        precision: ``"fp32"`` or ``"bf16"``.
        threads: of all streams together.
        streams: requests that run at the same time.

    Example:
        >>> settings = compile_settings("fp32", threads=4, streams=2)
        >>> settings["NUM_STREAMS"], settings["INFERENCE_NUM_THREADS"], settings["ENABLE_CPU_PINNING"]
        ('2', '4', False)
    """
    return {
        "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        "INFERENCE_NUM_THREADS": str(threads),
        "NUM_STREAMS": str(streams),
        "ENABLE_CPU_PINNING": False,
    }


def with_batch(model: Any, batch: int | None) -> Any:
    """The model with a fixed batch; unchanged for None."""
    if batch is None:
        return model
    fixed = model.clone()
    fixed.reshape({port.any_name: [batch, *_sizes(port)[1:]] for port in model.inputs})
    return fixed


def _sizes(port: Any) -> list[int]:
    return [size.get_length() if size.is_static else -1 for size in port.partial_shape]


def _spec(port: Any) -> TensorSpec:
    return TensorSpec(port.any_name, np.dtype(port.element_type.to_dtype()), _shape(port))


def _shape(port: Any) -> tuple[int | None, ...]:
    return tuple(None if size == -1 else size for size in _sizes(port))
