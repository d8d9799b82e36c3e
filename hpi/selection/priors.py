"""Measurements of models on runtimes: those shipped in ``configs/priors``, and this machine's own."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from hpi.backends.base import Variant
from hpi.backends.cpu import ISA_LEVELS, Cpu
from hpi.errors import ConfigError
from hpi.files import write_whole
from hpi.validation import Record, parse


class DeviceClass(Record):
    """Machines that are taken to be alike."""

    vendor: str
    isa: Literal["other", "avx2", "avx512", "avx512_bf16", "amx"]
    cores: Annotated[int, Field(ge=1)]

    @classmethod
    def of(cls, cpu: Cpu) -> DeviceClass:
        """The class of a CPU."""
        return cls.model_validate({"vendor": cpu.vendor, "isa": cpu.isa, "cores": cpu.cores})

    def __str__(self) -> str:
        return f"{self.vendor} {self.isa}, {self.cores} cores"


Milliseconds = Annotated[float, Field(gt=0)]


class Prior(Record):
    """One row: how long one batch of a model takes.

    ``source`` is ``measured`` for runs of this project and ``published`` for figures from PaddleX's pages.
    """

    model: str
    device: DeviceClass
    backend: str
    precision: str
    static_batch: bool = False
    threads: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)]
    p50_ms: Milliseconds
    p90_ms: Milliseconds | None = None
    p99_ms: Milliseconds | None = None
    deviation: str | None = None
    versions: dict[str, str]
    date: str
    source: Literal["measured", "published"]

    @property
    def variant(self) -> Variant:
        """How the runtime ran it."""
        return Variant(self.precision, self.static_batch)

    @property
    def throughput(self) -> float:
        """Items a second."""
        return 1000 * self.batch / self.p50_ms


class _Table(Record):
    rows: list[Prior]


def distance(a: DeviceClass, b: DeviceClass) -> float:
    """How unlike two device classes are.

    4 for each step between their instruction sets (they decide which kernels run), 2 for another vendor, 1 for each
    doubling of the cores.
    """
    steps = abs(ISA_LEVELS.index(a.isa) - ISA_LEVELS.index(b.isa))
    return 4 * steps + 2 * (a.vendor != b.vendor) + abs(math.log2(a.cores / b.cores))


@dataclass(frozen=True)
class Basis:
    """The rows that a ranking rests on: all of one model on one device class, so that they can be compared."""

    rows: tuple[Prior, ...]
    where: str

    def estimate(self, backend: str, variant: Variant, batches: Sequence[int]) -> float | None:
        """Milliseconds for the expected batches together; None without a row.

        A batch that was not measured is taken in proportion from the nearest one that was.
        """
        rows = [row for row in self.rows if (row.backend, row.variant) == (backend, variant)]
        if not rows:
            return None
        nearest = (min(rows, key=lambda row: abs(math.log(row.batch / batch))) for batch in batches)
        return sum(row.p50_ms * batch / row.batch for row, batch in zip(nearest, batches, strict=True))


@dataclass(frozen=True)
class Priors:
    """Shipped rows and those of this machine, which outrank them.

    Attributes:
        own_file: where this machine's rows are kept.
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
        """Keep rows as this machine's; they replace earlier ones of the same models."""
        fresh = list(fresh)
        models = {row.model for row in fresh}
        write_rows(self.own_file, [*(row for row in self.own() if row.model not in models), *fresh])

    def basis(self, model: str, device: DeviceClass) -> Basis | None:
        """The rows to rank a model by: this machine's own, else those of the nearest device class; None without."""
        own = [row for row in self.own() if row.model == model and row.device == device]
        if own:
            return Basis(tuple(own), f"measured on this machine, {own[0].date}")
        return self.basis_of_shipped(model, device)

    def basis_of_shipped(self, model: str, device: DeviceClass) -> Basis | None:
        """As :meth:`basis`, from the shipped rows only."""
        shipped = [row for row in self.shipped if row.model == model]
        if not shipped:
            return None
        # Equally near: our own measurements before published figures.
        nearest = min(shipped, key=lambda row: (distance(row.device, device), row.source)).device
        rows = tuple(row for row in shipped if row.device == nearest)
        return Basis(rows, f"{rows[0].source} on {nearest}, {rows[0].date}")


def read_rows(path: Path) -> list[Prior]:
    """Rows of a JSON file.

    Raises:
        ConfigError: it cannot be read; the message names file and field.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; remove it, and measure anew with: hpi tune") from error
    return parse(_Table, content, str(path)).rows


def write_rows(path: Path, rows: Iterable[Prior]) -> None:
    """Write rows as a JSON file, one row a line."""
    lines = ",\n".join(json.dumps(row.model_dump(exclude_none=True)) for row in rows)
    write_whole(path, f'{{"rows": [\n{lines}\n]}}\n'.encode())
