"""Videos are read frame by frame, and only videos."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from hpi import InputError, Predictor
from hpi.sources import count_items, read_items
from hpi.sources.video import read_frames

av = pytest.importorskip("av", reason="PyAV is not installed")


def any_size(size):
    pass


@pytest.fixture
def video(tmp_path, photo):
    """Ten frames that move over the example photo."""
    return write_video(tmp_path / "walk.mp4", photo)


def write_video(path, photo):
    """Ten frames that move over the example photo."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for index in range(10):
            image = np.ascontiguousarray(photo[10 * index : 10 * index + 240, 20 * index : 20 * index + 320])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def test_frames_come_in_order(video, photo):
    frames = list(read_frames(video, any_size))
    assert len(frames) == count_items(str(video)) == 10
    for index, frame in enumerate(frames):
        expected = photo[10 * index : 10 * index + 240, 20 * index : 20 * index + 320]
        assert frame.shape == expected.shape
        assert np.abs(frame.astype(int) - expected).mean() < 10


def test_each_frame_has_a_result_and_a_name(lite, video, tmp_path):
    results = list(lite.predict(str(video), batch_size=4))
    assert [result["frame_index"] for result in results] == list(range(10))
    assert {result["input_path"] for result in results} == {str(video)}
    results[3].save_all(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"walk_000003_res.json", "walk_000003_res.jpg"}


def test_a_video_that_breaks_off_gives_what_came_before(lite, tmp_path, photo):
    video = write_video(tmp_path / "walk.avi", photo)
    content = video.read_bytes()
    video.write_bytes(content[: 9 * len(content) // 10])
    errors = []
    results = list(lite.predict([str(video)], on_error=errors.append))
    assert 0 < len(results) < 10
    (error,) = errors
    assert f"breaks off after {len(results)} of 10 frames" in str(error)


def test_a_video_that_was_held_sideways_is_turned_upright(video, photo):
    """The header's matrix says: turn by 90 degrees clockwise to show it."""
    content = bytearray(video.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    assert content[matrix : matrix + 4] == b"\x00\x01\x00\x00"
    content[matrix : matrix + 20] = struct.pack(">5i", 0, 1 << 16, 0, -(1 << 16), 0)
    video.write_bytes(content)
    frame = next(read_frames(video, any_size))
    expected = np.rot90(photo[:240, :320], -1)
    assert frame.shape == expected.shape == (320, 240, 3)
    assert np.abs(frame.astype(int) - expected).mean() < 10


def test_frames_too_large_are_refused_before_they_are_converted(video):
    def refuse(size):
        raise InputError(f"{size} is too large")

    with pytest.raises(InputError, match=r"\(320, 240\) is too large"):
        next(read_frames(video, refuse))


def test_boxes_go_with_pictures_only(home, video):
    with (
        Predictor("MoveNet-Thunder_256x256") as predictor,
        pytest.raises(InputError, match="pass the frames"),
    ):
        predictor.predict([str(video)], boxes=[[[0, 0, 10, 10]]])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no video at all" * 100,
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile walk.mp4\n",
    ],
)
def test_what_is_no_video_is_one_error(tmp_path, video, content):
    path = tmp_path / "other.mp4"
    path.write_bytes(content)
    (item,) = read_items(str(path))
    assert isinstance(item.image, InputError)
    assert "other.mp4: not a video" in str(item.image)


@pytest.mark.parametrize("name", ["none.mp4", "folder.mp4", "pipe.mp4"])
def test_what_is_no_file_is_one_error_and_does_not_hang(tmp_path, name):
    (tmp_path / "folder.mp4").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.mp4")
    assert count_items(str(tmp_path / name)) in {0, 1}
    for item in read_items(str(tmp_path / name)):
        assert isinstance(item.image, InputError)


def test_a_colon_in_the_name_is_no_protocol(video, monkeypatch):
    monkeypatch.chdir(video.parent)
    video.rename("12:30.mp4")
    assert len(list(read_frames(Path("12:30.mp4"), any_size))) == 10


def test_a_real_video(shared, lite):
    frames = read_frames(shared / "data" / "vtest.avi", any_size)
    assert next(frames).shape == (576, 768, 3)
    frames.close()
    assert count_items(str(shared / "data" / "vtest.avi")) == 795
