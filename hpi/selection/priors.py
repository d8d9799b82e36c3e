"""Measurements of models on runtimes: those shipped in ``configs/priors``, and this machine's own."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Literal

from filelock import FileLock
from pydantic import Field, model_validator

from hpi.backends.base import Variant, device_kind, is_installed
from hpi.backends.cpu import ARM_LEVELS, Cpu, this_cpu
from hpi.backends.gpu import PACKAGE, Gpu, check_gpu, gpu_of
from hpi.errors import ConfigError
from hpi.io.files import save
from hpi.io.validation import Record, parse
from hpi.selection.basis import NOISE, Basis, Ratios


class CpuClass(Record):
    """CPUs that are taken to be alike.

    Example:
        >>> str(CpuClass(vendor="amd", isa="avx512", cores=8))
        'amd avx512, 8 cores'
    """

    kind: Literal["cpu"] = "cpu"
    vendor: str
    isa: Literal[
        "other", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "avx512_bf16", "amx", "neon", "neon_dotprod", "neon_i8mm"
    ]
    cores: Annotated[int, Field(ge=1)]

    @classmethod
    def of(cls, cpu: Cpu) -> CpuClass:
        """The class of a CPU."""
        return cls.model_validate({"vendor": cpu.vendor, "isa": cpu.isa, "cores": cpu.cores})

    @property
    def names(self) -> tuple[CpuClass, ...]:
        """Itself, and what earlier versions called it: they knew no VNNI, and outside Linux on x86 nothing.

        Example:
            >>> [str(name) for name in CpuClass(vendor="intel", isa="avx512_vnni", cores=8).names]
            ['intel avx512_vnni, 8 cores', 'intel avx512, 8 cores', 'other other, 8 cores']
        """
        without_vnni = self.model_copy(update={"isa": self.isa.removesuffix("_vnni")})
        return self, without_vnni, self.model_copy(update={"vendor": "other", "isa": "other"})

    def __str__(self) -> str:
        return f"{self.vendor} {self.isa}, {self.cores} cores"


class GpuClass(Record):
    """GPUs that are taken to be alike.

    Example:
        >>> str(GpuClass(name="NVIDIA L4", compute_capability=8.9, cuda=12.4))
        'NVIDIA L4, CUDA 12.4'
    """

    kind: Literal["gpu"] = "gpu"
    name: str
    compute_capability: float
    cuda: float

    @classmethod
    def of(cls, gpu: Gpu) -> GpuClass:
        """The class of a GPU."""
        return cls(name=gpu.name, compute_capability=gpu.compute_capability, cuda=gpu.cuda)

    @property
    def names(self) -> tuple[GpuClass, ...]:
        """Itself; it was never called otherwise."""
        return (self,)

    def __str__(self) -> str:
        return f"{self.name}, CUDA {self.cuda:g}"


def device_class(device: str) -> CpuClass | GpuClass | None:
    """The class of a device of this machine; None where no measurements are kept.

    These are other accelerators, and GPUs on a machine without CuPy, which tells about them.

    Raises:
        BackendError: there is no such GPU.

    Example:
        >>> device_class("cpu").kind, device_class("npu:0")
        ('cpu', None)
    """
    kind = device_kind(device)
    if kind == "cpu":
        return CpuClass.of(this_cpu())
    if kind != "gpu":
        return None
    check_gpu(device)
    return GpuClass.of(gpu_of(device)) if is_installed(PACKAGE) else None


DeviceClass = Annotated[CpuClass | GpuClass, Field(discriminator="kind")]


Positive = Annotated[float, Field(gt=0)]

_PROFILE_FLAGS = {"mixed": "mixed", "static_batch": "static", "streams": "streams"}


class Prior(Record):
    """One row: how long one batch of a model takes.

    Attributes:
        threads: CPU threads of one inference.
        workers: how many ran it at the same time, each with ``threads`` threads.
        p50_ms: of one worker's batch, as all times.
        p99_ms: of fewer than a hundred runs it is about the slowest.
        throughput: items of all workers a second, each worker's batches one after the other.
        spread: relative uncertainty of ``p50_ms``: half the width of the interval in which the median lies.
        memory_mb: what the process grows by to load the runtime and the model and to run the batch, at most.
        deviation_px: of a keypoint model, the largest distance of a clear keypoint in the reference images from the
            reference's, pixels of the crop; also kept for candidates that fail the parity gate.
        source: ``measured`` for runs of this project, ``calibrated`` for the few of a first start, ``published`` for
            figures from PaddleX's pages.

    Example:
        >>> cpu = CpuClass(vendor="amd", isa="avx2", cores=2)
        >>> row = Prior(
        ...     model="PP-TinyPose_128x96", device=cpu, backend="openvino", precision="fp32", threads=2, batch=4,
        ...     p50_ms=8.0, versions={"openvino": "2025.4"}, date="2026-01-31", source="measured",
        ... )
        >>> str(row.variant), row.items_per_second
        ('fp32', 500.0)
    """

    model: str
    device: DeviceClass
    backend: str
    precision: str
    profile: str = ""
    threads: Annotated[int, Field(ge=1)]
    workers: Annotated[int, Field(ge=1)] = 1
    batch: Annotated[int, Field(ge=1)]
    p50_ms: Positive
    p90_ms: Positive | None = None
    p99_ms: Positive | None = None
    throughput: Positive | None = None
    spread: Annotated[float, Field(ge=0)] | None = None
    memory_mb: Positive | None = None
    deviation_px: float | None = None
    versions: dict[str, str]
    date: str
    source: Literal["measured", "calibrated", "published"]

    @model_validator(mode="before")
    @classmethod
    def _read_flags(cls, row: object) -> object:
        """Translate rows of earlier versions, which have a flag for each word of the profile."""
        if not isinstance(row, Mapping) or "profile" in row:
            return row
        flags = {word: row.get(field, False) for field, word in _PROFILE_FLAGS.items()}
        if not all(isinstance(flag, bool) for flag in flags.values()):
            return row
        rest = {field: value for field, value in row.items() if field not in _PROFILE_FLAGS}
        return {**rest, "profile": " ".join(word for word, flag in flags.items() if flag)}

    @property
    def variant(self) -> Variant:
        """How the runtime ran it."""
        return Variant(self.precision, self.profile)

    @property
    def items_per_second(self) -> float:
        """The throughput, where it was not measured from the median."""
        return self.throughput or 1000 * self.batch * self.workers / self.p50_ms

    @property
    def uncertainty(self) -> float:
        """The spread, at least that of any measurement."""
        return max(self.spread or 0, NOISE)


class _Table(Record):
    rows: list[Prior]


_LEVELS = {
    **{isa: -4.0 * step for step, isa in enumerate(ARM_LEVELS)},
    "other": 0.0, "avx2": 4.0, "avx2_vnni": 5.0, "avx512": 8.0, "avx512_vnni": 9.0, "avx512_bf16": 12.0, "amx": 16.0,
}  # fmt: skip
"""Where instruction sets stand on one line, ARM's on the other side of ``other``."""


