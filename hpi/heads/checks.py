"""What several heads check of outputs, and what they leave out of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.heads.base import Items

Int64 = NDArray[np.int64]


def check_output(output: Any, sizes: tuple[int | None, ...], what: str) -> None:
    """Check that an output is float32 of a shape.

    Args:
        output: the output.
        sizes: of each dimension; None: any.
        what: what it should be, for the message.

    Raises:
        ValueError: it is something else.

    Example:
        >>> check_output(np.zeros((1, 7)), (1, None, 5), "boxes [1, M, 5]")
        Traceback (most recent call last):
        ValueError: float64 (1, 7), is not boxes [1, M, 5] in float32
    """
    fits = output.ndim == len(sizes) and all(
        want is None or have == want for have, want in zip(output.shape, sizes, strict=True)
    )
    if not fits or output.dtype != np.float32:
        raise ValueError(f"{output.dtype} {output.shape}, is not {what} in float32")


def real_rows(scores: NDArray[np.float32]) -> tuple[Items, Int64]:
    """Which rows of a batch are somebody: those with a score above 0 or NaN, which the model reports.

    Args:
        scores: ``[N, M]`` float32.

    Returns:
        The item of the batch and the row of each, ``[R]`` int64 each, items ascending.

    Example:
        >>> real_rows(np.array([[0.9, 0], [0.2, 0.3]], np.float32))
        (array([0, 1, 1]), array([0, 0, 1]))
    """
    items, rows = np.nonzero(~(scores <= 0))
    return items, rows
