"""Associative embedding written out, person by person; what :mod:`hpi.kernels.grouping` is put beside.

Also the yardstick of its tests. It keeps people as PaddleDetection does, in a dictionary, each with a list of its tags,
and searches whole maps for the missing keypoints of each; it needs SciPy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


@dataclass
class Somebody:
    """A person so far.

    Attributes:
        tags: of every peak that has joined.
        peaks: for each keypoint the number of its peak.
    """

    tags: list[Float32] = field(default_factory=list)
    peaks: dict[int, int] = field(default_factory=dict)

    def take(self, keypoint: int, peak: int, tag: Float32) -> None:
        """Add a peak."""
        self.tags.append(tag)
        self.peaks[keypoint] = peak

    @property
    def tag(self) -> Float32:
        """``[D]``: the mean."""
        mean: Float32 = np.mean(self.tags, axis=0)
        return mean


def group(heats: Float32, tags: Float32, above: float = 0.2, near: float = 1.0, most: int = 30) -> list[Somebody]:
    """The people of an image; arguments as of :func:`hpi.kernels.grouping.group`."""
    from scipy.optimize import linear_sum_assignment

    people: dict[float, Somebody] = {}
    for keypoint in range(len(heats)):
        peaks = [peak for peak, heat in enumerate(heats[keypoint]) if heat > above]
        if not peaks:
            continue
        there = list(people.values())[:most]
        means = np.array([somebody.tag for somebody in there], np.float32).reshape(len(there), tags.shape[2])
        apart = np.linalg.norm(tags[keypoint, peaks][:, None] - means, axis=2)
        costs = np.round(apart) * 100 - heats[keypoint, peaks][:, None]
        costs = np.pad(costs, ((0, 0), (0, max(len(peaks) - len(there), 0))), constant_values=1e-10)
        columns = linear_sum_assignment(costs)[1] if there else [len(there)] * len(peaks)
        for row, (peak, column) in enumerate(zip(peaks, columns, strict=True)):
            tag = tags[keypoint, peak]
            joins = column < len(there) and apart[row, column] < near
            somebody = there[column] if joins else people.setdefault(float(tag[0]), Somebody())
            somebody.take(keypoint, peak, tag)
    return list(people.values())


def decode(heatmaps: Float32, tagmaps: Float32, heats: Float32, cells: NDArray[np.int64]) -> tuple[Any, Any]:
    """Keypoints ``[M, K, 3]`` (x, y in cells, score) and scores ``[M]`` of the people of an image.

    Args:
        heatmaps: ``[K, H, W]``.
        tagmaps: ``[K, H, W, D]``.
        heats: ``[K, P]``: the height of each peak.
        cells: ``[K, P]``: its cell.
    """
    count, _, width = heatmaps.shape
    tags = np.array([[tagmaps[k, cell // width, cell % width] for cell in cells[k]] for k in range(count)])
    found, scores = [], []
    for somebody in group(heats, tags):
        person = np.zeros((count, 3))
        for keypoint, peak in somebody.peaks.items():
            person[keypoint] = *_refined(heatmaps[keypoint], int(cells[keypoint, peak])), heats[keypoint, peak]
        scores.append(person[:, 2].mean())
        likely = heatmaps - np.round(np.sqrt(((tagmaps - somebody.tag) ** 2).sum(axis=-1)))
        for keypoint in set(range(count)) - somebody.peaks.keys():
            cell = int(likely[keypoint].argmax())
            if (best := likely[keypoint].flat[cell]) > 0:
                person[keypoint] = *_refined(heatmaps[keypoint], cell), best
        found.append(person)
    return np.array(found).reshape(-1, count, 3), np.array(scores)


def _refined(heatmap: Float32, cell: int) -> tuple[float, float]:
    height, width = heatmap.shape
    y, x = divmod(cell, width)
    right = heatmap[y, min(x + 1, width - 1)] > heatmap[y, max(x - 1, 0)]
    down = heatmap[min(y + 1, height - 1), x] > heatmap[max(y - 1, 0), x]
    return x + (0.75 if right else 0.25), y + (0.75 if down else 0.25)
