import shutil

import pytest

from hpi import Predictor
from hpi.backends import BACKENDS
from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import ModelFiles, PaddleFiles, SessionOptions
from hpi.backends.messages import summarize
from hpi.backends.paddle_to_onnx import ensure_onnx
from hpi.errors import BackendError
from hpi.io.archives import unpack
from hpi.zoo import Zoo

from support import missing_backend, quick_first, require

require("paddle2onnx")


@pytest.fixture(scope="module")
def program(tmp_path_factory, home):
    """The bundled pose model without its ONNX file, read-only."""
    folder = tmp_path_factory.mktemp("model")
    spec = Zoo.default().find("MoveNet-Thunder_256x256")
    for file in (spec.files.paddle.program, spec.files.paddle.params):
        shutil.copy(file, folder)
        (folder / file.name).chmod(0o444)
    return ModelFiles(spec.name, PaddleFiles(folder / "inference.json", folder / "inference.pdiparams"))


@pytest.mark.full
def test_conversion_goes_to_the_cache_not_beside_the_model(program, home):
    cache = ArtifactCache(home / "artifacts")
    before = sorted(program.paddle.program.parent.iterdir())
    graph = ensure_onnx(program, cache)
    made = graph.stat().st_mtime_ns
    assert cache.root in graph.parents
    assert sorted(program.paddle.program.parent.iterdir()) == before
    assert ensure_onnx(program, cache).stat().st_mtime_ns == made
    with BACKENDS["onnxruntime"].load(program, SessionOptions(cache)) as session:
        assert session.info.model_path == graph
        assert session.info.inputs[0].shape == (None, 3, 256, 256)


@pytest.mark.full
def test_detector_with_single_image_nms_takes_batches(shared, tmp_path, image, home):
    """PP-YOLOE's program has a free batch. paddle2onnx's graph declares one too, but fails on two images."""
    unpack(shared / "models" / "latency_only" / "PP-YOLOE-S_human_infer.tar.xz", tmp_path)
    images = [image, image[:, ::-1], image[:300]]
    for backend in ("onnxruntime", "openvino"):
        if reason := missing_backend(backend):
            pytest.skip(reason)
        with Predictor("PP-YOLOE-S_human", model_dir=tmp_path, backend=backend) as predictor:
            together = list(predictor.predict(images, batch_size=3, threshold=0))
            alone = [next(predictor.predict(one, threshold=0)) for one in images]
        for one, other in zip(together, alone, strict=True):
            assert len(one["boxes"]) == len(other["boxes"]) > 0
            assert one["boxes"][0]["score"] == pytest.approx(other["boxes"][0]["score"], abs=1e-6)


@pytest.mark.full
def test_files_in_the_working_folder_are_not_imported(program, tmp_path, monkeypatch):
    for name in ("onnx.py", "paddle2onnx.py"):
        (tmp_path / name).write_text("raise SystemExit('taken from the working folder')")
    monkeypatch.chdir(tmp_path)
    assert ensure_onnx(program, ArtifactCache(tmp_path / "artifacts")).is_file()


def test_the_onnx_file_of_a_model_is_used_as_it_is(home):
    files = Zoo.default().find("MoveNet-Thunder_256x256").files
    assert ensure_onnx(files, ArtifactCache(home / "artifacts")) == files.onnx


@pytest.mark.full
@pytest.mark.parametrize("broken", quick_first(["program", "params"], 1))
def test_damaged_model_is_one_readable_line(program, broken, tmp_path):
    files = PaddleFiles(tmp_path / "inference.json", tmp_path / "inference.pdiparams")
    for part in ("program", "params"):
        content = getattr(program.paddle, part).read_bytes()
        getattr(files, part).write_bytes(content[: len(content) // 2] if part == broken else content)
    cache = ArtifactCache(tmp_path / "artifacts")
    said = r"damaged: paddle2onnx could not convert .*complete" if broken == "program" else "truncated"
    with pytest.raises(BackendError, match=said) as error:
        ensure_onnx(ModelFiles("damaged", files), cache)
    assert "\n" not in str(error.value)
    assert not list(cache.root.rglob("model.onnx"))


def test_missing_paddle2onnx_tells_how_to_install_it(program, home, monkeypatch):
    monkeypatch.setattr("hpi.backends.paddle_to_onnx.is_installed", lambda _: False)
    with pytest.raises(BackendError, match="pip install"):
        ensure_onnx(program, ArtifactCache(home / "artifacts-unused"))


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("frames\nFatalError: `Abort` is detected\nValueError: bad weight\n", "bad weight"),
        ("frames\nFatalError: `Abort` is detected\n  [TimeInfo]\n", "`Abort` is detected"),
        ("\x1b[0;31m2026 [ERROR]\tFailed to convert\x1b[0m\nmore", "Failed to convert"),
        ("(InvalidArgument) wrong file. (at x.cc:1)\n", "(InvalidArgument) wrong file. (at x.cc:1)"),
        ("one\ntwo\n-----\n", "two"),
        ("", "it gave no reason"),
    ],
)
def test_summary_is_the_line_with_the_error(said, line):
    assert summarize(said) == line
