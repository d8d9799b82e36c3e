"""``hpi paddledetection`` on videos, in processes, with real models."""

import json

import cv2
import numpy as np
import pytest

from hpi.compat.paddledetection.smoothing import make_smoother
from hpi.compat.paddledetection.videos import read_tracker_config
from hpi.errors import ConfigError
from hpi.instances import Instances

from clips import write_video
from support import run_hpi

RESULTS = "{}_video_results.json"
UNITE, MOT, INFER = (RESULTS.format(name) for name in ("det_keypoint_unite", "mot_keypoint_unite", "keypoint_infer"))


@pytest.fixture
def models(shared):
    folder = shared / "models"
    return folder / "PicoDet-S_pedestrian_320", folder / "PP-TinyPose_128x96"


@pytest.fixture
def street(shared, tmp_path):
    """The first 12 frames of a real video, the first two of them without anybody."""
    capture = cv2.VideoCapture(str(shared / "data" / "vtest.avi"))
    frames = [capture.read()[1] for _ in range(12)]
    writer = cv2.VideoWriter(str(tmp_path / "street.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (768, 576))
    nobody = np.full_like(frames[0], 127)
    nobody[:288] = 200  # in an image of one colour the detector sees somebody
    for number, frame in enumerate(frames):
        writer.write(frame if number > 1 else nobody)
    writer.release()
    return tmp_path


def run(command, *words, cwd):
    return run_hpi("paddledetection", command, *words, "--save_res", "True", cwd=cwd)


@pytest.mark.full
def decoded(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames, capture.get(cv2.CAP_PROP_FPS)


@pytest.mark.full
def test_people_are_followed_and_frames_without_anybody_are_written(models, street):
    detector, keypoints = models
    done = run(
        "mot-keypoint-unite", "--mot_model_dir", detector, "--keypoint_model_dir", keypoints, "--video_file",
        "street.avi", cwd=street,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == ["saved output/street.mp4", f"saved {MOT}"]
    frames, rate = decoded(street / "output" / "street.mp4")
    assert (len(frames), rate) == (12, 10)
    assert frames[1][300:].std(axis=(0, 1)).max() < 3  # nothing is drawn
    rows = json.loads((street / MOT).read_text())
    assert [number for number, *_ in rows] == list(range(3, 13))
    first, last = rows[2], rows[-1]
    for _, boxes, (points, scores), ids in rows:
        assert len(boxes) == len(points) == len(scores) == len(ids)
        assert np.shape(points)[1:] == (17, 3)
    assert set(first[3]) - {None} <= set(last[3])
    assert len(set(last[3]) - {None}) > 1


@pytest.mark.full
def test_frames_are_found_as_single_images_are(models, street):
    """Also where the video comes as numbered images, which lose nothing."""
    detector, keypoints = models
    (street / "frames").mkdir()
    for number, frame in enumerate(decoded(street / "street.avi")[0]):
        cv2.imwrite(str(street / "frames" / f"{number:03d}.png"), frame)
    command = ("det-keypoint-unite", "--det_model_dir", detector, "--keypoint_model_dir", keypoints)
    assert run(*command, "--image_dir", "frames", cwd=street).returncode == 0
    expected = json.loads((street / "det_keypoint_unite_image_results.json").read_text())
    done = run(*command, "--video_file", "frames/%03d.png", cwd=street)
    assert done.returncode == 0, done.stderr
    found = json.loads((street / UNITE).read_text())
    assert [row[0] for row in found] == list(range(3, 13))
    for one, other in zip(found, expected, strict=True):
        assert one[1] == other[1]
        assert np.abs(np.array(one[2][0]) - other[2][0]).max() < 1e-3
    assert len(list((street / "output").glob("*.mp4"))) == 1


@pytest.mark.full
@pytest.mark.parametrize("filter_type", ["OneEuro", "EMA"])
def test_who_is_alone_is_smoothed(models, image, tmp_path, filter_type):
    detector, keypoints = models
    write_video(tmp_path / "one.mp4", image, frames=8)
    command = ("det-keypoint-unite", "--det_model_dir", detector, "--keypoint_model_dir", keypoints, "--video_file")
    assert run(*command, "one.mp4", cwd=tmp_path).returncode == 0
    plain = json.loads((tmp_path / UNITE).read_text())
    done = run(*command, "one.mp4", "--smooth", "True", "--filter_type", filter_type, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    smoothed = json.loads((tmp_path / UNITE).read_text())
    smoother, alone = make_smoother(filter_type, (320, 240)), 0
    for before, after in zip(plain, smoothed, strict=True):
        assert before[:2] == after[:2]
        expected = np.array(before[2][0])
        if len(expected) == 1:
            alone += 1
            points, scores = expected[..., :2], expected[..., 2]
            person = Instances([1.0], keypoints=points, keypoint_scores=scores, track_ids=[0])
            expected = smoother.update(person, alone).points
        assert np.abs(np.array(after[2][0]) - expected).max() < 1e-3
    assert alone > 2


@pytest.mark.full
def test_a_keypoint_model_takes_each_frame_for_one_person(models, image, tmp_path):
    write_video(tmp_path / "one.mp4", image, frames=5)
    done = run("keypoint-infer", "--model_dir", models[1], "--video_file", "one.mp4", "--batch_size=3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / INFER).read_text())
    assert [(number, boxes, len(points)) for number, boxes, (points, _) in rows] == [(n, [], 1) for n in range(1, 6)]
    assert len(decoded(tmp_path / "output" / "one.mp4")[0]) == 5


@pytest.mark.full
def test_a_fairmot_follows_by_what_it_sees(exported, models, street):
    folder = exported("fairmot_hrnetv2_w18_dlafpn_30e_576x320")
    (street / "tracker.yml").write_text("type: JDETracker\nJDETracker: {use_byte: True}\n")
    done = run(
        "mot-keypoint-unite", "--mot_model_dir", folder, "--keypoint_model_dir", models[1], "--video_file",
        "street.avi", "--tracker_config", "tracker.yml", cwd=street,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--tracker_config has no effect: the yml in" in done.stderr
    rows = json.loads((street / MOT).read_text())
    assert len(decoded(street / "output" / "street.mp4")[0]) == 12
    assert len(set(rows[-2][3]) & set(rows[-1][3]) - {None}) > 5


@pytest.mark.full
def test_the_video_itself_is_not_overwritten(models, image, tmp_path):
    (tmp_path / "output").mkdir()
    video = write_video(tmp_path / "output" / "clip.mp4", image)
    before = video.read_bytes()
    done = run("keypoint-infer", "--model_dir", models[1], "--video_file", "output/clip.mp4", cwd=tmp_path)
    assert done.returncode == 1
    assert "output/clip.mp4: is the input itself" in done.stderr
    assert video.read_bytes() == before


@pytest.mark.full
def test_what_cannot_be_used_of_a_video_is_told(models, image, tmp_path):
    """A broken-off file: its frames are there, and the exit code says that some are missing."""
    video = write_video(tmp_path / "whole.mkv", image, "mkv", frames=50)
    (tmp_path / "part.mkv").write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    done = run("keypoint-infer", "--model_dir", models[1], "--video_file", "part.mkv", cwd=tmp_path)
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert 0 < len(json.loads((tmp_path / INFER).read_text())) < 50
    assert len(decoded(tmp_path / "output" / "part.mp4")[0]) > 0


@pytest.mark.full
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--video_file", "none.mp4"], 1, "none.mp4"),
        (["--camera_id", "77"], 1, "/dev/video77: no such camera"),
        (["--camera_id", "-2"], 2, "--camera_id -2: give the number of a camera"),
        ([], 2, "give --video_file or --camera_id"),
        (["--image_file", "a.jpg"], 2, "--image_file: people are followed through a video"),
        (["--video_file", "a.mp4", "--tracker_config", "none.yml"], 2, "none.yml: cannot be read"),
    ],
)
def test_an_error_says_what_to_do(models, tmp_path, words, code, said):
    folders = ("--mot_model_dir", models[0], "--keypoint_model_dir", models[1])
    done = run("mot-keypoint-unite", *folders, *words, cwd=tmp_path)
    assert done.returncode == code
    assert done.stderr.startswith("error: ")
    assert said in done.stderr


def test_paddledetections_tracker_config(tmp_path):
    file = tmp_path / "tracker_config.yml"
    file.write_text(
        "type: JDETracker\nJDETracker: {use_byte: True, conf_thres: 0.7, match_thres: 0.9}\nCenterTracker: {}\n"
    )
    assert read_tracker_config(str(file)).section.conf_thres == 0.7
    assert read_tracker_config(None).section.conf_thres == 0.6
    for text, field in (("type: DeepSORTTracker", "type"), ("JDETracker: {use_byte: False}", "use_byte")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=field):
            read_tracker_config(str(file))
