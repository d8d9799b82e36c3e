import json
import threading

import pytest

from hpi.backends.artifacts import ArtifactCache, content_hash
from hpi.errors import BackendError


def test_an_artifact_is_built_once(tmp_path):
    built = []

    def build(target):
        built.append(target)
        target.write_text("graph")

    cache = ArtifactCache(tmp_path)
    first = cache.get("onnx", {"model": "a"}, "model.onnx", build)
    assert cache.get("onnx", {"model": "a"}, "model.onnx", build) == first
    assert first.read_text() == "graph"
    assert json.loads((first.parent / "key.json").read_text()) == {"model": "a"}
    assert len(built) == 1
    assert cache.get("onnx", {"model": "b"}, "model.onnx", build) != first


def test_a_build_that_fails_leaves_nothing(tmp_path):
    def fail(target):
        target.write_text("half")
        raise BackendError("no")

    cache = ArtifactCache(tmp_path)
    with pytest.raises(BackendError, match="no"):
        cache.get("onnx", {"model": "a"}, "model.onnx", fail)
    assert not [path for path in tmp_path.rglob("*") if path.suffix != ".lock" and path.is_file()]
    assert cache.get("onnx", {"model": "a"}, "model.onnx", lambda target: target.write_text("whole")).is_file()


def test_builders_at_the_same_time_wait_for_the_first(tmp_path):
    built = []
    start = threading.Barrier(4)

    def build(target):
        built.append(target)
        target.write_text("graph")

    def work():
        start.wait()
        assert ArtifactCache(tmp_path).get("onnx", {"model": "a"}, "model.onnx", build).read_text() == "graph"

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match="HPI_HOME"):
        ArtifactCache(tmp_path / "file").get("onnx", {}, "model.onnx", lambda target: None)


def test_the_hash_is_of_the_content(tmp_path):
    for name, content in (("a", "one"), ("b", "two"), ("c", "one")):
        (tmp_path / name).write_text(content)
    assert content_hash([tmp_path / "a"]) == content_hash([tmp_path / "c"])
    assert content_hash([tmp_path / "a"]) != content_hash([tmp_path / "b"])
