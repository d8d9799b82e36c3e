import json
import logging
import os
import subprocess
import sys
import threading
import time

import pytest

from hpi.backends.artifacts import ArtifactCache, content_hash
from hpi.errors import BackendError

from support import HANGS_S

MODEL = {"model": "a"}


class Builder:
    """Writes some content and counts how often."""

    def __init__(self, content="graph"):
        self.content = content
        self.calls = 0

    def __call__(self, target):
        self.calls += 1
        target.write_text(self.content)


@pytest.fixture
def cache(tmp_path):
    return ArtifactCache(tmp_path / "artifacts")


def test_artifact_is_built_once_and_describes_itself(cache):
    build = Builder()
    first = cache.get("onnx", MODEL, "model.onnx", build)
    assert cache.get("onnx", MODEL, "model.onnx", build) == first
    assert first.read_text() == "graph"
    assert build.calls == 1
    note = json.loads((first.parent / "artifact.json").read_text())
    assert (note["key"], note["file"], note["size"]) == (MODEL, "model.onnx", 5)
    assert cache.get("onnx", {"model": "b"}, "model.onnx", build) != first


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "note", "no note"])
def test_damaged_artifact_is_rebuilt(cache, damage, caplog):
    build = Builder()
    file = cache.get("onnx", MODEL, "model.onnx", build)
    match damage:
        case "cut":
            file.write_text("gra")
        case "changed":
            file.write_text("graqh")
        case "gone":
            file.unlink()
        case "note":
            (file.parent / "artifact.json").write_text("{")
        case "no note":
            (file.parent / "artifact.json").unlink()
    assert cache.get("onnx", MODEL, "model.onnx", build).read_text() == "graph"
    assert build.calls == 2
    assert "rebuilding" in caplog.text


def test_a_build_that_fails_leaves_nothing(cache):
    def fail(target):
        target.write_text("half")
        raise BackendError("no")

    with pytest.raises(BackendError, match="no"):
        cache.get("onnx", MODEL, "model.onnx", fail)
    assert not [path for path in cache.root.rglob("*") if path.suffix != ".lock" and path.is_file()]
    assert cache.get("onnx", MODEL, "model.onnx", Builder()).is_file()


def test_concurrent_builders_wait_for_the_first(cache):
    build = Builder()
    start = threading.Barrier(4)

    def work():
        start.wait()
        assert ArtifactCache(cache.root).get("onnx", MODEL, "model.onnx", build).read_text() == "graph"

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert build.calls == 1


def test_concurrent_processes_build_once(cache, tmp_path):
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from hpi.backends.artifacts import ArtifactCache\n"
        "def build(target):\n"
        "    with open(sys.argv[2], 'a') as log: log.write('built\\n')\n"
        "    time.sleep(0.5)\n"
        "    target.write_text('graph')\n"
        "print(ArtifactCache(Path(sys.argv[1])).get('onnx', {'model': 'a'}, 'model.onnx', build).read_text())\n"
    )
    log = tmp_path / "log"
    command = [sys.executable, "-c", script, str(cache.root), str(log)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=HANGS_S)[0].strip() for process in running] == ["graph"] * 3
    assert log.read_text() == "built\n"


def test_unwritable_cache_warns_and_works(tmp_path, caplog):
    """Here a file is in the way; a read-only or full disk raises OSError in the same places."""
    (tmp_path / "file").write_text("")
    cache = ArtifactCache(tmp_path / "file")
    build = Builder()
    with caplog.at_level(logging.WARNING):
        file = cache.get("onnx", MODEL, "model.onnx", build)
    assert file.read_text() == "graph"
    assert "HPI_HOME" in caplog.text
    assert cache.get("onnx", MODEL, "model.onnx", build) == file
    assert build.calls == 1
    assert len(caplog.records) == 1
    del cache
    assert not file.exists()


def test_read_only_cache_is_used(cache, monkeypatch):
    file = cache.get("onnx", MODEL, "model.onnx", Builder())

    def refuse(*_, **__):
        raise PermissionError("read-only")

    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr("hpi.backends.artifacts.FileLock", refuse)
    assert cache.get("onnx", MODEL, "model.onnx", refuse) == file


def test_entries_and_pruning_go_by_last_use(cache):
    for name in ("old", "middle", "new"):
        cache.get("onnx", {"model": name}, "model.onnx", Builder("x" * 1000))
        time.sleep(0.02)
    cache.get("onnx", {"model": "old"}, "model.onnx", Builder())
    assert [artifact.key["model"] for artifact in cache.entries()] == ["middle", "new", "old"]
    assert all(artifact.kind == "onnx" and 1000 < artifact.size < 2000 for artifact in cache.entries())
    removed = cache.prune(3000)
    assert [artifact.key["model"] for artifact in removed] == ["middle"]
    assert [artifact.key["model"] for artifact in cache.entries()] == ["new", "old"]
    cache.prune(0)
    assert cache.entries() == []


def test_limit_holds_but_spares_the_latest_build(tmp_path):
    cache = ArtifactCache(tmp_path, limit=2500)
    for name in ("a", "b", "c"):
        cache.get("onnx", {"model": name}, "model.onnx", Builder("x" * 1000))
        time.sleep(0.02)
    assert [artifact.key["model"] for artifact in cache.entries()][-1] == "c"
    assert sum(artifact.size for artifact in cache.entries()) <= 2500
    huge = cache.get("onnx", {"model": "huge"}, "model.onnx", Builder("x" * 9000))
    assert huge.is_file()
    assert [artifact.key["model"] for artifact in cache.entries()] == ["huge"]


def test_the_hash_is_of_the_content(tmp_path):
    for name, content in (("a", "one"), ("b", "two"), ("c", "one")):
        (tmp_path / name).write_text(content)
    assert content_hash([tmp_path / "a"]) == content_hash([tmp_path / "c"])
    assert content_hash([tmp_path / "a"]) != content_hash([tmp_path / "b"])
