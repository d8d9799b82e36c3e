"""Each room knows only the rooms below it."""

import ast
import re
import sys

import pytest

from support import ROOT

OWN = {"hpi"}
ALLOWED = {
    "kernels": {"numpy", "cv2", "hpi.kernels"},
    "backends": {
        "numpy", "filelock", "onnx", "onnxconverter_common", "onnxruntime", "openvino", "paddle", "tensorrt", "cupy",
        "archspec", "hpi.backends", "hpi.errors", "hpi.kernels",
    },
}  # fmt: skip


def imports(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield node.module


def is_allowed(name, allowed):
    return name.split(".")[0] in sys.stdlib_module_names or any(
        name == prefix or name.startswith(prefix + ".") for prefix in allowed
    )


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_is_below_it(room):
    files = list((ROOT / room).rglob("*.py"))
    assert files
    for file in files:
        wrong = [name for name in imports(file) if not is_allowed(name, ALLOWED[room])]
        assert not wrong, f"{file.relative_to(ROOT)} imports {wrong}"


def test_the_engine_never_names_a_runtime():
    for file in (ROOT / "hpi").rglob("*.py"):
        runtimes = [name for name in imports(file) if name.split(".")[0] in {"onnxruntime", "openvino", "paddle"}]
        assert not runtimes, f"{file.relative_to(ROOT)} imports {runtimes}"


def test_only_the_benchmark_command_names_the_benchmarks():
    """Also not by a string, as ``import_module`` takes it."""
    named = re.compile(r"hpi\.benchmarks|from hpi import [^\n]*\bbenchmarks\b")
    files = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "hpi").rglob("*.py")}
    assert [path for path, text in files.items() if named.search(text)] == ["hpi/cli/commands/measure.py"]


ROOMS = {
    "errors": set(),
    "deprecation": set(),
    "io": {"errors"},
    "assignment": {"errors", "kernels"},
    "instances": set(),
    "skeletons": {"configs", "errors", "instances", "io"},
    "draw": {"instances"},
    "options": {"errors"},
    "heads": {"assignment", "errors", "instances", "io", "kernels"},
    "devices": {"backends", "errors", "kernels"},
    "transforms": {"devices", "errors", "instances", "kernels"},
    "models": {"backends", "configs", "devices", "errors", "heads", "instances", "io", "kernels", "skeletons",
               "transforms"},
    "tracking": {"assignment", "errors", "instances", "io", "kernels"},
    "pipelines": {"errors", "instances", "io", "kernels", "models", "tracking"},
    "sources": {"errors", "instances", "io", "kernels"},
    "regions": {"errors", "instances", "kernels", "sources"},
    "streaming": {"errors", "instances", "pipelines", "regions", "sources"},
    "streams": {"errors", "instances", "pipelines", "sources", "streaming", "tracking"},
    "zoo": {"backends", "configs", "errors", "heads", "instances", "io", "models", "skeletons"},
    "selection": {"backends", "configs", "errors", "instances", "io", "models", "options", "zoo"},
    "opening": {"backends", "errors", "models", "options", "pipelines", "selection", "zoo"},
    "names": {"io", "results"},
    "sinks": {"errors", "instances", "io", "options", "results", "sources", "tracking"},
    "results": {"compat", "deprecation", "errors", "instances", "kernels", "names", "sinks", "tracking"},
    "saving": {"errors", "io", "results", "sinks", "streaming"},
    "predictor": {"backends", "compat", "deprecation", "errors", "instances", "io", "models", "names", "opening",
                  "options", "pipelines", "regions", "selection", "sources", "streaming", "streams", "tracking",
                  "zoo"},
    "doctor": {"backends", "errors", "io", "models", "predictor", "selection", "zoo"},
    "evaluation": {"assignment", "backends", "draw", "errors", "instances", "io", "kernels", "pipelines", "predictor",
                   "results", "skeletons", "sources", "tracking"},
    "quantization": {"backends", "errors", "evaluation", "instances", "io", "models", "pipelines", "selection",
                     "sources"},
    "distributed": {"backends", "errors", "instances", "io", "options", "predictor", "results", "selection", "serving",
                    "sources", "streaming", "tracking"},
    "export": {"backends", "configs", "errors", "instances", "io", "models", "opening", "pipelines", "predictor",
               "zoo"},
}  # fmt: skip
"""What each room of ``hpi`` may know, from the bottom up; those that are missing here may know all of these.

``names``, ``sinks`` and ``results`` name each other's types only; ``results`` and ``predictor`` are entry points.
"""
UPPER = {"cli", "compat", "serving", "__init__", "__main__"}
ENTRY_POINTS = {"__init__", "predictor", "results"}


def files_of(room):
    """The modules of a room of ``hpi``; the folders that are links are rooms of their own."""
    file = ROOT / "hpi" / f"{room}.py"
    return [file] if file.is_file() else list((ROOT / "hpi" / room).rglob("*.py"))


def rooms_known_by(room):
    """The rooms of ``hpi`` that a room imports."""
    known = {name.split(".")[1] for file in files_of(room) for name in imports(file) if name.startswith("hpi.")}
    return known - {room}


def test_every_room_has_its_place():
    rooms = {path.stem for path in (ROOT / "hpi").iterdir() if not path.is_symlink() and path.name != "py.typed"}
    assert rooms - {"__pycache__"} == ROOMS.keys() | UPPER


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_knows_only_rooms_below_it(room):
    assert files_of(room)
    assert rooms_known_by(room) <= ROOMS[room]


def test_only_the_outermost_rooms_know_paddlex():
    assert {room for room in ROOMS if "compat" in rooms_known_by(room)} <= ENTRY_POINTS


@pytest.mark.parametrize("room", ["devices", "models", "opening"])
def test_models_know_only_the_contract_of_the_runtimes(room):
    contract = {"artifacts", "base", "file_checks", "gpu", "messages", "onnx_header"}
    known = {name for file in files_of(room) for name in imports(file) if name.startswith("hpi.backends")}
    assert known <= {f"hpi.backends.{module}" for module in contract}


@pytest.mark.parametrize("room", ["selection", "pipelines", "streaming", "opening", "predictor"])
def test_only_models_and_heads_know_tasks(room):
    """By the names that PaddleX has for them; the entry points check with these what stands where in a pipeline."""
    allowed = {"opening": 2, "predictor": 2}
    text = "".join(file.read_text() for file in files_of(room))
    named = re.findall('"(?:object|keypoint)_detection"', text)
    assert len(named) <= allowed.get(room, 0)


def test_configs_hold_no_code():
    assert [path.name for path in (ROOT / "configs").rglob("*.py")] == ["__init__.py"]
    assert not ast.parse((ROOT / "configs" / "__init__.py").read_text()).body[1:]
