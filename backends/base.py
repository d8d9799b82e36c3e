"""The contract of a runtime.

A :class:`Backend` says whether it can run a model here and loads it as a :class:`Session`, which takes and returns
arrays.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hpi.backends.artifacts import ArtifactCache, content_hash
from hpi.backends.cpu import OMP_THREADS, default_threads
from hpi.backends.messages import summarize
from hpi.errors import BackendError

Array = NDArray[Any]
Feeds = Mapping[str, Array]

EXTERNAL_SUFFIXES = {".bin", ".data", ".onnx_data", ".weight"}
"""Of files beside an ONNX graph that may hold its weights."""


@dataclass(frozen=True)
class PaddleFiles:
    """A Paddle program (``.json`` of Paddle 3, ``.pdmodel`` of Paddle 2) and its weights."""

    program: Path
    params: Path


@dataclass(frozen=True)
class Normalization:
    """What a model's input is made of: ``level * scale + shift`` of uint8 levels, per channel, in the order RGB."""

    scale: tuple[float, float, float]
    shift: tuple[float, float, float]


@dataclass(frozen=True)
class ModelFiles:
    """The files of one model: for Paddle, as an ONNX graph, or both.

    Attributes:
        name: the model's name.
        paddle: its Paddle program.
        onnx: its ONNX graph.
        normalization: of the input that takes images, see :func:`image_input`. With it a session may take uint8 BGR
            images ``[N, H, W, 3]`` in place of the float tensor and normalise them itself, where that is faster; what
            it takes is in its ``info.inputs``.
    """

    name: str
    paddle: PaddleFiles | None = None
    onnx: Path | None = None
    normalization: Normalization | None = None

    @cached_property
    def content(self) -> str:
        """SHA-256 of all that the model consists of; read when it is first asked for."""
        paddle = [self.paddle.program, self.paddle.params] if self.paddle else []
        return content_hash([*paddle, *(onnx_files(self.onnx) if self.onnx else [])])


@dataclass(frozen=True)
class Variant:
    """One way in which a runtime can run a model.

    Only the runtime knows what its profiles stand for; everybody else compares, stores and shows their names.

    Attributes:
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``.
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
        device: ``"cpu"``, or one card: ``"gpu:0"``, ``"npu:1"`` and the like.
        variant: precision and batches, among those that the runtime has.
        threads: CPU threads of one inference; by default as :func:`hpi.backends.cpu.default_threads`.
    """

    artifacts: ArtifactCache
    device: str = "cpu"
    variant: Variant = Variant()
    threads: int | None = None

    @property
    def thread_count(self) -> int:
        """The threads to use, resolved."""
        return self.threads or default_threads()


