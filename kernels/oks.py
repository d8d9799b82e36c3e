"""Object keypoint similarity (OKS) of every pair of people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

USUAL_SIGMA = 0.06
"""Where nobody says those of the keypoints: the mean of COCO's."""


def oks(
    people: NDArray[Any],
    areas: NDArray[Any],
    others: NDArray[Any],
    sigmas: Sequence[float],
    counted: NDArray[np.bool_],
    dtype: type[np.floating[Any]] = np.float64,
) -> NDArray[Any]:
    """Object keypoint similarity of every pair, as COCO defines it.

    Args:
        people: ``[N, K, 2]``: x, y in pixels.
        areas: ``[N]``: of each of ``people``, square pixels.
        others: ``[M, K, 2]``: x, y in pixels.
        sigmas: ``[K]``: how far annotators are apart for each keypoint, relative to the person's size; those of a
            :class:`hpi.instances.Skeleton`.
        counted: ``[N, M, K]``, or what becomes it by repetition: the keypoints that are compared.
        dtype: what it is computed in. float32 is right to 1e-6 and takes a tenth of the time.

    Returns:
        ``[N, M]`` in [0, 1]; 0 where no keypoint is compared.

    Example:
        >>> person = np.array([[[10, 10], [20, 30]]])
        >>> others = np.concatenate([person, person + 1000])
        >>> oks(person, np.array([100]), others, [0.05, 0.05], np.array([True, True]))
        array([[1., 0.]])
    """
    # One axis at a time: sums over an axis of two numbers would take most of the time.
    (x, y), (other_x, other_y) = (np.moveaxis(one.astype(dtype), -1, 0) for one in (people, others))
    spread = 2 * (2 * np.asarray(sigmas, np.float64)) ** 2 * (areas[:, None] + np.spacing(1))
    with np.errstate(over="ignore"):  # endlessly far apart: not alike
        squared = (x[:, None] - other_x) ** 2 + (y[:, None] - other_y) ** 2
        alike = np.exp(squared / -spread[:, None].astype(dtype))
    compared = np.broadcast_to(counted, (*counted.shape[:-1], alike.shape[-1])).sum(axis=-1)
    total = alike @ counted.astype(dtype) if counted.ndim == 1 else np.where(counted, alike, dtype(0)).sum(axis=-1)
    similarity: NDArray[Any] = total / np.maximum(compared, 1).astype(dtype)
    return similarity
