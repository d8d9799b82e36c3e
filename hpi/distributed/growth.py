"""How many images go through the models together: more and more, for as long as the run itself gets faster by it."""

from __future__ import annotations

from pathlib import Path

from hpi.selection.memory import STATUS, peak_mb

LARGEST = 32
GAIN = 1.03
"""A batch of twice the size must be faster by this factor."""
LEAST_S = 2.0
"""Seconds of work that are compared."""
RESERVE = 4
"""So many times what a larger batch may need must be free, since other processes grow too."""

_MEMINFO = Path("/proc/meminfo")


class BatchSize:
    """A batch size that doubles from 1 to :data:`LARGEST`, until that gains nothing or memory may run out.

    Attributes:
        now: the batch size to use.

    Args:
        fixed: the only size; None: it grows.

    Example:
        >>> batch = BatchSize()
        >>> for images_a_second in (100, 120, 119, 120):
        ...     batch.ran(images_a_second * 2, seconds=2)
        ...     print(batch.now)
        2
        4
        2
        2
    """

    def __init__(self, fixed: int | None = None) -> None:
        self.now = fixed or 1
        self._is_final = fixed is not None
        self._best, self._best_rate = self.now, 0.0
        self._images, self._seconds = 0, 0.0
        self._peak_mb: float | None = None

    def ran(self, images: int, seconds: float) -> None:
        """Take a time at this size into account."""
        if self._is_final:
            return
        self._images += images
        self._seconds += seconds
        if self._seconds < LEAST_S:
            return
        rate = self._images / self._seconds
        self._images, self._seconds = 0, 0.0
        if rate < GAIN * self._best_rate:
            self.retreat()
            return
        self._best, self._best_rate = self.now, rate
        if self.now >= LARGEST or not self._has_room():
            self._is_final = True
        else:
            self.now *= 2

    def retreat(self) -> bool:
        """Go back to the best size so far, for good; False where this is it already."""
        was = self.now
        self.now, self._is_final = self._best, True
        return was > self.now

    def _has_room(self) -> bool:
        """Whether twice the size will do: it may need twice what the last step has needed. On Linux; else True."""
        if not (STATUS.is_file() and _MEMINFO.is_file()):
            return True
        before, self._peak_mb = self._peak_mb, peak_mb()
        if before is None:
            return True
        return RESERVE * 2 * (self._peak_mb - before) < available_mb()


def available_mb() -> float:
    """Memory of this machine that new work can have, MB; on Linux.

    Example:
        >>> not _MEMINFO.is_file() or available_mb() > 0
        True
    """
    line = next(line for line in _MEMINFO.read_text(encoding="ascii").splitlines() if line.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024 / 1e6
