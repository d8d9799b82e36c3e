"""Decoding the frames of a video."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from hpi.errors import InputError, InputNotFoundError
from hpi.instances import Frame
from hpi.sources.containers import missing_bytes
from hpi.sources.items import Image, check_size
from hpi.sources.streams import USUAL_RATE, Stream

VIDEO_SUFFIXES = {
    ".3g2", ".3gp", ".asf", ".avi", ".f4v", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
    ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv",
}  # fmt: skip

# Never playlists, whatever the name of the file: they refer to other files and addresses.
SAFE_FORMATS = "asf,avi,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts,mpegvideo,mxf,ogg"
_STATE_A_DURATION = {"flv", "mxf"}
_STATE_BOTH = {"asf", "avi", "matroska,webm"}


def read_frames(path: Path) -> Iterator[Frame | InputError]:
    """Decode a video frame by frame, lazily.

    A packet that cannot be decoded is an error between two frames; what decoders conceal, as players do, is not
    noticed. A truncated file yields the frames it has, and then raises an error. Truncation is detected by missing
    bytes (MP4, MOV, 3GP, MKV, WebM, AVI, WMV) and by the duration (FLV, MXF, MKV, WebM, AVI, WMV). It goes unnoticed if
    the file states neither: MPEG-TS, MPEG-PS and Ogg do not, MKV and WebM may be recorded live streams, and a
    fragmented MP4 may end between two fragments.

    Args:
        path: the file.

    Yields:
        Frames with ``index`` and ``time_s``, rotated as the file states, or what was wrong between two of them.

    Raises:
        InputNotFoundError: there is no such file.
        InputError: PyAV is not installed, or the file is not a video, damaged or truncated, or too large.
    """
    with closing(open_file(path)) as video:
        yield from frames_of(video)


def count_frames(path: Path) -> int:
    """Estimate how many frames a video has, from its header; 1 if the header does not state it or cannot be read.

    Example:
        >>> count_frames(Path("missing.mp4"))
        1
    """
    try:
        with closing(open_file(path)) as video:
            return video.count or 1
    except InputError:
        return 1


@dataclass(frozen=True)
class Video:
    """A container that is open, and its video; of several, the one that players choose.

    Attributes:
        path: its name, for errors and frames.
        stream: PyAV's stream.
        file: where it is read from, if that is a file.
        advice: what to do if it cannot be decoded; empty if nothing can be said.
        before_packet: called before each packet is read.
        on_close: called after the container was closed.
    """

    path: str
    stream: Any
    file: Path | None = None
    advice: str = ""
    before_packet: Callable[[], None] | None = None
    on_close: Callable[[], None] | None = None

    @property
    def rate(self) -> Fraction | None:
        """Frames per second, as the header states it."""
        rate = self.stream.average_rate or self.stream.guessed_rate
        return Fraction(rate.numerator, rate.denominator) if rate else None

    @property
    def duration_s(self) -> float | None:
        """As the header states it."""
        duration = self.stream.container.duration
        return None if duration is None else duration / 1_000_000

    @property
    def count(self) -> int | None:
        """Number of frames that the header leads to expect."""
        return self.stream.frames or round((self.duration_s or 0) * (self.rate or 0)) or None

    def packets(self) -> Iterator[Any]:
        """Those of all streams, sound as well."""
        packets = self.stream.container.demux()
        while True:
            if self.before_packet is not None:
                self.before_packet()
            packet = next(packets, None)
            if packet is None:
                return
            yield packet

    def close(self) -> None:
        """Close the container; no other thread may be reading it."""
        self.stream.container.close()
        if self.on_close is not None:
            self.on_close()


def open_video(path: str, opened: Any, *, file: Path | None = None, **arguments: Any) -> Video:
    """Open a container with PyAV.

    Args:
        path: its name, for errors.
        opened: what PyAV opens.
        file: set if it is a file.
        arguments: of ``av.open``.

    Raises:
        InputError: PyAV is not installed, or there is no video stream.
        FFmpegError: of PyAV: it cannot be opened.
    """
    av = require_pyav(path)
    container = av.open(opened, **arguments)
    stream = container.streams.best("video")
    if stream is None or stream.codec_context is None:
        container.close()
        wrong = "has no video stream, only sound or text" if stream is None else "no decoder for its kind of video"
        raise InputError(f"{path}: {wrong}")
    # Threads for each frame hold frames back, and lose those they hold when a packet at the end is damaged.
    stream.thread_type = "SLICE"
    return Video(path, stream, file)


def require_pyav(path: str) -> Any:
    """PyAV.

    Raises:
        InputError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise InputError(f'{path}: videos need PyAV: pip install "hpi-pose[video]"') from error
    return av


