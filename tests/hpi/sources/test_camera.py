"""Cameras that are not there, or cannot be used. No camera is needed; what one gives is tested with network streams."""

import errno
import os
import sys

import pytest

from hpi import InputError
from hpi.errors import InputNotFoundError
from hpi.sources import camera, open_stream

av = pytest.importorskip("av", reason="PyAV is not installed")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="cameras are read on Linux")

ABSENT = 987  # no machine has as many


@pytest.mark.parametrize("source", [ABSENT, str(ABSENT), f"/dev/video{ABSENT}"])
def test_a_missing_camera_says_what_to_do(source):
    with pytest.raises(InputNotFoundError, match=rf"^/dev/video{ABSENT}: no such camera; there (is no camera|are)"):
        open_stream(source)


def test_the_cameras_that_are_there_are_named(monkeypatch, tmp_path):
    (tmp_path / "video0").touch()
    monkeypatch.setattr(camera, "DEVICES", tmp_path)
    with pytest.raises(InputNotFoundError, match=r"there are \S+/video0;"):
        open_stream(ABSENT)


def test_a_file_in_the_place_of_a_camera(monkeypatch, tmp_path):
    (tmp_path / "video0").write_bytes(b"no camera")
    monkeypatch.setattr(camera, "DEVICES", tmp_path)
    with pytest.raises(InputError, match="video0: not a camera that can be used: Inappropriate ioctl for device"):
        open_stream(0)


def test_a_device_without_hardware(monkeypatch, tmp_path):
    """A camera that was pulled out while its device stays, as in containers."""
    try:
        os.mknod(tmp_path / "video0", 0o020666, os.makedev(81, 250))
    except PermissionError:
        pytest.skip("may not make devices")
    monkeypatch.setattr(camera, "DEVICES", tmp_path)
    with pytest.raises(InputError, match=r"video0: (not a camera that can be used: No such device|this user may not)"):
        open_stream(0)


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.EBUSY, "another program is using it"), (errno.EACCES, "add the user to the group video")],
)
def test_a_camera_that_may_not_be_used(monkeypatch, number, says):
    def refuse(*_, **__):
        raise av.error.FFmpegError(number, os.strerror(number))

    monkeypatch.setattr("av.open", refuse)  # needs a camera, and root may read everything
    with pytest.raises(InputError, match=says):
        open_stream(0)
