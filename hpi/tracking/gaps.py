"""Filling gaps: where somebody is who was not found in a few frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpi.instances import Instances
from hpi.tracking.base import UNTRACKED


@dataclass(frozen=True)
class _Moment:
    """A frame's people, or one of them."""

    index: int
    time_s: float
    people: Instances


class GapFiller:
    """Fills short gaps in the tracks of one stream: a straight line from where somebody was lost to where they return.

    Those that it adds come after those that were found, marked as ``interpolated``; their scores are the lower ones of
    both ends. A longer gap stays as it is, and so do the frames before somebody comes and after they leave.

    Frames wait only while somebody is missing who may still return in time: at most ``max_frames`` of them.

    Example:
        >>> def person(x):
        ...     return Instances([0.9], [[x, 0, x + 10, 20]], track_ids=[7])
        >>> nobody = Instances([], np.empty((0, 4)), track_ids=[])
        >>> filler = GapFiller(max_frames=2)
        >>> len(filler.add(person(0), 0.0)), len(filler.add(nobody, 0.1))
        (1, 0)
        >>> filled, last = filler.add(person(8), 0.2)
        >>> filled.boxes, filled.interpolated, last.interpolated
        (array([[ 4.,  0., 14., 20.]], dtype=float32), array([ True]), array([False]))
    """

    def __init__(self, max_frames: int) -> None:
        """Begin a stream; at most ``max_frames`` in a row are filled."""
        self._max_frames = max_frames
        self._count = 0
        self._waiting: deque[_Moment] = deque()
        self._last_seen: dict[int, _Moment] = {}

    def add(self, people: Instances, time_s: float) -> list[Instances]:
        """Take the people of the next frame.

        Args:
            people: with track ids.
            time_s: time of the frame, seconds; later than the one before.

        Returns:
            The people of those frames, in order, that nobody can be added to any more.
        """
        index, self._count = self._count, self._count + 1
        self._waiting.append(_Moment(index, time_s, people.replaced(interpolated=np.zeros(len(people), np.bool_))))
        for number, person in _tracked(self._waiting[-1].people):
            seen = _Moment(index, time_s, person)
            if number in self._last_seen:
                self._fill(self._last_seen[number], seen)
            self._last_seen[number] = seen
        earliest = index - self._max_frames
        self._last_seen = {number: seen for number, seen in self._last_seen.items() if seen.index >= earliest}
        missing = [seen.index for seen in self._last_seen.values() if seen.index < index]
        return self._released(min(missing, default=index))

    def flush(self) -> list[Instances]:
        """The people of the frames that still wait: the stream has ended, and nobody returns."""
        self._last_seen.clear()
        return self._released(self._count)

    def _fill(self, before: _Moment, after: _Moment) -> None:
        """Add somebody to the frames between two in which they were found."""
        for place, frame in enumerate(self._waiting):
            if before.index < frame.index < after.index and before.time_s < frame.time_s < after.time_s:
                share = (frame.time_s - before.time_s) / (after.time_s - before.time_s)
                person = _between(before.people, after.people, share)
                # An empty frame need not have the same arrays.
                people = _joined(frame.people, person) if len(frame.people) else person
                self._waiting[place] = replace(frame, people=people)

    def _released(self, last: int) -> list[Instances]:
        """The people of the frames that wait, up to this one."""
        released = []
        while self._waiting and self._waiting[0].index <= last:
            released.append(self._waiting.popleft().people)
        return released


def _tracked(people: Instances) -> Iterator[tuple[int, Instances]]:
    """Those that are followed, by their track ids."""
    for row, number in enumerate([] if people.track_ids is None else people.track_ids.tolist()):
        if number != UNTRACKED:
            yield number, people[row]


def _joined(people: Instances, person: Instances) -> Instances:
    """People and somebody else, with what is known of both: files of results, of an earlier run, have no classes."""
    known = {} if people.class_ids is not None and person.class_ids is not None else {"class_ids": None}
    derived = people.boxes_derived and person.boxes_derived
    return Instances.concatenate([one.replaced(boxes_derived=derived, **known) for one in (people, person)])


def _between(before: Instances, after: Instances, share: float) -> Instances:
    """Somebody on the way, after this share of the time."""

    def moved(name: str) -> NDArray[np.float32] | None:
        start, end = getattr(before, name), getattr(after, name)
        return None if start is None or end is None else start + np.float32(share) * (end - start)

    lower = None
    if before.keypoint_scores is not None and after.keypoint_scores is not None:
        lower = np.minimum(before.keypoint_scores, after.keypoint_scores)
    return before.replaced(
        scores=np.minimum(before.scores, after.scores),
        boxes=moved("boxes"),
        keypoints=moved("keypoints"),
        keypoint_scores=lower,
        interpolated=np.array([True]),
    )
