"""Following people by what they look like and where they go: for detectors that give embeddings, such as FairMOT.

The rules are those of FairMOT's tracker as PaddleDetection runs it. People are matched first by their embeddings, where
they can have moved that far, and those left over by the overlap of their boxes. In PaddleDetection a track ends when
its person is not seen for more than two frames; here, for more than ``max_lost_s``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hpi.assignment import load_assign
from hpi.errors import ConfigError
from hpi.instances import Instances
from hpi.kernels.boxes import box_iou, has_area
from hpi.kernels.grouping import Assign
from hpi.tracking.base import EXTRA, UNTRACKED, Clock, Tracker

Float64 = NDArray[np.float64]

Metric = Literal["cosine", "euclidean"]

_GATE = 9.4877
"""The 95% quantile of the chi-square distribution of 4 degrees of freedom: boxes farther away are of others."""
_MOTION_WEIGHT = 0.02
_IOU = 0.5
"""Overlap from which a box is of somebody who was seen in the frame before, whatever the embeddings say."""
_IOU_NEW = 0.3
"""The same for somebody who was seen for the first time in the frame before, and is followed from now on."""
_IOU_TWICE = 0.85
"""Overlap from which a lost track and one that is seen are of one person; the longer track stays."""
_MEMORY = 0.9
"""Weight of a track's embedding where it is averaged with a new one."""
_INTERVALS = 30
"""The usual time between two frames is the median of so many."""


class Embeddings(Protocol):
    """What is known of a detector's embeddings."""

    @property
    def metric(self) -> Metric:
        """How the distance of two is measured."""

    @property
    def same_below(self) -> float:
        """Two that are closer may be of the same person."""


