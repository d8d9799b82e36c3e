"""Frames of a video file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.errors import InputError, InputNotFoundError

Image = NDArray[np.uint8]

VIDEO_SUFFIXES = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"}

# Whatever a file is called, it is not read as a playlist that names other files or addresses.
_SAFE = {"format_whitelist": "avi,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2", "protocol_whitelist": "file"}


def read_frames(path: Path, check_size: Callable[[tuple[int, int]], None]) -> Iterator[Image]:
    """Decode a video frame by frame, as the iterator is advanced.

    Args:
        path: the file.
        check_size: called with width and height of each frame before it is converted; raises InputError.

    Yields:
        ``[H, W, 3]`` uint8 BGR, turned upright where the file says that the camera was held sideways.

    Raises:
        InputError: PyAV is not installed, or the file is no video, or a damaged one, or has fewer frames than it says.
    """
    with _opened(path) as stream:
        check_size((stream.width, stream.height))
        count = 0
        for count, frame in enumerate(stream.container.decode(stream), 1):  # noqa: B007 - the last one is what counts
            check_size((frame.width, frame.height))
            upright = np.rot90(frame.to_ndarray(format="bgr24"), round(frame.rotation / 90))
            yield np.ascontiguousarray(upright)
        if count < stream.frames:
            raise InputError(f"{path}: breaks off after {count} of {stream.frames} frames")


def count_frames(path: Path) -> int:
    """About how many frames a video has, as its header says; 1 where that does not tell or cannot be read."""
    try:
        with _opened(path) as stream:
            seconds = float((stream.container.duration or 0) / 1_000_000)
            return max(1, stream.frames or round(seconds * float(stream.average_rate or 0)))
    except InputError:
        return 1


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The first video stream of a file."""
    try:
        import av
    except ImportError as error:
        raise InputError(
            f'{path}: videos are read with PyAV; install it with: pip install "hpi-pose[video]"'
        ) from error
    try:
        if not path.exists():
            raise InputNotFoundError(f"{path}: cannot be read: No such file or directory")
        if not path.is_file():
            raise InputError(f"{path}: not a regular file")
        # The whole path, since FFmpeg takes what stands before a colon for a protocol.
        with av.open(str(path.resolve()), options=dict(_SAFE)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: has no pictures, only sound or text")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield stream
    except InputError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a video, or a damaged one: {getattr(error, 'strerror', None) or error}"
        ) from error