def open_file(path: Path) -> Video:
    """Open a video file.

    Raises:
        InputNotFoundError: there is no such file.
        InputError: PyAV is not installed, or the file is not a video, damaged or truncated.
    """
    av = require_pyav(str(path))
    try:
        if not path.exists():
            raise InputNotFoundError(f"{path}: cannot be read: No such file or directory")
        if not path.is_file():
            raise InputError(f"{path}: not a regular file")
        # The absolute path, since FFmpeg reads the part before a colon as a protocol.
        options = {"format_whitelist": SAFE_FORMATS, "protocol_whitelist": "file"}
        return open_video(str(path), str(path.resolve()), file=path, options=options)
    except InputError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        cut = _truncation(path)
        raise InputError(f"{path}: not a video, or a damaged one: {cut or reason(error)}") from error


def decoded(video: Video, on_packet: Callable[[Any], None] = lambda _: None) -> Iterator[Any | InputError]:
    """The frames of a video as PyAV gives them, and an error in the place of packets that cannot be decoded.

    Args:
        video: it is not closed.
        on_packet: called with each packet, of sound as well.

    Raises:
        FFmpegError: of PyAV: nothing can be decoded from here on.
        InputError: a frame is too large.
    """
    from av import FFmpegError

    check_size((video.stream.width, video.stream.height), video.path)
    count = 0
    damage: FFmpegError | None = None
    for packet in video.packets():
        on_packet(packet)
        try:
            frames = packet.decode() if packet.stream is video.stream else ()
        except FFmpegError as error:
            damage = damage or error
            continue
        for frame in frames:
            if damage is not None and packet.size:  # of the empty packet at the end come those held back so far
                yield InputError(f"{video.path}: damaged after {count} frames, reading goes on: {reason(damage)}")
                damage = None
            check_size((frame.width, frame.height), video.path)
            yield frame
            count += 1
    if damage is not None:
        raise damage


def frames_of(video: Video, name: str | None = None) -> Iterator[Frame | InputError]:
    """The frames of a video that has an end; see :func:`read_frames`.

    Args:
        video: it is not closed.
        name: the stream that the frames belong to.
    """
    from av import FFmpegError

    extent = _Extent()
    times = Times(video.rate, (video.stream.container.start_time or 0) / 1_000_000)
    count = 0
    try:
        for found in decoded(video, extent.note):
            if isinstance(found, InputError):
                yield found
            else:
                yield Frame(upright(found), video.path, index=count, time_s=times.of(found.time), stream=name)
                count += 1
    except FFmpegError as error:
        cut = _truncation(video.file, count, video.stream.frames) or f"damaged after {count} frames"
        raise InputError(f"{video.path}: {cut}: {reason(error)}{video.advice}") from error
    if cut := _truncation(video.file, count, video.stream.frames) or extent.truncation(video, count):
        raise InputError(f"{video.path}: {cut}")
    if not count:
        raise InputError(f"{video.path}: the video has no frames")


def upright(frame: Any) -> Image:
    """A frame of PyAV as an image, rotated as its video states."""
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="bgr24"), round(frame.rotation / 90)))


