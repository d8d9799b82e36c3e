"""Videos are read frame by frame; truncated ones end with an error."""

import os
import re
import struct
import sys
import threading
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hpi import InputError, Predictor
from hpi.errors import InputNotFoundError
from hpi.sources import count_items, open_stream, read_items
from hpi.sources.containers import missing_bytes
from hpi.sources.items import check_size
from hpi.sources.video import VIDEO_SUFFIXES, read_frames

from clips import CONTAINERS, STATING, write_video
from support import quick_first

pytestmark = pytest.mark.long  # its slow cases run each night

av = pytest.importorskip("av", reason="PyAV is not installed")


@pytest.fixture
def video(tmp_path, image):
    """Ten frames that move over the example image."""
    return write_video(tmp_path / "walk.mp4", image)


def read(path):
    """The number of frames of a video, and its errors."""
    found = list(read_items(str(path)))
    errors = [str(item.image) for item in found if isinstance(item.image, InputError)]
    return len(found) - len(errors), errors


@pytest.mark.parametrize("kind", CONTAINERS)
def test_frames_come_in_order(tmp_path, image, kind):
    path = write_video(tmp_path / f"walk.{kind}", image, kind)
    frames = [frame.image for frame in read_frames(path)]
    assert len(frames) == 10
    for index, frame in enumerate(frames):
        expected = image[6 * index : 6 * index + 240, 8 * index : 8 * index + 320]
        assert frame.shape == expected.shape
        assert np.abs(frame.astype(int) - expected).mean() < 12
    assert all(not np.shares_memory(frame, other) for frame in frames[:3] for other in frames[3:])
    assert path.suffix in VIDEO_SUFFIXES


def test_frames_are_counted_from_the_header(video):
    assert count_items(str(video)) == 10
    assert count_items([str(video), str(video.parent)]) == 20


def test_each_frame_has_a_result_and_a_name(lite, video, tmp_path):
    results = list(lite.predict(str(video), batch_size=4))
    assert [result["frame_index"] for result in results] == list(range(10))
    assert {result["input_path"] for result in results} == {str(video)}
    results[3].save_all(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"walk_000003_res.json", "walk_000003_res.jpg"}


def test_videos_in_a_folder_are_read(lite, video):
    results = list(lite.predict(video.parent))
    assert [result["frame_index"] for result in results] == list(range(10))
    (item, *_) = read_items(video.parent)
    assert item.from_folder


# Files that break off


@pytest.mark.parametrize("kind", quick_first(STATING, 3))
def test_a_truncated_video_yields_its_frames_and_an_error(tmp_path, image, kind):
    path = write_video(tmp_path / f"walk.{kind}", image, kind, frames=50)
    content = path.read_bytes()
    assert read(path) == (50, [])
    for share in (0.4, 0.66, 0.97):
        path.write_bytes(content[: int(share * len(content))])
        count, errors = read(path)
        assert count < 50 or kind in {"avi", "mxf"}  # only their index may be missing
        if kind == "mxf" and count > 48:
            continue
        assert len(errors) == 1
        assert f"truncated after {count}" in errors[0]


@pytest.mark.parametrize("kind", ["mkv", "webm", "avi", "wmv", "flv"])
def test_a_file_padded_with_zeros_is_truncated_too(tmp_path, image, kind):
    """Like an interrupted download into a preallocated file."""
    path = write_video(tmp_path / f"walk.{kind}", image, kind, frames=50)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3].ljust(len(content), b"\0"))
    count, errors = read(path)
    assert count < 50
    assert len(errors) == 1


@pytest.mark.full
@pytest.mark.parametrize("kind", ["mp4", "mov", "3gp", "mkv", "webm", "avi"])
def test_a_single_missing_byte_is_noticed(tmp_path, image, kind, rng):
    path = write_video(tmp_path / f"walk.{kind}", image, kind)
    content = path.read_bytes()
    for end in [len(content) - 1, *rng.integers(1000, len(content), 100)]:
        path.write_bytes(content[:end])
        assert read(path)[1], end


def test_a_missing_index_says_why(tmp_path, image):
    """An MP4 has its index at the end, unless it is written for the web."""
    path = tmp_path / "walk.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 320, 240
        frame = av.VideoFrame.from_ndarray(image[:240, :320].copy(), format="bgr24")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    count, (error,) = read(path)
    assert count == 0
    assert "bytes are missing" in error