def distance(a: CpuClass | GpuClass, b: CpuClass | GpuClass) -> float:
    """The distance of two device classes.

    CPUs: 4 for each step between their instruction sets (they decide which kernels run), but 1 for VNNI, which FP32
    does not use; 2 for another vendor, 1 for each doubling of the cores. From x86 to ARM the steps lead over ``other``.
    GPUs: 4 for each 1.0 of the compute capability, 1 for another name, 1 for each major version of CUDA. A CPU and a
    GPU have nothing in common.

    Example:
        >>> laptop = CpuClass(vendor="intel", isa="avx2", cores=4)
        >>> distance(laptop, CpuClass(vendor="intel", isa="avx2", cores=8))
        1.0
        >>> distance(laptop, GpuClass(name="NVIDIA L4", compute_capability=8.9, cuda=12.4))
        inf
    """
    if isinstance(a, CpuClass) and isinstance(b, CpuClass):
        steps = abs(_LEVELS[a.isa] - _LEVELS[b.isa])
        return steps + 2 * (a.vendor != b.vendor) + abs(math.log2(a.cores / b.cores))
    if isinstance(a, GpuClass) and isinstance(b, GpuClass):
        generations = abs(a.compute_capability - b.compute_capability)
        return 4 * generations + (a.name != b.name) + abs(int(a.cuda) - int(b.cuda))
    return math.inf


