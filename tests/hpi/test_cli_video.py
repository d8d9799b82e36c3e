"""``hpi predict`` on videos: files, resuming, what is printed, wrong use."""

import json
import shutil
import signal
import subprocess
import sys

import av
import numpy as np
import pytest

from hpi.cli import video
from hpi.cli.predict import Output, StreamSettings
from hpi.cli.video import follow
from hpi.errors import ConfigError, InputError
from hpi.sources.streams import StreamOptions

from clips import write_video
from recording import write_clip
from support import HANGS_S, ROOT, run_hpi

pytestmark = pytest.mark.long  # its slow cases run each night


@pytest.fixture(scope="module")
def clip(tmp_path_factory, image):
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", image, frames=12)


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def frames_of(path):
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)], bool(container.streams.audio)


def test_a_video_and_its_results_are_saved(tmp_path, clip):
    done = run_hpi("predict", clip, "--save_path", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"clip_res.mp4", "clip_res.jsonl"}
    summary, saved = done.stdout.splitlines()
    assert summary.startswith(f"{clip}: 12 frames in ")
    assert saved.startswith("saved ")
    lines = lines_of(tmp_path / "out" / "clip_res.jsonl")
    assert [line["frame_index"] for line in lines] == list(range(12))
    assert [line["time_s"] for line in lines] == pytest.approx([index / 25 for index in range(12)])
    assert all("track_id" in person for line in lines for person in line["boxes"])
    times, has_sound = frames_of(tmp_path / "out" / "clip_res.mp4")
    assert times == pytest.approx([index / 25 for index in range(12)], abs=1e-3)
    assert has_sound


@pytest.mark.full
def test_every_format_at_once(tmp_path, clip):
    formats = ["jsonl", "csv", "parquet", "coco", "openpose", "trc"]
    words = [word for name in formats for word in ("--format", name)]
    done = run_hpi("predict", clip, "--save_path", "out", *words, "--fill_gaps", "3", "--smooth_results", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    suffixes = (".jsonl", ".csv", ".parquet", ".coco.json", ".openpose", "_trc")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"clip_res{suffix}" for suffix in suffixes}
    found = [person for line in lines_of(tmp_path / "out" / "clip_res.jsonl") for person in line["boxes"]]
    assert found
    assert all("keypoints_smoothed" in person for person in found)


