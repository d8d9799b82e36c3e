"""What a ranking rests on: measured rows, this machine's calibration, and how candidates compare on other models."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import geometric_mean
from typing import TYPE_CHECKING

from hpi.backends.base import Variant

if TYPE_CHECKING:
    from hpi.selection.priors import Prior

NOISE = 0.03
"""Least relative uncertainty of a measured time: two runs on one machine, minutes apart, differ by as much."""
MOST_NOISE = 0.1
"""Most of it that makes a tie; a candidate that is slower by more is slower, however its times scatter."""

Key = tuple[str, Variant]
"""A runtime's name and how it runs the model."""


@dataclass(frozen=True)
class Estimate:
    """What to expect of a candidate for some batch sizes; None where it was not measured.

    Attributes:
        milliseconds: of all these batches together.
        throughput: items a second.
        p99_ms: of the slowest of these batches; None also where one of them was not measured itself.
        memory_mb: at most.
        deviation_px: from the reference, at most.
        spread: relative uncertainty of the time.

    Example:
        >>> Estimate(milliseconds=8.0, throughput=500.0, p99_ms=9.5, memory_mb=None, deviation_px=0.01).p99_ms
        9.5
    """

    milliseconds: float
    throughput: float
    p99_ms: float | None
    memory_mb: float | None
    deviation_px: float | None
    spread: float = NOISE

    def ties_with(self, other: Estimate) -> bool:
        """Whether the times differ by no more than both are uncertain.

        Example:
            >>> first, second, third = (Estimate(ms, 1, None, None, None) for ms in (10, 10.4, 10.5))
            >>> first.ties_with(second), first.ties_with(third)
            (True, False)
        """
        noise = min(math.hypot(self.spread, other.spread), MOST_NOISE)
        slower = max(self.milliseconds / other.milliseconds, other.milliseconds / self.milliseconds)
        return slower <= 1 + noise


