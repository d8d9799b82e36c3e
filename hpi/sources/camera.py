"""Cameras of this machine, through Video4Linux."""

from __future__ import annotations

import errno
import re
import sys
from pathlib import Path

from hpi.errors import InputError, InputNotFoundError
from hpi.sources.streams import StreamOptions
from hpi.sources.video import Video, open_video, reason, require_pyav

DEVICES = Path("/dev")

_NUMBER = re.compile(r"[0-9]{1,4}")
_DEVICE = re.compile(r"/dev/(?:video\d+|v4l/.+)")
_ADVICE = {
    errno.EACCES: "this user may not read it; add the user to the group video, and log in again",
    errno.EPERM: "this user may not read it; in a container, pass it in: docker run --device {device}",
    errno.EBUSY: "another program is using it; close that one",
}


def camera_device(source: str | int) -> str | None:
    """The device of a camera: ``0`` is ``/dev/video0``; None for something else.

    A number that is the name of a file is that file.

    Example:
        >>> camera_device(0), camera_device("1"), camera_device("/dev/video2"), camera_device("clip.mp4")
        ('/dev/video0', '/dev/video1', '/dev/video2', None)
    """
    text = str(source)
    if _NUMBER.fullmatch(text) and (isinstance(source, int) or not Path(text).exists()):
        return str(DEVICES / f"video{int(text)}")
    return text if _DEVICE.fullmatch(text) else None


def open_camera(device: str, options: StreamOptions) -> Video:
    """Open a camera.

    Raises:
        InputNotFoundError: there is no such camera.
        InputError: this is not Linux, PyAV is not installed, or the camera cannot be used.
    """
    if sys.platform != "linux":
        raise InputError(f"{device}: cameras are read on Linux only; elsewhere pass frames that OpenCV captures")
    av = require_pyav(device)
    asked = {} if options.frame_rate is None else {"framerate": str(options.frame_rate)}
    try:
        return open_video(device, device, format="v4l2", options=asked, timeout=options.timeout_s)
    except FileNotFoundError as error:
        raise InputNotFoundError(f"{device}: no such camera; {_found()}") from error
    except av.FFmpegError as error:
        advice = _ADVICE.get(error.errno or 0, f"not a camera that can be used: {reason(error)}; {_found()}")
        raise InputError(f"{device}: {advice.format(device=device)}") from error


def _found() -> str:
    devices = ", ".join(sorted(map(str, DEVICES.glob("video*"))))
    if devices:
        return f"there are {devices}; of several devices of one camera, only one gives images"
    return "there is no camera; connect one, or pass it into the container: docker run --device /dev/video0"
