"""Annotated videos, decoded again; what a kill or a full disk leaves of them."""

import signal
from fractions import Fraction
from itertools import pairwise

import cv2
import numpy as np
import pytest

from hpi import ConfigError, InputError
from hpi.sinks.formats import resume_point
from hpi.sinks.lines import read_lines
from hpi.sinks.stream import NOTHING
from hpi.sinks.video import VideoSink, fitted
from hpi.sources.opening import open_stream

from recording import RATE, record, result_of, results, start, views, write_clip
from support import HANGS_S, quick_first

pytestmark = pytest.mark.long  # its slow cases run each night

av = pytest.importorskip("av", reason="PyAV is not installed")


@pytest.fixture
def clip(tmp_path, image):
    return write_clip(tmp_path / "clip.mp4", image)


def write(path, some_results, **options):
    sink = VideoSink(path, **options)
    for result in some_results:
        sink.add(result)
    sink.close()
    return path


def decode(path):
    """Times and images of all frames."""
    with av.open(str(path)) as container:
        frames = [(frame.time, frame.to_ndarray(format="bgr24")) for frame in container.decode(video=0)]
    return [time_s for time_s, _ in frames], [image for _, image in frames]


def assert_shown(images, expected):
    """That each image is nearer to the picture of its own result than to that of any other."""
    pictures = [result.plot() for result in expected]
    for index, image in enumerate(images):
        assert int(np.argmax([cv2.PSNR(image, picture) for picture in pictures])) == index
    assert len(images) == len(pictures)


def states_its_length(path):
    """Whether a file is finished: a fragmented one does not say how many frames it has."""
    with av.open(str(path)) as container:
        return container.streams.video[0].frames > 0


