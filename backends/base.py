"""The contract of a runtime.

A :class:`Backend` says whether it can run a model on this machine, and loads it as a :class:`Session`, which takes and
returns arrays.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from hpi.backends.artifacts import ArtifactCache, content_hash
from hpi.backends.cpu import OMP_THREADS, default_threads
from hpi.backends.messages import summarize
from hpi.backends.splits import BatchTimes
from hpi.errors import BackendError

Array = NDArray[Any]
Feeds = Mapping[str, Array]

INT8 = "int8"
"""The precision of graphs that were calibrated; see :attr:`ModelFiles.int8`."""
MAX_BATCH = 32
"""The largest batch that the engine runs at once, and that runtimes with fixed batch sizes compile for."""

EXTERNAL_SUFFIXES = {".bin", ".data", ".onnx_data", ".weight"}
"""Suffixes of the files beside an ONNX graph that may hold its weights."""


@dataclass(frozen=True)
class PaddleFiles:
    """A Paddle program (``.json`` of Paddle 3, ``.pdmodel`` of Paddle 2) and its weights.

    Example:
        >>> PaddleFiles(Path("inference.json"), Path("inference.pdiparams")).params.name
        'inference.pdiparams'
    """

    program: Path
    params: Path


@dataclass(frozen=True)
class Normalization:
    """How uint8 levels become a model's input: ``level * scale + shift`` per channel, in the order RGB.

    Attributes:
        scale: factor of each channel, in the order RGB.
        shift: summand of each channel, in the order RGB.
        color: order of the channels in the input, ``"rgb"`` or ``"bgr"``.
        layout: of the input, ``"nchw"`` or ``"nhwc"``.
        dtype: of the input, ``"float32"`` or ``"int32"``.

    Example:
        >>> around_zero = Normalization(scale=(1 / 127.5,) * 3, shift=(-1.0,) * 3)
        >>> [level * around_zero.scale[0] + around_zero.shift[0] for level in (0, 255)]
        [-1.0, 1.0]
    """

    scale: tuple[float, float, float]
    shift: tuple[float, float, float]
    color: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["nchw", "nhwc"] = "nchw"
    dtype: Literal["float32", "int32"] = "float32"


@dataclass(frozen=True)
class ModelFiles:
    """The files of one model: a Paddle program, an ONNX graph, or both.

    Attributes:
        name: the model's name.
        paddle: its Paddle program.
        onnx: its ONNX graph.
        normalization: of the input that takes images, see :func:`image_input`. If given, a session may take uint8 BGR
            images ``[N, H, W, 3]`` instead of the float tensor and normalise them itself, where that is faster. Its
            ``info.inputs`` says which of the two it takes.
        outputs: those that are read: their names, or how many of the first; None: all. A session may leave out the
            others; its ``info.outputs`` says which it returns.
        int8: the ONNX graph that was calibrated for INT8; it computes the same within the limits of that.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     graph = Path(folder, "model.onnx")
        ...     _ = graph.write_bytes(b"a graph")
        ...     files = ModelFiles("mine", onnx=graph)
        ...     len(files.content), files.content == content_hash([graph])
        (64, True)
    """

    name: str
    paddle: PaddleFiles | None = None
    onnx: Path | None = None
    normalization: Normalization | None = None
    outputs: tuple[str, ...] | int | None = None
    int8: Path | None = None

    @cached_property
    def content(self) -> str:
        """SHA-256 of all files of the model but ``int8``, computed at the first access."""
        paddle = [self.paddle.program, self.paddle.params] if self.paddle else []
        return content_hash([*paddle, *(onnx_files(self.onnx) if self.onnx else [])])

    def outputs_read(self, names: Sequence[str]) -> list[str]:
        """Which of a graph's outputs are read, in the graph's order; all of them where one that is named is missing.

        Example:
            >>> ModelFiles("mine", outputs=1).outputs_read(["heatmap", "argmax"])
            ['heatmap']
            >>> ModelFiles("mine", outputs=("b", "c")).outputs_read(["a", "b"])  # whoever reads them reports it
            ['a', 'b']
        """
        if isinstance(self.outputs, int):
            return list(names[: self.outputs])
        wanted = self.outputs or ()
        return [name for name in names if name in wanted] if wanted and {*names}.issuperset(wanted) else list(names)


@dataclass(frozen=True)
class Variant:
    """One way in which a runtime can run a model.

    Only the runtime knows what its profiles stand for; everybody else compares, stores and shows their names.

    Attributes:
        precision: ``"fp32"``, ``"bf16"``, ``"fp16"`` or ``"int8"``.
        profile: the name of one of the runtime's profiles, such as ``"static streams"``; ``""`` is its plain one.

    Example:
        >>> str(Variant()), str(Variant("bf16", "static streams"))
        ('fp32', 'bf16 static streams')
    """

    precision: str = "fp32"
    profile: str = ""

    def __str__(self) -> str:
        return f"{self.precision} {self.profile}".rstrip()


@dataclass(frozen=True)
class SessionOptions:
    """What a caller asks of a session.

    Attributes:
        artifacts: where converted models are kept.
        device: ``"cpu"``, or a single device such as ``"gpu:0"`` or ``"npu:1"``.
        variant: one of the runtime's variants.
        threads: CPU threads of one inference; None for :func:`hpi.backends.cpu.default_threads`.
        workers: callers that run it at the same time, each with ``threads`` threads. They share the weights where the
            runtime can.
        backend_options: options of the runtime itself, by its own names: strings, numbers and bools. They go to the
            runtime as they are; one that it does not know or does not take is a BackendError.
        as_exported: the graph is loaded without rewrites, as that of the reference is.

    Example:
        >>> options = SessionOptions(ArtifactCache(Path("artifacts")), backend_options={"NUM_STREAMS": 1})
        >>> options.key, options.notes
        ({'options': '{"NUM_STREAMS": 1}'}, ('NUM_STREAMS=1',))
    """

    artifacts: ArtifactCache
    device: str = "cpu"
    variant: Variant = Variant()
    threads: int | None = None
    workers: int = 1
    backend_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    as_exported: bool = False

    @property
    def thread_count(self) -> int:
        """The threads to use, resolved."""
        return self.threads or default_threads()

    @property
    def key(self) -> dict[str, str]:
        """What the runtime's own options add to the key of an artifact; nothing without options."""
        if not self.backend_options:
            return {}
        return {"options": json.dumps(dict(self.backend_options), sort_keys=True, default=str)}

    @property
    def notes(self) -> tuple[str, ...]:
        """The runtime's own options, for :attr:`SessionInfo.notes`."""
        return tuple(f"{name}={value}" for name, value in self.backend_options.items())

    @property
    def with_options(self) -> str:
        """The runtime's own options as the end of a sentence, for errors that they may have caused."""
        return f" with {', '.join(self.notes)}" if self.notes else ""


