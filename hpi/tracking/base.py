"""The contract of a tracker, and the settings of a stream."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from hpi.errors import ConfigError
from hpi.instances import Instances

UNTRACKED = -1
"""The track id of somebody who is not followed, or not yet."""
EXTRA = "video"
"""That of the package which installs what the trackers need."""
TRACKERS = ("bytetrack", "ocsort", "oks", "embedding")
LEAST_STEP_S = 0.001
"""Time that passes at least from one frame to the next."""


class Clock:
    """The time of a stream, which always moves forward.

    The times that are given may stand still or run back, as those of damaged files and of cameras that restart.

    Example:
        >>> clock = Clock()
        >>> [clock.advance(time_s) for time_s in (7.0, 7.5, 0.0, 0.25)]
        [0.001, 0.501, 0.502, 0.752]
    """

    def __init__(self) -> None:
        self._given: float | None = None
        self._time_s = 0.0

    def advance(self, time_s: float) -> float:
        """The time of the next frame, seconds, from the one that is given; always later than the one before."""
        passed = 0.0 if self._given is None else time_s - self._given
        self._given = time_s
        self._time_s += max(LEAST_STEP_S, passed)
        return self._time_s


class Tracker(ABC):
    """Gives each person of one stream a track id that stays.

    Attributes:
        lowest_score: detections that score less are of no use to it.
    """

    lowest_score: float

    @abstractmethod
    def update(self, people: Instances, time_s: float) -> Instances:
        """Take the people of the next frame.

        Args:
            people: what was found in it, in any order; with boxes, keypoints or both, as the tracker needs them.
            time_s: time of the frame, seconds; later than the one before.

        Returns:
            Those that count, in their order, with ``track_ids``; :data:`UNTRACKED` for those who are not followed yet.
        """


@dataclass(frozen=True)
class Tracking:
    """How the people of a stream are followed.

    Attributes:
        tracker: ``"bytetrack"`` or ``"ocsort"`` follow people by boxes, ``"oks"`` by keypoints, ``"embedding"`` by the
            embeddings of a FairMOT; None: nobody gets an id.
        det_every: the detector runs once in so many frames, and in between where it is needed; ``"auto"``: as seldom as
            the scene allows.
        max_lost_s: somebody who is not seen for longer gets a new id, seconds.

    Raises:
        ConfigError: there is no such tracker, or a number makes no sense.

    Example:
        >>> Tracking(det_every="auto").tracker
        'bytetrack'
    """

    tracker: str | None = "bytetrack"
    det_every: int | Literal["auto"] = 1
    max_lost_s: float = 1.0

    def __post_init__(self) -> None:
        if self.tracker is not None and self.tracker not in TRACKERS:
            raise ConfigError(f"tracker is {self.tracker!r}: give {', '.join(TRACKERS)}, or None to follow nobody")
        if self.det_every != "auto" and not (_is_number(self.det_every, int) and self.det_every >= 1):
            raise ConfigError(f"det_every is {self.det_every!r}: give a whole number from 1, or 'auto'")
        if self.tracker == "embedding" and self.det_every != 1:
            raise ConfigError(
                "det_every: the tracker 'embedding' needs the detector on every frame; give 1, or the tracker 'oks'"
            )
        if not (_is_number(self.max_lost_s, (int, float)) and 0 < self.max_lost_s < math.inf):
            raise ConfigError(f"max_lost_s is {self.max_lost_s!r}: give seconds, more than 0")


def _is_number(value: object, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)
