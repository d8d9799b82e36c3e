"""What is a stream, and what it is called."""

import unicodedata

import pytest

from hpi import ConfigError, InputError
from hpi.sources import StreamOptions, is_stream, open_stream, split_streams, stream_names


@pytest.mark.parametrize(
    "source",
    ["a.mp4", "a.MKV", 0, "1", "/dev/video0", "/dev/v4l/by-id/usb-cam", "RTSP://10.0.0.1/", "https://a.org/live.m3u8", "http://a.org/mjpg/video.mjpg",
     "http://a.org/clip.mp4?x=1", "img_%05d.png", "%d.jpg"],
)  # fmt: skip
def test_streams_are_recognised(source):
    assert is_stream(source)


@pytest.mark.parametrize(
    "source",
    ["a.jpg", "folder", "https://a.org/a.jpg", "100%.png", "%s.png", "%d_%d.png", "", None, True, -1, 1.0, b"0",
     ["a.mp4"]],
)  # fmt: skip
def test_other_inputs_are_not(source):
    assert not is_stream(source)


def test_files_with_odd_names_are_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "0").touch()
    (tmp_path / "img_%d.png").touch()
    assert not is_stream("0")
    assert not is_stream("img_%d.png")
    assert is_stream(0)


@pytest.mark.parametrize("name", ["x" * 5000, "1" * 5000, "x" * 5000 + "%d.png", "x" * 5000 + ".mp4"])
def test_no_name_is_too_long_to_be_told(name):
    split_streams([name])
    with pytest.raises(InputError):
        open_stream(name)


def test_an_empty_path_is_not_this_folder(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").touch()
    monkeypatch.chdir(tmp_path)
    assert split_streams([""]) == ([""], [], [])


def test_names_are_unique_on_every_file_system():
    composed, apart = (unicodedata.normalize(form, "é.mp4") for form in ("NFC", "NFD"))
    sources = ["a/x.mp4", "b/X.avi", "x_2.mp4", composed, apart, 0, "/dev/video0", "x" * 300 + ".mp4"]
    names = stream_names(sources)
    assert names[:3] == ["x", "X_2", "x_2_2"]
    assert names[5:7] == ["camera0", "camera0_2"]
    keys = {unicodedata.normalize("NFC", name).casefold() for name in names}
    assert len(keys) == len(sources)
    assert all(len(name.encode()) <= 210 for name in names)


def test_names_of_urls_can_be_files_and_hold_no_secret():
    url = "rtsp://me:secret@[fd00::1]:554/cam/a:b?token=secret"
    (name,) = stream_names([url])
    assert name == "fd00_1_cam_a_b"


@pytest.mark.parametrize("source", ["", True, -1, None, 1.5])
def test_what_cannot_be_a_stream_is_refused(source):
    with pytest.raises(InputError, match="give a video, numbered images, a folder, a camera or a URL"):
        open_stream(source)


@pytest.mark.parametrize(
    "options",
    [{"rate": 0}, {"rate": -1}, {"rate": float("nan")}, {"rate": 1001}, {"timeout_s": 0}, {"timeout_s": float("inf")},
     {"reconnect_s": -1}, {"reconnect_s": float("nan")}],
)  # fmt: skip
def test_options_out_of_range_are_refused(options):
    (name,) = options
    with pytest.raises(ConfigError, match=f"^{name} is "):
        StreamOptions(**options)


def test_pauses_add_up_to_the_time_given():
    pauses = list(StreamOptions(reconnect_s=60).pauses())
    assert sum(pauses) == 60
    assert pauses[:5] == [0.5, 1, 2, 4, 8]
    assert max(pauses) == 8
    assert list(StreamOptions(reconnect_s=0).pauses()) == []
