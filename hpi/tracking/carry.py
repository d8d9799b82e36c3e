"""Frames in which the detector does not run: people's boxes are carried on by their keypoints."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpi.instances import Instances
from hpi.kernels.boxes import box_iou

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

MAX_UNSEEN_S = 0.5
"""With ``"auto"`` the detector runs at least so often: somebody new is seen by then."""
MISSED = 0.03
"""With ``"auto"`` the detector runs so often that about this share of the people is missed."""
MEMORY_S = 10.0
"""How many people come, and how much scores change, is counted over about so long."""
RECENT_S = 0.5
"""Somebody's velocity and usual keypoint score are means over about so long."""
SAME_IOU = 0.3
"""A box that overlaps one where somebody was expected by more is of the same person."""
CROSSED = 0.05
"""A side of a box that should cross the border of the image by this part of the box's size, or come in from it."""
MERGED_IOU = 0.5
"""Two carried boxes that overlap by more may be of one person."""
FALLEN = 3.0
"""Keypoint scores that fall by so many times their usual change are a sign that the box has slipped off."""
USUALLY = 0.05
"""The usual change of a score, as a part of it, before it is known."""
ENOUGH = 4
"""A person's motion is that of at least so many keypoints: the clearest ones, where fewer are clear."""
JUMP = 0.15
"""Keypoints that move further than expected, by this share of the box's height, may be another person's."""


@dataclass
class _Followed:
    """The people of the last frame.

    Attributes:
        people: with boxes and keypoints.
        found: ``[M, 4]``: the boxes when the detector ran last.
        moved: ``[M, 2]``: how far the keypoints have moved since, pixels.
        velocity: ``[M, 2]``, pixels a second; NaN where somebody was seen once.
        usual: ``[M]``: mean keypoint score, of late.
        new: ``[M]``: whether the detector found somebody when it ran last and not before.
    """

    people: Instances
    found: Float32
    moved: Float64
    velocity: Float64
    usual: Float64
    new: NDArray[np.bool_]

    @classmethod
    def first_seen(cls, people: Instances, *, new: bool) -> _Followed:
        """People of whom nothing else is known."""
        nowhere, scores = np.zeros((len(people), 2)), people.points[..., 2].mean(axis=1, dtype=np.float64)
        return cls(
            people, _boxes(people).copy(), nowhere, np.full_like(nowhere, np.nan), scores, np.full(len(people), new)
        )