@dataclass(frozen=True)
class TensorSpec:
    """A model input; ``None`` in ``shape`` is a free dimension.

    Example:
        >>> TensorSpec("image", np.dtype("float32"), (None, 3, 416, 416))
        TensorSpec(name='image', dtype=dtype('float32'), shape=(None, 3, 416, 416))
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class SessionInfo:
    """What a session really runs on, read back from the runtime where it tells.

    Attributes:
        backend: the runtime's name.
        version: the runtime's version.
        device: as in :class:`SessionOptions`.
        variant: precision and profile.
        threads: CPU threads of one inference.
        model_path: the model's file.
        inputs: what :meth:`Session.run` takes.
        outputs: names of what it returns, in order.
        notes: anything else worth showing, such as options of the runtime.
        workers: callers that it is made for at the same time.
        rewrites: what was rewritten in the graph: the name of each rewrite, in how many places.
        rewritten_path: the rewritten graph, which was loaded in the place of ``model_path``; None where there is none.

    Example:
        >>> inputs = (TensorSpec("image", np.dtype("float32"), (None, 3, 256, 256)),)
        >>> info = SessionInfo("openvino", "2026.0", "cpu", Variant("bf16"), 2, Path("a.onnx"), inputs, ("heatmaps",))
        >>> info.precision, info.notes
        ('bf16', ())
    """

    backend: str
    version: str
    device: str
    variant: Variant
    threads: int
    model_path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()
    workers: int = 1
    rewrites: Mapping[str, int] = field(default_factory=dict, hash=False)
    rewritten_path: Path | None = None

    @property
    def loaded_path(self) -> Path:
        """The file that runs: the rewritten graph, or the model's own."""
        return self.rewritten_path or self.model_path

    @property
    def precision(self) -> str:
        """As of the variant: ``"fp32"``, ``"bf16"``, ``"fp16"`` or ``"int8"``."""
        return self.variant.precision


