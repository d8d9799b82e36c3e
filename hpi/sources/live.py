"""Sources whose frames come at their own pace: a thread reads, and keeps only the newest frame."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from hpi.errors import InputError
from hpi.instances import Frame
from hpi.sources.streams import Stream, StreamOptions
from hpi.sources.video import Times, Video, decoded, reason, upright

_MOST_REPORTS = 100
_UNTIMED = {"mpjpeg"}
"""Formats without times, for which FFmpeg makes up 25 frames per second."""
_IN_BURSTS = {"hls"}
"""Formats that bring the frames of some seconds at once."""


class LiveStream(Stream):
    """A camera, or a stream of the network. A lost one is connected again.

    The index counts every frame that came, so those that were dropped are missing. ``time_s`` follows the clock of the
    source, from its first frame on; after a connection was lost, that of this machine says how long it was away. Frames
    that come in bursts, as those of HLS, are held back until their time.

    Args:
        name: of the stream.
        video: the source, open.
        connect: opens it again; None where it has come to its end; raises InputError.
        options: how long to wait, and to try again.
        abort: ends what waits for the network, for good.
    """

    is_live = True
    count = None

    def __init__(
        self,
        name: str,
        video: Video,
        connect: Callable[[], Video | None],
        options: StreamOptions,
        abort: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.path = video.path
        self.rate = video.rate
        self.dropped = 0
        self._connect = connect
        self._options = options
        self._abort = abort
        self._news = threading.Condition()
        self._newest: tuple[Any, int, float] | None = None
        self._reports: deque[InputError] = deque(maxlen=_MOST_REPORTS)
        self._failure: Exception | None = None
        self._has_ended = False
        self._closed = threading.Event()
        self._came = 0
        self._times = Times(video.rate)
        self._first_at: float | None = None
        self._last_at = time.monotonic()
        self._lost_at: float | None = None
        # A daemon, since FFmpeg may wait for a device that no longer answers.
        threading.Thread(target=self._run, args=(video,), name="hpi-live", daemon=True).start()

    def __iter__(self) -> Iterator[Frame | InputError]:
        while True:
            with self._news:
                self._news.wait_for(self._has_news, self._patience())
                if self._closed.is_set():
                    return
                newest = None
                if self._reports:
                    report = self._reports.popleft()
                elif self._newest is not None:
                    newest, self._newest = self._newest, None
                elif self._failure is not None:
                    raise self._failure
                elif self._has_ended:
                    return
                elif self._patience() == 0:
                    raise InputError(f"{self.path}: no frame for {time.monotonic() - self._last_at:.0f} s")
                else:
                    continue
            if newest is None:
                yield report
            else:
                frame, index, time_s = newest
                yield Frame(upright(frame), self.path, index=index, time_s=time_s, stream=self.name)

    def _has_news(self) -> bool:
        return bool(self._reports) or self._newest is not None or self._has_ended or self._closed.is_set()

    def _patience(self) -> float:
        """Seconds until even a reader that never returns counts as lost."""
        limit = 2 * self._options.timeout_s + self._options.reconnect_s
        return max(0.0, self._last_at + limit - time.monotonic())

    def close(self) -> None:
        """Stop reading, from any thread. Returns at once; the source is closed when its read ends."""
        self._closed.set()
        self._abort()
        with self._news:
            self._news.notify_all()

    # In the thread that reads.

    def _run(self, video: Video | None) -> None:
        try:
            while video is not None:
                lost = self._read(video)
                video = None if self._closed.is_set() else self._connect_again(lost)
        except Exception as error:  # noqa: BLE001 - raised where the frames are taken
            self._failure = error
        finally:
            with self._news:
                self._has_ended = True
                self._news.notify_all()

    def _read(self, video: Video) -> str:
        """Read until the connection is lost; returns why."""
        from av import FFmpegError

        format_name = video.stream.container.format.name
        is_first = True
        with closing(video):
            try:
                for found in decoded(video):
                    if self._closed.is_set():
                        break
                    if isinstance(found, InputError):
                        self._report(found)
                        continue
                    elapsed = self._arrived()
                    given = elapsed if format_name in _UNTIMED else found.time
                    if is_first and given is not None:
                        self._times.restart(given, elapsed)
                    is_first = False
                    time_s = self._times.of(given)
                    if format_name in _IN_BURSTS:
                        self._closed.wait(min(time_s - elapsed, self._options.timeout_s))
                    self._offer(found, time_s)
            except (FFmpegError, InputError) as error:
                return reason(error)
        return "the source ended it"

    def _arrived(self) -> float:
        """Seconds since the first frame, at the arrival of one."""
        self._last_at = time.monotonic()
        self._lost_at = None
        if self._first_at is None:
            self._first_at = self._last_at
        return self._last_at - self._first_at

    def _offer(self, frame: Any, time_s: float) -> None:
        with self._news:
            self.dropped += self._newest is not None
            self._newest = frame, self._came, time_s
            self._came += 1
            self._news.notify_all()

    def _report(self, error: InputError) -> None:
        with self._news:
            self._reports.append(error)
            self._news.notify_all()

    def _connect_again(self, lost: str) -> Video | None:
        """The source, opened again; None if it has come to its end, or was closed meanwhile.

        Raises:
            InputError: it stays away.
        """
        self._lost_at = self._lost_at or time.monotonic()
        where = f"{self.path}: lost after {self._came} frames"
        last = lost
        for pause in self._options.pauses():
            if self._closed.wait(pause):
                return None
            away_s = time.monotonic() - self._lost_at
            if away_s > self._options.reconnect_s:
                break
            try:
                video = self._connect()
            except InputError as error:
                last = str(error)
                continue
            if video is not None:
                self._report(InputError(f"{where}, connected again after {away_s:.1f} s: {lost}"))
            return video
        raise InputError(f"{where}, and not back within {self._options.reconnect_s:g} s: {last}")
