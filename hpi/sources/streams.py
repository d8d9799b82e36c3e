"""The contract of a stream: frames in time, from a file, a camera or the network."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from hpi.errors import ConfigError, InputError
from hpi.instances import Frame

USUAL_RATE = Fraction(25)
"""Frames a second where nothing says how many."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0


class Stream(ABC):
    """Frames in time from one source. Iterate once, then close.

    Attributes:
        name: what results are named after; no two streams of a call have the same.
        path: file, device or URL without secrets.
        is_live: whether frames come at their own pace; then only the newest is kept, and the others are counted.
        rate: frames per second as the source states it; None where it does not.
        count: expected number of frames; None where it is not known.
        dropped: frames that came and were not used; always 0 where it is not live.
    """

    name: str
    path: str
    is_live: bool
    rate: Fraction | None
    count: int | None
    dropped: int

    @abstractmethod
    def __iter__(self) -> Iterator[Frame | InputError]:
        """Each frame with ``index``, ``time_s`` and ``stream`` (the name), or what was wrong between two frames.

        Raises:
            InputError: the stream cannot go on.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop reading, from any thread; a second call is harmless."""


class ResumedStream(Stream):
    """A stream from a frame on, where an earlier run stopped."""

    is_live = False
    dropped = 0

    def __init__(self, stream: Stream, first: int) -> None:
        """Leave out the frames before ``first``.

        Raises:
            InputError: the stream is live, so its earlier frames are gone.
        """
        if stream.is_live:
            raise InputError(f"{stream.path}: is live, and its earlier frames are gone; start anew")
        self.name, self.path, self.rate = stream.name, stream.path, stream.rate
        self.count = None if stream.count is None else max(0, stream.count - first)
        self._stream, self._first = stream, first

    def __iter__(self) -> Iterator[Frame | InputError]:
        """As that of the stream; errors before the frame are left out, since the earlier run has reported them."""
        frames = iter(self._stream)
        for frame in frames:
            if isinstance(frame, Frame) and frame.index is not None and frame.index >= self._first:
                yield frame
                yield from frames

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


@dataclass(frozen=True)
class StreamOptions:
    """How streams are opened.

    Attributes:
        rate: frames per second of an image sequence, 25 if None; also what a camera is asked for. Videos and network
            streams state their own.
        timeout_s: time limit for connecting, and for the next data of a connection.
        reconnect_s: how long a lost live source, or the rest of a video on a server, is tried again without a frame;
            0 for never.
        allow_network: whether ``rtsp://`` and ``http(s)://`` are opened.
        allow_private: whether they may lead to addresses that are not on the public internet, such as those of cameras
            in the own network.

    Raises:
        ConfigError: a number is out of its range.

    Example:
        >>> StreamOptions(rate=10).frame_rate
        Fraction(10, 1)
        >>> StreamOptions(rate=0)
        Traceback (most recent call last):
        hpi.errors.ConfigError: rate is 0: give frames per second, above 0 and at most 1000
    """

    rate: Fraction | float | None = None
    timeout_s: float = 30
    reconnect_s: float = 60
    allow_network: bool = False
    allow_private: bool = False

    def __post_init__(self) -> None:
        if self.rate is not None and not 0 < self.rate <= 1000:
            raise ConfigError(f"rate is {self.rate}: give frames per second, above 0 and at most 1000")
        if not 0 < self.timeout_s < math.inf:
            raise ConfigError(f"timeout_s is {self.timeout_s}: give seconds, above 0")
        if not 0 <= self.reconnect_s < math.inf:
            raise ConfigError(f"reconnect_s is {self.reconnect_s}: give seconds, or 0 for never")

    @property
    def frame_rate(self) -> Fraction | None:
        """``rate`` as a fraction; 29.97 becomes 2997/100."""
        return None if self.rate is None else Fraction(self.rate).limit_denominator(1001)

    def pauses(self) -> Iterator[float]:
        """Seconds to wait before each attempt to connect again: longer and longer, ``reconnect_s`` in all.

        >>> list(StreamOptions(reconnect_s=5).pauses())
        [0.5, 1.0, 2.0, 1.5]
        """
        left, pause = self.reconnect_s, _FIRST_PAUSE_S
        while left > 0:
            yield min(pause, left)
            left -= pause
            pause = min(2 * pause, _LONGEST_PAUSE_S)
