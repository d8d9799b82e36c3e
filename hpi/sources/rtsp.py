"""Cameras and servers that speak RTSP."""

from __future__ import annotations

import re

from hpi.errors import InputError
from hpi.io.fetch import shown
from hpi.sources.streams import StreamOptions
from hpi.sources.video import Video, open_video, reason, require_pyav

_SCHEME = re.compile(r"rtsp://", re.IGNORECASE)


def is_rtsp(text: str) -> bool:
    """Whether a string is an RTSP URL.

    Example:
        >>> is_rtsp("rtsp://192.168.1.20/stream"), is_rtsp("http://192.168.1.20/stream")
        (True, False)
    """
    return _SCHEME.match(text) is not None


def open_rtsp(url: str, options: StreamOptions) -> Video:
    """Open an RTSP stream, over TCP.

    FFmpeg connects, and follows the server to other addresses, which nobody can check before; so this is for servers
    that are trusted.

    Raises:
        InputError: the options do not allow it, PyAV is not installed, or the stream cannot be opened.
    """
    label = shown(url)
    if not (options.allow_network and options.allow_private):
        raise InputError(
            f"{label}: RTSP servers can lead to any address; if you trust this one, give "
            "StreamOptions(allow_network=True, allow_private=True), or --allow_network --allow_private"
        )
    av = require_pyav(label)
    only = {"rtsp_transport": "tcp", "protocol_whitelist": "rtp,tcp", "format_whitelist": "rtsp"}
    try:
        return open_video(label, url, options=only, timeout=options.timeout_s)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{label}: cannot be opened: {reason(error)}") from error
