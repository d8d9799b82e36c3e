"""Keypoints from SimCC vectors, for all people and keypoints at once.

SimCC (Li et al., "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation", ECCV 2022) gives
each keypoint one vector along x and one along y, whose bins are fractions of a pixel of the input. Such are RTMPose,
RTMW and DWPose.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def decode_simcc(along_x: Float32, along_y: Float32, *, mean: bool = False) -> tuple[Float32, Float32]:
    """The largest bin of each vector, the first of equal ones, as mmpose's ``get_simcc_maximum`` has it.

    Args:
        along_x: ``[N, K, X]`` float32, raw model output; not modified.
        along_y: ``[N, K, Y]`` float32.
        mean: the score is the mean of the two maxima, as in rtmlib, in place of the smaller one, as in mmpose and
            mmdeploy.

    Returns:
        ``bins [N, K, 2]`` float32, (x, y), and ``scores [N, K]`` float32, which may exceed 1. Where a score is not
        positive both bins are -1, as in the references: just outside the input.

    Example:
        >>> along_x, along_y = np.array([[[0, 3, 1]]], np.float32), np.array([[[2, 0]]], np.float32)
        >>> decode_simcc(along_x, along_y)
        (array([[[1., 0.]]], dtype=float32), array([[2.]], dtype=float32))
        >>> decode_simcc(along_x, along_y, mean=True)[1]
        array([[2.5]], dtype=float32)
    """
    bins = np.stack([along_x.argmax(axis=-1), along_y.argmax(axis=-1)], axis=-1)
    most_x, most_y = (
        np.take_along_axis(vectors, bins[..., axis, None], axis=-1)[..., 0]
        for axis, vectors in enumerate((along_x, along_y))
    )
    scores = (most_x + most_y) * np.float32(0.5) if mean else np.minimum(most_x, most_y)
    bins[scores <= 0] = -1
    return bins.astype(np.float32), scores