@pytest.mark.full
def test_json_lines_of_a_video_of_a_folder(tmp_path, clip, image):
    folder = tmp_path / "mixed"
    folder.mkdir()
    shutil.copy(clip, folder)
    shutil.copy(ROOT / "examples" / "basketball.png", folder)
    done = run_hpi("predict", folder, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    picture, *frames = map(json.loads, done.stdout.splitlines())
    assert picture["input_path"].endswith("basketball.png")
    assert "frame_index" not in picture
    assert [frame["frame_index"] for frame in frames] == list(range(12))


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_was_stopped_goes_on(tmp_path, image, number):
    """As if it had never been stopped."""
    clip = write_video(tmp_path / "clip.mp4", image, frames=100, rate=4, audio_s=25)
    command = ["predict", clip, "--save_path", "out", "--fill_gaps", "2"]
    whole = run_hpi(*command[:-3], "whole", "--fill_gaps", "2", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    stopped = [sys.executable, "-m", "hpi", *map(str, command), "--json"]
    with subprocess.Popen(stopped, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(60):
            assert process.stdout.readline()
        process.send_signal(number)
        process.communicate(timeout=HANGS_S)
    assert process.returncode in {128 + number, -number}
    kept, _ = frames_of(tmp_path / "out" / "clip_res.mp4")
    assert 0 < len(kept) < 100
    done = run_hpi(*command, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = lines_of(tmp_path / "whole" / "clip_res.jsonl")
    found = lines_of(tmp_path / "out" / "clip_res.jsonl")
    assert [line["frame_index"] for line in found] == list(range(100))
    ids = [[person["track_id"] for person in line["boxes"]] for line in found]
    assert ids == [[person["track_id"] for person in line["boxes"]] for line in expected]
    times, has_sound = frames_of(tmp_path / "out" / "clip_res.mp4")
    assert times == pytest.approx(frames_of(tmp_path / "whole" / "clip_res.mp4")[0], abs=1e-3)
    assert has_sound


@pytest.mark.full
def test_two_videos_share_the_models(tmp_path, clip, image):
    other = write_video(tmp_path / "clip.avi", image, "avi", frames=7)
    done = run_hpi("predict", clip, other, "--save_path", "out", "--batch_size", "4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    counts = {name: len(lines_of(tmp_path / "out" / f"{name}_res.jsonl")) for name in ("clip", "clip_2")}
    assert counts == {"clip": 12, "clip_2": 7}


def save(predictor, sources, folder, formats=("jsonl",), *, resume=False, **arguments):
    settings = StreamSettings(arguments, StreamOptions(), formats, smoothed=False, resume=resume)
    return follow(predictor, [*map(str, sources)], Output(folder), settings)


def test_a_stream_that_cannot_be_opened_does_not_stop_the_others(lite, tmp_path, clip, capsys):
    assert not save(lite, [tmp_path / "missing.mp4", clip], tmp_path / "out")
    assert len(lines_of(tmp_path / "out" / "clip_res.jsonl")) == 12
    (error,) = capsys.readouterr().err.splitlines()
    assert "missing.mp4: cannot be read" in error


@pytest.mark.full
def test_only_some_of_many_streams_are_open_at_a_time(lite, tmp_path, image, monkeypatch):
    monkeypatch.setattr(video, "MOST_SIDE_BY_SIDE", 2)
    (tmp_path / "other").mkdir()
    clips = [tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "other" / "a.mp4"]
    for number, path in enumerate(clips, 1):
        write_video(path, image, frames=number)
    assert save(lite, clips, tmp_path / "out")
    counts = {file.name: len(lines_of(file)) for file in (tmp_path / "out").iterdir()}
    assert counts == {"a_res.jsonl": 1, "b_res.jsonl": 2, "a_2_res.jsonl": 3}


@pytest.mark.full
def test_no_video_waits_for_a_camera(tmp_path, clip):
    """It has no end; here it cannot be opened, and the order of the messages tells."""
    clips = [shutil.copy(clip, tmp_path / f"{number}.mp4") for number in range(video.MOST_SIDE_BY_SIDE)]
    done = run_hpi("predict", "/dev/video99", *clips, "--json", cwd=tmp_path)
    assert done.returncode == 1
    *summaries, error = done.stderr.splitlines()
    assert len(summaries) == len(clips)
    assert "/dev/video99" in error


def test_no_video_that_is_read_is_overwritten(lite, tmp_path, clip):
    mine, other = shutil.copy(clip, tmp_path / "a.mp4"), shutil.copy(clip, tmp_path / "a_res.mp4")
    with pytest.raises(InputError, match=r"a_res\.mp4: is the input itself"):
        save(lite, [mine, other], tmp_path, ["video"])
    assert other.read_bytes() == clip.read_bytes()


def test_wrong_arguments_leave_earlier_files_as_they_are(lite, tmp_path, clip):
    earlier = tmp_path / "clip_res.jsonl"
    earlier.write_text("of an earlier command")
    with pytest.raises(ConfigError, match="kalman"):
        save(lite, [clip], tmp_path, smooth="kalman")
    assert earlier.read_text() == "of an earlier command"


def test_other_formats_do_not_go_on(lite, tmp_path, clip, capsys):
    assert save(lite, [clip], tmp_path)
    before = (tmp_path / "clip_res.jsonl").read_bytes()
    capsys.readouterr()
    assert not save(lite, [clip], tmp_path, ["jsonl", "csv"], resume=True)
    assert "resume with the same formats" in capsys.readouterr().err
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [before]


@pytest.mark.full
@pytest.mark.parametrize(
    ("words", "code", "fragment"),
    [
        (["missing.mp4"], 1, "missing.mp4: "),
        (["sound.mp4"], 1, "no video stream"),
        (["empty.mp4"], 1, "empty.mp4: "),
        (["clip.mp4", "--det_every", "often"], 2, "give a number from 1, or auto"),
        (["clip.mp4", "--tracker", "deepsort"], 2, "bytetrack, ocsort, oks"),
        (["clip.mp4", "--smooth", "kalman"], 2, "oneeuro"),
        (["clip.mp4", "--save_path", "out", "--format", "avi"], 2, "unknown format avi"),
        (["clip.mp4", "--resume", "--format", "csv"], 2, "--format, --resume: give --save_path"),
        (["clip.mp4", "--resume", "--save_path", "out", "--format", "csv"], 2, "with jsonl among the formats"),
        (["clip.mp4", "--save_path", "out", "--smooth_results", "--smooth", "none"], 2, "--smooth"),
        ([""], 1, "the path is empty"),
        (["rtsp://127.0.0.1/live"], 1, "--allow_network"),
        (["/dev/video99"], 1, "/dev/video99"),
    ],
)
def test_wrong_use(tmp_path, clip, words, code, fragment):
    shutil.copy(clip, tmp_path / "clip.mp4")
    (tmp_path / "empty.mp4").touch()
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    done = run_hpi("predict", *words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert fragment in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
