"""Runtimes that other packages add."""

import json
import logging
import sys

import pytest

from hpi.backends import BACKENDS
from hpi.backends.onnxruntime import OnnxRuntime
from hpi.backends.openvino import OpenVino
from hpi.backends.registry import Registry

from support import EXAMPLE, run_python

RUNTIME = '''
from hpi.backends.onnxruntime import OnnxRuntimeSession, providers_of
from hpi.backends.paddle_to_onnx import ReadsOnnx


class Mine(ReadsOnnx):
    """ONNX Runtime under another name."""

    name = "mine"
    package = "onnxruntime"
    install = "pip install mine"

    def open(self, files, graph, options):
        return OnnxRuntimeSession(self.name, graph, options, providers_of(options.device))
'''

PREDICT = """
import json, sys
from hpi import Predictor
results = {}
for backend in ("onnxruntime", "mine"):
    with Predictor("human_keypoint_detection_lite", backend=backend) as predictor:
        assert {model["backend"] for model in predictor.describe()["models"]} == {backend}
        (result,) = predictor.predict(sys.argv[1])
        results[backend] = result.json
json.dump(results, sys.stdout)
"""


def add_package(folder, name, code, *lines):
    """Put a package with entry points into a folder, as pip would."""
    (folder / f"{name}.py").write_text(code)
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("\n".join(["[hpi.backends]", *lines]))


@pytest.mark.full
def test_one_file_and_one_line_add_a_runtime(tmp_path):
    add_package(tmp_path, "my_runtime", RUNTIME, "mine = my_runtime:Mine")
    done = run_python("-c", PREDICT, str(EXAMPLE), cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    mine, own = (results[name]["res"]["boxes"] for name in ("mine", "onnxruntime"))
    assert len(mine) == len(own) == 2
    for one, other in zip(mine, own, strict=True):  # the graph of ONNX Runtime may be rewritten: the last bits differ
        assert one["coordinate"] == pytest.approx(other["coordinate"], abs=1e-3)
        assert one["det_score"] == pytest.approx(other["det_score"], abs=1e-4)


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_built_in_runtimes_come_first(site):
    add_package(site, "early", RUNTIME.replace('"mine"', '"a_runtime"'), "a_runtime = early:Mine")
    assert list(Registry([OpenVino(), OnnxRuntime()])) == ["openvino", "onnxruntime", "a_runtime"]


def test_built_in_runtime_is_found_without_entry_points(site, monkeypatch):
    monkeypatch.setattr("hpi.backends.registry.entry_points", None)
    assert Registry([OnnxRuntime()])["onnxruntime"].name == "onnxruntime"


@pytest.mark.parametrize(
    ("code", "line", "said"),
    [
        ("import nothing_of_this_name", "mine = broken:Mine", "No module named 'nothing_of_this_name'"),
        ("raise SystemExit('no licence')", "mine = broken:Mine", "no licence"),
        ("", "mine = broken:Mine", "has no attribute 'Mine'"),
        ("class Mine: pass", "mine = broken:Mine", "not a subclass"),
        (RUNTIME.replace("def open", "def opens"), "mine = broken:Mine", "abstract"),
        (RUNTIME.replace("install =", "installed ="), "mine = broken:Mine", "'install' must be a string"),
        (RUNTIME, "yours = broken:Mine", "calls itself 'mine'"),
        (RUNTIME, "onnxruntime = broken:Mine", "already is a runtime of this name"),
        (RUNTIME, "auto = broken:Mine", "is not 'auto'"),
        (RUNTIME, "My-Runtime = broken:Mine", "lowercase letters"),
    ],
)
def test_unusable_runtime_is_skipped_with_a_warning(site, caplog, monkeypatch, code, line, said):
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    add_package(site, "broken", code, line)
    registry, own = Registry([OnnxRuntime()]), line.partition(" ")[0]
    with caplog.at_level(logging.WARNING):
        assert list(registry) == ["onnxruntime"]
        assert list(registry) == ["onnxruntime"]
    (record,) = caplog.records
    assert f"skipping the runtime '{own}' of broken" in record.message
    assert said in record.message
    assert type(registry["onnxruntime"]) is OnnxRuntime
    with pytest.raises(KeyError):
        registry["mine"]


def test_second_runtime_of_the_same_name_is_skipped(site, caplog):
    add_package(site, "one", RUNTIME, "mine = one:Mine")
    add_package(site, "two", RUNTIME, "mine = two:Mine")
    registry = Registry([])
    assert list(registry) == ["mine"]
    assert "already is a runtime of this name" in caplog.text


def test_runtimes_can_be_replaced_and_removed(site):
    registry = Registry([OnnxRuntime()])
    registry["other"] = OpenVino()
    del registry["onnxruntime"]
    assert (list(registry), len(registry)) == (["other"], 1)


def test_the_built_in_runtimes_are_listed_in_this_order():
    built_in = ["onnxruntime", "openvino", "paddle", "tensorrt", "onnxruntime_tensorrt", "paddle_tensorrt"]
    assert list(BACKENDS)[: len(built_in)] == built_in