class Times:
    """Seconds since the beginning of a stream. They grow from frame to frame, whatever the container says.

    Args:
        rate: frames per second, for frames without a time, or with one that has passed.
        start_s: the container's time at the beginning.

    Example:
        >>> times = Times(Fraction(8), start_s=1.5)
        >>> [times.of(time_s) for time_s in (1.5, 1.75, 0, None, 9.5)]
        [0.0, 0.25, 0.375, 0.5, 8.0]
        >>> times.restart(0.5, at_s=20)
        >>> times.of(0.75)
        20.25
    """

    def __init__(self, rate: Fraction | None, start_s: float = 0.0) -> None:
        self._step = 1 / float(rate or USUAL_RATE)
        self._start = start_s
        self._last: float | None = None

    def restart(self, time_s: float, at_s: float) -> None:
        """The container's clock begins anew: its ``time_s`` is ``at_s`` of the stream, or later if that has passed."""
        self._start = time_s - (at_s if self._last is None else max(at_s, self._last + self._step))

    def of(self, time_s: float | None) -> float:
        """The time of the next frame, from the one that its container gives it."""
        given = None if time_s is None else time_s - self._start
        if self._last is None:
            self._last = given or 0.0
        else:
            self._last = given if given is not None and given > self._last else self._last + self._step
        return self._last


class VideoFile(Stream):
    """A video that has an end: a file, or one on a server. Every frame is given.

    Args:
        video: closed with the stream.
        name: of the stream.
        abort: ends a read that waits for the network.
    """

    is_live = False
    dropped = 0

    def __init__(self, video: Video, name: str, abort: Callable[[], None] = lambda: None) -> None:
        self.name = name
        self.path = video.path
        self.rate = video.rate
        self.count = video.count
        self._video = video
        self._abort = abort
        self._reading = threading.Lock()
        self._is_closed = False

    def __iter__(self) -> Iterator[Frame | InputError]:
        frames = frames_of(self._video, self.name)
        while True:
            with self._reading:
                found = None if self._is_closed else self._next(frames)
            if found is None:
                return
            yield found

    def _next(self, frames: Iterator[Frame | InputError]) -> Frame | InputError | None:
        """None at the end, and where the stream was closed meanwhile."""
        try:
            return next(frames, None)
        except InputError:
            if self._is_closed:
                return None
            raise

    def close(self) -> None:
        """Stop reading, from any thread."""
        self._is_closed = True
        self._abort()
        with self._reading:  # FFmpeg does not allow to close what it is reading
            self._video.close()


class _Extent:
    """Follows how far a video goes, to compare it with the duration in the header."""

    def __init__(self) -> None:
        self._last: dict[int, float] = {}
        self._longest_step = 0.0
        self._end = 0.0

    def note(self, packet: Any) -> None:
        if packet.dts is None:
            return
        stream, time = packet.stream_index, float(packet.dts * packet.time_base)
        self._longest_step = max(self._longest_step, time - self._last.get(stream, time))
        self._last[stream] = time
        shown = packet.dts if packet.pts is None else packet.pts
        self._end = max(self._end, float((shown + (packet.duration or 0)) * packet.time_base))

    def truncation(self, video: Video, count: int) -> str:
        """Describe how far the video falls short of its duration; empty if it does not.

        The last frame may be shown as long as any other.
        """
        name = video.stream.container.format.name
        whole = name in _STATE_BOTH and (video.file is None or missing_bytes(video.file) == 0)
        if not (name in _STATE_A_DURATION or whole):
            return ""
        stated = video.duration_s or 0
        if not self._longest_step or stated - self._end <= max(1.5 * self._longest_step, 0.01 * stated):
            return ""
        return f"truncated after {count} frames, at {self._end:.2f} of {stated:.2f} s"


def _truncation(file: Path | None, count: int = 0, stated: int = 0) -> str:
    """Describe how much of a file is missing at its end; empty if nothing is, or if the file cannot be read."""
    try:
        missing = None if file is None else missing_bytes(file)
    except (OSError, ValueError):
        missing = None
    if not missing:
        return ""
    of_all = f" of {stated}" if stated > count else ""
    return f"truncated after {count}{of_all} frames; its last {missing} bytes are missing"


def reason(error: BaseException | str) -> str:
    """What the system or FFmpeg says, without the name of the file."""
    return str(getattr(error, "strerror", None) or error)
