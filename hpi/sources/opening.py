"""Opening streams of any kind."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from urllib.parse import urlsplit

from hpi.errors import InputError
from hpi.io.fetch import is_url, shown, url_path
from hpi.sources.camera import camera_device, open_camera
from hpi.sources.live import LiveStream
from hpi.sources.rtsp import is_rtsp, open_rtsp
from hpi.sources.sequences import is_pattern, open_folder, open_pattern
from hpi.sources.streams import Stream, StreamOptions
from hpi.sources.video import VIDEO_SUFFIXES, VideoFile, open_file

StreamSource = str | PathLike[str] | PathLike[bytes] | int

_OF_SERVERS = {".m3u8", ".mjpeg", ".mjpg"}
_ODD = re.compile(r"[^\w.-]+")
_NUMBER = re.compile(r"[-_. ]*%\d*d")
_MAX_NAME_BYTES = 200


def open_stream(source: StreamSource, options: StreamOptions | None = None, *, name: str | None = None) -> Stream:
    """Open a stream.

    Args:
        source: a video file, the pattern of numbered images (``frames/img_%05d.png``), a folder of images, the number
            or device of a camera (``0``, ``/dev/video0``), an ``rtsp://`` or ``http(s)://`` URL.
        options: the defaults if None.
        name: of the stream; by default that of :func:`stream_names`.

    Raises:
        InputError: it cannot be opened.

    Example:
        >>> import tempfile, cv2, numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for number in (7, 8):
        ...         _ = cv2.imwrite(f"{folder}/img_{number:03d}.png", np.zeros((48, 64), np.uint8))
        ...     stream = open_stream(f"{folder}/img_%03d.png", StreamOptions(rate=10))
        ...     [(frame.stream, frame.index, frame.time_s) for frame in stream]
        [('img', 0, 0.0), ('img', 1, 0.1)]
    """
    options = options or StreamOptions()
    name = name or _stem(source)
    if (device := _device(source)) is not None:
        return LiveStream(name, open_camera(device, options), lambda: open_camera(device, options), options)
    path = os.fsdecode(source) if isinstance(source, (str, PathLike)) else ""
    if not path:
        raise InputError(f"stream {source!r}: give a video, numbered images, a folder, a camera or a URL")
    if is_rtsp(path):
        return LiveStream(name, open_rtsp(path, options), lambda: open_rtsp(path, options), options)
    if is_url(path):
        from hpi.sources.http import open_http  # whoever reads images starts without it

        return open_http(path, name, options)
    if os.path.isdir(path):  # noqa: PTH112 - never raises
        return open_folder(path, name, options.frame_rate)
    if _is_pattern(path):
        return open_pattern(path, name, options.frame_rate)
    return VideoFile(open_file(Path(path)), name)


def open_streams(
    sources: StreamSource | Stream | Iterable[StreamSource | Stream], options: StreamOptions | None = None
) -> list[Stream]:
    """Open the streams of a call, each with a name of its own; those that are open already stay as they are.

    Raises:
        InputError: one cannot be opened, or two that are open already have one name; then none stays open.

    Example:
        >>> open_streams([])
        []
    """
    is_one = isinstance(sources, (str, bytes, PathLike, Stream)) or not isinstance(sources, Iterable)
    several: list[StreamSource | Stream] = [sources] if is_one else list(sources)  # type: ignore[arg-type, list-item]
    streams: list[Stream] = []
    try:
        for source, name in zip(several, stream_names(several), strict=True):
            streams.append(source if isinstance(source, Stream) else open_stream(source, options, name=name))
        if twice := [name for name, count in Counter(stream.name for stream in streams).items() if count > 1]:
            raise InputError(f"several streams have the name {twice[0]}, which tells them apart: open them by others")
    except BaseException:
        for stream in streams:
            stream.close()
        raise
    return streams


def is_stream(source: object) -> bool:
    """Whether an input can only be a stream: a video, numbered images, a camera, or a URL of a video.

    A folder, and a URL that does not say what it leads to, can be opened as a stream too.

    Example:
        >>> [is_stream(source) for source in ("match.mp4", "img_%05d.png", 0, "rtsp://10.0.0.5/live", "people.jpg")]
        [True, True, True, True, False]
    """
    if not isinstance(source, (str, PathLike, int)) or isinstance(source, bool):
        return False
    if _device(source) is not None:
        return True
    path = "" if isinstance(source, int) else os.fsdecode(source)
    if is_rtsp(path):
        return True
    if is_url(path):
        return Path(url_path(path)).suffix.lower() in VIDEO_SUFFIXES | _OF_SERVERS
    return Path(path).suffix.lower() in VIDEO_SUFFIXES or _is_pattern(path)


def has_no_end(source: StreamSource) -> bool:
    """Whether a source is a camera, of this machine or of the network. Of other URLs only opening them tells.

    Example:
        >>> [has_no_end(source) for source in (0, "/dev/video0", "rtsp://10.0.0.5/live", "match.mp4")]
        [True, True, True, False]
    """
    return _device(source) is not None or (not isinstance(source, int) and is_rtsp(os.fsdecode(source)))


def stream_names(sources: Iterable[StreamSource | Stream]) -> list[str]:
    """A name for each stream of a call, which can be the name of a file; no two are equal on any file system.

    Example:
        >>> stream_names(["a/match.mp4", "b/Match.avi", 0, "rtsp://me:pw@10.0.0.5/live", "frames/img_%05d.png"])
        ['match', 'Match_2', 'camera0', '10.0.0.5_live', 'img']
    """
    taken: set[str] = set()
    names: list[str] = []
    for source in sources:
        stem = name = _stem(source)
        number = 1
        while (key := unicodedata.normalize("NFC", name).casefold()) in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(key)
        names.append(name)
    return names


def _is_pattern(path: str) -> bool:
    """Whether it names numbered images, and not a file that is called like that."""
    return is_pattern(path) and not os.path.exists(path)  # noqa: PTH110 - never raises


def _device(source: object) -> str | None:
    if isinstance(source, bool) or not isinstance(source, (str, PathLike, int)):
        return None
    return camera_device(source if isinstance(source, int) else os.fsdecode(source))


def _stem(source: StreamSource | Stream) -> str:
    """What a stream is called if no other has the name."""
    if isinstance(source, Stream):
        return source.name
    if (device := _device(source)) is not None:
        stem = _ODD.sub("_", device.removeprefix("/dev/").replace("video", "camera"))
    else:
        path = os.fsdecode(source) if isinstance(source, (str, PathLike)) else str(source)
        if is_rtsp(path) or is_url(path):
            parts = urlsplit(shown(path))
            stem = _ODD.sub("_", f"{parts.hostname}{Path(parts.path).with_suffix('')}").strip("_.")
        else:
            stem = Path(path).stem
            stem = _NUMBER.sub("", stem) if is_pattern(path) else stem
    return os.fsencode(stem or "stream")[:_MAX_NAME_BYTES].decode(errors="ignore")