class EmbeddingTracker(Tracker):
    """Follows people by embeddings, motion and boxes.

    Args:
        threshold: people that score above it count.
        max_lost_s: somebody who is not seen for longer gets a new id, seconds.
        metric: how the distance of two embeddings is measured.
        same_below: two embeddings that are closer may be of the same person.

    Raises:
        ConfigError: SciPy is not installed.

    Example:
        >>> tracker = EmbeddingTracker(threshold=0.4, max_lost_s=1.0)
        >>> embeddings = np.eye(2, 128)
        >>> first = Instances([0.9, 0.8], boxes=[[0, 0, 40, 90], [60, 0, 95, 80]], embeddings=embeddings)
        >>> second = Instances([0.9], boxes=[[62, 0, 97, 80]], embeddings=embeddings[1:])
        >>> [tracker.update(people, time_s).track_ids.tolist() for people, time_s in ((first, 0.0), (second, 0.1))]
        [[1, 2], [2]]
    """

    def __init__(
        self,
        threshold: float,
        max_lost_s: float,
        *,
        metric: Metric = "cosine",
        same_below: float = 0.4,
    ) -> None:
        self.lowest_score = threshold
        self._max_lost_s, self._metric, self._same_below = max_lost_s, metric, same_below
        self._assign = load_assign("to follow people by embeddings", EXTRA)
        self._clock = Clock()
        self._tracks: list[_Track] = []
        self._begun = 0
        self._before: float | None = None
        self._intervals: deque[float] = deque(maxlen=_INTERVALS)

    def update(self, people: Instances, time_s: float) -> Instances:
        """Take the people of the next frame, with embeddings; see :meth:`hpi.tracking.base.Tracker.update`.

        Raises:
            ConfigError: they have no embeddings; those read from the files of an earlier run have none.
        """
        if people.boxes is None or people.embeddings is None:
            raise ConfigError(
                "the tracker 'embedding' needs embeddings, which files of results do not have; start anew, or follow "
                "people by 'bytetrack'"
            )
        before, now = self._before, self._clock.advance(time_s)
        self._before = now
        self._predict(before, now)
        rows = np.flatnonzero((people.scores > self.lowest_score) & has_area(people.boxes))
        boxes, embeddings = people.boxes[rows].astype(np.float64), _unit(people.embeddings[rows])
        found = self._associate(boxes, embeddings, before)
        for row, track in found.items():
            track.see(boxes[row], embeddings[row], now)
        for row in range(len(rows)):
            if row not in found:
                self._begun += 1
                found[row] = _Track(self._begun, boxes[row], embeddings[row], now, is_followed=before is None)
                self._tracks.append(found[row])
        self._tracks = self._kept(now)
        ids = np.full(len(people), UNTRACKED, np.int64)
        for row, track in found.items():
            if track.is_followed and track in self._tracks:
                ids[rows[row]] = track.id
        return people.replaced(track_ids=ids)[people.scores > self.lowest_score]

    def _predict(self, before: float | None, now: float) -> None:
        """Predict where people are now. Noise is that of one frame, so time is counted in usual intervals."""
        if before is None:
            return
        self._tracks = [track for track in self._tracks if now - track.seen_s <= self._max_lost_s]
        self._intervals.append(now - before)
        frames = self._intervals[-1] / float(np.median(self._intervals))
        for track in self._tracks:
            if track.is_followed:  # who was seen once has no velocity yet
                track.motion.predict(frames, grows=track.seen_s == before)

    def _associate(self, boxes: Float64, embeddings: Float64, before: float | None) -> dict[int, _Track]:
        """Who is who: rows of the people to tracks."""
        followed = [track for track in self._tracks if track.is_followed]
        new = [track for track in self._tracks if not track.is_followed]
        found: dict[int, _Track] = {}

        def match(tracks: Sequence[_Track], cost: Any, limit: float) -> None:
            tracks = [track for track in tracks if track not in found.values()]
            rows = [row for row in range(len(boxes)) if row not in found]
            if tracks and rows:
                pairs = _pairs(cost(tracks, rows), limit, self._assign)
                found.update((rows[row], tracks[index]) for index, row in pairs)

        def embedding_cost(tracks: Sequence[_Track], rows: list[int]) -> Float64:
            return self._distances(tracks, boxes[rows], embeddings[rows])

        def box_cost(tracks: Sequence[_Track], rows: list[int]) -> Float64:
            return 1 - _overlaps(tracks, boxes[rows])

        match(followed, embedding_cost, self._same_below)
        match([track for track in followed if track.seen_s == before], box_cost, 1 - _IOU)
        match(new, box_cost, 1 - _IOU_NEW)
        return found

    def _distances(self, tracks: Sequence[_Track], boxes: Float64, embeddings: Float64) -> Float64:
        """``[T, M]``: the distance of embeddings, with a little of that in space; infinite where that is too far."""
        distance = np.maximum(1 - np.array([track.embedding for track in tracks]) @ embeddings.T, 0)
        if self._metric == "euclidean":
            distance = np.sqrt(2 * distance)  # of unit vectors
        moved = np.array([track.motion.distances(boxes) for track in tracks])
        return np.where(moved > _GATE, np.inf, (1 - _MOTION_WEIGHT) * distance + _MOTION_WEIGHT * moved)

    def _kept(self, now: float) -> list[_Track]:
        """The tracks without those that were seen only once, and without one of two that are of the same person."""
        seen = [track for track in self._tracks if track.seen_s == now]
        lost = [track for track in self._tracks if track.seen_s < now and track.is_followed]
        twice = set()
        if seen and lost:
            boxes = np.array([track.motion.box for track in lost])
            for one, other in zip(*np.nonzero(_overlaps(seen, boxes) > _IOU_TWICE), strict=True):
                longer = seen[one].followed_s > lost[other].followed_s
                twice.add(lost[other].id if longer else seen[one].id)
        return [track for track in (*seen, *lost) if track.id not in twice]


