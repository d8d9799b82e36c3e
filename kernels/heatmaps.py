"""Keypoints from heatmaps: argmax and refinement, for all people and keypoints at once.

DARK (Zhang et al., "Distribution-Aware Coordinate Representation for Human Pose Estimation", CVPR 2020, eq. 9):
the logarithm of a blurred heatmap is close to a paraboloid around its peak, so one Newton step from the largest
cell, ``-H^-1 g`` with gradient ``g`` and Hessian ``H`` of the log-heatmap, lands on the keypoint.

DARK-UDP (Huang et al., "The Devil is in the Details", CVPR 2020) blurs more and takes the second differences between
direct neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

_EPSILON = float(np.finfo(np.float32).eps)


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
        keypoints[refinable] += _dark_step(_log_blurred(heatmaps, keypoints, refinable, 2, _DARK))
    return keypoints, scores


def decode_dark_udp(heatmaps: Float32) -> tuple[Float64, Float32]:
    """Decode heatmaps with DARK as mmpose's ``UDPHeatmap`` does for ViTPose, with its blur kernel of 11.

    The reference blurs each map with a Gaussian of 11x11 cells, sigma 2 (zeros outside the map), multiplies it by
    ``max(raw) / max(blurred)``, clips it to 0.001 to 50, takes the logarithm and makes one Newton step at every peak;
    beyond the border the map goes on with its outermost values. ``H`` plus 1.2e-7 on its diagonal is inverted.

    Here only the cells around a peak are read, as in :func:`decode_dark`. Transformers and rtmlib blur with mirrored
    values outside the map and do not multiply, which differs for peaks less than seven cells from a border, and where
    values are clipped.

    Args:
        heatmaps: ``[N, K, H, W]`` float32, raw model output; not modified.

    Returns:
        ``keypoints [N, K, 2]`` float64, (x, y) in cells, and ``scores [N, K]`` float32, the raw maxima. Where a
        maximum is not positive both coordinates are -1, as in the reference.

    Example:
        >>> y, x = np.mgrid[:64, :48]
        >>> heatmap = np.exp(-((x - 20.3) ** 2 + (y - 40.6) ** 2) / 8).astype(np.float32)
        >>> decode_dark_udp(heatmap[None, None])[0].round(2)
        array([[[20.3, 40.6]]])
    """
    keypoints, scores = heatmap_peaks(heatmaps)
    keypoints[scores <= 0] = -1
    refinable = scores > 0
    if refinable.any():
        window = _log_blurred(heatmaps, keypoints, refinable, 1, _DARK_UDP)
        _repeat_border(window, keypoints[refinable], heatmaps.shape[2:])
        keypoints[refinable] += _dark_udp_step(window)
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


@dataclass(frozen=True)
class _Smoothing:
    """What a reference does with a heatmap before it looks at the surroundings of a peak.

    Attributes:
        kernel: of the blur, the same along x and y.
        least: values below it are raised to it before the logarithm.
        most: values above it are lowered to it.
    """

    kernel: NDArray[np.float64]
    least: float
    most: float = np.inf

    @property
    def reach(self) -> int:
        """Cells on each side that a blurred value depends on."""
        return len(self.kernel) // 2


_DARK = _Smoothing(np.array([0.25, 0.5, 0.25]), 1e-10)
_DARK_UDP = _Smoothing(np.asarray(cv2.getGaussianKernel(11, 2), np.float64).ravel(), 1e-3, 50)


def _log_blurred(heatmaps: Float32, peaks: Float64, chosen: NDArray[np.bool_], around: int, how: _Smoothing) -> Float64:
    """``[M, 2 * around + 1, 2 * around + 1]`` log of the blurred, rescaled heatmaps around the chosen peaks."""
    raw, which = _windows(heatmaps, peaks, chosen, around + how.reach)
    blurred = _blur(raw, how.kernel)
    # Rescaling enlarges, up to the raw maximum: it cancels in all differences unless values are clipped.
    clipped = (blurred <= how.least).any(axis=(1, 2)) | (raw.max(axis=(1, 2)) > how.most)
    if clipped.any():
        maps = heatmaps.reshape(-1, *heatmaps.shape[2:])[which[clipped]]
        blurred[clipped] *= _rescale_factor(maps, how)[:, None, None]
    log: Float64 = np.log(blurred.clip(how.least, how.most))
    return log


def _windows(
    heatmaps: Float32, peaks: Float64, chosen: NDArray[np.bool_], around: int
) -> tuple[Float64, NDArray[np.intp]]:
    """The cells around the chosen peaks, 0 outside the map, and which map each is of."""
    height, width = heatmaps.shape[2:]
    which = np.flatnonzero(chosen)
    x, y = peaks[chosen].astype(np.intp).T
    offsets = np.arange(-around, around + 1)
    start = which * (height * width) + y * width + x
    cells = start[:, None, None] + (offsets[:, None] * width + offsets)
    raw = heatmaps.take(cells, mode="clip").astype(np.float64)
    columns, rows = x[:, None] + offsets, y[:, None] + offsets
    outside_x, outside_y = (columns < 0) | (columns >= width), (rows < 0) | (rows >= height)
    raw[outside_y[:, :, None] | outside_x[:, None]] = 0
    return raw, which


def _blur(maps: Float64, kernel: Float64) -> Float64:
    """Blur ``[M, H, W]`` in both directions; the result lacks the cells that the kernel does not reach."""
    height, width = (side - len(kernel) + 1 for side in maps.shape[1:])
    lines = sum(weight * maps[:, start : start + height] for start, weight in enumerate(kernel))
    blurred: Float64 = sum(weight * lines[:, :, start : start + width] for start, weight in enumerate(kernel))
    return blurred


def _rescale_factor(maps: Float32, how: _Smoothing) -> Float64:
    """``max(raw) / max(blurred)`` of whole maps ``[M, H, W]``: ``[M]``.

    1 if no blurred value is positive: the reference divides by zero there and returns NaN keypoints.
    """
    count, height, width = maps.shape
    # The rows of zeros below a map also separate it from the next.
    padded = np.zeros((count, height + how.reach, width), np.float32)
    padded[:, :height] = maps
    kernel = how.kernel.astype(np.float32)
    blurred = cv2.sepFilter2D(padded.reshape(-1, width), -1, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
    most = blurred.reshape(padded.shape)[:, :height].max(axis=(1, 2)).astype(np.float64)
    raw = maps.max(axis=(1, 2)).astype(np.float64)
    factor: Float64 = np.divide(raw, most, out=np.ones_like(raw), where=most > 0)
    return factor


def _repeat_border(window: Float64, peaks: Float64, shape: Sequence[int]) -> None:
    """Give cells of ``[M, 3, 3]`` that are outside the map the values of those at its border."""
    height, width = shape
    x, y = peaks.T
    for at_border, outside in ((x == 0, 0), (x == width - 1, 2)):
        window[at_border, :, outside] = window[at_border, :, 1]
    for at_border, outside in ((y == 0, 0), (y == height - 1, 2)):
        window[at_border, outside] = window[at_border, 1]


def _dark_step(window: Float64) -> Float64:
    """The step at the centre of ``[M, 5, 5]`` windows: ``[M, 2]`` (x, y)."""
    middle, right, left, below, above = _cross(window)
    dxx = (window[:, 2, 4] - 2 * middle + window[:, 2, 0]) / 4
    dyy = (window[:, 4, 2] - 2 * middle + window[:, 0, 2]) / 4
    dxy = (window[:, 3, 3] - window[:, 1, 3] - window[:, 3, 1] + window[:, 1, 1]) / 4
    return _newton_step((right - left) / 2, (below - above) / 2, dxx, dyy, dxy)


def _dark_udp_step(window: Float64) -> Float64:
    """The step at the centre of ``[M, 3, 3]`` windows: ``[M, 2]`` (x, y)."""
    middle, right, left, below, above = _cross(window)
    dxx, dyy = right - 2 * middle + left, below - 2 * middle + above
    dxy = (window[:, 2, 2] - right - below + 2 * middle - left - above + window[:, 0, 0]) / 2
    return _newton_step((right - left) / 2, (below - above) / 2, dxx + _EPSILON, dyy + _EPSILON, dxy)


def _cross(window: Float64) -> tuple[Float64, ...]:
    """Of windows: the centre, and its neighbours to the right, to the left, below and above, ``[M]`` each."""
    at = window.shape[1] // 2
    return (
        window[:, at, at], window[:, at, at + 1], window[:, at, at - 1], window[:, at + 1, at], window[:, at - 1, at],
    )  # fmt: skip


def _newton_step(dx: Float64, dy: Float64, dxx: Float64, dyy: Float64, dxy: Float64) -> Float64:
    """``-H^-1 g`` of ``[M]`` derivatives: ``[M, 2]`` (x, y); 0 where H is singular."""
    determinant = dxx * dyy - dxy * dxy
    step = np.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], axis=-1)
    return np.divide(step, determinant[:, None], out=np.zeros_like(step), where=determinant[:, None] != 0)
