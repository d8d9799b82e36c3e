"""MOTA, IDF1 and switches, counted by motmetrics, as PoseTrack's own evaluation does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpi.errors import ConfigError
from hpi.evaluation.predictions import Figures


@dataclass(frozen=True)
class FrameDistances:
    """Who is annotated in a frame, who was found, and how far apart each two of them are.

    Attributes:
        true_ids: ``[T]`` int64.
        found_ids: ``[F]`` int64: track ids.
        distances: ``[T, F]`` float64; NaN where the two are too far apart to be the same.
    """

    true_ids: NDArray[np.int64]
    found_ids: NDArray[np.int64]
    distances: NDArray[np.float64]

    @classmethod
    def of(cls, true_ids: ArrayLike, found_ids: ArrayLike, distances: ArrayLike, limit: float) -> FrameDistances:
        """Those of a frame, of which distances above the limit are too far.

        Example:
            >>> FrameDistances.of([1], [7, 8], [[0.2, 0.9]], limit=0.5).distances
            array([[0.2, nan]])
        """
        apart = np.asarray(distances, np.float64)
        return cls(
            np.asarray(true_ids, np.int64), np.asarray(found_ids, np.int64), np.where(apart <= limit, apart, np.nan)
        )


@dataclass(frozen=True)
class Tally:
    """What is counted over a video; tallies of several add up.

    Attributes:
        objects: annotated people, in all frames together.
        found: people who were found.
        misses: annotated people who were not found.
        false_positives: people who were found and are not annotated.
        switches: how often somebody goes on under another track id.
        identified: people who were found under the right id, by the best match over the whole video.
    """

    objects: int = 0
    found: int = 0
    misses: int = 0
    false_positives: int = 0
    switches: int = 0
    identified: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    @property
    def mota(self) -> float | None:
        """Multiple object tracking accuracy, percent; below 0 if there are more errors than objects."""
        errors = self.misses + self.false_positives + self.switches
        return 100 * (1 - errors / self.objects) if self.objects else None

    @property
    def idf1(self) -> float | None:
        """The share of those who are there, and of those found, that have the right identity: F1, percent."""
        return 200 * self.identified / (self.objects + self.found) if self.objects else None


TRACKING_FIGURES = ("MOTA", "IDF1", "switches")
"""Percent, percent and a number."""

_COUNTED = ("num_objects", "num_predictions", "num_misses", "num_false_positives", "num_switches", "idtp")
"""Motmetrics' names, in the order of :class:`Tally`."""


def count(video: Iterable[FrameDistances]) -> Tally:
    """Count over the frames of one video, in order.

    Whoever was matched in an earlier frame stays matched where the distance allows it; the others are matched by the
    least sum of distances.

    Raises:
        ConfigError: motmetrics is not installed.

    Example:
        >>> one, none = FrameDistances.of([1], [7], [[0.1]], 0.5), FrameDistances.of([1], [], np.empty((1, 0)), 0.5)
        >>> tally = count([one, none, FrameDistances.of([1], [8], [[0.1]], 0.5)])
        >>> tally.misses, tally.switches, f"{tally.mota:.0f}", f"{tally.idf1:.0f}"
        (1, 1, '33', '40')
    """
    metrics = motmetrics()
    accumulator = metrics.MOTAccumulator(auto_id=True)
    for frame in video:
        accumulator.update(frame.true_ids, frame.found_ids, frame.distances)
    counts = metrics.metrics.create().compute(accumulator, metrics=_COUNTED, return_dataframe=False)
    return Tally(*(int(counts[name]) for name in _COUNTED))


def tracking_figures(tally: Tally) -> Figures:
    """MOTA and IDF1 in percent, and the number of switches.

    Example:
        >>> tracking_figures(Tally(objects=4, found=4, false_positives=1, misses=1, identified=3))
        {'MOTA': 50.0, 'IDF1': 75.0, 'switches': 0}
    """
    return dict(zip(TRACKING_FIGURES, (tally.mota, tally.idf1, tally.switches), strict=True))


def motmetrics() -> Any:
    """The package.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import motmetrics
    except ImportError as error:
        raise ConfigError(f'motmetrics is not installed ({error}): pip install "hpi-pose[evaluate]"') from error
    return motmetrics
