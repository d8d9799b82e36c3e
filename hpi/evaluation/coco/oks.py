"""Object keypoint similarity (OKS), and the score of a person that COCO ranks by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpi.kernels.oks import oks as of_pairs

SCORE_ABOVE = 0.2
"""Keypoints that score more count in the score of a person."""


def oks(truth: NDArray[Any], area: float, found: NDArray[Any], sigmas: Sequence[float]) -> NDArray[np.float64]:
    """Object keypoint similarity of the people found to an annotated one; see :func:`hpi.kernels.oks.oks`.

    Args:
        truth: ``[K, 3]``: x, y in pixels, and above 0 for labelled keypoints, of which there must be one.
        area: of the person's segment, square pixels.
        found: ``[N, K, 3]`` or ``[N, K, 2]``: x, y in pixels.
        sigmas: ``[K]``, of the skeleton.

    Returns:
        ``[N]`` float64 in [0, 1].

    Example:
        >>> truth = np.array([[10, 10, 2], [20, 30, 1]])
        >>> oks(truth, 100.0, np.stack([truth, truth + 1000]), [0.05, 0.05]).tolist()
        [1.0, 0.0]
    """
    counted = truth[:, 2] > 0
    similarity: NDArray[np.float64] = of_pairs(truth[None, :, :2], np.array([area]), found[..., :2], sigmas, counted)[0]
    return similarity


def mean_keypoint_score(scores: ArrayLike) -> float:
    """Mean of the keypoint scores ``[K]`` above 0.2; 0 when there is none.

    Example:
        >>> mean_keypoint_score([0.25, 0.75, 0.1])
        0.5
    """
    scores = np.asarray(scores)
    confident = scores[scores > SCORE_ABOVE]
    return float(confident.mean()) if confident.size else 0.0
