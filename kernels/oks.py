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
) -> NDArray[np.float64]:
    """Object keypoint similarity of every pair, as COCO defines it.

    Args:
        people: ``[N, K, 2]``: x, y in pixels.
        areas: ``[N]``: of each of ``people``, square pixels.
        others: ``[M, K, 2]``: x, y in pixels.
        sigmas: ``[K]``: how far annotators are apart for each keypoint, relative to the person's size; those of a
            :class:`hpi.instances.Skeleton`.
        counted: ``[N, M, K]``, or what becomes it by repetition: the keypoints that are compared.

    Returns:
        ``[N, M]`` float64 in [0, 1]; 0 where no keypoint is compared.

    Example:
        >>> person = np.array([[[10, 10], [20, 30]]])
        >>> others = np.concatenate([person, person + 1000])
        >>> oks(person, np.array([100]), others, [0.05, 0.05], np.array([True, True]))
        array([[1., 0.]])
    """
    squared = ((people[:, None].astype(np.float64) - others[None]) ** 2).sum(axis=-1)
    spread = 2 * (2 * np.asarray(sigmas, np.float64)) ** 2 * (areas[:, None] + np.spacing(1))
    counted = np.broadcast_to(counted, squared.shape)
    total = np.exp(-squared / spread[:, None]).sum(axis=-1, where=counted)
    similarity: NDArray[np.float64] = total / np.maximum(counted.sum(axis=-1), 1)
    return similarity