class _Track:
    """One person: followed, or seen once so far."""

    def __init__(self, number: int, box: Float64, embedding: Float64, time_s: float, *, is_followed: bool) -> None:
        self.id, self.motion, self.embedding, self.is_followed = number, _Motion(box), embedding, is_followed
        self.begun_s = self.seen_s = time_s

    @property
    def followed_s(self) -> float:
        return self.seen_s - self.begun_s

    def see(self, box: Float64, embedding: Float64, time_s: float) -> None:
        self.motion.correct(box)
        self.embedding = _unit(_MEMORY * self.embedding + (1 - _MEMORY) * embedding)
        self.seen_s, self.is_followed = time_s, True


class _Motion:
    """Where a box will be: a Kalman filter of constant velocity for its middle, its aspect ratio and its height.

    All noise is of one of these four alone, so they are four filters of two numbers each. Its size is relative to the
    height, that of the aspect ratio absolute.
    """

    def __init__(self, box: Float64) -> None:
        self.place, self.velocity = _place(box), np.zeros(4)
        self._variance = self._noise(1 / 10, 1e-2)
        self._velocity_variance = self._noise(1 / 16, 1e-5)
        self._covariance = np.zeros(4)

    def predict(self, frames: float, *, grows: bool) -> None:
        """Move on; the height changes only of those who were seen in the frame before."""
        if not grows:
            self.velocity[3] = 0
        place_noise, velocity_noise = self._noise(1 / 20, 1e-2), self._noise(1 / 160, 1e-5)
        self.place = self.place + frames * self.velocity
        self._variance = self._variance + frames * (2 * self._covariance + frames * self._velocity_variance)
        self._covariance = self._covariance + frames * self._velocity_variance
        self._variance, self._velocity_variance = (
            self._variance + frames * place_noise,
            self._velocity_variance + frames * velocity_noise,
        )

    def correct(self, box: Float64) -> None:
        measured = self._measured_variance
        innovation, gain = _place(box) - self.place, self._variance / measured
        velocity_gain = self._covariance / measured
        self.place, self.velocity = self.place + gain * innovation, self.velocity + velocity_gain * innovation
        self._velocity_variance = self._velocity_variance - velocity_gain * self._covariance
        self._covariance, self._variance = (1 - gain) * self._covariance, (1 - gain) * self._variance

    def distances(self, boxes: Float64) -> Float64:
        """The squared Mahalanobis distance of boxes ``[M, 4]``: ``[M]``."""
        distances: Float64 = ((_place(boxes) - self.place) ** 2 / self._measured_variance).sum(axis=1)
        return distances

    @property
    def box(self) -> Float64:
        middle, (aspect, height) = self.place[:2], self.place[2:]
        half = np.array([aspect * height, height]) / 2
        return np.concatenate([middle - half, middle + half])

    @property
    def _measured_variance(self) -> Float64:
        """Of what a detector would see."""
        return self._variance + self._noise(1 / 20, 1e-1)

    def _noise(self, of_height: float, of_aspect: float) -> Float64:
        """The variance of middle, aspect ratio and height for their standard deviations."""
        relative = of_height * self.place[3]
        return np.array([relative, relative, of_aspect, relative]) ** 2


def _place(boxes: Float64) -> Float64:
    """Middle, aspect ratio and height of boxes ``[..., 4]``."""
    size = boxes[..., 2:] - boxes[..., :2]
    width, height = size[..., :1], size[..., 1:]
    return np.concatenate([boxes[..., :2] + size / 2, width / height, height], axis=-1)


def _unit(vectors: Any) -> Float64:
    """Vectors ``[..., D]`` of length 1."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), np.float64)


def _overlaps(tracks: Sequence[_Track], boxes: Float64) -> Float64:
    """``[T, M]``: the IoU of where tracks should be with boxes."""
    expected = np.array([track.motion.box for track in tracks], np.float32)
    return box_iou(expected, boxes.astype(np.float32)).astype(np.float64)


def _pairs(cost: Float64, limit: float, assign: Assign) -> list[tuple[int, int]]:
    """The pairs that together are farthest below the limit; none is above it."""
    gain = np.minimum(cost - limit, 0)
    return [(row, column) for row, column in zip(*assign(gain), strict=True) if gain[row, column] < 0]
