"""Videos are read frame by frame, and only videos."""

import numpy as np
import pytest

from hpi import InputError
from hpi.sources import count_items, read_items
from hpi.video import read_frames

av = pytest.importorskip("av", reason="PyAV is not installed")


@pytest.fixture
def video(tmp_path, photo):
    """Ten frames that move over the example photo."""
    path = tmp_path / "walk.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for index in range(10):
            image = np.ascontiguousarray(photo[10 * index : 10 * index + 240, 20 * index : 20 * index + 320])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def test_frames_come_in_order(video, photo):
    frames = list(read_frames(video))
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


def test_a_video_that_breaks_off_gives_what_came_before(lite, video):
    video.write_bytes(video.read_bytes()[:-3000])
    errors = []
    results = list(lite.predict([str(video)], on_error=errors.append))
    assert len(results) < 10
    assert len(errors) <= 1


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


def test_a_missing_video_is_one_error(tmp_path):
    (item,) = read_items(str(tmp_path / "none.mp4"))
    assert "none.mp4" in str(item.image)


def test_a_real_video(shared, lite):
    frames = read_frames(shared / "data" / "vtest.avi")
    assert next(frames).shape == (576, 768, 3)
    frames.close()
    assert count_items(str(shared / "data" / "vtest.avi")) == 795