@dataclass(frozen=True)
class TensorSpec:
    """A model input; ``shape`` has None for free dimensions."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class SessionInfo:
    """What a session really runs on, as read back from the runtime where it tells."""

    backend: str
    version: str
    device: str
    variant: Variant
    threads: int
    model_path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def precision(self) -> str:
        """``"fp32"``, ``"bf16"`` or ``"fp16"``."""
        return self.variant.precision


class Session(ABC):
    """A loaded model. Safe to call from several threads; close it when done.

    Attributes:
        info: what it runs on.
        accepts_gpu_arrays: it also takes CuPy arrays on its GPU, and then returns such, ready on the caller's current stream;
            or NumPy arrays, where its last step runs on the host.
        batch_size: the batch that the graph dictates; None where it is free.
        trial_items: the smallest batch that exercises all of it, for those who try it out.
    """

    accepts_gpu_arrays: ClassVar[bool] = False

    def __init__(self, info: SessionInfo) -> None:
        self.info = info
        self._closed = False
        self._closing = threading.Lock()
        self.batch_size = _fixed_batch(info)
        self.trial_items = 1

    def run(self, feeds: Feeds) -> list[Array]:
        """Run a batch.

        A model exported with a fixed batch of 1 is run once per item.

        Args:
            feeds: for each input its array ``[N, ...]`` in the declared dtype, C-contiguous, N > 0.

        Returns:
            The outputs in the model's order, joined over the items along the first axis.

        Raises:
            BackendError: the session is closed, the feeds do not fit the inputs, or the runtime failed.
        """
        sizes = self.split(self._check(feeds))
        try:
            results = self._run_parts(list(cut(feeds, sizes)))
        except Exception as error:
            if self._closed:  # also by another thread, while this one was running
                raise BackendError(f"{self._where()}: this session is closed") from error
            raise BackendError(f"{self._where()} failed: {summarize(str(error))}") from error
        return results[0] if len(results) == 1 else [np.concatenate(parts) for parts in zip(*results, strict=True)]

    def split(self, count: int) -> list[int]:
        """Sizes of the parts that a batch is run in."""
        return [count] if self.batch_size is None else [1] * count

    def _run_parts(self, parts: list[Feeds]) -> list[list[Array]]:
        """Run the parts of a batch."""
        return [self._run(part) for part in parts]

    @abstractmethod
    def _run(self, feeds: Feeds) -> list[Array]:
        """Run one part of a size that the model takes; whatever it raises becomes a BackendError."""

    def close(self) -> None:
        """Give the runtime's memory back; further runs raise. Closing twice is harmless."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._release()

    @abstractmethod
    def _release(self) -> None:
        """Let go of the runtime's objects; called once, perhaps while another thread is in :meth:`_run`."""

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
        trust: place among the runtimes that others are compared with; None: it is never the reference.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    install: ClassVar[str]
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    trust: ClassVar[int | None] = None

    def unavailable(self, files: ModelFiles, options: SessionOptions) -> str | None:
        """Why this runtime cannot run the model here, in a few words; None when it can. Imports nothing."""
        if not is_installed(self.package):
            return f"not installed: {self.install}"
        if device_kind(options.device) not in self.devices:
            return f"cannot use device {options.device!r}, only {', '.join(self.devices)}"
        if options.variant not in (variants := self.variants(options.device)):
            return f"does not offer {options.variant} here, only {', '.join(map(str, variants))}"
        return self.cannot_read(files)

    def variants(self, device: str = "cpu") -> tuple[Variant, ...]:
        """The ways in which it can run a model on a device of this machine, the safest first. Imports nothing."""
        return (Variant(),)

    def arithmetic(self, variant: Variant) -> str:
        """A name for how a variant computes: variants that share it differ only in how they split a batch."""
        return variant.precision

    @abstractmethod
    def cannot_read(self, files: ModelFiles) -> str | None:
        """Why the model's files are of no use to this runtime, or None."""

    @abstractmethod
    def load(self, files: ModelFiles, options: SessionOptions) -> Session:
        """Load a model.

        Raises:
            BackendError: the runtime cannot be imported, or refuses the model.
        """


def device_kind(device: str) -> str:
    """``"gpu"`` of ``"gpu:1"``."""
    return device.split(":", maxsplit=1)[0]


def device_index(device: str) -> int:
    """1 of ``"gpu:1"``; 0 where none is given."""
    return int(device.partition(":")[2] or 0)


def is_installed(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


def import_runtime(module: str, install: str) -> Any:
    """Import a runtime.

    Raises:
        BackendError: it is missing, or its installation is broken, in whatever way.
    """
    threads = os.environ.get(OMP_THREADS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Paddle warns of a missing ccache, which nothing here compiles with
            return importlib.import_module(module)
    except Exception as error:
        raise BackendError(
            f"{module} cannot be imported: {summarize(str(error))}; install it with: {install}"
        ) from error
    finally:
        if threads is None:  # Paddle sets it, and other runtimes and processes started from here would go by it
            os.environ.pop(OMP_THREADS, None)


def onnx_files(graph: Path) -> list[Path]:
    """An ONNX file and what may hold its weights: the files beside it with the usual suffixes of external data."""
    beside = (file for file in graph.parent.iterdir() if file.suffix in EXTERNAL_SUFFIXES)
    return [graph, *sorted(beside)]


def image_input(names: Sequence[str]) -> str | None:
    """The input that takes images: the only one, whatever its name, or of several ``image``; None without."""
    if len(names) == 1:
        return names[0]
    return "image" if "image" in names else None


def _fixed_batch(info: SessionInfo) -> int | None:
    """The batch size that the graph dictates, from any input with a fixed first dimension.

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
    """An array in the host's memory: NumPy arrays as they are, CuPy arrays copied."""
    return array if isinstance(array, np.ndarray) else np.asarray(array.get())


def size_of(feeds: Feeds) -> int:
    """Items in a batch."""
    return len(next(iter(feeds.values())))


def cut(feeds: Feeds, sizes: Sequence[int]) -> Iterator[Feeds]:
    """A batch in parts, without copying."""
    start = 0
    for size in sizes:
        yield {name: array[start : start + size] for name, array in feeds.items()}
        start += size


def _fits(shape: Sequence[int], declared: Sequence[int | None]) -> bool:
    return len(shape) == len(declared) and all(
        want is None or size == want for size, want in zip(shape, declared, strict=True)
    )