class Session(ABC):
    """A loaded model. It may be called from several threads; close it when done.

    Attributes:
        info: what it runs on.
        accepts_gpu_arrays: it also takes CuPy arrays on its GPU. It then returns CuPy arrays, ready on the caller's
            current stream, or NumPy arrays where its last step runs on the host.
        batch_size: the batch that the graph dictates; None where it is free.
        trial_items: the smallest batch that exercises all of it, for those who try it out.

    Example:
        >>> from hpi.backends import BACKENDS
        >>> from hpi.zoo import Zoo
        >>> zoo = Zoo.default()
        >>> files, options = zoo.find("MoveNet-Thunder_256x256").files, SessionOptions(ArtifactCache(zoo.artifacts))
        >>> with BACKENDS["onnxruntime"].load(files, options) as session:
        ...     feeds = {spec.name: np.zeros((2, *spec.shape[1:]), spec.dtype) for spec in session.info.inputs}
        ...     [len(output) for output in session.run(feeds)]
        [2]
    """

    accepts_gpu_arrays: ClassVar[bool] = False

    def __init__(self, info: SessionInfo) -> None:
        self.info = info
        self._closed = False
        self._closing = threading.Lock()
        self.batch_size = _fixed_batch(info)
        self.trial_items = 1
        self._times: BatchTimes | None = None
        self._splits: dict[int, list[int]] = {}

    def run(self, feeds: Feeds) -> list[Array]:
        """Run a batch.

        A model exported with a fixed batch of 1 is run once per item.

        Args:
            feeds: for each input its array ``[N, ...]`` in the declared dtype, C-contiguous, N > 0.

        Returns:
            The outputs in the model's order, concatenated along the first axis; see :func:`joined`.

        Raises:
            BackendError: the session is closed, the feeds do not fit the inputs, or the runtime failed.
        """
        count = self._check(feeds)
        sizes = self.split(count)
        try:
            results = self._run_parts(list(cut(feeds, sizes)))
        except Exception as error:
            if self._closed:  # also by another thread, while this one was running
                raise BackendError(f"{self._where()}: this session is closed") from error
            raise BackendError(f"{self._where()} failed: {summarize(str(error))}") from error
        outputs = results[0] if len(results) == 1 else [joined(parts) for parts in zip(*results, strict=True)]
        return outputs if sum(sizes) == count else [output[:count] for output in outputs]

    def plan_by(self, times: Mapping[int, float]) -> None:
        """Split batches as measured, where that is known to be faster.

        For a model whose outputs have a row for each item: batches may be padded.

        Args:
            times: of batches of this session by their size, all in the same unit; without any, split as usual.
        """
        self._times, self._splits = BatchTimes(times) if times else None, {}

    def split(self, count: int) -> list[int]:
        """Sizes of the parts that a batch is run in; where they add up to more, its last item is repeated."""
        if self.batch_size is not None:
            return [1] * count
        if count not in self._splits:
            self._splits[count] = self._split(count)
        return self._splits[count]

    def _split(self, count: int) -> list[int]:
        """Sizes of the parts of a batch that the model takes at once."""
        faster = self._times and self._times.faster_split(count, [count], range(1, MAX_BATCH + 1))
        return faster or [count]

    def _run_parts(self, parts: list[Feeds]) -> list[list[Array]]:
        """Run the parts of a batch."""
        return [self._run(part) for part in parts]

    @abstractmethod
    def _run(self, feeds: Feeds) -> list[Array]:
        """Run one part, of a size that the model takes; any exception becomes a BackendError."""

    def close(self) -> None:
        """Free the runtime's memory; further runs raise. Closing twice is harmless."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._release()

    @abstractmethod
    def _release(self) -> None:
        """Drop the runtime's objects. Called once, perhaps while another thread is in :meth:`_run`."""

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, feeds: Feeds) -> int:
        declared = {spec.name for spec in self.info.inputs}
        if feeds.keys() != declared:
            raise BackendError(f"{self._where()} takes inputs {sorted(declared)}, got {sorted(feeds)}")
        for spec in self.info.inputs:
            array = feeds[spec.name]
            if array.dtype != spec.dtype or not _fits(array.shape[1:], spec.shape[1:]):
                raise BackendError(
                    f"{self._where()}: input {spec.name!r} takes {spec.dtype} {spec.shape}, "
                    f"got {array.dtype} {array.shape}"
                )
        counts = {len(array) for array in feeds.values()}
        if len(counts) != 1 or 0 in counts:
            raise BackendError(f"{self._where()}: inputs must share one batch size above 0, got {sorted(counts)}")
        return counts.pop()

    def _where(self) -> str:
        return f"{self.info.model_path} on {self.info.backend}"


