"""Decoding the frames of a video file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.errors import InputError, InputNotFoundError
from hpi.sources.containers import missing_bytes

Image = NDArray[np.uint8]

VIDEO_SUFFIXES = {
    ".3g2", ".3gp", ".asf", ".avi", ".f4v", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
    ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv",
}  # fmt: skip

# Never playlists, whatever the name of the file: they refer to other files and addresses.
_SAFE = {
    "format_whitelist": "asf,avi,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts,mpegvideo,mxf,ogg",
    "protocol_whitelist": "file",
}
_STATE_A_DURATION = {"flv", "mxf"}
_STATE_BOTH = {"asf", "avi", "matroska,webm"}


def read_frames(path: Path, check_size: Callable[[tuple[int, int]], None]) -> Iterator[Image]:
    """Decode a video frame by frame, lazily.

    A truncated file yields the frames it has, and then raises an error. Truncation is detected by missing bytes (MP4,
    MOV, 3GP, MKV, WebM, AVI, WMV) and by the duration (FLV, MXF, MKV, WebM, AVI, WMV). It goes unnoticed if the file
    states neither: MPEG-TS, MPEG-PS and Ogg do not, MKV and WebM may be recorded live streams, and a fragmented MP4 may
    end between two fragments.

    Args:
        path: the file.
        check_size: called with width and height of each frame before it is converted; raises InputError.

    Yields:
        ``[H, W, 3]`` uint8 BGR, rotated as the file states.

    Raises:
        InputNotFoundError: there is no such file.
        InputError: PyAV is not installed, or the file is not a video, damaged or truncated.
    """
    with _opened(path) as stream:
        from av import FFmpegError

        check_size((stream.width, stream.height))
        clock = _Clock()
        count = 0
        try:
            for packet in stream.container.demux():
                clock.note(packet)
                for frame in packet.decode() if packet.stream is stream else ():
                    check_size((frame.width, frame.height))
                    yield _upright(frame)
                    count += 1
        except FFmpegError as error:
            cut = _truncation(path, count, stream.frames) or f"damaged after {count} frames"
            raise InputError(f"{path}: {cut}: {_reason(error)}") from error
        if cut := _truncation(path, count, stream.frames) or clock.truncation(path, stream.container, count):
            raise InputError(f"{path}: {cut}")
        if not count:
            raise InputError(f"{path}: the video has no frames")


def count_frames(path: Path) -> int:
    """Estimate how many frames a video has, from its header; 1 if the header does not state it or cannot be read.

    Example:
        >>> count_frames(Path("missing.mp4"))
        1
    """
    try:
        with _opened(path) as stream:
            seconds = float((stream.container.duration or 0) / 1_000_000)
            return max(1, stream.frames or round(seconds * float(stream.average_rate or 0)))
    except InputError:
        return 1


def _upright(frame: Any) -> Image:
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="bgr24"), round(frame.rotation / 90)))


class _Clock:
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

    def truncation(self, path: Path, container: Any, count: int) -> str:
        """Describe how far the video falls short of its duration; empty if it does not.

        The last frame may be shown as long as any other.
        """
        name = container.format.name
        if not (name in _STATE_A_DURATION or (name in _STATE_BOTH and missing_bytes(path) == 0)):
            return ""
        stated = (container.duration or 0) / 1_000_000
        if not self._longest_step or stated - self._end <= max(1.5 * self._longest_step, 0.01 * stated):
            return ""
        return f"truncated after {count} frames, at {self._end:.2f} of {stated:.2f} s"


def _truncation(path: Path, count: int = 0, stated: int = 0) -> str:
    """Describe how much of a file is missing at its end; empty if nothing is, or if the file cannot be read."""
    try:
        missing = missing_bytes(path)
    except (OSError, ValueError):
        missing = None
    if not missing:
        return ""
    of_all = f" of {stated}" if stated > count else ""
    return f"truncated after {count}{of_all} frames; its last {missing} bytes are missing"


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The first video stream of a file."""
    try:
        import av
    except ImportError as error:
        raise InputError(f'{path}: reading videos needs PyAV: pip install "hpi-pose[video]"') from error
    try:
        if not path.exists():
            raise InputNotFoundError(f"{path}: cannot be read: No such file or directory")
        if not path.is_file():
            raise InputError(f"{path}: not a regular file")
        # The absolute path, since FFmpeg reads the part before a colon as a protocol.
        with av.open(str(path.resolve()), options=dict(_SAFE)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: has no video stream, only sound or text")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield stream
    except InputError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        cut = _truncation(path)
        raise InputError(f"{path}: not a video, or a damaged one: {cut or _reason(error)}") from error
