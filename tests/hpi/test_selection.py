import pytest

from hpi import BackendError, ConfigError
from hpi.backends import BACKENDS
from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import Backend, ModelFiles, SessionOptions
from hpi.selection import open_session
from hpi.zoo import Zoo


@pytest.fixture
def options(home):
    return SessionOptions(ArtifactCache(home / "artifacts"))


@pytest.fixture
def files(home):
    return Zoo.default().find("PicoDet-S_person_416").files


def test_the_first_that_can_run_it_is_taken(files, options):
    choice = open_session(files, options)
    with choice.session as session:
        assert session.info.backend == "onnxruntime"
        assert choice.rejected == {}
        assert "first" in choice.reason


def test_what_is_passed_over_is_told_with_the_reason(files, options, tmp_path, caplog, monkeypatch):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph")
    monkeypatch.setattr(BACKENDS["openvino"], "unavailable", lambda *_: "not installed: pip install it")
    pytest.importorskip("paddle")
    choice = open_session(ModelFiles("model", files.paddle, broken), options)
    with choice.session as session:
        assert session.info.backend == "paddle"
    assert "cannot load" in choice.rejected["onnxruntime"]
    assert choice.rejected["openvino"] == "not installed: pip install it"
    assert "onnxruntime is passed over" in caplog.text


def test_when_none_can_serve_every_reason_is_given(options):
    with pytest.raises(BackendError) as error:
        open_session(ModelFiles("model"), options)
    for name in BACKENDS:
        assert f"{name}: " in str(error.value)


def test_a_named_runtime_is_used_or_refused(files, options, backend):
    with open_session(files, options, backend).session as session:
        assert session.info.backend == backend
    with pytest.raises(BackendError, match=backend):
        open_session(ModelFiles("model"), options, backend)


def test_an_unknown_runtime(files, options):
    with pytest.raises(ConfigError, match="known are auto, onnxruntime, openvino, paddle"):
        open_session(files, options, "tflite")


def test_adding_a_runtime_is_one_class_and_one_line(files, options, monkeypatch):
    """As the README shows: a Backend, and its entry in the registry."""
    from hpi.backends.onnxruntime import OnnxRuntime

    class Mine(OnnxRuntime):
        name = "mine"

    assert issubclass(Mine, Backend)
    monkeypatch.setitem(BACKENDS, Mine.name, Mine())
    with open_session(files, options, "mine").session as session:
        assert session.info.device == "cpu"