def test_frames_of_a_truncated_video_have_results(lite, tmp_path, image):
    video = write_video(tmp_path / "walk.avi", image, "avi")
    content = video.read_bytes()
    video.write_bytes(content[: 8 * len(content) // 10])
    errors = []
    results = list(lite.predict([str(video)], on_error=errors.append))
    assert 0 < len(results) < 10
    (error,) = errors
    assert f"truncated after {len(results)} of 10 frames" in str(error)


# Whole files are whole


def test_a_video_without_frames_is_an_error(tmp_path):
    path = tmp_path / "empty.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 320, 240
        container.start_encoding()
    assert read(path)[0] == 0
    assert len(read(path)[1]) == 1


VARIABLE = [0, 40, 50, 300, 310, 1500, 1510, 1600, 1620, 4000]


@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.parametrize("frames", [1, 2])
def test_a_video_of_one_or_two_frames_is_complete(tmp_path, image, kind, frames):
    assert read(write_video(tmp_path / f"walk.{kind}", image, kind, frames=frames)) == (frames, [])


@pytest.mark.parametrize("kind", ["mp4", "fragmented.mp4", "mkv", "webm", "flv"])
@pytest.mark.parametrize("times", [VARIABLE, [0, 40, 80, 9000], [7000, 7040, 7080]])
def test_variable_rates_are_not_mistaken_for_truncation(tmp_path, image, kind, times):
    assert read(write_video(tmp_path / f"walk.{kind}", image, kind, times=times)) == (len(times), [])


@pytest.mark.parametrize("kind", ["mp4", "mov", "mkv", "webm", "ts", "flv"])
@pytest.mark.parametrize("audio_s", [0.2, 3])
def test_sound_of_another_length_is_not_an_error(tmp_path, image, kind, audio_s):
    assert read(write_video(tmp_path / f"walk.{kind}", image, kind, audio_s=audio_s)) == (10, [])


def test_sixty_frames_per_second_with_sound_are_complete(tmp_path, image):
    path = write_video(tmp_path / "walk.flv", image, "flv", frames=60, rate=60, audio_s=1)
    assert read(path) == (60, [])


def test_frames_hidden_by_an_edit_list_are_not_missing(tmp_path, image):
    """Phones write one when a video is trimmed: all frames are stored, some are not shown."""
    path = write_video(tmp_path / "walk.mov", image, "mov", frames=24)
    content = bytearray(path.read_bytes())
    edit = content.index(b"elst") + 12  # after version, flags and the count of one
    duration, media_time = struct.unpack(">ii", content[edit : edit + 8])
    content[edit : edit + 8] = struct.pack(">ii", duration // 2, media_time)
    path.write_bytes(content)
    count, errors = read(path)
    assert 0 < count < 24
    assert not errors


def test_content_after_a_video_is_ignored(tmp_path, image):
    for kind in ("mp4", "mkv", "avi", "wmv"):
        path = write_video(tmp_path / f"walk.{kind}", image, kind)
        path.write_bytes(path.read_bytes() + b"anything" * 100)
        assert missing_bytes(path) == 0


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"RIFF", b"\0\0\0\x08ftyp", b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3\0" * 9]
)
def test_other_content_has_no_known_length(tmp_path, content):
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    assert not missing_bytes(path)


# Decoding


def test_the_rotation_of_a_video_is_applied(tmp_path, image):
    """The matrix in the header rotates by 90 degrees clockwise."""
    video = write_video(tmp_path / "walk.mov", image, "mov")
    content = bytearray(video.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    assert content[matrix : matrix + 4] == b"\x00\x01\x00\x00"
    content[matrix : matrix + 20] = struct.pack(">5i", 0, 1 << 16, 0, -(1 << 16), 0)
    video.write_bytes(content)
    frame = next(read_frames(video)).image
    expected = np.rot90(image[:240, :320], -1)
    assert frame.shape == expected.shape == (320, 240, 3)
    assert np.abs(frame.astype(int) - expected).mean() < 10


def test_frames_too_large_are_refused_before_they_are_converted(video, monkeypatch):
    monkeypatch.setattr("hpi.sources.video.check_size", partial(check_size, max_pixels=1000))
    with pytest.raises(InputError, match=r"walk\.mp4: 320x240 pixels; the limits are 1000 pixels"):
        next(read_frames(video))


def test_boxes_are_refused_for_videos(home, video):
    with (
        Predictor("MoveNet-Thunder_256x256") as predictor,
        pytest.raises(InputError, match="pass the frames"),
    ):
        predictor.predict([str(video)], boxes=[[[0, 0, 10, 10]]])


@pytest.mark.parametrize("suffix", ["mp4", "ts", "mpg", "wmv", "3gp"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no video at all" * 100,
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile walk.mp4\n",
    ],
)
def test_a_file_that_is_not_a_video_is_one_error(tmp_path, video, content, suffix):
    path = tmp_path / f"other.{suffix}"
    path.write_bytes(content)
    (item,) = read_items(str(path))
    assert isinstance(item.image, InputError)
    assert f"other.{suffix}: not a video" in str(item.image)


@pytest.mark.parametrize("name", ["none.mp4", "folder.mp4", "pipe.mp4"])
def test_a_path_that_is_not_a_file_is_one_error(tmp_path, name):
    (tmp_path / "folder.mp4").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.mp4")
    assert count_items(str(tmp_path / name)) in {0, 1}
    for item in read_items(str(tmp_path / name)):
        assert isinstance(item.image, InputError)


@pytest.mark.parametrize("name", ["a\0b.mp4", "a" * 5000 + ".mp4"])
def test_impossible_names_are_errors(name):
    assert count_items(name) == 1
    (item,) = read_items(name)
    assert isinstance(item.image, InputError)


def test_an_unreadable_file_is_an_error(video, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("av.open", refuse)  # root may read everything
    monkeypatch.setattr("hpi.sources.video.missing_bytes", refuse)
    (item,) = read_items(str(video))
    assert "Permission denied" in str(item.image)


@pytest.mark.skipif(sys.platform != "linux", reason="names are text on other systems")
def test_names_that_are_not_utf8(video):
    path = video.rename(video.with_name(os.fsdecode(b"\xff\xe4.mp4")))
    assert read(path) == (10, [])


def test_a_colon_in_the_name_is_not_a_protocol(video, monkeypatch):
    monkeypatch.chdir(video.parent)
    video.rename("12:30.mp4")
    assert len(list(read_frames(Path("12:30.mp4")))) == 10


def test_a_real_video_is_read(shared, lite):
    path = shared / "data" / "vtest.avi"
    frames = read_frames(path)
    assert next(frames).image.shape == (576, 768, 3)
    frames.close()
    assert count_items(str(path)) == 795
    assert missing_bytes(path) == 0


# Times


@pytest.mark.parametrize("kind", quick_first(CONTAINERS, len(STATING)))
def test_frames_have_the_time_at_which_they_are_shown(tmp_path, image, kind):
    """From 0 on, whatever the container's clock begins with: MPEG-TS with 1.4 s."""
    rate = 50 if kind in {"mxf", "mpg"} else 10  # MPEG has few rates
    frames = list(read_frames(write_video(tmp_path / f"walk.{kind}", image, kind, rate=rate)))
    assert [frame.index for frame in frames] == list(range(10))
    # FLV and ASF count milliseconds, MKV too.
    assert [frame.time_s for frame in frames] == pytest.approx([index / rate for index in range(10)], abs=0.001)


@pytest.mark.parametrize("kind", ["mp4", "fragmented.mp4", "mkv", "webm", "flv"])
def test_variable_rates_keep_their_times(tmp_path, image, kind):
    frames = list(read_frames(write_video(tmp_path / f"walk.{kind}", image, kind, times=VARIABLE)))
    assert [frame.time_s for frame in frames] == pytest.approx([time / 1000 for time in VARIABLE], abs=0.001)


def test_times_count_from_the_beginning_of_the_sound(tmp_path, image):
    """As players show it: the picture begins later here."""
    path = write_video(tmp_path / "walk.mkv", image, "mkv", times=[500, 540, 580], audio_s=1)
    assert [frame.time_s for frame in read_frames(path)] == pytest.approx([0.5, 0.54, 0.58], abs=0.025)


def test_times_grow_where_those_of_the_file_do_not(tmp_path, image):
    """Two recordings in one file: the clock of the second begins anew."""
    path = write_video(tmp_path / "walk.ts", image, "ts")
    path.write_bytes(2 * path.read_bytes())
    times = [frame.time_s for frame in read_frames(path)]
    assert len(times) == 20
    assert all(later > earlier for earlier, later in pairwise(times))


def test_predict_gives_the_time_of_each_frame(lite, tmp_path, image):
    video = write_video(tmp_path / "walk.mkv", image, "mkv", times=VARIABLE)
    results = list(lite.predict(str(video)))
    assert [result.frame.time_s for result in results] == pytest.approx([time / 1000 for time in VARIABLE])
    assert all(result.frame.stream is None for result in results)
    assert "time_s" not in results[0].json["res"]


# Damage in the middle


def damaged(path, number):
    """A video whose packet of this number is zeros."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    packet = packets[number]
    content[packet.pos + 4 : packet.pos + packet.size] = bytes(packet.size - 4)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", ["mp4", "mkv", "webm"])
def test_reading_goes_on_after_a_damaged_packet(tmp_path, image, kind):
    path = damaged(write_video(tmp_path / f"walk.{kind}", image, kind, frames=30), 25)
    found = list(read_items(str(path)))
    errors = [item.image for item in found if isinstance(item.image, InputError)]
    frames = [item for item in found if not isinstance(item.image, InputError)]
    assert [frame.frame for frame in frames] == list(range(29))
    (error,) = errors
    assert re.match(rf".*walk\.{kind}: damaged after \d+ frames, reading goes on: Invalid data", str(error))


@pytest.mark.parametrize("number", [27, 28, 29])
def test_damage_at_the_end_loses_nothing_else(tmp_path, image, number):
    count, errors = read(damaged(write_video(tmp_path / "walk.mp4", image, frames=30), number))
    assert (count, len(errors)) == (29, 1)


@pytest.mark.full
def test_damage_is_told_to_the_caller_of_predict(lite, tmp_path, image):
    path = damaged(write_video(tmp_path / "walk.mp4", image, frames=8), 3)
    errors = []
    assert len(list(lite.predict(str(path), on_error=errors.append))) == 7
    assert len(errors) == 1
    with pytest.raises(InputError, match="damaged after"):
        list(lite.predict(str(path)))


def test_a_size_that_changes_in_the_middle(tmp_path, image):
    """Broadcasts change it between programmes; the files of MPEG-TS can be joined."""
    path = write_video(tmp_path / "walk.m2ts", image, "m2ts")
    small = write_video(tmp_path / "small.m2ts", np.ascontiguousarray(image[::2, ::2]), "m2ts", size=(160, 120))
    path.write_bytes(path.read_bytes() + small.read_bytes())
    frames = list(read_frames(path))
    assert [frame.image.shape for frame in frames] == [(240, 320, 3)] * 10 + [(120, 160, 3)] * 10


def test_sound_alone_is_an_error(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=48_000)
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        silence.rate = 48_000
        container.mux([*sound.encode(silence), *sound.encode(None)])
    assert read(path) == (0, [f"{path}: has no video stream, only sound or text"])


def test_an_unknown_codec_is_an_error(tmp_path, image):
    path = write_video(tmp_path / "walk.avi", image, "avi")
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"ZQZQ"))
    assert read(path) == (0, [f"{path}: no decoder for its kind of video"])


# Streams


def test_a_file_is_a_stream(video):
    stream = open_stream(video)
    assert (stream.name, stream.path, stream.is_live, stream.rate, stream.count) == ("walk", str(video), False, 25, 10)
    frames = list(stream)
    assert [(frame.index, frame.stream, frame.path) for frame in frames] == [
        (index, "walk", str(video)) for index in range(10)
    ]
    assert stream.dropped == 0
    stream.close()
    stream.close()


@pytest.mark.parametrize("content", [b"", b"no video", b"#EXTM3U\n#EXTINF:1,\nwalk.mp4\n"])
def test_what_cannot_be_opened_is_an_error_at_once(tmp_path, content):
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.mp4: not a video"):
        open_stream(path)
    with pytest.raises(InputNotFoundError, match=r"b\.mp4: cannot be read"):
        open_stream(tmp_path / "b.mp4")


def test_a_truncated_stream_gives_its_frames_first(tmp_path, image):
    path = write_video(tmp_path / "walk.mp4", image, frames=50)
    path.write_bytes(path.read_bytes()[:-5000])
    frames = []
    with pytest.raises(InputError, match="truncated after"):
        frames.extend(open_stream(path))  # keeps what came before the error
    assert 0 < len(frames) < 50


def test_a_stream_can_be_closed_while_another_thread_reads_it(tmp_path, image):
    path = write_video(tmp_path / "walk.mp4", image, frames=100)
    stream, seen, started = open_stream(path), [], threading.Event()

    def consume():
        for frame in stream:
            seen.append(frame)
            started.set()

    reader = threading.Thread(target=consume)
    reader.start()
    started.wait(60)
    stream.close()
    reader.join(60)
    assert not reader.is_alive()
    assert seen
    assert list(stream) == []
