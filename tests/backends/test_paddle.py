"""What is special about Paddle: oneDNN, the fallback to plain Paddle, and damaged files."""

import dataclasses
import logging

import numpy as np
import pytest

from support import ROUNDING, missing_backend

if reason := missing_backend("paddle"):
    pytest.skip(reason, allow_module_level=True)

from hpi.backends import BACKENDS, paddle
from hpi.backends.base import ModelFiles, PaddleFiles, import_runtime
from hpi.errors import BackendError
from hpi.models.readers import read_model
from hpi.zoo import Zoo


@pytest.fixture(scope="module")
def detector(home):
    return Zoo.default().find("PicoDet-S_person_416").files


def plain_outputs(files, feeds, options):
    """The outputs of Paddle without oneDNN."""
    inference = import_runtime("paddle.inference", "")
    start = paddle._Start(inference, files.paddle, options, paddle._input_shapes(files.paddle.program))
    return paddle._run_predictor(start.plain(), feeds)


@pytest.mark.full
@pytest.mark.parametrize("folder", ["PP-TinyPose_128x96", "PP-TinyPose_256x192", "tinypose_256x192_paddle2"])
def test_onednn_matches_plain_paddle(shared, options, folder, rng):
    """With all of Paddle's oneDNN passes PP-TinyPose's heatmaps are silently wrong by up to 0.4."""
    spec = read_model(shared / "models" / folder)
    width, height = spec.input_size
    feeds = {"image": rng.standard_normal((3, 3, height, width), np.float32)}
    with BACKENDS["paddle"].load(spec.files, options) as session:
        assert session.info.notes == ("oneDNN",)
        assert session.info.inputs[0].shape == (None, 3, height, width)
        assert np.abs(session.run(feeds)[0] - plain_outputs(spec.files, feeds, options)[0]).max() < ROUNDING


@pytest.mark.full
def test_model_that_fails_under_onednn_runs_without_it(shared, options, monkeypatch, caplog, rng):
    """A real failure: the other oneDNN fusions of a Paddle 2 program rely on this pass."""
    spec = read_model(shared / "models" / "tinypose_256x192_paddle2")
    config_of = paddle._Start._config

    def without_the_pass(start):
        config = config_of(start)
        config.delete_pass("onednn_placement_pass")
        return config

    monkeypatch.setattr(paddle._Start, "_config", without_the_pass)
    feeds = {"image": rng.standard_normal((2, 3, 256, 192), np.float32)}
    with caplog.at_level(logging.WARNING), BACKENDS["paddle"].load(spec.files, options) as session:
        assert session.info.notes == ("plain: it failed under oneDNN",)
        assert np.abs(session.run(feeds)[0] - plain_outputs(spec.files, feeds, options)[0]).max() < ROUNDING
    assert "fails under oneDNN" in caplog.text


@pytest.mark.parametrize("broken", ["program", "params"])
def test_damaged_files_are_one_readable_line(detector, options, tmp_path, broken):
    files = PaddleFiles(tmp_path / "inference.json", tmp_path / "inference.pdiparams")
    for part in ("program", "params"):
        content = getattr(detector.paddle, part).read_bytes()
        getattr(files, part).write_bytes(content[: len(content) // 2] if part == broken else content)
    with pytest.raises(BackendError, match=files.program.name if broken == "program" else files.params.name) as error:
        BACKENDS["paddle"].load(ModelFiles("damaged", files), options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("device", ["gpu:0", "xpu:1", "npu:0", "mlu:0"])
def test_device_that_paddle_is_not_built_for_is_refused(detector, options, device):
    kind = device.split(":")[0]
    with pytest.raises(BackendError, match=f"not built for {kind}; install the one that is"):
        BACKENDS["paddle"].load(detector, dataclasses.replace(options, device=device))


def test_paddle_tensorrt_takes_paddle_2_programs_only(shared, detector, options):
    """This Paddle is built without TensorRT; with it, it would still refuse programs of Paddle 3."""
    on_gpu = dataclasses.replace(options, device="gpu:0")
    assert "only programs of Paddle 2" in BACKENDS["paddle_tensorrt"].unavailable(detector, on_gpu)
    files = read_model(shared / "models" / "tinypose_256x192_paddle2").files
    assert BACKENDS["paddle_tensorrt"].unavailable(files, on_gpu) is None
    inference = import_runtime("paddle.inference", "")
    start = paddle._Start(inference, files.paddle, options, paddle._input_shapes(files.paddle.program))
    with pytest.raises(BackendError, match="built without TensorRT"):
        BACKENDS["paddle_tensorrt"].start(start)
    assert start._sizes(8) == {"image": [8, 3, 256, 192]}
