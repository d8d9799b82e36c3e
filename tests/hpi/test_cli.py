"""The command line, in processes of its own."""

import json
import shutil
import signal
import subprocess
import sys

import cv2
import pytest
import yaml

from support import EXAMPLE, NO_NETWORK, run_hpi

POSE = "MoveNet-Thunder_256x256"


def test_the_readme_command(tmp_path):
    """From an empty cache and without network."""
    done = run_hpi(
        "predict",
        EXAMPLE,
        "--save_path",
        "output",
        cwd=tmp_path,
        HPI_HOME=str(tmp_path / "home"),
        **NO_NETWORK,
    )
    assert done.returncode == 0, done.stderr
    assert "2 people" in done.stdout
    for joint in ("nose", "left_wrist", "right_ankle"):
        assert joint in done.stdout
    saved = json.loads((tmp_path / "output" / "basketball_res.json").read_text())
    assert len(saved["boxes"]) == 2
    assert (tmp_path / "output" / "basketball_res.png").stat().st_size > 100_000


def test_paddlex_spelling(tmp_path):
    done = run_hpi(
        "--pipeline", "human_keypoint_detection_lite", "--input", EXAMPLE, "--det_threshold", "0.9",
        "--save_path", "./output/", "--device", "cpu", "--use_hpip",
        "--hpi_config", "{'backend': 'onnxruntime', 'auto_config': False}",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{'res': {'input_path': ")
    assert len(json.loads((tmp_path / "output" / "basketball_res.json").read_text())["boxes"]) == 1


def test_get_pipeline_config(tmp_path):
    arguments = ("--get_pipeline_config", "human_keypoint_detection", "--save_path", "my_path")
    assert run_hpi(*arguments, cwd=tmp_path).returncode == 0
    content = yaml.safe_load((tmp_path / "my_path" / "human_keypoint_detection.yaml").read_text())
    assert content["SubModules"]["KeypointDetection"]["model_name"] == "PP-TinyPose_128x96"
    again = run_hpi(*arguments, cwd=tmp_path)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert yaml.safe_load(run_hpi("--get_pipeline_config", "human_keypoint_detection", cwd=tmp_path).stdout) == content


def test_a_single_model(tmp_path):
    done = run_hpi("predict", EXAMPLE, "--model", "PicoDet-S_person_416", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("person") == 2


def test_models(tmp_path):
    done = run_hpi("models", cwd=tmp_path, COLUMNS="150")
    assert done.returncode == 0, done.stderr
    for part in (
        "PP-TinyPose_256x192",
        "to download",
        "68.3 keypoint AP",
        "Apache-2.0",
        "human_keypoint_detection_lite",
    ):
        assert part in done.stdout


def test_explain(tmp_path):
    done = run_hpi("explain", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    detector, pose = json.loads(done.stdout)["models"]
    assert (detector["model"], pose["model"]) == ("PicoDet-S_person_416", POSE)
    shown = run_hpi("explain", "--model", POSE, cwd=tmp_path, COLUMNS="200")
    assert shown.returncode == 0, shown.stderr
    for part in (POSE, pose["reason"], pose["file"], "paddle fp32"):
        assert part in shown.stdout


def test_tune_then_explain(tmp_path):
    home = {"HPI_HOME": str(tmp_path / "home"), "COLUMNS": "200"}
    tuned = run_hpi("tune", "--model", "PicoDet-S_person_416", "--budget", "1", cwd=tmp_path, **home)
    assert tuned.returncode == 0, tuned.stderr
    assert "(before: " in tuned.stdout
    assert "onnxruntime fp32" in tuned.stderr
    done = run_hpi("explain", "--model", "PicoDet-S_person_416", "--json", cwd=tmp_path, **home)
    assert "measured on this machine" in json.loads(done.stdout)["models"][0]["reason"]


def test_the_artifact_cache(tmp_path):
    from hpi.backends.artifacts import ArtifactCache

    cache = ArtifactCache(tmp_path / "home" / "artifacts")
    for name in ("first", "second"):
        cache.get("onnx", {"model": name}, "model.onnx", lambda target: target.write_bytes(bytes(5000)))
    home = {"HPI_HOME": str(tmp_path / "home"), "COLUMNS": "150"}
    listed = run_hpi("cache", "list", cwd=tmp_path, **home)
    assert listed.returncode == 0, listed.stderr
    assert "first" in listed.stdout
    assert "2 artifacts, 10.4 kB" in listed.stdout
    assert "removed 1 artifacts" in run_hpi("cache", "prune", "--limit", "6kB", cwd=tmp_path, **home).stdout
    assert [artifact.key["model"] for artifact in cache.entries()] == ["second"]
    wrong = run_hpi("cache", "prune", "--limit", "much", cwd=tmp_path, **home)
    assert wrong.returncode == 2
    assert "500MB" in wrong.stderr
    assert "removed 1 artifacts" in run_hpi("cache", "clear", cwd=tmp_path, **home).stdout
    assert "0 artifacts" in run_hpi("cache", "list", cwd=tmp_path, **home).stdout


def test_a_folder_with_a_bad_file(tmp_path):
    """The bad one is reported, the rest go on, results of one name do not overwrite each other."""
    photos = tmp_path / "photos"
    for name in ("a.png", "b/a.png", "c.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLE, photos / name)
    (photos / "bad.jpg").write_text("no image")
    done = run_hpi("predict", "photos", "--save_path", "output", "--batch_size", "2", cwd=tmp_path)
    assert done.returncode == 1
    assert "error: photos/bad.jpg: not an image" in done.stderr
    assert "Traceback" not in done.stderr
    names = sorted(path.name for path in (tmp_path / "output").iterdir())
    assert names == ["a_2_res.json", "a_2_res.png", "a_res.json", "a_res.png", "c_res.json", "c_res.png"]
    assert json.loads((tmp_path / "output" / "a_2_res.json").read_text())["input_path"] == "photos/b/a.png"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["predict", "none.png"], 1, "error: none.png: cannot be read"),
        (["predict", EXAMPLE, "--pipeline", "human_keypoints"], 2, "error: 'human_keypoints' is no pipeline"),
        (["predict", EXAMPLE, "--model", "PP-TinyPos"], 2, "PP-TinyPose_128x96"),
        (["predict", EXAMPLE, "--model", POSE, "--pipeline", "x"], 2, "not both"),
        (["predict", EXAMPLE, "--det_threshold", "1.5"], 2, "det_threshold"),
        (["predict", EXAMPLE, "--batch_size", "0"], 2, "batch_size"),
        (["predict", EXAMPLE, "--backend", "tflite"], 2, "known are auto"),
        (["predict", EXAMPLE, "--device", "npu:0"], 1, "not built for npu"),
        (["predict", EXAMPLE, "--model", POSE, "--model_dir", "none"], 1, "no such model folder"),
        (["predict"], 2, "Missing argument"),
        (["--device", "cpu", "predict", EXAMPLE], 2, "--device belongs behind 'predict'"),
        (["predict", EXAMPLE, "--save_path", EXAMPLE], 1, "cannot be written"),
        (["predict", EXAMPLE, "--no-such-option"], 2, "No such option"),
        (["--pipeline", "human_keypoint_detection_lite"], 2, "--input together"),
        (
            ["--pipeline", "human_keypoint_detection_lite", "--input", EXAMPLE, "--hpi_config", "[1]"],
            2,
            "hpi_config",
        ),
        (["--get_pipeline_config", "none"], 2, "known are human_keypoint_detection"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(tmp_path, arguments, code, said):
    done = run_hpi(*arguments, cwd=tmp_path, COLUMNS="300")
    assert done.returncode == code
    assert said in done.stderr
    if code == 1:
        assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_model_that_cannot_be_fetched_is_one_line(tmp_path):
    home = str(tmp_path / "home")
    done = run_hpi("predict", EXAMPLE, "--model", "PP-TinyPose_128x96", cwd=tmp_path, HPI_HOME=home, **NO_NETWORK)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Three ways out" in errors[0]
    assert "Traceback" not in done.stderr


def test_a_result_that_cannot_be_saved_does_not_stop_the_others(tmp_path):
    for name in ("a.png", "b.png"):
        shutil.copy(EXAMPLE, tmp_path / name)
    (tmp_path / "output" / "a_res.json").mkdir(parents=True)
    (tmp_path / "output" / "a_res.json" / "a_res.json").mkdir()
    done = run_hpi("predict", "a.png", "b.png", "--save_path", "output", cwd=tmp_path)
    assert done.returncode == 1
    assert "a_res.json: cannot be written" in done.stderr
    assert (tmp_path / "output" / "b_res.json").is_file()


def test_debug_shows_the_traceback(tmp_path):
    done = run_hpi("predict", EXAMPLE, "--backend", "tflite", "--debug", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["models", "-h"], []])
def test_help(tmp_path, arguments):
    done = run_hpi(*arguments, cwd=tmp_path)
    assert done.returncode == 0
    assert "Usage" in done.stdout


def test_version(tmp_path):
    assert run_hpi("--version", cwd=tmp_path).stdout.startswith("hpi-pose 0.")


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
def test_an_interrupt_leaves_only_whole_files(tmp_path, home):
    # A shell starts its background jobs, of which these tests may be one, with the signal ignored.
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import hpi.cli; hpi.cli.main()"
    command = [sys.executable, "-c", start, "predict", *([str(EXAMPLE)] * 500), "--save_path", "out"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("saved"):
                break
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    saved = {path.name for path in (tmp_path / "out").iterdir()}
    assert 0 < len(saved) < 1000
    for path in (tmp_path / "out").glob("*.json"):
        assert json.loads(path.read_text())["boxes"]
    for path in (tmp_path / "out").glob("*.png"):
        assert cv2.imread(str(path)) is not None
    assert len(saved) == len(list((tmp_path / "out").glob("*.json"))) + len(list((tmp_path / "out").glob("*.png")))
