"""What is special about Paddle: oneDNN, the way back to plain Paddle, and damaged files."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest

from support import missing_backend

if reason := missing_backend("paddle"):
    pytest.skip(reason, allow_module_level=True)

from hpi.backends import BACKENDS, paddle
from hpi.backends.base import ModelFiles, PaddleFiles, import_runtime
from hpi.errors import BackendError
from hpi.model_files import read_model
from hpi.zoo import Zoo


@pytest.fixture(scope="module")
def detector(home):
    return Zoo.default().find("PicoDet-S_person_416").files


def plain_outputs(files, feeds):
    """The outputs of Paddle without oneDNN."""
    inference = import_runtime("paddle.inference", "")
    shapes = paddle._input_shapes(files.paddle.program)
    predictor = paddle._create_predictor(inference, files.paddle, 2, shapes, onednn=False)
    return paddle._run_predictor(predictor, feeds)


@pytest.mark.parametrize("folder", ["PP-TinyPose_128x96", "PP-TinyPose_256x192", "tinypose_256x192_paddle2"])
def test_onednn_gives_the_heatmaps_of_plain_paddle(shared, options, folder, rng):
    """With all of Paddle's oneDNN passes PP-TinyPose's heatmaps are wrong by up to 0.4, without any error."""
    spec = read_model(shared / "models" / folder)
    width, height = spec.input_size
    feeds = {"image": rng.standard_normal((3, 3, height, width), np.float32)}
    with BACKENDS["paddle"].load(spec.files, options) as session:
        assert session.info.notes == ("oneDNN",)
        assert session.info.inputs[0].shape == (None, 3, height, width)
        assert np.abs(session.run(feeds)[0] - plain_outputs(spec.files, feeds)[0]).max() < 1e-5


def test_a_model_that_fails_under_onednn_goes_on_without_it(shared, options, monkeypatch, caplog, rng):
    """A real failure: without this pass a Paddle 2 program lacks what its other oneDNN fusions rely on."""
    spec = read_model(shared / "models" / "tinypose_256x192_paddle2")
    create = paddle._create_predictor

    def without_the_pass(inference, *arguments, **options):
        def config(*files):
            made = inference.Config(*files)
            made.delete_pass("onednn_placement_pass")
            return made

        stripped = SimpleNamespace(Config=config, create_predictor=inference.create_predictor)
        return create(stripped, *arguments, **options)

    monkeypatch.setattr(paddle, "_create_predictor", without_the_pass)
    feeds = {"image": rng.standard_normal((2, 3, 256, 192), np.float32)}
    with caplog.at_level(logging.WARNING), BACKENDS["paddle"].load(spec.files, options) as session:
        assert session.info.notes == ("plain: it failed under oneDNN",)
        assert np.abs(session.run(feeds)[0] - plain_outputs(spec.files, feeds)[0]).max() < 1e-5
    assert "fails under oneDNN" in caplog.text


@pytest.mark.parametrize("broken", ["program", "params"])
def test_damaged_files_are_one_readable_line(detector, options, tmp_path, broken):
    files = PaddleFiles(tmp_path / "inference.json", tmp_path / "inference.pdiparams")
    for part in ("program", "params"):
        content = getattr(detector.paddle, part).read_bytes()
        getattr(files, part).write_bytes(content[: len(content) // 2] if part == broken else content)
    with pytest.raises(BackendError, match=r"inference\.json") as error:
        BACKENDS["paddle"].load(ModelFiles("damaged", files), options)
    assert "\n" not in str(error.value)