class Backend(ABC):
    """One runtime.

    Attributes:
        name: what users type.
        package: the Python package to import.
        install: the command that installs it.
        devices: kinds of device it can use.
        trust: rank among the runtimes that may serve as the reference, 1 first; None if it may not.
        reference: how it runs where it serves as the reference.
        runs_side_by_side: one process may run it in several threads at the same time; else one worker is the most.
        takes_options: it applies :attr:`SessionOptions.backend_options`, or raises; otherwise they are refused.
        reserved_options: options that are refused because the session sets them, each with the argument that does.
        relative_load_time: time to import it and load a first model, as a multiple of ONNX Runtime's.

    Example:
        >>> from hpi.backends import BACKENDS
        >>> BACKENDS["onnxruntime"].devices
        ('cpu', 'gpu')
        >>> BACKENDS["onnxruntime"].unavailable(ModelFiles("mine"), SessionOptions(ArtifactCache(Path("artifacts"))))
        'the model has neither an ONNX file nor a Paddle program'
    """

    name: ClassVar[str]
    package: ClassVar[str]
    install: ClassVar[str]
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    trust: ClassVar[int | None] = None
    reference: ClassVar[Variant] = Variant()
    runs_side_by_side: ClassVar[bool] = True
    takes_options: ClassVar[bool] = False
    reserved_options: ClassVar[Mapping[str, str]] = {}
    relative_load_time: ClassVar[float] = 4.0

    def unavailable(self, files: ModelFiles, options: SessionOptions) -> str | None:
        """Why this runtime cannot run the model on this machine as asked for.

        Imports no runtime and loads nothing, so that every candidate can be asked.

        Args:
            files: the model.
            options: device, variant, threads and the runtime's own options.

        Returns:
            The reason in a few words; None if it can.
        """
        if not is_installed(self.package):
            return f"not installed: {self.install}"
        if device_kind(options.device) not in self.devices:
            return f"cannot use device {options.device!r}, only {', '.join(self.devices)}"
        if options.variant not in (variants := self.variants(options.device)):
            return f"does not offer {options.variant} here, only {', '.join(map(str, variants))}"
        if options.workers > 1 and not self.runs_side_by_side:
            return "does not run in several threads of a process at the same time: give workers=1"
        return self._refused_option(options.backend_options) or self.cannot_read(files)

    def check_options(self, options: SessionOptions) -> None:
        """Check the runtime's own options as far as that is possible without the runtime.

        Raises:
            BackendError: it takes none, one is set by another argument, or a value is no string, number or bool.
        """
        if reason := self._refused_option(options.backend_options):
            raise BackendError(f"{self.name}: {reason}")

    def _refused_option(self, options: Mapping[str, Any]) -> str | None:
        """Why an option must not be set; the runtime itself checks the others when it loads a model."""
        if options and not self.takes_options:
            return f"takes no options of its own, got {', '.join(options)}"
        for name, value in options.items():
            if setter := self.reserved_options.get(name):
                return f"its option {name!r} is set by {setter}"
            if not isinstance(value, str | int | float):
                return f"its option {name!r} must be a string, a number or a bool, got {value!r}"
        return None

    def variants(self, device: str = "cpu") -> tuple[Variant, ...]:
        """The ways it can run a model on a device of this machine, the safest first. Imports no runtime.

        Args:
            device: as in :class:`SessionOptions`.
        """
        return (Variant(),)

    def is_doubtful(self, variant: Variant, device: str) -> bool:
        """Whether a variant may be wrong even in FP32, so that it is validated also where it is asked for by name."""
        return False

    def arithmetic(self, variant: Variant) -> str:
        """A name for how a variant computes: variants that share it differ only in how they split a batch."""
        return variant.precision

    def prepare(self, files: ModelFiles, options: SessionOptions) -> None:  # noqa: B027 - most need nothing
        """Make the files that loading needs, once for all variants.

        Raises:
            BackendError: that failed.
        """

    @abstractmethod
    def cannot_read(self, files: ModelFiles) -> str | None:
        """Why this runtime cannot read the model's files, in a few words; None if it can."""

    @abstractmethod
    def load(self, files: ModelFiles, options: SessionOptions) -> Session:
        """Load a model.

        Args:
            files: the model.
            options: as :meth:`unavailable` approves of.

        Returns:
            A session that has loaded the model; the caller closes it.

        Raises:
            BackendError: the runtime cannot be imported, or refuses the model or one of its own options.
        """