@dataclass(frozen=True)
class Ratios:
    """How candidates compare on other models of a device class: time over that of the best, by batch size.

    Models of any size and kind together: no formula of their floating-point operations, their bytes or their kind has
    ranked a model that it had not seen any better.

    Attributes:
        table: for each candidate and batch size the geometric mean over the models.

    Example:
        >>> ratios = Ratios({("openvino", Variant()): {1: 1.4, 4: 1.5}})
        >>> ratios.of(("openvino", Variant()), 8), ratios.of(("paddle", Variant()), 8)
        (1.5, None)
    """

    table: Mapping[Key, Mapping[int, float]] = field(default_factory=dict)

    @classmethod
    def from_rows(cls, rows: Iterable[Prior]) -> Ratios:
        """From rows of one device class, threads and workers."""
        times: dict[tuple[str, int], dict[Key, float]] = defaultdict(dict)
        for row in rows:
            times[row.model, row.batch][row.backend, row.variant] = row.p50_ms
        ratios: dict[Key, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        for (_, batch), found in times.items():
            best = min(found.values())
            if len(found) > 1:
                for key, milliseconds in found.items():
                    ratios[key][batch].append(milliseconds / best)
        return cls({key: {batch: geometric_mean(all_) for batch, all_ in of.items()} for key, of in ratios.items()})

    def of(self, key: Key, batch: int) -> float | None:
        """A candidate's ratio at the nearest batch size; None where it was not measured."""
        known = self.table.get(key)
        return known[min(known, key=lambda size: abs(math.log(size / batch)))] if known else None

    def of_all(self, key: Key, batches: Sequence[int]) -> float:
        """The ratio over several batch sizes, to sort by; infinity where it is not known."""
        ratios = [self.of(key, batch) for batch in batches]
        return sum((ratio or math.inf) * batch for ratio, batch in zip(ratios, batches, strict=True)) / sum(batches)


@dataclass(frozen=True)
class Basis:
    """What a ranking rests on: rows of one model on one device class, so that they can be compared.

    Attributes:
        rows: the rows; none of a model that was measured nowhere.
        where: where they come from, in words.
        here: they were measured on this machine's own device class, with as many threads as are asked for.
        ratios: how candidates compare on other models, which orders those without a row.
        calibrated: of some candidates, what was measured at the first start here; it corrects the rows. A single one
            corrects nothing: there was no time to compare it.

    Example:
        >>> from pathlib import Path
        >>> from hpi.selection.priors import CpuClass, Priors
        >>> cpu = CpuClass(vendor="intel", isa="avx512_vnni", cores=8)
        >>> basis = Priors(Path("priors.json")).basis_of_shipped("PP-YOLOE-S_human", cpu, threads=8)
        >>> basis.where
        'published on intel avx512_vnni, 8 cores, 2025-05-01'
        >>> basis.estimate("openvino", Variant(), batches=(1,)).milliseconds
        46.52
    """

    rows: tuple[Prior, ...]
    where: str
    here: bool
    ratios: Ratios = Ratios()
    calibrated: tuple[Prior, ...] = ()

    @property
    def knows_model(self) -> bool:
        """Whether the model itself was measured anywhere."""
        return bool(self.rows) or self.is_corrected

    @property
    def is_corrected(self) -> bool:
        """Whether candidates were compared on this machine."""
        return len(self.calibrated) > 1

    def estimate(self, backend: str, variant: Variant, batches: Sequence[int]) -> Estimate | None:
        """What to expect of the expected batches; None without a row.

        A batch that was not measured is taken in proportion from the nearest one that was.
        """
        key = backend, variant
        rows = [row for row in self.rows if (row.backend, row.variant) == key]
        nearest = [_nearest(rows, batch) for batch in batches] if rows else []
        if self.is_corrected:
            return self._corrected(key, batches, nearest)
        if not rows:
            return None
        pairs = list(zip(nearest, batches, strict=True))
        milliseconds = [row.p50_ms * batch / row.batch for row, batch in pairs]
        return Estimate(
            milliseconds=sum(milliseconds),
            throughput=sum(batches) / sum(batch / row.items_per_second for row, batch in pairs),
            p99_ms=_most(row.p99_ms if row.batch == batch else None for row, batch in pairs),
            memory_mb=_most(row.memory_mb for row in nearest),
            deviation_px=_most(row.deviation_px for row in nearest),
            spread=max(row.uncertainty for row in nearest),
        )

    def _corrected(self, key: Key, batches: Sequence[int], nearest: Sequence[Prior]) -> Estimate | None:
        """What the calibration makes of the rows; None where neither knows the candidate."""
        times = [self._corrected_ms(key, batch) for batch in batches]
        milliseconds = sum(time or math.inf for time in times)
        if math.isinf(milliseconds):
            return None
        own = self._calibration_of(key)
        return Estimate(
            milliseconds=milliseconds,
            throughput=1000 * sum(batches) / milliseconds,
            p99_ms=None,
            memory_mb=_most(row.memory_mb for row in nearest) if nearest else None,
            deviation_px=_most(row.deviation_px for row in nearest) if nearest else None,
            spread=own.uncertainty if own else NOISE,
        )

    def _corrected_ms(self, key: Key, batch: int) -> float | None:
        """The time here: what was measured at another batch size changes with the batch as the rows do.

        A candidate that was not calibrated is as much slower or faster here as its runtime's other profiles.
        """
        expected, own = self._expected(key, batch), self._calibration_of(key)
        if own is not None:
            at = self._expected(key, own.batch)
            return own.p50_ms * (expected / at if expected and at else batch / own.batch)
        known = [
            (row.backend, row.p50_ms, self._expected((row.backend, row.variant), row.batch)) for row in self.calibrated
        ]
        factors = [(backend, here / there) for backend, here, there in known if there]
        alike = [factor for backend, factor in factors if backend == key[0]] or [factor for _, factor in factors]
        return expected * geometric_mean(alike) if expected and alike else None

    def _expected(self, key: Key, batch: int) -> float | None:
        """The time elsewhere, to be compared with others of this basis only; None where it is not known."""
        if not self.rows:
            ratio = self.ratios.of(key, batch)
            return None if ratio is None else ratio * batch
        rows = [row for row in self.rows if (row.backend, row.variant) == key]
        if not rows:
            return None
        nearest = _nearest(rows, batch)
        return nearest.p50_ms * batch / nearest.batch

    def _calibration_of(self, key: Key) -> Prior | None:
        return next((row for row in self.calibrated if (row.backend, row.variant) == key), None)


def _nearest(rows: Sequence[Prior], batch: int) -> Prior:
    return min(rows, key=lambda row: abs(math.log(row.batch / batch)))


def _most(values: Iterable[float | None]) -> float | None:
    """The largest; None where one is not known."""
    known = list(values)
    return None if None in known else max(value for value in known if value is not None)
