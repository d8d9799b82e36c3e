"""Following people by their keypoints: OKS, constant velocity, the best assignment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpi.assignment import load_assign
from hpi.instances import Float32, Instances, Skeleton
from hpi.kernels.boxes import boxes_around
from hpi.kernels.oks import USUAL_SIGMA, oks
from hpi.tracking.base import EXTRA, UNTRACKED, Clock, Tracker

Float64 = NDArray[np.float64]

LEAST_OKS = 0.2
"""People with a lower OKS are not the same person."""
SURE_S = 0.1
"""The longer somebody was not seen, the less certain is the prediction: by one more sigma every so many seconds."""
STEADY_S = 0.2
"""Time after which a new velocity counts half: over short times, most of it is jitter of the keypoints."""


@dataclass
class _Sighting:
    """A person, as last seen.

    Attributes:
        keypoints: ``[K, 2]``, pixels.
        seen: ``[K]`` bool: which of them can be seen.
        area: square pixels.
        time_s: of the frame.
        velocity: ``[2]``, pixels a second.
        track_id: UNTRACKED until the person is seen again.
    """

    keypoints: Float32
    seen: NDArray[np.bool_]
    area: float
    time_s: float
    velocity: Float64
    track_id: int = UNTRACKED

    def predicted(self, time_s: float) -> Float64:
        """``[K, 2]``: the keypoints, if the person goes on as before."""
        return self.keypoints + self.velocity * (time_s - self.time_s)

    def go_on_from(self, before: _Sighting) -> None:
        """Take over the id of the same person's last sighting, and its velocity, updated by the move since then."""
        passed = self.time_s - before.time_s
        both = self.seen & before.seen
        moved = np.median(self.keypoints[both] - before.keypoints[both], axis=0)
        self.velocity = before.velocity + (moved / passed - before.velocity) * passed / (passed + STEADY_S)
        self.track_id = before.track_id


class OksTracker(Tracker):
    """Follows people by their keypoints, which tell people apart whose boxes overlap.

    Somebody gets an id when seen in a second frame in a row.

    Args:
        skeleton: of the keypoints.
        threshold: people that score above it count.
        max_lost_s: somebody who is not seen for longer gets a new id, seconds.

    Raises:
        ConfigError: SciPy is not installed.

    Example:
        >>> tracker = OksTracker(Skeleton.numbered(2), threshold=0.5, max_lost_s=1.0)
        >>> person = Instances([0.9], keypoints=[[[10, 10], [10, 90]]], keypoint_scores=[[0.8, 0.8]])
        >>> [tracker.update(person, time_s).track_ids.tolist() for time_s in (0.0, 0.04, 0.08)]
        [[-1], [1], [1]]
    """

    def __init__(self, skeleton: Skeleton, threshold: float, max_lost_s: float) -> None:
        self.lowest_score = threshold
        sigmas = np.array(skeleton.sigmas or [USUAL_SIGMA] * len(skeleton))
        self._sigmas = sigmas * max(1, USUAL_SIGMA / sigmas.mean())
        self._visible_above = skeleton.visible_above
        self._max_lost_s = max_lost_s
        self._assign = load_assign("to follow people by keypoints", EXTRA)
        self._clock = Clock()
        self._followed: list[_Sighting] = []
        self._last_id = 0

    def update(self, people: Instances, time_s: float) -> Instances:
        """Take the people of the next frame, with keypoints; see :meth:`hpi.tracking.base.Tracker.update`."""
        now = self._clock.advance(time_s)
        people = people[people.scores > self.lowest_score]
        found = self._sightings(people, now)
        self._followed = [one for one in self._followed if now - one.time_s <= self._max_lost_s]
        again = self._same(found, now)
        for before, row in again.items():
            found[row].go_on_from(self._followed[before])
            if found[row].track_id == UNTRACKED:
                found[row].track_id = self._last_id = self._last_id + 1
        lost = (one for row, one in enumerate(self._followed) if row not in again and one.track_id != UNTRACKED)
        self._followed = [*found, *lost]
        return people.replaced(track_ids=np.array([one.track_id for one in found], np.int64))

    def _sightings(self, people: Instances, now: float) -> list[_Sighting]:
        if not len(people):  # of a file of results: how many keypoints nobody has is not known there
            return []
        assert people.keypoints is not None and people.keypoint_scores is not None
        seen = people.keypoint_scores > self._visible_above
        boxes = boxes_around(people.keypoints, people.keypoint_scores) if people.boxes is None else people.boxes
        # Not width times height: the keypoints of somebody seen from the side have hardly any width.
        areas = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) ** 2 / 4
        return [
            _Sighting(*of_one, now, velocity=np.zeros(2))
            for of_one in zip(people.keypoints, seen, areas.tolist(), strict=True)
        ]

    def _same(self, found: list[_Sighting], now: float) -> dict[int, int]:
        """The indices of people who are followed, and of the same people among those that were found."""
        if not found or not self._followed:
            return {}
        unsure = [1 + (now - one.time_s) / SURE_S for one in self._followed]
        alike = oks(
            np.stack([one.predicted(now) for one in self._followed]),
            np.array([one.area for one in self._followed]) * np.square(unsure),
            np.stack([one.keypoints for one in found]),
            self._sigmas,
            np.stack([one.seen for one in self._followed])[:, None] & np.stack([one.seen for one in found]),
        )
        alike[alike < LEAST_OKS] = 0
        rows, columns = self._assign(-alike)
        return {row: column for row, column in zip(rows.tolist(), columns.tolist(), strict=True) if alike[row, column]}
