"""PaddleX's command line, run in processes."""

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec

import pytest
import yaml

from hpi.backends.gpu import gpu_count
from hpi.compat.paddlex.command_line import PLUGINS
from hpi.compat.paddlex.config import pipeline_text

from support import EXAMPLE, HANGS_S, missing_backend, quick_first, require, run_hpi

pytestmark = pytest.mark.long  # its slow cases run each night

LITE = "human_keypoint_detection_lite"

without_gpu = pytest.mark.skipif(bool(gpu_count()), reason="there is a GPU here")


def test_the_first_command_of_paddlexs_page(tmp_path):
    """A missing GPU is a warning. The options mix Python and JSON syntax."""
    done = run_hpi(
        "--pipeline", LITE, "--input", EXAMPLE, "--det_threshold", "0.9", "--save_path", "./output/",
        "--device", "GPU:0", "--use_hpip", "--engine", "hpi", "--batch_size", "1",
        "--hpi_config", "{'backend': 'onnxruntime', \"auto_config\": false}",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{'res': {'input_path': ")
    assert len(json.loads((tmp_path / "output" / "basketball_res.json").read_text())["boxes"]) == 1
    if not gpu_count():
        assert "warning: the device GPU:0 cannot be used, the CPU is used instead" in done.stderr


@pytest.mark.full
@without_gpu
@pytest.mark.parametrize(
    ("arguments", "environment"),
    quick_first(
        [
            (("--pipeline", LITE, "--input", EXAMPLE, "--device", "gpu:0", "--strict_device"), {}),
            (("--pipeline", LITE, "--input", EXAMPLE, "--device", "gpu"), {"PADDLE_PDX_DISABLE_DEVICE_FALLBACK": "1"}),
            (("predict", EXAMPLE, "--device", "gpu:0"), {}),
        ],
        1,
    ),
)
def test_a_missing_gpu_can_be_an_error(tmp_path, arguments, environment):
    done = run_hpi(*arguments, cwd=tmp_path, **environment)
    assert done.returncode == 1
    assert done.stderr.startswith("error: device 'gpu:0' cannot be used")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.full
def test_a_pipeline_file_on_a_folder(tmp_path):
    """Unreadable files are reported, and the others processed."""
    assert run_hpi("--get_pipeline_config", LITE, "--save_path", "x.yaml", cwd=tmp_path).returncode == 0
    (tmp_path / "dir").mkdir()
    shutil.copy(EXAMPLE, tmp_path / "dir" / "a.png")
    (tmp_path / "dir" / "b.png").write_text("no image")
    arguments = ("--save_path", "out", "--det_threshold", "None")
    done = run_hpi("--pipeline", "x.yaml", "--input", "dir", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert "error: dir/b.png: not an image" in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_res.json", "a_res.png"]


@pytest.mark.full
def test_get_pipeline_config(tmp_path):
    arguments = ("--get_pipeline_config", "human_keypoint_detection", "--save_path", "my_path")
    assert run_hpi(*arguments, cwd=tmp_path).returncode == 0
    content = yaml.safe_load((tmp_path / "my_path" / "human_keypoint_detection.yaml").read_text())
    assert content["SubModules"]["KeypointDetection"]["model_name"] == "PP-TinyPose_128x96"
    again = run_hpi(*arguments, cwd=tmp_path)
    assert again.returncode == 2
    assert "already exists" in again.stderr
    assert yaml.safe_load(run_hpi("--get_pipeline_config", "human_keypoint_detection", cwd=tmp_path).stdout) == content


@pytest.mark.full
@pytest.mark.parametrize(
    ("arguments", "code", "fragment"),
    quick_first(
        [
            (["--pipeline", LITE], 2, "--input together"),
            (["--device", "cpu", "predict", EXAMPLE], 2, "--device must come after 'predict'"),
            (["--pipeline", LITE, EXAMPLE], 2, "belongs to no option"),
            (["--pipelin", LITE, "--input", EXAMPLE], 2, "did you mean --pipeline?"),
            (["--pipeline", LITE, "--input", EXAMPLE, "--output", "x"], 2, "other pipelines are not supported"),
            (
                ["--pipeline", LITE, "--input", EXAMPLE, "--use_textline", "False"],
                2,
                "--use_textline is not an option",
            ),
            (["--pipeline", "OCR", "--input", EXAMPLE], 2, "unknown pipeline 'OCR'"),
            (
                ["--pipeline", LITE, "--input", EXAMPLE, "--hpi_config", "[1]"],
                2,
                "--hpi_config '[1]': give a dictionary",
            ),
            (["--pipeline", LITE, "--input", EXAMPLE, "--hpi_config", "{'a'"], 2, "give a dictionary"),
            (["--pipeline", LITE, "--input", EXAMPLE, "--det_threshold", "nan"], 2, "from 0 to 1"),
            (["--pipeline", LITE, "--input", EXAMPLE, "--save_path", EXAMPLE], 1, "cannot be written: it is a file"),
            (["--get_pipeline_config", "none"], 2, "known are human_keypoint_detection"),
            (["--serve", "--input", EXAMPLE], 2, "--serve takes no --input"),
            (["--paddle2onnx"], 2, "--paddle_model_dir"),
            (["--paddle2onnx", "--paddle_model_dir", "none"], 1, "none: no such model folder"),
            (["-o", "Global.mode=predict"], 2, "as -c"),
            (["-c", "none.yaml"], 2, "none.yaml: cannot be read"),
            (["-c", "none.yaml", "--pipeline", LITE], 2, "-c takes no --pipeline"),
            (["--install", "PaddleDetection", "--no_deps", "-y"], 2, "nothing was installed"),
            (["--install"], 2, "nothing was installed"),
            (["--install", "hpi-cpu"], 0, ""),
        ],
        2,
    ),
)
def test_wrong_usage_is_reported(tmp_path, arguments, code, fragment):
    done = run_hpi(*arguments, cwd=tmp_path, COLUMNS="300")
    assert done.returncode == code, done.stderr
    assert fragment in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.full
def test_install_reports_whether_packages_are_installed(tmp_path):
    """Scripts check the exit code."""
    for plugin, (package, extra) in PLUGINS.items():
        done = run_hpi("--install", plugin, "--platform", "gitee.com", cwd=tmp_path)
        assert done.returncode == (0 if find_spec(package) else 2)
        output = done.stderr if done.returncode else done.stdout
        assert (f"hpi-pose[{extra}]" if done.returncode else "there is nothing to install") in output


# Converting


@pytest.fixture
def paddle2onnx():
    if missing_backend("paddle"):
        pytest.skip("Paddle is not installed")
    require("paddle2onnx")


@pytest.mark.full
@pytest.mark.usefixtures("paddle2onnx")
def test_paddle2onnx(tmp_path, shared):
    model = shared / "models" / "PicoDet-S_pedestrian_320"
    arguments = ("--paddle_model_dir", model, "--onnx_model_dir", "onnx", "--opset_version", "7")
    done = run_hpi("--paddle2onnx", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "onnx").iterdir()) == ["inference.onnx", "inference.yml"]
    assert (tmp_path / "onnx" / "inference.yml").read_bytes() == (model / "inference.yml").read_bytes()
    used = ("--model", "PicoDet-S_pedestrian_320", "--model_dir", "onnx", "--backend", "onnxruntime")
    done = run_hpi("predict", EXAMPLE, *used, "--json", cwd=tmp_path)
    assert len(json.loads(done.stdout)["boxes"]) >= 2
    again = run_hpi("--paddle2onnx", "--paddle_model_dir", "onnx", cwd=tmp_path)
    assert again.returncode == 1
    assert "error: onnx: no inference.json or *.pdmodel in this folder" in again.stderr


@pytest.mark.full
@pytest.mark.usefixtures("paddle2onnx")
def test_paddle2onnx_beside_the_model(tmp_path, shared):
    """Also in the layout of Paddle 2."""
    shutil.copytree(shared / "models" / "tinypose_256x192_paddle2", tmp_path / "model")
    before = {path.name for path in (tmp_path / "model").iterdir()}
    done = run_hpi("--paddle2onnx", "--paddle_model_dir", "model", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "model").iterdir()} - before == {"inference.onnx"}
    (tmp_path / "model" / "model.pdiparams").write_bytes(b"damaged")
    (tmp_path / "model" / "inference.onnx").unlink()
    done = run_hpi("--paddle2onnx", "--paddle_model_dir", "model", cwd=tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert {path.name for path in (tmp_path / "model").iterdir()} == before


# Serving


@pytest.mark.full
@without_gpu
@pytest.mark.parametrize(("number", "codes"), [(signal.SIGTERM, {0, -signal.SIGTERM}), (signal.SIGINT, {0, 130})])
def test_serving_is_as_tolerant(tmp_path, free_port, number, codes):
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import hpi.cli; hpi.cli.main()"
    content = yaml.safe_load(pipeline_text(LITE))
    content["SubModules"]["ObjectDetection"]["device"] = "gpu:0"
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(content))
    arguments = ["--serve", "--pipeline", "x.yaml", "--port", str(free_port), "--device", "gpu:0"]
    log = tmp_path / "log"
    with log.open("w") as stream:
        process = subprocess.Popen([sys.executable, "-c", start, *arguments], cwd=tmp_path, stderr=stream)
    try:
        while not is_up(free_port):
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(HANGS_S) in codes
    finally:
        process.kill()
    for fragment in ("warning: the device gpu:0 cannot be used", "ObjectDetection: device is ignored"):
        assert fragment in log.read_text()
    assert "Traceback" not in log.read_text()


def is_up(port):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/health").status == 200
    except OSError:
        return False