def sound_of(path):
    """The packets of the audio: time and content."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.audio[0])
        return [(float(packet.pts * packet.time_base), bytes(packet)) for packet in packets if packet.dts is not None]


def loud_at(path):
    """When the tone starts."""
    as_floats = av.AudioResampler(format="flt", layout="mono", rate=48_000)
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            for sound in as_floats.resample(frame):
                if (loud := np.abs(sound.to_ndarray()[0]) > 0.2).any():
                    return sound.time + int(loud.argmax()) / 48_000
    return None


def test_the_pictures_come_back_at_their_times(tmp_path, image):
    expected = list(results(views(image, 30)))
    path = write(tmp_path / "a_res.mp4", expected, rate=RATE)
    times, images = decode(path)
    assert times == pytest.approx([result.frame.time_s for result in expected], abs=1e-6)
    assert_shown(images, expected)
    assert states_its_length(path)
    assert [file.name for file in tmp_path.iterdir()] == ["a_res.mp4"]


def test_colours_and_their_description(tmp_path):
    """Players that do not read the description would take another matrix for large pictures than for small ones."""
    colours = [(0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 255), (128, 128, 128), (0, 0, 0)]
    image = np.repeat(np.array(colours, np.uint8)[None], 64, axis=0).repeat(32, axis=1)
    path = tmp_path / "a.mp4"
    sink = VideoSink(path)
    (result,) = results([image])
    result["boxes"].clear()
    sink.add(result)
    sink.close()
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_range) == (1, 1)
    found = frame.to_ndarray(format="bgr24")[32, 16::32].astype(int)
    assert np.abs(found - colours).max() <= 6  # a step of chroma is 1/112 of 127


def test_a_variable_rate_is_kept(tmp_path, image, rng):
    """To a tick of the container; also where the source states another rate, and where a frame is shown for seconds."""
    steps = rng.choice([1, 13, 40, 41, 200, 3000], 39) / 1000
    times = np.cumsum([0, *steps]).tolist()
    path = write(tmp_path / "a.mp4", results(views(image, 40), times), rate=Fraction(24000, 1001))
    assert decode(path)[0] == pytest.approx(times, abs=1 / 90_000)


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(10), Fraction(1000000, 33333)])
def test_a_constant_rate_is_exact(tmp_path, image, rate):
    times = [float(index / rate) for index in range(60)]
    path = write(tmp_path / "a.mp4", results(views(image, 60, (64, 48)), times), rate=rate)
    with av.open(str(path)) as container:
        found = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    if rate.numerator <= 90_000:
        assert found == [index / rate for index in range(60)]
    assert found == pytest.approx(times, abs=1 / 90_000)


@pytest.mark.parametrize("rate", [None, Fraction(0), Fraction(10**9), Fraction(0.1) ** -1])
def test_a_rate_that_is_not_known_or_absurd(tmp_path, image, rate):
    path = write(tmp_path / "a.mp4", results(views(image, 5)), rate=rate)
    assert decode(path)[0] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])


def test_odd_sizes_get_another_row_and_column(tmp_path, image):
    expected = list(results(views(image, 3, (319, 239))))
    _, images = decode(write(tmp_path / "a.mp4", expected))
    assert images[0].shape == (240, 320, 3)
    assert_shown([found[:239, :319] for found in images], expected)
    assert np.abs(images[0][239, :319].astype(int) - images[0][238, :319]).mean() < 3


def test_another_size_is_fitted_into_the_first(tmp_path, image):
    tall = image[:400, :100]
    expected = list(results([*views(image, 2), tall]))
    _, images = decode(write(tmp_path / "a.mp4", expected))
    assert images[2].shape == (240, 320, 3)
    assert images[2][:, :125].max() < 20  # 240 rows of 400 are 60 columns of 100, in the middle
    assert images[2][:, 195:].max() < 20
    assert images[2][:, 135:185].mean() > 20


@pytest.mark.parametrize("size", [(1, 1), (2000, 1), (1, 2000), (322, 240), (160, 120)])
def test_any_size_fits(size):
    fit = fitted(np.full((size[1], size[0], 3), 255, np.uint8), (320, 240))
    assert fit.shape == (240, 320, 3)
    assert fit.any()


def test_the_audio_is_copied_up_to_the_last_frame(clip, tmp_path, image):
    whole = write(tmp_path / "whole.mp4", results(views(image, 50)), rate=RATE, audio=clip)
    assert sound_of(whole) == sound_of(clip)
    half = write(tmp_path / "half.mp4", results(views(image, 25)), rate=RATE, audio=clip)
    assert sound_of(half) == [(time_s, data) for time_s, data in sound_of(clip) if time_s <= 1]


@pytest.mark.full
@pytest.mark.parametrize(
    ("suffix", "codec", "as_it_is"),
    quick_first(
        [
            ("avi", "pcm_s16le", False),
            ("mkv", "flac", True),
            ("ts", "aac", True),
            ("mkv", "libopus", True),
            ("avi", "libmp3lame", True),
            ("mpg", "mp2", False),
        ],
        count=2,
    ),
)
def test_audio_of_other_files(tmp_path, image, caplog, suffix, codec, as_it_is):
    source = write_clip(tmp_path / f"clip.{suffix}", image, codec=codec)
    with av.open(str(source)) as container:
        start = (container.start_time or 0) / 1_000_000
    path = write(tmp_path / "a.mp4", results(views(image, 50)), rate=RATE, audio=source)
    assert loud_at(path) == pytest.approx(loud_at(source) - start, abs=0.002)
    assert ("encoded again" in caplog.text) == (not as_it_is)


def test_a_damaged_audio_is_left_out_with_a_warning(tmp_path, image, caplog):
    source = tmp_path / "noise.mp4"
    source.write_bytes(b"not a video")
    path = write(tmp_path / "a.mp4", results(views(image, 5)), rate=RATE, audio=source)
    assert len(decode(path)[0]) == 5
    assert f"{source}: its audio is left out" in caplog.text


def test_a_source_without_audio(tmp_path, image, caplog):
    source = write_clip(tmp_path / "silent.mp4", image, frames=5, codec=None)
    with av.open(str(write(tmp_path / "a.mp4", results(views(image, 5)), rate=RATE, audio=source))) as container:
        assert not container.streams.audio
    assert not caplog.text


def test_a_frame_without_a_time_is_no_frame_of_a_video(tmp_path, image):
    (result,) = results([image])
    object.__setattr__(result.frame, "time_s", None)
    with pytest.raises(InputError, match="a frame without a time"):
        VideoSink(tmp_path / "a.mp4").add(result)


def test_a_new_run_leaves_nothing_of_the_last_one(tmp_path):
    """Neither its file nor one that it was copying when it was killed."""
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    (tmp_path / ".a.mp4.earlier").write_bytes(b"older")
    VideoSink(path).close()
    assert not list(tmp_path.iterdir())


def test_a_picture_that_no_encoder_takes_is_one_error(tmp_path):
    sink = VideoSink(tmp_path / "a.mp4")
    (result,) = results([np.zeros((2, 20_000, 3), np.uint8)])
    for _ in range(2):
        with pytest.raises(InputError, match=r"a\.mp4: cannot be written"):
            sink.add(result)
    sink.close()


# Runs that do not end


def stop_at(process, frame, how=signal.SIGKILL):
    """Send a signal once a frame is written."""
    for line in process.stdout:
        if int(line) == frame:
            process.send_signal(how)
            break
    process.communicate(timeout=HANGS_S)
    return process.returncode


def assert_whole(folder, frames):
    """That a run has all frames, each at its time, and nothing is left beside its files."""
    times, _ = decode(folder / "clip_res.mp4")
    lines = list(read_lines(folder / "clip_res.jsonl"))
    assert [index for index, _, _ in lines] == list(range(frames))
    assert times == pytest.approx([time_s for _, time_s, _ in lines], abs=1e-4)
    assert states_its_length(folder / "clip_res.mp4")
    assert sorted(file.name for file in folder.iterdir()) == ["clip_res.jsonl", "clip_res.mp4"]


@pytest.fixture
def long_clip(tmp_path, image):
    return write_clip(tmp_path / "clip.mp4", image, frames=120)


@pytest.mark.full
def test_a_killed_run_can_be_played_and_gone_on_with(long_clip, tmp_path, rng):
    out = tmp_path / "out"
    killed_at = int(rng.integers(60, 110))
    assert stop_at(start(long_clip, out), killed_at) == -signal.SIGKILL
    assert not states_its_length(out / "clip_res.mp4")
    times, images = decode(out / "clip_res.mp4")
    assert killed_at - len(times) < 3 * RATE  # a fragment, the frames that the encoder looks ahead, the interleaving
    assert len(list(read_lines(out / "clip_res.jsonl"))) >= killed_at + 1
    kept = resume_point(out, "clip")
    assert len(times) - kept.frames <= 4  # frames that need later ones
    assert kept.next_index == kept.frames
    record(long_clip, out, "video,jsonl", resume=True)
    assert_whole(out, 120)
    assert sound_of(out / "clip_res.mp4") == sound_of(long_clip)
    for old, new in zip(images[: kept.frames], decode(out / "clip_res.mp4")[1], strict=False):
        assert np.array_equal(old, new)
    again = (out / "clip_res.mp4").read_bytes()
    record(long_clip, out, "video,jsonl", resume=True)  # nothing is left to do
    assert (out / "clip_res.mp4").read_bytes() == again


@pytest.mark.parametrize(("rate", "count"), [(5, 6), (10, 21), (25, 26), (25, 78)])
def test_the_last_frame_is_shown(tmp_path, rng, rate, count):
    """Also where few are left after the last whole fragment, which those before are predicted from."""
    times = [index / rate for index in range(count)]
    noise = rng.integers(0, 255, (48, 64, 3), np.uint8)
    moving = [np.roll(noise, index, axis=1) for index in range(count)]
    path = write(tmp_path / "a.mp4", results(moving, times), rate=Fraction(rate))
    assert decode(path)[0] == pytest.approx(times, abs=1e-3)


@pytest.mark.full
def test_a_run_that_was_killed_while_it_copied_is_gone_on_with(long_clip, tmp_path):
    """The earlier file lies beside the new one, of which there is little."""
    out = tmp_path / "out"
    stop_at(start(long_clip, out), 110)
    kept = resume_point(out, "clip")
    (out / "clip_res.mp4").rename(out / ".clip_res.mp4.earlier")
    (out / "clip_res.mp4").write_bytes(b"a beginning")
    assert resume_point(out, "clip") == kept
    record(long_clip, out, "video,jsonl", resume=True)
    assert_whole(out, 120)


@pytest.mark.full
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_runs_that_are_stopped_again_and_again(long_clip, tmp_path, rng, how):
    out = tmp_path / "out"
    for frame in np.sort(rng.integers(1, 119, 6)).tolist():
        stop_at(start(long_clip, out, "resume"), frame, how)
        lines = len(list(read_lines(out / "clip_res.jsonl")))
        assert resume_point(out, "clip").frames <= lines
        if how == signal.SIGINT:  # the sinks are closed: nothing is lost
            assert resume_point(out, "clip").frames >= lines - 1
    record(long_clip, out, "video,jsonl", resume=True)
    assert_whole(out, 120)
    uninterrupted = tmp_path / "uninterrupted"
    record(long_clip, uninterrupted, "video,jsonl", resume=False)
    assert (out / "clip_res.jsonl").read_bytes() == (uninterrupted / "clip_res.jsonl").read_bytes()
    assert_shown(decode(out / "clip_res.mp4")[1], list(map(result_of, open_stream(long_clip))))


@pytest.mark.full
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.97, 0.998])
def test_a_full_disk_is_one_error_and_leaves_what_can_be_played(long_clip, tmp_path, share):
    """The limit of a file's size stands for the disk; in the last cases there is no room for the index at the end."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    record(long_clip, whole, "video,jsonl", resume=False)
    limit = int((whole / "clip_res.mp4").stat().st_size * share) - 1
    process = start(long_clip, out, formats="video", limit=limit)
    printed, error = process.communicate(timeout=HANGS_S)
    assert process.returncode == 3
    assert len(error.splitlines()) == 1
    assert "clip_res.mp4: cannot be written: File too large" in error
    assert (out / "clip_res.mp4").exists() == ("what was written before can be played" in error) == (share > 0.1)
    if share > 0.1:
        times, _ = decode(out / "clip_res.mp4")
        assert 0 < len(printed.splitlines()) - len(times) < 3 * RATE
        assert {round(after - before, 6) for before, after in pairwise(times[:-3])} == {0.04}


