"""Batches with rows of several images."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


def split_by_count(rows: NDArray[Scalar], counts: Iterable[int]) -> list[NDArray[Scalar]]:
    """Split rows by image into views; several times faster than ``np.split`` for a few images.

    Args:
        rows: ``[N, ...]``, in the order of the images.
        counts: rows of each image, N in total.

    Returns:
        For each image ``[count, ...]``.

    Example:
        >>> [part.tolist() for part in split_by_count(np.arange(3), [1, 0, 2])]
        [[0], [], [1, 2]]
    """
    ends = list(accumulate(counts))
    return [rows[start:end] for start, end in zip([0, *ends], ends, strict=False)]
