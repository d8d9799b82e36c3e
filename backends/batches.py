"""The batch sizes that an engine with a free batch is built for."""

from __future__ import annotations

from dataclasses import dataclass

from hpi.backends.base import MAX_BATCH


@dataclass(frozen=True)
class BatchRange:
    """The smallest batch an engine takes, the one it is tuned for, and the largest.

    Example:
        >>> BatchRange(1, 8, 32).shapes((3, 256, 192))
        {'min': (1, 3, 256, 192), 'opt': (8, 3, 256, 192), 'max': (32, 3, 256, 192)}
    """

    least: int
    best: int
    most: int

    def shapes(self, item: tuple[int | None, ...]) -> dict[str, tuple[int | None, ...]]:
        """The shapes of an input, by TensorRT's names for the bounds.

        Args:
            item: the shape of one item, without the batch.
        """
        return {"min": (self.least, *item), "opt": (self.best, *item), "max": (self.most, *item)}


CROPS = BatchRange(1, 8, MAX_BATCH)
"""For a model with a free batch that runs on crops of people."""
