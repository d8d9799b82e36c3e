"""Steadier keypoints: the noise of a model is damped, and movement is followed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.errors import ConfigError
from hpi.instances import Instances
from hpi.kernels.boxes import boxes_around
from hpi.tracking.base import UNTRACKED

Float64 = NDArray[np.float64]

_SMALLEST = 1.0  # pixels: nobody counts as smaller


class Filter(ABC):
    """How a change of place is followed. It keeps nothing between two calls."""

    @abstractmethod
    def follow(self, change: Float64, speeds: Float64, elapsed: Float64, sizes: Float64) -> tuple[Float64, Float64]:
        """Take where keypoints are now, relative to where they are drawn.

        Args:
            change: ``[M, K, 2]``, pixels.
            speeds: ``[M, K, 2]``, pixels a second: what this method returned last, or 0.
            elapsed: ``[M, K, 1]``, seconds since then, more than 0.
            sizes: ``[M, 1, 1]``, pixels: of each person.

        Returns:
            The part of the change to follow, ``[M, K, 2]``, and the speeds for the next call.
        """


@dataclass(frozen=True)
class OneEuro(Filter):
    """The 1€ filter: a low-pass filter whose cutoff rises with the speed. Steady for the still, prompt for the fast.

    Casiez, Roussel and Vogel, "1€ Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive Systems",
    CHI 2012. Speed counts in sizes of the person, the square root of the area of the box, as in OKS: both movement and
    the noise of a model grow with how large somebody is in the image, so one setting fits near and far.

    Attributes:
        min_cutoff: Hz, where nothing moves; lower is steadier.
        beta: by how many Hz the cutoff rises for each size a second; higher follows sooner.
        derivative_cutoff: Hz, of the speed itself.

    Example:
        >>> one = np.ones((1, 1, 1))
        >>> shares = []
        >>> for pixels in (1.0, 50.0):
        ...     step, _ = OneEuro().follow(change=one * pixels, speeds=one * 0, elapsed=one / 25, sizes=one * 100)
        ...     shares.append(f"{step.item() / pixels:.2f}")
        >>> shares
        ['0.20', '0.77']
    """

    min_cutoff: float = 0.75
    beta: float = 3.0
    derivative_cutoff: float = 2.0

    def follow(self, change: Float64, speeds: Float64, elapsed: Float64, sizes: Float64) -> tuple[Float64, Float64]:
        """As :meth:`Filter.follow`; x and y are followed each by its own speed."""
        speeds = speeds + _share(self.derivative_cutoff, elapsed) * (change / elapsed - speeds)
        cutoff = self.min_cutoff + self.beta * np.abs(speeds) / sizes
        return _share(cutoff, elapsed) * change, speeds


@dataclass(frozen=True)
class Ema(Filter):
    """Exponential moving average: as steady for the fast as for the still, so what moves lags behind.

    Attributes:
        half_life_s: after so long, half of a change is followed.

    Example:
        >>> one = np.ones((1, 1, 1))
        >>> Ema(half_life_s=0.1).follow(one * 8, one * 0, one * 0.2, one)[0].item()
        6.0
    """

    half_life_s: float = 0.04

    def follow(self, change: Float64, speeds: Float64, elapsed: Float64, sizes: Float64) -> tuple[Float64, Float64]:
        """As :meth:`Filter.follow`; speeds and sizes do not matter."""
        del sizes
        return (1 - 0.5 ** (elapsed / self.half_life_s)) * change, speeds


FILTERS: Mapping[str, Filter] = MappingProxyType({"oneeuro": OneEuro(), "ema": Ema()})
"""The filters by name, with the settings that fit models of this project."""


class Smoother:
    """Smooths the keypoints of the people of one stream, by their track ids and the times of the frames.

    A keypoint begins anew, where it is found, with a new track, after a gap, and where time goes back. Whoever is not
    tracked stays as found. So does a keypoint of a low score, and it does not draw the smoothed one to where it is.

    Example:
        >>> smoother, found = Smoother("oneeuro"), []
        >>> for number, x in enumerate([20, 21, 20, 21]):
        ...     points = {"keypoints": [[[x, 20]]], "keypoint_scores": [[0.9]]}
        ...     nose = Instances(scores=[0.9], boxes=[[0, 0, 50, 200]], track_ids=[7], **points)
        ...     found.append(smoother.update(nose, time_s=number / 25).keypoints[0, 0, 0])
        >>> [f"{x:.1f}" for x in found]
        ['20.0', '20.2', '20.2', '20.3']
    """

    def __init__(self, smooth: str | Filter = "oneeuro", *, lowest_score: float = 0.2, max_gap_s: float = 0.5) -> None:
        """Begin a stream.

        Args:
            smooth: a name of :data:`FILTERS`, or a filter of your own.
            lowest_score: keypoints that score less count as not found; a skeleton's ``visible_above``.
            max_gap_s: a keypoint that was not found for longer begins anew, seconds.

        Raises:
            ConfigError: no filter has this name.
        """
        if isinstance(smooth, str):
            if smooth not in FILTERS:
                raise ConfigError(f"smooth: {smooth!r} is none of {', '.join(FILTERS)}")
            smooth = FILTERS[smooth]
        self._filter = smooth
        self._lowest_score = lowest_score
        self._max_gap_s = max_gap_s
        self._tracks: dict[int, Float64] = {}  # [K, 5] each: x, y, their speeds, and when the keypoint was last found

    def update(self, people: Instances, time_s: float) -> Instances:
        """Take the people of the next frame.

        Args:
            people: with keypoints and track ids; where there are none, nothing is smoothed.
            time_s: time of the frame, seconds.

        Returns:
            The same people with other keypoints.
        """
        if people.keypoints is None or people.keypoint_scores is None or people.track_ids is None:
            return people
        rows = np.flatnonzero(people.track_ids != UNTRACKED)
        if not len(rows):
            return people
        ids = people.track_ids[rows].tolist()
        found = people.keypoints[rows].astype(np.float64)
        is_found = (people.keypoint_scores[rows] >= self._lowest_score)[..., None]
        before = np.stack([self._tracks.get(number, _unknown(found.shape[1])) for number in ids])
        now = np.where(is_found, self._followed(before, found, time_s, _sizes(people[rows])), before)
        self._tracks.update(zip(ids, now, strict=True))
        self._tracks = {number: track for number, track in self._tracks.items() if self._is_near(track, time_s).any()}
        keypoints = people.keypoints.copy()
        keypoints[rows] = np.where(is_found, now[..., :2], found)
        return people.replaced(keypoints=keypoints)

    def _followed(self, before: Float64, found: Float64, time_s: float, sizes: Float64) -> Float64:
        """The state ``[M, K, 5]`` of people's keypoints after ``before``, as if all of them were found."""
        places, speeds = before[..., 0:2], before[..., 2:4]
        elapsed = time_s - before[..., 4:]
        goes_on = self._is_near(before, time_s) & (elapsed > 0)
        step, speeds = self._filter.follow(found - places, speeds, np.where(goes_on, elapsed, 1), sizes)
        places, speeds = np.where(goes_on, places + step, found), np.where(goes_on, speeds, 0)
        return np.concatenate([places, speeds, np.full_like(elapsed, time_s)], axis=-1)

    def _is_near(self, tracks: Float64, time_s: float) -> NDArray[np.bool_]:
        """``[..., 1]``: which keypoints were found a short time ago."""
        return np.asarray(np.abs(time_s - tracks[..., 4:]) <= self._max_gap_s)


def _unknown(keypoints: int) -> Float64:
    """The state of somebody who was never seen."""
    track = np.zeros((keypoints, 5))
    track[:, 4] = np.nan  # near no time
    return track


def _sizes(people: Instances) -> Float64:
    """``[M, 1, 1]`` pixels."""
    assert people.keypoints is not None and people.keypoint_scores is not None
    boxes = boxes_around(people.keypoints, people.keypoint_scores) if people.boxes is None else people.boxes
    areas = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64).clip(_SMALLEST).prod(axis=1)
    return np.asarray(np.sqrt(areas)[:, None, None])


def _share(cutoff: Any, elapsed: Float64) -> Float64:
    """How much of a change a low-pass filter of the first order follows, 0 to 1; ``cutoff`` in Hz."""
    angle = 2 * np.pi * cutoff * elapsed
    return np.asarray(angle / (1 + angle))