@dataclass(frozen=True)
class Priors:
    """Shipped rows and those of this machine, which outrank them.

    Attributes:
        own_file: where this machine's rows are kept.
        leaves_out: says of a shipped row that it is not used, to find out how good a choice is without it; None: all
            are used.

    Example:
        >>> import tempfile
        >>> cpu = CpuClass(vendor="intel", isa="avx512", cores=8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     priors = Priors(Path(folder) / "priors.json")
        ...     rows = priors.basis("PP-TinyPose_128x96", cpu, threads=8).rows
        ...     priors.store(rows)
        ...     priors.own() == list(rows)
        True
    """

    own_file: Path
    leaves_out: Callable[[Prior], bool] | None = None

    @cached_property
    def shipped(self) -> list[Prior]:
        """The rows of ``configs/priors``, but for those that are left out."""
        folder = files("hpi.configs") / "priors"
        rows: list[Prior] = []
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            with as_file(entry) as path:
                rows += read_rows(path)
        return rows if self.leaves_out is None else [row for row in rows if not self.leaves_out(row)]

    def own(self) -> list[Prior]:
        """The rows measured on this machine."""
        # Path raises where it may not look.
        return read_rows(self.own_file) if os.path.isfile(self.own_file) else []  # noqa: PTH113

    def store(self, fresh: Iterable[Prior]) -> None:
        """Keep rows as this machine's; they replace earlier ones of the same models, batches, threads and workers.

        Raises:
            ConfigError: the file cannot be written.
        """
        fresh = list(fresh)
        measured = {_setting(row) for row in fresh}
        with self.locked():
            write_rows(self.own_file, [*(row for row in self.own() if _setting(row) not in measured), *fresh])

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from this machine's rows, so that none loses what another stores.

        Raises:
            ConfigError: the file cannot be written.
        """
        try:
            self.own_file.parent.mkdir(parents=True, exist_ok=True)
            held = self._lock.acquire()
        except OSError as error:
            raise ConfigError(f"{self.own_file}: cannot be written: {error.strerror or error}") from error
        with held:
            yield

    @cached_property
    def _lock(self) -> FileLock:
        return FileLock(self.own_file.with_name(f".{self.own_file.name}.lock"))

    def basis(self, model: str, device: CpuClass | GpuClass | None, threads: int, workers: int = 1) -> Basis | None:
        """What to rank a model by; None where nothing is known.

        This machine's own measurements, else those of the nearest device class, corrected by this machine's
        calibration. A CPU of which fewer threads are used counts as one with as many cores.
        """
        if device is None:
            return None
        asked = (model, threads, workers)
        own = [row for row in self.own() if (row.model, row.threads, row.workers) == asked]
        for name in device.names:
            if measured := tuple(row for row in own if (row.device, row.source) == (name, "measured")):
                shipped = self.basis_of_shipped(model, device, threads, workers)
                rows = _with_memory(measured, shipped.rows if shipped else ())
                return Basis(rows, f"measured on this machine, {measured[0].date}", here=True)
        basis = self.basis_of_shipped(model, device, threads, workers)
        calibrated = tuple(row for row in own if (row.device, row.source) == (device, "calibrated"))
        if not calibrated or (basis and basis.here):
            return basis
        basis = replace(basis or Basis((), "no measurements of this model", here=False), calibrated=calibrated)
        return replace(basis, where=f"calibrated here on {calibrated[0].date}") if basis.is_corrected else basis

    def basis_of_shipped(self, model: str, device: CpuClass | GpuClass, threads: int, workers: int = 1) -> Basis | None:
        """As :meth:`basis`, from the shipped rows only."""
        alike = [row for row in self.shipped if (row.device.kind, row.workers) == (device.kind, workers)]
        ratios = Ratios.from_rows(_nearest_class((row for row in alike if row.source == "measured"), device, threads))
        of_model = [row for row in alike if row.model == model]
        compared = {(row.device, row.threads) for row in of_model if _compares(row, of_model)}
        rows = _nearest_class(
            (row for row in of_model if not ratios.table or (row.device, row.threads) in compared), device, threads
        )
        if not rows:
            return Basis((), "no measurements of this model", here=False, ratios=ratios) if ratios.table else None
        first = rows[0]
        here = first.source == "measured" and (first.device, first.threads) == (device, threads)
        return Basis(rows, f"{first.source} on {first.device}, {first.date}", here, ratios)


def _with_memory(rows: Iterable[Prior], others: Iterable[Prior]) -> tuple[Prior, ...]:
    """Rows, those without memory with that of other machines: it hardly depends on the CPU, and is seldom measured."""
    known = {(row.backend, row.variant, row.batch): row.memory_mb for row in others}

    def completed(row: Prior) -> Prior:
        memory_mb = row.memory_mb or known.get((row.backend, row.variant, row.batch))
        return row.model_copy(update={"memory_mb": memory_mb})

    return tuple(map(completed, rows))


def _nearest_class(rows: Iterable[Prior], device: CpuClass | GpuClass, threads: int) -> tuple[Prior, ...]:
    """The rows of the nearest device class with its threads; of two, our own measurements before published ones."""
    rows, wanted = list(rows), _with_threads(device, threads)
    if not rows:
        return ()
    known = dict.fromkeys((row.device, row.threads, row.source) for row in rows)  # far fewer than rows
    *best, _ = min(known, key=lambda one: (distance(_with_threads(one[0], one[1]), wanted), one[2]))
    return tuple(row for row in rows if [row.device, row.threads] == best)


def _compares(row: Prior, rows: Iterable[Prior]) -> bool:
    """Whether a row can be compared with another runtime's; a published figure of a single one ranks nothing."""
    setting = _setting(row)
    return row.source == "measured" or any(other.backend != row.backend for other in rows if _setting(other) == setting)


def _setting(row: Prior) -> tuple[object, ...]:
    return row.model, row.device, row.threads, row.workers, row.batch


def _with_threads(device: CpuClass | GpuClass, threads: int) -> CpuClass | GpuClass:
    return device.model_copy(update={"cores": threads}) if isinstance(device, CpuClass) else device


def read_rows(path: Path) -> list[Prior]:
    """Rows of a JSON file.

    Raises:
        ConfigError: it cannot be read; the message names file and field.

    Example:
        >>> from importlib.resources import files
        >>> rows = read_rows(Path(str(files("hpi.configs") / "priors" / "published.json")))
        >>> {row.source for row in rows}
        {'published'}
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; remove it and measure again with: hpi tune") from error
    return parse(_Table, content, str(path)).rows


def write_rows(path: Path, rows: Iterable[Prior]) -> None:
    """Write rows as a JSON file, one row a line.

    Raises:
        ConfigError: it cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_rows(Path(folder) / "priors.json", [])
        ...     read_rows(Path(folder) / "priors.json")
        []
    """
    lines = ",\n".join(json.dumps(row.model_dump(exclude_none=True)) for row in rows)
    save(path, f'{{"rows": [\n{lines}\n]}}\n'.encode(), ConfigError)
