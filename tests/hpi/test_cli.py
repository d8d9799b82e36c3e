"""The command line, run in processes."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from hpi.backends.artifacts import ArtifactCache
from hpi.backends.cpu import default_threads
from hpi.compat.paddlex.config import pipeline_names
from hpi.zoo import Zoo

from support import EXAMPLE, HANGS_S, NO_NETWORK, quick_first, run_hpi

pytestmark = pytest.mark.long  # its slow cases run each night

POSE = "MoveNet-Thunder_256x256"


@pytest.mark.full
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
    for keypoint in ("nose", "left_wrist", "right_ankle"):
        assert keypoint in done.stdout
    saved = json.loads((tmp_path / "output" / "basketball_res.json").read_text())
    assert len(saved["boxes"]) == 2
    assert (tmp_path / "output" / "basketball_res.png").stat().st_size > 100_000


def test_predict_with_a_single_model(tmp_path):
    done = run_hpi("predict", EXAMPLE, "--model", "PicoDet-S_person_416", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("person") == 2


@pytest.mark.full
def test_models_lists_models_and_pipelines(tmp_path):
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
    explained = json.loads(done.stdout)
    detector, pose = explained["models"]
    assert (detector["model"], pose["model"]) == ("PicoDet-S_person_416", POSE)
    shown = run_hpi("explain", "--model", POSE, cwd=tmp_path, COLUMNS="200")
    assert shown.returncode == 0, shown.stderr
    for part in (POSE, pose["reason"], pose["file"], "paddle fp32"):
        assert part in shown.stdout
    if explained["side_by_side"]:
        assert [model["model"] for model in explained["side_by_side"]] == [detector["model"], POSE]
        alone, many = shown.stdout.split("Many images, such as a folder")
        assert f", {pose['threads']} threads, cpu" in alone
        assert f"{default_threads()} workers of 1 thread, cpu" in many


@pytest.mark.full
def test_tune_then_explain(tmp_path):
    home = {"HPI_HOME": str(tmp_path / "home"), "COLUMNS": "200"}
    tuned = run_hpi("tune", "--model", "PicoDet-S_person_416", "--budget", "1", cwd=tmp_path, **home)
    assert tuned.returncode == 0, tuned.stderr
    assert "(before: " in tuned.stdout
    assert "onnxruntime fp32" in tuned.stderr
    done = run_hpi("explain", "--model", "PicoDet-S_person_416", "--json", cwd=tmp_path, **home)
    assert "measured on this machine" in json.loads(done.stdout)["models"][0]["reason"]


@pytest.mark.full
def test_the_artifact_cache(tmp_path):
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


@pytest.mark.full
def test_a_folder_with_a_bad_file(tmp_path):
    """The bad file is reported, the others are processed, and equal names do not overwrite each other."""
    images = tmp_path / "images"
    for name in ("a.png", "b/a.png", "c.png"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLE, images / name)
    (images / "bad.jpg").write_text("not an image")
    done = run_hpi("predict", "images", "--save_path", "output", "--batch_size", "2", cwd=tmp_path)
    assert done.returncode == 1
    assert "error: images/bad.jpg: not an image" in done.stderr
    assert "Traceback" not in done.stderr
    names = sorted(path.name for path in (tmp_path / "output").iterdir())
    assert names == ["a_2_res.json", "a_2_res.png", "a_res.json", "a_res.png", "c_res.json", "c_res.png"]
    assert json.loads((tmp_path / "output" / "a_2_res.json").read_text())["input_path"] == "images/b/a.png"


@pytest.mark.parametrize(
    ("arguments", "code", "fragment"),
    quick_first(
        [
            (["predict", "none.png"], 1, "error: none.png: cannot be read"),
            (["predict", EXAMPLE, "--pipeline", "human_keypoints"], 2, "error: 'human_keypoints' is not a pipeline"),
            (["predict", EXAMPLE, "--model", "PP-TinyPos"], 2, "PP-TinyPose_128x96"),
            (["predict", EXAMPLE, "--model", POSE, "--pipeline", "x"], 2, "not both"),
            (["predict", EXAMPLE, "--det_threshold", "1.5"], 2, "det_threshold"),
            (["predict", EXAMPLE, "--batch_size", "0"], 2, "batch_size"),
            (["predict", EXAMPLE, "--backend", "tflite"], 2, "known are auto"),
            (["predict", EXAMPLE, "--device", "npu:0"], 1, "not built for npu"),
            (["predict", EXAMPLE, "--model", POSE, "--model_dir", "none"], 1, "no such model folder"),
            (["predict"], 2, "Missing argument"),
            (["predict", EXAMPLE, "--save_path", EXAMPLE], 1, "cannot be written"),
            (["predict", EXAMPLE, "--no-such-option"], 2, "No such option"),
            (["predict", EXAMPLE, "--quiet", "--verbose"], 2, "--verbose or --quiet"),
            (["help", "nothing"], 2, "No such command 'nothing'"),
            (["tune", "--budget", "soon"], 2, "such as 60, 60s or 2m"),
        ],
        2,
    ),
)
def test_errors_are_one_line_and_an_exit_code(tmp_path, arguments, code, fragment):
    done = run_hpi(*arguments, cwd=tmp_path, COLUMNS="300")
    assert done.returncode == code
    assert fragment in done.stderr
    if code == 1:
        assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.full
def test_an_unavailable_model_is_reported_in_one_line(tmp_path):
    home = str(tmp_path / "home")
    done = run_hpi("predict", EXAMPLE, "--model", "PP-TinyPose_128x96", cwd=tmp_path, HPI_HOME=home, **NO_NETWORK)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Three ways out" in errors[0]
    assert "Traceback" not in done.stderr


@pytest.mark.full
def test_an_unsaved_result_does_not_stop_the_others(tmp_path):
    for name in ("a.png", "b.png"):
        shutil.copy(EXAMPLE, tmp_path / name)
    (tmp_path / "output" / "a_res.json").mkdir(parents=True)
    (tmp_path / "output" / "a_res.json" / "a_res.json").mkdir()
    done = run_hpi("predict", "a.png", "b.png", "--save_path", "output", cwd=tmp_path)
    assert done.returncode == 1
    assert "a_res.json: cannot be written" in done.stderr
    assert (tmp_path / "output" / "b_res.json").is_file()


@pytest.mark.full
def test_debug_shows_the_traceback(tmp_path):
    done = run_hpi("predict", EXAMPLE, "--backend", "tflite", "--debug", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("arguments", quick_first([["--help"], ["predict", "--help"], ["models", "-h"], []], 1))
def test_help(tmp_path, arguments):
    done = run_hpi(*arguments, cwd=tmp_path)
    assert done.returncode == 0
    assert "Usage" in done.stdout


def test_version(tmp_path):
    assert run_hpi("--version", cwd=tmp_path).stdout.startswith("hpi-pose 0.")


# What is printed where


@pytest.fixture
def images(tmp_path):
    """Two images with the same name, and a file that is not an image."""
    folder = tmp_path / "images"
    for name in ("a.png", "b/a.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLE, folder / name)
    (folder / "été.jpg").write_text("not an image")
    return folder


def test_stdout_has_json_lines_only(tmp_path, images):
    done = run_hpi(
        "predict", images, "--json", "--save_path", "out", "--verbose", cwd=tmp_path, PYTHONIOENCODING="ascii"
    )
    assert done.returncode == 1
    saved = [json.loads((tmp_path / "out" / name).read_text()) for name in ("a_res.json", "a_2_res.json")]
    assert [json.loads(line) for line in done.stdout.splitlines()] == saved
    for start in (
        "saved ",
        "error: ",
        "info: PicoDet-S_person_416 runs on ",
        "info: loaded in ",
        "info: 2 images in ",
    ):
        assert sum(line.startswith(start) for line in done.stderr.splitlines()) == (2 if start == "saved " else 1)


@pytest.mark.full
@pytest.mark.skipif(default_threads() < 2, reason="needs two threads to share")
@pytest.mark.parametrize(
    ("count", "options", "opened"),
    quick_first(
        [
            (8, (), f"{default_threads()} workers of 1 thread"),
            (8, ("--objective", "latency"), f"{default_threads()} threads"),
            (8, ("--workers", "2", "--threads", "1"), "2 workers of 1 thread"),
            (7, (), f"{default_threads()} threads"),
        ]
    ),
)
def test_a_folder_of_many_images_opens_the_models_once(tmp_path, count, options, opened):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(count):
        shutil.copy(EXAMPLE, folder / f"{number}.png")
    done = run_hpi("predict", folder, "--model", POSE, *options, "--verbose", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    chosen = [line for line in done.stderr.splitlines() if " runs on " in line]
    assert len(chosen) == 1
    assert f", {opened}, cpu" in chosen[0]


@pytest.mark.full
def test_quiet_shows_errors_only(tmp_path, images):
    done = run_hpi("predict", images, "--quiet", "--save_path", "out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error"]


@pytest.mark.full
def test_quiet_json_shows_json_only(tmp_path):
    done = run_hpi("predict", EXAMPLE, "--quiet", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["boxes"]) == 2


@pytest.mark.full
def test_an_image_without_people_has_a_result(tmp_path):
    done = run_hpi("predict", EXAMPLE, "--det_threshold", "1", "--save_path", "out", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith(f"{EXAMPLE}: 0 people\nsaved ")
    assert json.loads((tmp_path / "out" / "basketball_res.json").read_text())["boxes"] == []


@pytest.mark.full
def test_no_images(tmp_path):
    (tmp_path / "empty").mkdir()
    done = run_hpi("predict", "empty", "--save_path", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: empty: no images in this folder")


@pytest.mark.parametrize(
    "place", ["file", *(pytest.param(place, marks=pytest.mark.full) for place in ("file/below", "/proc/below"))]
)
def test_an_unwritable_folder_is_reported_before_any_work(tmp_path, place):
    """The model, which would have to be downloaded, is not even looked up."""
    (tmp_path / "file").write_text("")
    arguments = ("--save_path", place, "--model", "PP-TinyPose_128x96")
    done = run_hpi("predict", "none.png", *arguments, cwd=tmp_path, HPI_HOME=str(tmp_path / "home"), **NO_NETWORK)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {place}: cannot be written: ")
    assert len(done.stderr.splitlines()) == 1


def start_hpi(*arguments, cwd, **streams):
    return subprocess.Popen([sys.executable, "-m", "hpi", *map(str, arguments)], cwd=cwd, text=True, **streams)


@pytest.mark.full
@pytest.mark.parametrize("arguments", [["--json"], pytest.param([], marks=pytest.mark.full)])
def test_a_closed_pipe_ends_the_command_quietly(tmp_path, arguments):
    command = ("predict", *[EXAMPLE] * 50, *arguments)
    with start_hpi(*command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("arguments", [["help"], pytest.param(["predict", EXAMPLE, "--json"], marks=pytest.mark.full)])
def test_output_that_cannot_be_written_is_an_error(tmp_path, arguments):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        process = start_hpi(*arguments, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE)
        _, fragment = process.communicate(timeout=HANGS_S)
    assert process.returncode == 1
    assert fragment.startswith("error: ")
    assert len(fragment.splitlines()) == 1


def test_results_are_shown_as_wide_as_the_terminal(lite, monkeypatch, capsys):
    """No number is cut at 80 columns, not even large coordinates."""
    from hpi.cli.predict import show

    (result,) = lite.predict(EXAMPLE)
    person = result["boxes"][0]
    person["keypoints"] = person["keypoints"] * [100, 100, 1]
    result["boxes"] = [person] * 7
    for width in (40, 80, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        show(result)
        shown = capsys.readouterr().out
        assert max(map(len, shown.splitlines()[1:])) <= width
        for x, y, score in person["keypoints"]:
            assert shown.count(f"{x:.1f} {y:.1f}  {score:.2f}") == 7


@pytest.mark.parametrize("width", [pytest.param(40, marks=pytest.mark.full), 80])
def test_tables_fit_the_terminal(tmp_path, width):
    """At 80 columns no cell is cut or wrapped."""
    cache = ArtifactCache(tmp_path / "home" / "artifacts")
    file = cache.get("onnxruntime_tensorrt", {"model": "PicoDet-S_pedestrian_320"}, "a.onnx", lambda to: to.touch())
    own_home = {"HPI_HOME": str(tmp_path / "home")}
    whole = {
        "models": [*Zoo.default().models, *pipeline_names(), "68.3 keypoint AP", "to download", "Apache-2.0"],
        "cache list": ["PicoDet-S_pedestrian_320", str(file.parent.relative_to(cache.root))],
        "explain --model PicoDet-S_person_416": ["onnxruntime fp32", "openvino fp32 static"],
    }
    for name, parts in whole.items():
        environment = own_home if name == "cache list" else {}
        done = run_hpi(*name.split(), cwd=tmp_path, COLUMNS=str(width), **environment)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        (rule, *_) = [index for index, line in enumerate(lines) if set(line) == {"─"}]
        assert all(len(line) <= width for line in lines[rule - 1 : rule + 3])
        assert "…" not in done.stdout
        if width == 80:
            assert [part for part in parts if part not in done.stdout] == []


# Help and completion


@pytest.mark.full
@pytest.mark.parametrize(
    ("typed", "offered"),
    quick_first(
        [
            ("hpi pre", {"predict"}),
            ("hpi --pip", {"--pipeline"}),
            ("hpi predict --pipeline ", set(pipeline_names())),
            ("hpi --pipeline ", set(pipeline_names())),
            ("hpi predict --model PP-T", {"PP-TinyPose_128x96", "PP-TinyPose_256x192"}),
            ("hpi serve --backend open", {"openvino"}),
            ("hpi explain --device c", {"cpu"}),
            ("hpi help ca", {"cache"}),
        ],
        3,
    ),
)
def test_the_shell_completes_options_and_values(tmp_path, typed, offered):
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_HPI_COMPLETE": "complete_bash"}
    done = run_hpi(cwd=tmp_path, **words)
    assert set(done.stdout.split()) == offered


def test_the_completion_script_is_shown(tmp_path):
    done = run_hpi("--show-completion", "bash", cwd=tmp_path, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "complete -o default -F _hpi_completion hpi" in done.stdout


@pytest.mark.parametrize(
    "command", ["predict", *(pytest.param(name, marks=pytest.mark.full) for name in ("cache prune", "paddlex"))]
)
def test_help_of_a_command(tmp_path, command):
    shown = run_hpi("help", *command.split(), cwd=tmp_path)
    assert shown.returncode == 0
    assert f"Usage: hpi {command} [OPTIONS]" in shown.stdout
    assert shown.stdout == run_hpi(*command.split(), "--help", cwd=tmp_path).stdout


@pytest.fixture
def folders():
    """The folders of a keypoint model and a detector."""
    zoo = Zoo.default()
    return [zoo.find(name).folder for name in ("MoveNet-Thunder_256x256", "PicoDet-S_person_416")]


@pytest.mark.full
def test_predict_takes_the_folders_of_two_models(lite, folders, tmp_path):
    pose, detector = folders
    done = run_hpi(
        "predict", EXAMPLE, "--det_model_dir", detector, "--keypoint_model_dir", pose, "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    (alone,) = lite.predict(EXAMPLE)
    assert json.loads(done.stdout) == alone.json["res"]


@pytest.mark.full
def test_a_keypoint_model_alone_takes_the_whole_image(folders, tmp_path):
    done = run_hpi("predict", EXAMPLE, "--keypoint_model_dir", folders[0], "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["kpts"]) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--det_model_dir", "D"], "--det_model_dir needs --keypoint_model_dir"),
        (["--det_model_dir", "D", "--keypoint_model_dir", "K", "--pipeline", "mine"], "leave out"),
        (["--keypoint_model_dir", "K", "--model_dir", "M"], "leave out"),
        (["--keypoint_model_dir", "D"], "holds a detector, but stands where a keypoint model is needed"),
        (["--det_model_dir", "K", "--keypoint_model_dir", "D"], "stands where object_detection is needed"),
        (["--det_model_dir", "D", "--keypoint_model_dir", "none"], "none: no such model folder"),
    ],
)
@pytest.mark.full
def test_folders_in_a_wrong_combination_are_an_error(folders, tmp_path, options, said):
    places = {"K": folders[0], "D": folders[1]}
    done = run_hpi("predict", EXAMPLE, *(places.get(word, word) for word in options), cwd=tmp_path)
    assert done.returncode == (1 if "none" in options else 2)
    assert said in done.stderr