@pytest.mark.full
def test_a_full_disk_while_going_on_leaves_the_earlier_file(long_clip, tmp_path):
    out = tmp_path / "out"
    stop_at(start(long_clip, out), 110)
    before = (out / "clip_res.mp4").read_bytes()
    process = start(long_clip, out, "resume", limit=len(before) // 2)
    _, error = process.communicate(timeout=HANGS_S)
    assert (process.returncode, len(error.splitlines())) == (3, 1)
    assert (out / "clip_res.mp4").read_bytes() == before
    assert sorted(file.name for file in out.iterdir()) == ["clip_res.jsonl", "clip_res.mp4"]


def test_nothing_stays_where_there_is_nothing_to_go_on_with(clip, tmp_path):
    assert resume_point(tmp_path / "missing", "clip") == NOTHING
    out = tmp_path / "out"
    record(clip, out, "jsonl", resume=False)
    assert resume_point(out, "clip", ["jsonl"]).frames == 50
    (out / "clip_res.mp4").write_bytes(b"not a video")
    assert resume_point(out, "clip") == NOTHING


@pytest.mark.parametrize("formats", [["video", "jsonl"], ["jsonl", "csv", "parquet"], ["jsonl"]])
def test_a_run_goes_on_only_with_its_own_formats(clip, tmp_path, formats):
    """Else a file would lack the frames before, or go without those after."""
    record(clip, tmp_path, "jsonl,csv", resume=False)
    with pytest.raises(InputError, match="wrote clip in the formats csv, jsonl, not in") as found:
        resume_point(tmp_path, "clip", formats)
    assert ", ".join(formats) in str(found.value)
    (tmp_path / "clip_res.jsonl").unlink()
    with pytest.raises(InputError, match="in the formats csv, not in"):
        resume_point(tmp_path, "clip", formats)


def test_a_run_does_not_go_on_without_its_lines(tmp_path):
    with pytest.raises(ConfigError, match="jsonl"):
        resume_point(tmp_path, "clip", ["video", "csv"])


def test_a_run_that_was_killed_before_its_first_frame_starts_anew(tmp_path):
    (tmp_path / "clip_res.jsonl").touch()
    assert resume_point(tmp_path, "clip") == NOTHING
