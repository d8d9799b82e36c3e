"""Which sizes a batch is run in, by measured times."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LEAST_GAIN = 0.1
"""Part of the time that another split than the usual one must save: batch sizes are measured one after the other, and
meanwhile a machine changes by as much."""
MOST_PADDING = 0.25
"""Part of a run that may be padding: it bounds what a wrong measurement can cost."""


@dataclass(frozen=True)
class BatchTimes:
    """Measured times of batches, by their size.

    Example:
        >>> times = BatchTimes({1: 2.6, 2: 3.9, 4: 6.3, 8: 10.0, 16: 19.0})
        >>> times.of(6), times.of(32)
        (8.15, 38.0)
        >>> times.faster_split(7, usual=[4, 2, 1], sizes=[1, 2, 4, 8, 16])
        [8]
        >>> times.faster_split(9, usual=[8, 1], sizes=[1, 2, 4, 8, 16]) is None
        True
    """

    measured: Mapping[int, float]

    def of(self, size: int) -> float:
        """Between two measured sizes on the line through them, below as the smallest, above in proportion."""
        sizes = sorted(self.measured)
        # More items take no less time; where it was measured so, the machine was slower for a while.
        times = np.maximum.accumulate([self.measured[one] for one in sizes])
        return float(np.interp(size, sizes, times)) * max(size / sizes[-1], 1)

    def faster_split(self, count: int, usual: Sequence[int], sizes: Collection[int]) -> list[int] | None:
        """The fastest sizes to run a batch in, largest first; None where that is not known to be faster than usual.

        They may add up to more than the batch: its last item is then repeated.

        Args:
            count: items of the batch.
            usual: the sizes without measurements.
            sizes: what there is to choose from; of these none that is larger than what was measured.
        """
        least, most = min(self.measured), max(self.measured)
        if min(usual) < least:
            return None
        costs = {size: self.of(size) for size in sizes if size <= most}
        best: list[tuple[float, list[int]]] = [(0.0, [])]  # for 0, 1, 2 ... items
        for items in range(1, count + 1):
            fitting = (size for size in costs if size - items <= MOST_PADDING * size)
            options = ((size, *best[max(items - size, 0)]) for size in fitting)
            size, time, others = min(options, key=lambda one: (costs[one[0]] + one[1], len(one[2])))
            best.append((costs[size] + time, [size, *others]))
        time, split = best[count]
        gains = time <= (1 - LEAST_GAIN) * sum(map(self.of, usual))
        return sorted(split, reverse=True) if gains else None