class Carrier:
    """Says in which frames of one stream the detector has to run, and where people are in the others.

    A person's box follows the motion of the keypoints since the detector ran, and is moved on by the velocity. The
    detector is also asked for where a box crosses the border of the image or two of them merge, and after a frame in
    which somebody's keypoints score less than usual or jump.

    Args:
        det_every: the detector runs once in so many frames, and in between where it is needed; ``"auto"``: as seldom
            as the scene allows.
        visible_above: keypoints that score more count as found.

    Example:
        >>> carrier = Carrier(det_every=3, visible_above=0.2)
        >>> for time_s, x in ((0.0, 10), (0.1, 12)):
        ...     boxes, keypoints = [[x, 10, x + 20, 50]], [[[x + 5, 20], [x + 15, 40]]]
        ...     person = Instances([0.9], boxes=boxes, keypoints=keypoints, keypoint_scores=[[0.8, 0.8]])
        ...     carrier.update(person, time_s, detected=True)
        >>> carrier.carried(0.2, (100, 100)).boxes.round(3)
        array([[14., 10., 34., 50.]], dtype=float32)
    """

    def __init__(self, det_every: int | Literal["auto"], visible_above: float) -> None:
        self._interval = 1 if det_every == "auto" else det_every
        self._chooses = det_every == "auto"
        self._visible_above = visible_above
        self._last: _Followed | None = None
        self._time_s = self._detected_s = 0.0
        self._frames = 0  # from that on which the detector ran
        self._doubts = False
        self._new = self._counted = 0.0
        self._changed = self._compared = 0.0

    @property
    def detected(self) -> bool:
        """Whether the detector ran on the last frame."""
        return self._frames == 1

    def carried(self, time_s: float, size: tuple[int, int]) -> Instances | None:
        """The people of the next frame.

        Args:
            time_s: of the frame, seconds; later than the one before.
            size: (width, height) of the image, pixels.

        Returns:
            Boxes, with the detector's scores; None: the detector has to look.
        """
        if self._last is None or self._doubts or self._frames >= self._interval:
            return None
        if self._chooses and time_s - self._detected_s >= MAX_UNSEEN_S:
            return None
        expected = self._expected(self._last, time_s)
        boxes = _held_by_border(expected, self._last.found, size)
        if _cross_border(expected, boxes) or _merge(boxes):
            return None
        return self._last.people.replaced(boxes=boxes, keypoints=None, keypoint_scores=None, track_ids=None)

    def update(self, people: Instances, time_s: float, *, detected: bool) -> None:
        """Take what was found in the next frame.

        Args:
            people: with keypoints, in boxes that the detector found or that :meth:`carried` gave.
            time_s: of the frame.
            detected: whether the boxes are the detector's.
        """
        known, before = self._same(people, time_s)
        if detected and self._chooses and self._last is not None:
            self._choose(len(people), int(self._last.new[before].sum()), time_s)
        self._last, self._doubts = self._follow(people, known, before, time_s, detected=detected)
        self._frames = 1 if detected else self._frames + 1
        self._detected_s = time_s if detected else self._detected_s
        self._time_s = time_s

    def forget(self) -> None:
        """Have the detector look at the next frame, in which everybody may be elsewhere."""
        self._last = None

    def _choose(self, count: int, new: int, time_s: float) -> None:
        """The interval with which as many people are missed as may be.

        Who is new came at any time since the detector ran before: of people who come at a rate, half of the interval's
        frames without the detector are missed. Who is not found again was the detector's own flicker.
        """
        fading = math.exp((self._detected_s - time_s) / MEMORY_S)
        self._new = self._new * fading + new
        self._counted = self._counted * fading + count * self._frames
        allowed = 1 + 2 * MISSED * self._counted / max(self._new, 1e-9)
        longest = math.ceil(MAX_UNSEEN_S / (time_s - self._time_s))
        self._interval = int(min(allowed, longest, self._interval + 1))

    def _follow(
        self, people: Instances, known: Int64, before: Int64, time_s: float, *, detected: bool
    ) -> tuple[_Followed, bool]:
        """The state after a frame, and whether something in it speaks for the detector in the next one."""
        last, now = self._last, _Followed.first_seen(people, new=detected and self._last is not None)
        if last is None or not len(known):
            return now, False
        passed = time_s - self._time_s
        recent = 1 - math.exp(-passed / RECENT_S)
        moved = _motion(last.people[before], people[known], self._visible_above)
        velocity = last.velocity[before]
        change = moved / passed - np.nan_to_num(velocity)
        rise = now.usual[known] / np.maximum(last.usual[before], 1e-6) - 1
        now.velocity[known] = np.nan_to_num(velocity) + np.where(np.isnan(velocity), 1, recent) * change
        now.usual[known] = last.usual[before] * (1 + recent * rise)
        if detected:
            now.new[known] = False
            fading = math.exp((self._detected_s - time_s) / MEMORY_S)
            self._changed = self._changed * fading + float(np.abs(rise).sum())
            self._compared = self._compared * fading + len(rise)
        else:
            now.new[known] = last.new[before]
            now.found[known], now.moved[known] = last.found[before], last.moved[before] + moved
        jumped = np.linalg.norm(change * passed, axis=1) > JUMP * (now.found[known, 3] - now.found[known, 1])
        usually = self._changed / self._compared if self._compared else USUALLY
        return now, bool((jumped | (rise < -FALLEN * usually)).any())

    def _same(self, people: Instances, time_s: float) -> tuple[Int64, Int64]:
        """Rows of people who were there in the last frame, and their rows in it."""
        if self._last is None or not len(people) or not len(self._last.people):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        iou = box_iou(self._expected(self._last, time_s), _boxes(people))
        nearest = iou.argmax(axis=0)
        mutual = (iou.argmax(axis=1)[nearest] == np.arange(len(people))) & (iou.max(axis=0) > SAME_IOU)
        return np.flatnonzero(mutual), nearest[mutual]

    def _expected(self, last: _Followed, time_s: float) -> Float32:
        """Where the people of the last frame are expected to be: boxes ``[M, 4]``."""
        moved = last.moved + np.nan_to_num(last.velocity) * (time_s - self._time_s)
        return (last.found + np.tile(moved, 2)).astype(np.float32)


def _boxes(people: Instances) -> Float32:
    assert people.boxes is not None  # a detector gives them
    return people.boxes


def _motion(before: Instances, after: Instances, visible_above: float) -> Float64:
    """How far the same people have moved: ``[M, 2]`` pixels, the median of the keypoints that are clear in both."""
    scores = np.minimum(before.points[..., 2], after.points[..., 2])
    enough = np.sort(scores, axis=1)[:, -ENOUGH:][:, :1]
    shift = (after.points - before.points)[..., :2].astype(np.float64)
    clear = scores >= np.minimum(enough, visible_above)
    return np.asarray(np.nanmedian(np.where(clear[..., None], shift, np.nan), axis=1))


def _held_by_border(boxes: Float32, found: Float32, size: tuple[int, int]) -> Float32:
    """Boxes inside the image; sides that the detector found at the border stay there."""
    most = np.array(size * 2, np.float32)
    held = np.where(found <= 0, 0, np.where(found >= most, most, np.clip(boxes, 0, most)))
    return held.astype(np.float32)


def _cross_border(expected: Float32, held: Float32) -> bool:
    """Whether somebody comes into the image, or leaves it."""
    sizes = np.tile(held[:, 2:] - held[:, :2], 2)
    return bool((np.abs(held - expected) >= CROSSED * sizes).any())


def _merge(boxes: Float32) -> bool:
    """Whether two may be around one person."""
    return bool((np.triu(box_iou(boxes, boxes), 1) > MERGED_IOU).any())
