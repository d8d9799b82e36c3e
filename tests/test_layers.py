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
        "hpi.backends", "hpi.errors", "hpi.kernels",
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


def test_tasks_know_only_the_contract_of_the_runtimes():
    for file in (ROOT / "hpi" / "tasks").rglob("*.py"):
        known = [name for name in imports(file) if name.startswith("hpi.backends")]
        assert set(known) <= {"hpi.backends.base", "hpi.backends.messages"}, f"{file.relative_to(ROOT)} imports {known}"


def test_configs_hold_no_code():
    assert [path.name for path in (ROOT / "configs").rglob("*.py")] == ["__init__.py"]
    assert not ast.parse((ROOT / "configs" / "__init__.py").read_text()).body[1:]
