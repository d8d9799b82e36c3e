"""Measurements of models on runtimes: those shipped in ``configs/priors``, and this machine's own."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from hpi.backends.base import Variant, device_kind, is_installed
from hpi.backends.cpu import ISA_LEVELS, Cpu, this_cpu
from hpi.backends.gpu import PACKAGE, Gpu, check_gpu, gpu_of
from hpi.errors import ConfigError
from hpi.io.files import save
from hpi.io.validation import Record, parse


class CpuClass(Record):
    """CPUs that are taken to be alike.

    Example:
        >>> str(CpuClass(vendor="amd", isa="avx512", cores=8))
        'amd avx512, 8 cores'
    """

    kind: Literal["cpu"] = "cpu"
    vendor: str
    isa: Literal["other", "avx2", "avx512", "avx512_bf16", "amx"]
    cores: Annotated[int, Field(ge=1)]

    @classmethod
    def of(cls, cpu: Cpu) -> CpuClass:
        """The class of a CPU."""
        return cls.model_validate({"vendor": cpu.vendor, "isa": cpu.isa, "cores": cpu.cores})

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
        p99_ms: of fewer than a hundred runs it is about the slowest.
        throughput: items a second, batches one after the other.
        memory_mb: what the process grows by to load the runtime and the model and to run the batch, at most.
        deviation_px: of a keypoint model, the largest distance of a clear keypoint in the reference images from the
            reference's, pixels of the crop; also kept for candidates that fail the parity gate.
        source: ``measured`` for runs of this project, ``published`` for figures from PaddleX's pages.

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
    batch: Annotated[int, Field(ge=1)]
    p50_ms: Positive
    p90_ms: Positive | None = None
    p99_ms: Positive | None = None
    throughput: Positive | None = None
    memory_mb: Positive | None = None
    deviation_px: float | None = None
    versions: dict[str, str]
    date: str
    source: Literal["measured", "published"]

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
        return self.throughput or 1000 * self.batch / self.p50_ms


class _Table(Record):
    rows: list[Prior]


def distance(a: CpuClass | GpuClass, b: CpuClass | GpuClass) -> float:
    """The distance of two device classes.

    CPUs: 4 for each step between their instruction sets (they decide which kernels run), 2 for another vendor, 1 for
    each doubling of the cores. GPUs: 4 for each 1.0 of the compute capability, 1 for another name, 1 for each major
    version of CUDA. A CPU and a GPU have nothing in common.

    Example:
        >>> laptop = CpuClass(vendor="intel", isa="avx2", cores=4)
        >>> distance(laptop, CpuClass(vendor="intel", isa="avx2", cores=8))
        1.0
        >>> distance(laptop, GpuClass(name="NVIDIA L4", compute_capability=8.9, cuda=12.4))
        inf
    """
    if isinstance(a, CpuClass) and isinstance(b, CpuClass):
        steps = abs(ISA_LEVELS.index(a.isa) - ISA_LEVELS.index(b.isa))
        return 4 * steps + 2 * (a.vendor != b.vendor) + abs(math.log2(a.cores / b.cores))
    if isinstance(a, GpuClass) and isinstance(b, GpuClass):
        generations = abs(a.compute_capability - b.compute_capability)
        return 4 * generations + (a.name != b.name) + abs(int(a.cuda) - int(b.cuda))
    return math.inf


@dataclass(frozen=True)
class Estimate:
    """What to expect of a candidate for some batch sizes; None where it was not measured.

    Attributes:
        milliseconds: median time of all these batches together.
        throughput: items a second over all these batches.
        p99_ms: of the slowest of these batches; None also where one of them was not measured itself.
        memory_mb: at most.
        deviation_px: from the reference, at most.

    Example:
        >>> Estimate(milliseconds=8.0, throughput=500.0, p99_ms=9.5, memory_mb=None, deviation_px=0.01).p99_ms
        9.5
    """

    milliseconds: float
    throughput: float
    p99_ms: float | None
    memory_mb: float | None
    deviation_px: float | None


@dataclass(frozen=True)
class Basis:
    """The rows that a ranking rests on: all of one model on one device class, so that they can be compared.

    Attributes:
        rows: the rows.
        where: where they come from, in words.
        here: they were measured on this machine's own device class, with as many threads as are asked for.

    Example:
        >>> cpu = CpuClass(vendor="intel", isa="avx512", cores=8)
        >>> basis = Priors(Path("priors.json")).basis_of_shipped("PP-TinyPose_128x96", cpu, threads=8)
        >>> basis.where
        'published on intel avx512, 8 cores, 2025-05-01'
        >>> basis.estimate("openvino", Variant(), batches=(1,)).milliseconds
        6.19
    """

    rows: tuple[Prior, ...]
    where: str
    here: bool

    def estimate(self, backend: str, variant: Variant, batches: Sequence[int]) -> Estimate | None:
        """What to expect of the expected batches; None without a row.

        A batch that was not measured is taken in proportion from the nearest one that was.
        """
        rows = [row for row in self.rows if (row.backend, row.variant) == (backend, variant)]
        if not rows:
            return None
        nearest = [min(rows, key=lambda row: abs(math.log(row.batch / batch))) for batch in batches]
        pairs = list(zip(nearest, batches, strict=True))
        return Estimate(
            milliseconds=sum(row.p50_ms * batch / row.batch for row, batch in pairs),
            throughput=sum(batches) / sum(batch / row.items_per_second for row, batch in pairs),
            p99_ms=_most(row.p99_ms if row.batch == batch else None for row, batch in pairs),
            memory_mb=_most(row.memory_mb for row in nearest),
            deviation_px=_most(row.deviation_px for row in nearest),
        )


def _most(values: Iterable[float | None]) -> float | None:
    """The largest; None where one is not known."""
    known = list(values)
    return None if None in known else max(value for value in known if value is not None)


@dataclass(frozen=True)
class Priors:
    """Shipped rows and those of this machine, which outrank them.

    Attributes:
        own_file: where this machine's rows are kept.

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

    @cached_property
    def shipped(self) -> list[Prior]:
        """The rows of ``configs/priors``."""
        folder = files("hpi.configs") / "priors"
        rows: list[Prior] = []
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            with as_file(entry) as path:
                rows += read_rows(path)
        return rows

    def own(self) -> list[Prior]:
        """The rows measured on this machine."""
        return read_rows(self.own_file) if self.own_file.is_file() else []

    def store(self, fresh: Iterable[Prior]) -> None:
        """Keep rows as this machine's; they replace earlier ones of the same models, batches and threads.

        Raises:
            ConfigError: the file cannot be written.
        """
        fresh = list(fresh)
        measured = {_setting(row) for row in fresh}
        write_rows(self.own_file, [*(row for row in self.own() if _setting(row) not in measured), *fresh])

    def basis(self, model: str, device: CpuClass | GpuClass | None, threads: int) -> Basis | None:
        """The rows to rank a model by: this machine's own, else those of the nearest device class; None without.

        A CPU of which fewer threads are used counts as one with as many cores.
        """
        if device is None:
            return None
        own = [row for row in self.own() if (row.model, row.device, row.threads) == (model, device, threads)]
        if own:
            return Basis(tuple(own), f"measured on this machine, {own[0].date}", here=True)
        return self.basis_of_shipped(model, device, threads)

    def basis_of_shipped(self, model: str, device: CpuClass | GpuClass, threads: int) -> Basis | None:
        """As :meth:`basis`, from the shipped rows only."""
        shipped = [row for row in self.shipped if row.model == model and row.device.kind == device.kind]
        if not shipped:
            return None
        wanted = _with_threads(device, threads)
        # Equally near: our own measurements before published figures.
        best = min(shipped, key=lambda row: (distance(_with_threads(row.device, row.threads), wanted), row.source))
        rows = tuple(row for row in shipped if (row.device, row.threads) == (best.device, best.threads))
        here = best.source == "measured" and (best.device, best.threads) == (device, threads)
        return Basis(rows, f"{best.source} on {best.device}, {best.date}", here)


def _setting(row: Prior) -> tuple[object, ...]:
    return row.model, row.device, row.threads, row.batch


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
