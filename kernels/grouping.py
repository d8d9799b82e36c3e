"""From peaks of heatmaps and their tags to people: associative embedding (Newell et al., NIPS 2017).

A network gives, beside a heatmap for each keypoint, a map of tags: numbers that are alike for keypoints of one person.
:func:`find_peaks` finds where keypoints are, :func:`group` whose they are, :func:`refine` where exactly, and
:func:`salvage` those that were no peak. A cell is a flat index into a map, ``y * W + x``.

Distances between tags are float32 throughout, as in the reference: which of two nearly equal assignments is the better
one hangs on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Assign = Callable[[NDArray[np.floating]], tuple[Int64, Int64]]
"""Which column each row of costs ``[R, C]``, R <= C, gets so that the sum is least: rows and columns, ``[R]`` each."""

_PEAK_WINDOW = 5
_UNASSIGNED_COST = 1e-10
_FLOORS = (0.2, 0.05, 0.0)
"""Salvaging looks at cells above the first one, and at lower ones only where these might be better."""


@dataclass(frozen=True)
class Groups:
    """Which peaks belong together.

    Attributes:
        peaks: ``[M, K]`` int64: for each person and keypoint the number of its peak; -1 where there is none.
        tags: ``[M, D]`` float32: the mean tag of each person.

    Example:
        >>> len(Groups(np.array([[0, -1]]), np.array([[0.5]], np.float32)))
        1
    """

    peaks: Int64
    tags: Float32

    def __len__(self) -> int:
        return len(self.peaks)


def find_peaks(heatmaps: Float32, count: int) -> tuple[Float32, Int64]:
    """The highest peaks of heatmaps: cells that no other cell within two cells exceeds.

    Args:
        heatmaps: ``[K, H, W]`` float32.
        count: peaks of each map, P.

    Returns:
        ``heats [K, P]`` float32, highest first, of equal ones that of the lowest cell, 0 where there are no more; and
        ``cells [K, P]`` int64.

    Example:
        >>> heats, cells = find_peaks(np.array([[[0, 0.5, 0.25, 0]]], np.float32), count=2)
        >>> heats.tolist(), int(cells[0, 0])
        ([[0.5, 0.0]], 1)
    """
    window = np.ones((_PEAK_WINDOW, _PEAK_WINDOW), np.uint8)
    heats, cells = np.zeros((len(heatmaps), count), np.float32), np.zeros((len(heatmaps), count), np.int64)
    for keypoint, heatmap in enumerate(heatmaps):
        at = np.flatnonzero((heatmap == cv2.dilate(heatmap, window)) & (heatmap > 0))
        highest = at[np.argsort(-heatmap.flat[at], kind="stable")[:count]]
        heats[keypoint, : len(highest)] = heatmap.flat[highest]
        cells[keypoint, : len(highest)] = highest
    return heats, cells


def association_costs(tags: Float32, heats: Float32, people: Float32) -> tuple[Float32, Float32]:
    """What it costs to give peaks to people: the rounded distance of the tags counts first, then the heat.

    Args:
        tags: ``[R, D]`` float32, of the peaks of one keypoint.
        heats: ``[R]`` float32.
        people: ``[M, D]`` float32, mean tags.

    Returns:
        ``costs [R, max(R, M)]`` float32, columns from M on standing for new people, and ``distances [R, M]`` float32.

    Example:
        >>> peaks, heats = np.array([[0.1], [2.0]], np.float32), np.array([0.5, 0.25], np.float32)
        >>> costs, distances = association_costs(peaks, heats, people=np.array([[0.0]], np.float32))
        >>> costs.round(3).tolist()
        [[-0.5, 0.0], [199.75, 0.0]]
    """
    distances = _distances(tags[:, None], people[None])
    costs = np.full((len(tags), max(tags.shape[0], people.shape[0])), _UNASSIGNED_COST, np.float32)
    costs[:, : len(people)] = np.round(distances) * 100 - heats[:, None]
    return costs, distances


def group(
    heats: Float32, tags: Float32, assign: Assign, *, above: float = 0.2, near: float = 1.0, most: int = 30
) -> Groups:
    """Group the peaks of an image to people, keypoint by keypoint.

    Each peak joins the person that the assignment gives it, where their tags are near, else it is somebody new. Who
    is new is known by the tag of this peak; two peaks of exactly the same tag are one person.

    Args:
        heats: ``[K, P]`` float32: the height of each peak.
        tags: ``[K, P, D]`` float32: the tag at each peak.
        assign: solves the assignment problem.
        above: lower peaks are ignored.
        near: largest distance of a peak's tag from the person's mean.
        most: people that further peaks may join.

    Example:
        >>> heats, tags = np.array([[0.9], [0.8]], np.float32), np.array([[[1.0]], [[1.25]]], np.float32)
        >>> groups = group(heats, tags, assign=lambda costs: (np.array([0]), np.array([0])))
        >>> groups.peaks.tolist(), groups.tags.tolist()
        ([[0, 0]], [[1.125]])
    """
    keypoints, peaks, dimensions = tags.shape
    members = np.full((keypoints * peaks, keypoints), -1, np.int64)
    totals = np.zeros((keypoints * peaks, dimensions), np.float32)
    counts = np.zeros((keypoints * peaks, 1), np.float32)
    known: dict[float, int] = {}
    for keypoint in range(keypoints):
        rows = np.flatnonzero(heats[keypoint] > above)
        if not len(rows):
            continue
        of_rows, there = tags[keypoint, rows], min(len(known), most)
        people = np.full(len(rows), -1)
        if there:
            means = np.divide(totals[:there], counts[:there])
            costs, distances = association_costs(of_rows, heats[keypoint, rows], means)
            _, columns = assign(costs)
            joins = columns < there
            joins[joins] = distances[joins, columns[joins]] < near
            people[joins] = columns[joins]
        for row in np.flatnonzero(people < 0).tolist():
            people[row] = known.setdefault(float(of_rows[row, 0]), len(known))
        members[people, keypoint] = rows  # of two peaks of one person the last remains
        np.add.at(totals, people, of_rows)
        np.add.at(counts, people, 1)
    count = len(known)
    return Groups(members[:count], np.divide(totals[:count], counts[:count]))


def refine(heatmaps: Float32, keypoints: Int64, cells: Int64) -> Float64:
    """The centre of a cell, moved by a quarter of a cell towards the higher of its neighbours, in x and in y.

    Args:
        heatmaps: ``[K, H, W]`` float32.
        keypoints: ``[R]``: of which map each cell is.
        cells: ``[R]``.

    Returns:
        ``[R, 2]`` float64: x and y, cells.

    Example:
        >>> refine(np.array([[[0.0, 1.0, 0.5]]], np.float32), np.array([0]), np.array([1]))
        array([[1.75, 0.25]])
    """
    _, height, width = heatmaps.shape
    y, x = np.divmod(cells, width)
    right = heatmaps[keypoints, y, np.minimum(x + 1, width - 1)] > heatmaps[keypoints, y, np.maximum(x - 1, 0)]
    down = heatmaps[keypoints, np.minimum(y + 1, height - 1), x] > heatmaps[keypoints, np.maximum(y - 1, 0), x]
    return np.stack([x + np.where(right, 0.75, 0.25), y + np.where(down, 0.75, 0.25)], axis=1)


def salvage(heatmaps: Float32, tagmaps: Float32, people: Float32, missing: NDArray[np.bool_]) -> tuple[Int64, Float32]:
    """Where keypoints that no peak was found for are most likely: where the heat less the rounded tag distance is most.

    Args:
        heatmaps: ``[K, H, W]`` float32.
        tagmaps: ``[K, H, W, D]`` float32.
        people: ``[M, D]`` float32, mean tags.
        missing: ``[M, K]`` bool: what to look for.

    Returns:
        ``cells [M, K]`` int64 and ``scores [M, K]`` float32; the score is 0 where nothing is missing, or nothing found.

    Example:
        >>> heatmaps, tagmaps = np.array([[[0.1, 0.15]]], np.float32), np.array([[[[5.0], [0.0]]]], np.float32)
        >>> cells, scores = salvage(heatmaps, tagmaps, np.array([[0.0]], np.float32), np.array([[True]]))
        >>> cells.tolist(), scores.tolist()
        ([[1]], [[0.15000000596046448]])
    """
    cells, scores = np.zeros(missing.shape, np.int64), np.zeros(missing.shape, np.float32)
    for keypoint in np.flatnonzero(missing.any(axis=0)).tolist():
        heat, tags = heatmaps[keypoint].ravel(), tagmaps[keypoint].reshape(-1, tagmaps.shape[-1])
        looking = np.flatnonzero(missing[:, keypoint])
        for floor in _FLOORS:
            warm = np.flatnonzero(heat > floor)
            if not len(warm):
                continue
            warm_heat, warm_tags = heat[warm], tags[warm]
            best, score = np.empty(len(looking), np.int64), np.empty(len(looking), np.float32)
            for row, person in enumerate(looking.tolist()):
                likely = warm_heat - np.round(_distances(warm_tags, people[person]))
                best[row] = likely.argmax()
                score[row] = likely[best[row]]
            found = score > floor  # no colder cell can be better
            cells[looking[found], keypoint], scores[looking[found], keypoint] = warm[best[found]], score[found]
            looking = looking[~found]
            if not len(looking):
                break
    return cells, scores


def _distances(a: Float32, b: Float32) -> Float32:
    """Of tags ``[..., D]``."""
    if a.shape[-1] == 1:
        apart: Float32 = np.abs(a[..., 0] - b[..., 0])
        return apart
    length: Float32 = np.sqrt(np.square(a - b).sum(axis=-1))
    return length
