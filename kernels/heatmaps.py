"""Keypoints from heatmaps: argmax and refinement, for all people and keypoints at once.

DARK (Zhang et al., "Distribution-Aware Coordinate Representation for Human Pose Estimation", CVPR 2020, eq. 9):
the logarithm of a blurred heatmap is close to a paraboloid around its peak, so one Newton step from the largest
cell, ``-H^-1 g`` with gradient ``g`` and Hessian ``H`` of the log-heatmap, lands on the keypoint.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

_FLOOR = 1e-10  # the reference's lower bound before the logarithm
_REACH = 3  # cells on each side of the peak: 2 for the second differences, 1 more for the blur


def heatmap_peaks(heatmaps: Float32) -> tuple[Float64, Float32]:
    """The largest cell of every heatmap, the first of equal ones, and its value.

    Args:
        heatmaps: ``[N, K, H, W]`` float32.

    Returns:
        ``peaks [N, K, 2]`` float64, (x, y) in cells, and ``scores [N, K]`` float32, the raw maxima. Where a maximum
        is not positive the peak is (0, 0), as in the reference.

    Example:
        >>> peaks, scores = heatmap_peaks(np.array([[[[0, 3], [1, 0]]]], np.float32))
        >>> peaks, scores
        (array([[[1., 0.]]]), array([[3.]], dtype=float32))
    """
    count, keypoints, height, width = heatmaps.shape
    flat = heatmaps.reshape(count * keypoints, height * width)
    index = flat.argmax(axis=-1)
    scores = flat[np.arange(len(flat)), index]
    peaks = np.empty((len(flat), 2))
    peaks[:, 0], peaks[:, 1] = index % width, index // width
    peaks[scores <= 0] = 0
    return peaks.reshape(count, keypoints, 2), scores.reshape(count, keypoints)


def decode_dark(heatmaps: Float32) -> tuple[Float64, Float32]:
    """Decode heatmaps with DARK, as PaddleX does with ``use_dark=True`` and a blur kernel of 3.

    The reference blurs each whole map with the kernel [1, 2, 1]/4 in both directions (zeros outside the map),
    multiplies it by ``r = max(raw) / max(blurred)``, takes ``log(max(. , 1e-10))`` and makes one Newton step when
    the peak is at least two cells from the border and the Hessian is invertible.

    That step depends on 5x5 blurred values, and so on the 7x7 raw values around the peak. There the factor ``r``
    becomes the constant ``log r``, which cancels in every difference, except for a blurred value below the lower
    bound, whose logarithm is not shifted with the others. So ``r`` is computed only for maps with such values, and
    the results equal those of the reference for all.

    Args:
        heatmaps: ``[N, K, H, W]`` float32, raw model output; not modified.

    Returns:
        ``keypoints [N, K, 2]`` float64, (x, y) in cells, and ``scores [N, K]`` float32.

    Example:
        >>> heatmap = np.zeros((1, 1, 9, 9), np.float32)
        >>> heatmap[0, 0, 4, 4:6] = 1, 0.5
        >>> keypoints, scores = decode_dark(heatmap)
        >>> bool(4 < keypoints[0, 0, 0] < 5), float(scores[0, 0])
        (True, 1.0)
    """
    keypoints, scores = heatmap_peaks(heatmaps)
    height, width = heatmaps.shape[2:]
    x, y = keypoints[..., 0], keypoints[..., 1]
    refinable = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    if refinable.any():
        keypoints[refinable] += _newton_step(_log_blurred_windows(heatmaps, keypoints, refinable))
    return keypoints, scores


def decode_quarter(heatmaps: Float32) -> tuple[Float64, Float32]:
    """Decode heatmaps with the quarter offset of Newell et al. (ECCV 2016), as HRNet and PaddleDetection do.

    The largest cell, moved by a quarter of a cell towards the larger of its neighbours, in x and in y. A peak with
    ``x <= 1``, ``y <= 1``, ``x = W - 1`` or ``y = H - 1`` stays where it is, as in the reference.

    Takes and returns what :func:`decode_dark` does.

    Example:
        >>> heatmap = np.zeros((1, 1, 9, 9), np.float32)
        >>> heatmap[0, 0, 4, 4:6] = 1, 0.5
        >>> decode_quarter(heatmap)[0]
        array([[[4.25, 4.  ]]])
    """
    keypoints, scores = heatmap_peaks(heatmaps)
    height, width = heatmaps.shape[2:]
    maps = heatmaps.reshape(-1, height, width)
    inside = (keypoints > 1) & (keypoints < (width - 1, height - 1))
    refinable = inside.all(axis=-1)
    which = np.flatnonzero(refinable)
    column, row = keypoints[refinable].astype(np.intp).T
    dx = maps[which, row, column + 1] - maps[which, row, column - 1]
    dy = maps[which, row + 1, column] - maps[which, row - 1, column]
    keypoints[refinable] += 0.25 * np.sign(np.stack([dx, dy], axis=-1))
    return keypoints, scores


def _log_blurred_windows(heatmaps: Float32, peaks: Float64, chosen: NDArray[np.bool_]) -> Float64:
    """``[M, 5, 5]`` log of the blurred, rescaled heatmaps around the chosen peaks."""
    height, width = heatmaps.shape[2:]
    which = np.flatnonzero(chosen)
    x, y = peaks[chosen].astype(np.intp).T
    around = np.arange(-_REACH, _REACH + 1)
    start = which * (height * width) + y * width + x
    cells = start[:, None, None] + (around[:, None] * width + around)
    raw = heatmaps.take(cells, mode="clip").astype(np.float64)
    # For a peak two cells from a border, the outermost row or column was read from outside the map.
    raw[x == _REACH - 1, :, 0] = 0
    raw[x == width - _REACH, :, -1] = 0
    raw[y == _REACH - 1, 0] = 0
    raw[y == height - _REACH, -1] = 0
    blurred = _blur(raw)
    floored = (blurred <= _FLOOR).any(axis=(1, 2))
    if floored.any():
        maps = heatmaps.reshape(-1, height, width)[which[floored]]
        blurred[floored] *= _rescale_factor(maps)[:, None, None]
    return np.log(np.maximum(blurred, _FLOOR))


def _blur(maps: Float64) -> Float64:
    """Blur ``[M, H, W]`` with [1, 2, 1]/4 in both directions; the result has no border: ``[M, H-2, W-2]``."""
    lines = maps[:, :-2] + 2 * maps[:, 1:-1] + maps[:, 2:]
    return (lines[:, :, :-2] + 2 * lines[:, :, 1:-1] + lines[:, :, 2:]) / 16


def _rescale_factor(maps: Float32) -> Float64:
    """``max(raw) / max(blurred)`` of whole maps ``[M, H, W]``: ``[M]``.

    1 if no blurred value is positive: the reference divides by zero there and returns NaN keypoints.
    """
    count, height, width = maps.shape
    padded = np.zeros(
        (count, height + 1, width), np.float32
    )  # the row of zeros below a map also separates it from the next
    padded[:, :height] = maps
    kernel = np.array([1, 2, 1], np.float32) / 4
    blurred = cv2.sepFilter2D(padded.reshape(-1, width), -1, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
    most = blurred.reshape(padded.shape)[:, :height].max(axis=(1, 2)).astype(np.float64)
    raw = maps.max(axis=(1, 2)).astype(np.float64)
    factor: Float64 = np.divide(raw, most, out=np.ones_like(raw), where=most > 0)
    return factor


def _newton_step(window: Float64) -> Float64:
    """``-H^-1 g`` at the centre of ``[M, 5, 5]`` windows: ``[M, 2]`` (x, y); 0 where H is singular."""
    right, left, below, above = window[:, 2, 3], window[:, 2, 1], window[:, 3, 2], window[:, 1, 2]
    middle = window[:, 2, 2]
    dx, dy = (right - left) / 2, (below - above) / 2
    dxx = (window[:, 2, 4] - 2 * middle + window[:, 2, 0]) / 4
    dyy = (window[:, 4, 2] - 2 * middle + window[:, 0, 2]) / 4
    dxy = (window[:, 3, 3] - window[:, 1, 3] - window[:, 3, 1] + window[:, 1, 1]) / 4
    determinant = dxx * dyy - dxy * dxy
    step = np.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], axis=-1)
    return np.divide(step, determinant[:, None], out=np.zeros_like(step), where=determinant[:, None] != 0)
