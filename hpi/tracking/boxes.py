"""Following boxes: ByteTrack and OC-SORT of the package ``trackers``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hpi.errors import ConfigError
from hpi.instances import Instances
from hpi.kernels.boxes import has_area
from hpi.tracking.base import EXTRA, UNTRACKED, Clock, Tracker

LOW = 0.5
"""ByteTrack continues tracks with boxes that score above this share of the threshold.

With the detectors that were tried, boxes that score less are mostly second boxes of somebody, or of nobody at all.
"""
HIGH = 0.2
"""ByteTrack starts tracks with boxes that score this share of the way from the threshold to 1, or more: 0.6 for 0.5."""
BYTETRACK_IOU = 0.2
"""Two boxes that overlap less are not of the same person; as published for those that score high."""
RATES = (5.0, 30.0)
"""The lowest and the highest rate that both trackers get, frames a second, whatever the stream has.

They expect about the same noise in every frame, so a rate that is far too high makes them follow every jitter.
"""

MakeTracker = Callable[[float], Any]


class BoxTracker(Tracker):
    """A tracker of the package ``trackers``, with the rows of its input in their order.

    Args:
        make: makes it for the rate of a stream, frames a second.
        threshold: people that score above it count.
        lowest_score: those that score above it, but not above the threshold, count where they continue a track.

    Example:
        >>> from trackers import ByteTrackTracker
        >>> tracker = BoxTracker(lambda rate: ByteTrackTracker(frame_rate=rate), threshold=0.5, lowest_score=0.1)
        >>> people = Instances([0.3, 0.9], boxes=[[0, 0, 10, 20], [50, 0, 60, 20]])
        >>> [tracker.update(people, time_s).track_ids.tolist() for time_s in (0.0, 0.04, 0.08)]
        [[-1], [1], [1]]
    """

    def __init__(self, make: MakeTracker, threshold: float, lowest_score: float) -> None:
        self.lowest_score = lowest_score
        self._make = make
        self._threshold = threshold
        self._clock = Clock()
        self._tracker: Any = None
        self._first: tuple[Any, float] | None = None

    def update(self, people: Instances, time_s: float) -> Instances:
        """Take the people of the next frame, with boxes; see :meth:`hpi.tracking.base.Tracker.update`."""
        from supervision import Detections

        assert people.boxes is not None
        rows = np.flatnonzero((people.scores > self.lowest_score) & has_area(people.boxes))
        found = Detections(xyxy=people.boxes[rows], confidence=people.scores[rows], data={"row": rows})
        followed = self._follow(found, self._clock.advance(time_s))
        ids = np.full(len(people), UNTRACKED, np.int64)
        # Theirs start at 0, with -1 for nobody, and the rows are missing where there are none.
        ids[followed.data.get("row", [])] = np.where(followed.tracker_id < 0, UNTRACKED, followed.tracker_id + 1)
        counts = (people.scores > self._threshold) | (ids != UNTRACKED)
        return people.replaced(track_ids=ids)[counts]

    def _follow(self, found: Any, now: float) -> Any:
        """What the tracker says; it starts with the second frame, since only then the rate is known."""
        if self._first is None:
            self._first = found, now
            found.tracker_id = np.full(len(found), UNTRACKED)
            return found
        if self._tracker is None:
            first, then = self._first
            self._tracker = self._make(float(np.clip(1 / (now - then), *RATES)))
            self._tracker.update(first, timestamp=then)
        return self._tracker.update(found, timestamp=now)


def byte_track(threshold: float, max_lost_s: float) -> BoxTracker:
    """ByteTrack: boxes that score low continue tracks, so people who are half hidden keep their ids.

    Args:
        threshold: people that score above it count.
        max_lost_s: somebody who is not seen for longer gets a new id, seconds.

    Raises:
        ConfigError: ``trackers`` is not installed.

    Example:
        >>> byte_track(threshold=0.5, max_lost_s=1.0).lowest_score
        0.25
    """
    trackers, buffer, high = _package(), _buffer(max_lost_s), threshold + (1 - threshold) * HIGH

    def make(rate: float) -> Any:
        return trackers.ByteTrackTracker(
            lost_track_buffer=buffer,
            frame_rate=rate,
            track_activation_threshold=high,
            high_conf_det_threshold=high,
            minimum_iou_threshold=BYTETRACK_IOU,
        )

    return BoxTracker(make, threshold, threshold * LOW)


def oc_sort(threshold: float, max_lost_s: float) -> BoxTracker:
    """OC-SORT: people are matched by where they were last seen, and by their direction, more than by a prediction.

    Args:
        threshold: people that score above it count; nobody else is looked at.
        max_lost_s: somebody who is not seen for longer gets a new id, seconds.

    Raises:
        ConfigError: ``trackers`` is not installed.

    Example:
        >>> oc_sort(threshold=0.5, max_lost_s=1.0).lowest_score
        0.5
    """
    trackers, buffer = _package(), _buffer(max_lost_s)

    def make(rate: float) -> Any:
        return trackers.OCSORTTracker(lost_track_buffer=buffer, frame_rate=rate, high_conf_det_threshold=threshold)

    return BoxTracker(make, threshold, threshold)


def _buffer(max_lost_s: float) -> int:
    """A time as ``trackers`` takes it: in frames of which 30 make a second, at whatever rate."""
    return max(round(30 * max_lost_s), 1)


def _package() -> Any:
    try:
        import trackers
    except ImportError as error:
        install = f'pip install "hpi-pose[{EXTRA}]"'
        raise ConfigError(f"to follow boxes, trackers is needed ({error}); install it with: {install}") from error
    return trackers