def device_kind(device: str) -> str:
    """The kind of a device.

    Example:
        >>> device_kind("gpu:1"), device_kind("cpu")
        ('gpu', 'cpu')
    """
    return device.split(":", maxsplit=1)[0]


def device_index(device: str) -> int:
    """The index of a device, 0 by default.

    Example:
        >>> device_index("gpu:1"), device_index("gpu")
        (1, 0)
    """
    return int(device.partition(":")[2] or 0)


def is_installed(package: str) -> bool:
    """Whether a package is installed. Does not import it.

    Example:
        >>> is_installed("numpy"), is_installed("no_such_package")
        (True, False)
    """
    return importlib.util.find_spec(package) is not None


def import_runtime(module: str, install: str) -> Any:
    """Import a runtime.

    Raises:
        BackendError: it is missing, or its installation is broken.

    Example:
        >>> import_runtime("numpy", "pip install numpy").__name__
        'numpy'
        >>> import_runtime("nosuch", "pip install it")
        Traceback (most recent call last):
        hpi.errors.BackendError: nosuch cannot be imported: No module named 'nosuch'; install it with: pip install it
    """
    threads = os.environ.get(OMP_THREADS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Paddle warns about a missing ccache, which is not needed here
            return importlib.import_module(module)
    except Exception as error:
        raise BackendError(
            f"{module} cannot be imported: {summarize(str(error))}; install it with: {install}"
        ) from error
    finally:
        if threads is None:  # Paddle sets it, which would bind other runtimes and child processes
            os.environ.pop(OMP_THREADS, None)


def onnx_files(graph: Path) -> list[Path]:
    """An ONNX file, and the files beside it that may hold its weights, by their suffixes.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("model.onnx", "model.onnx_data", "inference.yml"):
        ...         Path(folder, name).touch()
        ...     [file.name for file in onnx_files(Path(folder, "model.onnx"))]
        ['model.onnx', 'model.onnx_data']
    """
    beside = (file for file in graph.parent.iterdir() if file.suffix in EXTERNAL_SUFFIXES)
    return [graph, *sorted(beside)]


def image_input(names: Sequence[str]) -> str | None:
    """The input that takes images: the only one, or the one called ``image``; None if there is neither.

    Example:
        >>> image_input(["x"]), image_input(["scale_factor", "image"]), image_input(["a", "b"])
        ('x', 'image', None)
    """
    if len(names) == 1:
        return names[0]
    return "image" if "image" in names else None


def with_batch_of(outputs: Iterable[Sequence[int | None]], inputs: Iterable[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Inputs with the batch that outputs dictate: some exports leave it free where the graph is for a batch of 1.

    Args:
        outputs: the shapes of the outputs; with a fixed first dimension, they do not grow with the batch.
        inputs: as declared.

    Example:
        >>> (image,) = with_batch_of([(1, 17, 30)], [TensorSpec("image", np.dtype("float32"), (None, 3, None, None))])
        >>> image.shape
        (1, 3, None, None)
    """
    is_for_one = any(shape[:1] not in {(), (None,)} for shape in map(tuple, outputs))
    return tuple(
        replace(spec, shape=(1, *spec.shape[1:])) if is_for_one and spec.shape[:1] == (None,) else spec
        for spec in inputs
    )


def _fixed_batch(info: SessionInfo) -> int | None:
    """The batch size that the graph dictates through any input with a fixed first dimension.

    PicoDet exports leave the image's batch free and fix it only on ``scale_factor``.
    """
    sizes = {spec.shape[0] for spec in info.inputs} - {None}
    if not sizes:
        return None
    if sizes != {1}:
        raise BackendError(
            f"{info.model_path}: exported for a fixed batch of {sorted(map(str, sizes))}; "
            "export it with a dynamic batch, or with a batch of 1"
        )
    return 1


def to_host(array: Any) -> Array:
    """An array in host memory: NumPy arrays are returned as they are, CuPy arrays copied.

    Example:
        >>> to_host(np.arange(3))
        array([0, 1, 2])
    """
    return array if isinstance(array, np.ndarray) else np.asarray(array.get())


def size_of(feeds: Feeds) -> int:
    """The number of items in a batch.

    Example:
        >>> size_of({"image": np.zeros((2, 3, 4, 4))})
        2
    """
    return len(next(iter(feeds.values())))


def cut(feeds: Feeds, sizes: Sequence[int]) -> Iterator[Feeds]:
    """A batch in parts of the given sizes, as views; the last part is a copy where it lacks items.

    Example:
        >>> [part["image"].tolist() for part in cut({"image": np.arange(3)}, [2, 1])]
        [[0, 1], [2]]
        >>> [part["image"].tolist() for part in cut({"image": np.arange(3)}, [4])]
        [[0, 1, 2, 2]]
    """
    start = 0
    for size in sizes:
        yield {name: _padded(array[start : start + size], size) for name, array in feeds.items()}
        start += size


def joined(parts: Sequence[Array]) -> Array:
    """An output of the parts of a batch, concatenated along the first axis.

    A graph that suppresses boxes itself may give each part another number of rows: the fewer ones are filled up with 0.

    Example:
        >>> joined([np.ones((1, 1, 2)), np.ones((1, 2, 2))]).tolist()
        [[[1.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]]
    """
    if len({part.shape[1:] for part in parts}) > 1:
        sizes = np.max([part.shape for part in parts], axis=0)
        parts = [np.pad(part, [(0, 0), *((0, more) for more in (sizes - part.shape)[1:])]) for part in parts]
    joined_parts: Array = np.concatenate(parts)
    return joined_parts


def _padded(array: Array, size: int) -> Array:
    missing = size - len(array)
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else array


def _fits(shape: Sequence[int], declared: Sequence[int | None]) -> bool:
    return len(shape) == len(declared) and all(
        want is None or size == want for size, want in zip(shape, declared, strict=True)
    )
