"""``hpi doctor`` on whole, broken and odd installations, each a Python of its own."""

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from fnmatch import fnmatch
from pathlib import Path

import cv2
import pytest

from hpi.cli.options import DEFAULT_PIPELINE
from hpi.doctor import MAIN_JOB, Check, Problem, Report
from hpi.doctor.examination import _models
from hpi.doctor.machine import check_cpu
from hpi.doctor.network import check_network, download_hosts
from hpi.doctor.packages import Installed, check_conflicts, check_packages, requirements, versions
from hpi.doctor.process import Answer, ask
from hpi.doctor.report import shareable
from hpi.doctor.running import runtimes_check, try_runtime
from hpi.doctor.storage import check_cache, why_not_writable

from support import EXAMPLE, HANGS_S, NO_NETWORK, ROOT, missing_backend, quick_first, serve, wait_until

pytestmark = pytest.mark.long  # its slow cases run each night

STATUSES = {"ok", "note", "warning", "error"}
EXTRAS = (
    *("openvino*", "paddle*", "onnx", "onnx-*", "av", "av-*", "av.libs", "pillow_heif*", "pypdfium2*"),
    *("fastapi*", "pycocotools*"),
)
"""What a plain install lacks."""


def environment(folder, without=()):
    """A new Python with this project and the packages that are installed here, but for some."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    others = folder / "others"
    others.mkdir()
    for place in (Path(path) for path in sys.path if path.endswith("site-packages")):
        for entry in place.iterdir():
            left_out = entry.suffix == ".pth" or any(fnmatch(entry.name, name) for name in ("__editable__*", *without))
            if not left_out and not (others / entry.name).exists():
                (others / entry.name).symlink_to(entry)
    (site_of(folder) / "others.pth").write_text(f"{ROOT}\n{others}\n")
    return folder / "venv" / "bin" / "python"


def site_of(folder):
    base = str(folder / "venv")
    return Path(sysconfig.get_path("purelib", vars={"base": base, "platbase": base}))


def doctor(python, *arguments, cwd, prefix=(), **variables):
    """Run it twice, for people and as JSON; both must agree. Returns the JSON, and the screen."""
    done = {}
    for form in ((), ("--json",)):
        command = [*prefix, python, "-m", "hpi", "doctor", *form, *arguments]
        done[form] = run(command, cwd, **variables)
    screen, found = done[()], done["--json",]
    content = json.loads(found.stdout)
    assert screen.returncode == found.returncode == (0 if content["works"] else 1), screen.stderr
    assert content["schema"] == 1
    flat = " ".join(screen.stdout.split())
    assert words(content["verdict"]) in flat
    for name, check in content["checks"].items():
        assert check["status"] in STATUSES
        assert (check["status"] in {"warning", "error"}) == bool(check["problems"]), name
        if content["works"]:
            assert check["status"] != "error"
        # Measured anew each time.
        if name not in {"runtimes", "main", "cache"}:
            assert all(problem["cure"] in screen.stdout for problem in check["problems"])
    return content, screen.stdout


def words(text):
    return " ".join(text.split())


def run(command, cwd, **variables):
    environment = {**os.environ, "COLUMNS": "80", **{name: str(value) for name, value in variables.items()}}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=HANGS_S, check=False
    )


def package(folder, name, version, files=None, module=None):
    """Make a package look installed in a folder; its files are listed, and made unless there is no module."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    files = files or ([f"{module}/__init__.py"] if module else [])
    for file in files if module else []:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).touch()
    own = [f"{info.name}/{file}" for file in ("METADATA", "RECORD")]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in [*files, *own]))
    return info


def module(folder, name, code):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(code)
    return folder


@pytest.fixture
def in_front(tmp_path, monkeypatch):
    """A folder whose packages are found before the others, also by the processes that are started."""
    folder = tmp_path / "in_front"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    return folder


def texts(check):
    return "\n".join(f"{problem.text}: {problem.cure}" for problem in check.problems)


def needed(package):
    """A requirement as a cure writes it, such as ``openvino>=2026.0``."""
    (one,) = {f"{one.name}{versions(one)}" for extra in requirements().values() for one in extra if one.name == package}
    return one


def test_the_main_job_is_what_the_commands_run_by_default():
    assert MAIN_JOB == DEFAULT_PIPELINE


# Whole runs.


@pytest.mark.full
def test_without_numpy_it_still_tells_all_that_can_be_known(tmp_path):
    python = environment(tmp_path, without=("numpy", "numpy-*"))
    found = run([python, "-m", "hpi", "doctor", "--json", "--offline"], tmp_path)
    assert found.returncode == 1, found.stderr
    content = json.loads(found.stdout)
    checks = content["checks"]
    assert "numpy" in content["verdict"]
    assert f'pip install "{needed("numpy")}"' in [problem["cure"] for problem in checks["packages"]["problems"]]
    assert len(checks["packages"]["problems"]) == 1  # the packages that need it are not to blame
    assert checks["packages"]["status"] == checks["main"]["status"] == "error"
    assert checks["cpu"]["facts"] == dict(check_cpu().facts)
    assert checks["cache"]["status"] == "ok"
    assert "network" not in checks


NEEDED = ("typer", "rich", "pydantic", "packaging", "platformdirs", "yaml", "cv2", "onnxruntime")


@pytest.mark.full
@pytest.mark.parametrize("name", NEEDED)
def test_whatever_is_missing_is_named(tmp_path, name):
    """Where not even the command line starts, that is said in one line, and there is another way."""
    python = environment(tmp_path, (name, f"{name}.py", f"{name}-*", *EXTRAS))
    found = run([python, "-m", "hpi", "doctor", "--json", "--offline"], tmp_path)
    if not found.stdout:
        assert found.returncode == 1
        assert "python -m hpi.doctor" in found.stderr
        assert "Traceback" not in found.stderr
        found = run([python, "-m", "hpi.doctor"], tmp_path, **NO_NETWORK)
    content = json.loads(found.stdout)
    assert found.returncode == (0 if content["works"] else 1)
    problems = [problem for check in content["checks"].values() for problem in check["problems"]]
    assert any(name in f"{problem['text']} {problem['cure']}" for problem in problems)


@pytest.mark.full
def test_a_plain_install(tmp_path):
    content, screen = doctor(environment(tmp_path, EXTRAS), "--offline", cwd=tmp_path)
    assert content["works"]
    assert content["verdict"] == "Everything that is installed works."
    checks = content["checks"]
    assert set(checks["runtimes"]["facts"]["not_installed"]) >= {"openvino", "paddle", "tensorrt"}
    (tried,) = checks["runtimes"]["facts"]["tried"]
    assert (tried["runtime"], tried["passed"]) == ("onnxruntime", True)
    assert tried["milliseconds"] > 0
    assert {model["backend"] for model in checks["main"]["facts"]["models"]} == {"onnxruntime"}
    assert "extras" in checks["packages"]["facts"]
    assert len(screen.splitlines()) <= 40
    assert max(map(len, screen.splitlines())) <= 80


@pytest.mark.full
def test_every_installed_runtime_is_tried_and_compared(tmp_path):
    content, screen = doctor(sys.executable, "--offline", cwd=tmp_path)
    assert content["works"]
    expected = {name for name in ("onnxruntime", "openvino", "paddle") if not missing_backend(name)}
    tried = {one["runtime"]: one for one in content["checks"]["runtimes"]["facts"]["tried"] if one["device"] == "cpu"}
    assert tried.keys() == expected
    for name, one in tried.items():
        assert one["passed"], one
        assert 0 <= one["deviation_px"] <= 0.3
        assert name in screen
    bundled = {"MoveNet-Thunder_256x256": "cached", "PicoDet-S_person_416": "cached"}
    assert content["checks"]["models"]["facts"]["models"].items() >= bundled.items()


@pytest.mark.full
def test_a_broken_pair_of_opencv(tmp_path):
    python = environment(tmp_path, ("cv2", "opencv_python*", *EXTRAS))
    installed, site = Path(cv2.__file__).parent.parent, site_of(tmp_path)
    for entry in installed.iterdir():
        if entry.name in {"cv2", "opencv_python.libs"} or entry.name.startswith("opencv_python-"):
            shutil.copytree(entry, site / entry.name)
    (info,) = site.glob("opencv_python-*")
    files = [line.split(",")[0] for line in (info / "RECORD").read_text().splitlines()]
    package(site, "opencv-python-headless", "4.14.0.94", [file for file in files if file.startswith("cv2/")])

    content, _ = doctor(python, "--offline", cwd=tmp_path)
    assert content["works"]  # they are the same files by chance
    assert content["checks"]["conflicts"]["status"] == "warning"
    (problem,) = content["checks"]["conflicts"]["problems"]
    assert "opencv-python and opencv-python-headless" in problem["text"]
    assert problem["cure"] == (
        'pip uninstall -y opencv-python opencv-python-headless && pip install "' + needed("opencv-python") + '"'
    )

    command = [sys.executable, "-m", "pip", "--python", python, "uninstall", "-y", "opencv-python-headless"]
    subprocess.run(command, check=True, capture_output=True)
    content, _ = doctor(python, "--offline", cwd=tmp_path)
    assert not content["works"]
    assert content["checks"]["conflicts"]["status"] == "ok"
    assert content["checks"]["packages"]["status"] == "error"
    (problem,) = content["checks"]["packages"]["problems"]
    assert "files are gone" in problem["text"]
    assert problem["cure"] == f'pip install --force-reinstall --no-deps "{needed("opencv-python")}"'

    found = run([python, "-m", "hpi", "predict", EXAMPLE], tmp_path)
    assert found.returncode == 1
    assert "hpi.doctor" in found.stderr
    assert "Traceback" not in found.stderr


def can_unshare(*options):
    return shutil.which("unshare") and subprocess.run(["unshare", *options, "true"], check=False).returncode == 0


@pytest.mark.full
def test_without_a_network_the_main_job_works(tmp_path):
    prefix, variables = (("unshare", "-n"), {}) if can_unshare("-n") else ((), NO_NETWORK)
    python = environment(tmp_path, EXTRAS)
    content, screen = doctor(python, cwd=tmp_path, prefix=prefix, **variables)
    assert content["works"]
    network = content["checks"]["network"]
    assert network["status"] == "note"
    assert network["facts"]["hosts"]
    assert all(outcome.startswith("not reachable") for outcome in network["facts"]["hosts"].values())
    assert "need no network" in screen


def forbidden(folder):
    """A folder within one that may not be looked into, and the command that takes this right from root."""
    folder.mkdir()
    folder.chmod(0)
    if os.geteuid() != 0:
        return folder / "hpi", ()
    os.chown(folder, 65534, 65534)
    rights = "-dac_override,-dac_read_search"
    prefix = ("setpriv", "--bounding-set", rights, "--inh-caps", rights)
    if not shutil.which("setpriv") or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("needs setpriv")
    return folder / "hpi", prefix


@pytest.mark.full
@pytest.mark.parametrize("how", ["read-only", "file", "forbidden"])
def test_a_cache_that_cannot_be_written(tmp_path, how):
    place, prefix = tmp_path / "cache", ()
    if how == "file":
        place.touch()
    elif how == "forbidden":
        place, prefix = forbidden(place)
    else:
        if not can_unshare("-m"):
            pytest.skip("needs the right to mount")
        place.mkdir()
        mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
        prefix = ("unshare", "-m", "sh", "-c", mount, place)
    python = environment(tmp_path, EXTRAS)
    found = run([*prefix, python, "-m", "hpi", "doctor", "--json", "--offline"], tmp_path, HPI_HOME=place)
    assert found.returncode == 0, found.stderr
    content = json.loads(found.stdout)
    assert content["works"]
    cache = content["checks"]["cache"]
    assert (cache["status"], cache["facts"]["writable"], cache["facts"]["origin"]) == ("warning", False, "HPI_HOME")
    (problem,) = [problem for check in content["checks"].values() for problem in check["problems"]]
    assert "temporary folder" in problem["text"]
    assert "HPI_HOME" in problem["cure"]


CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
HANG = "import time; time.sleep(1000000)"


@pytest.mark.full
@pytest.mark.parametrize(("code", "said"), [(CRASH, "died of SIGSEGV"), (HANG, "did not finish within 30 s")])
def test_a_runtime_that_crashes_or_hangs_is_named(tmp_path, code, said):
    """The choice would take it, so the main job fails with it."""
    folder = module(tmp_path / "broken", "openvino", code)
    python = environment(tmp_path, EXTRAS)
    found = run([python, "-m", "hpi", "doctor", "--json", "--offline", "--limit", "30s"], tmp_path, PYTHONPATH=folder)
    content = json.loads(found.stdout)
    tried = {one["runtime"]: one for one in content["checks"]["runtimes"]["facts"]["tried"]}
    assert tried["onnxruntime"]["passed"]
    assert said in tried["openvino"]["failure"]
    assert found.returncode == (0 if content["works"] else 1)
    assert content["checks"]["runtimes"]["status"] == ("warning" if content["works"] else "error")


@pytest.mark.full
@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
@pytest.mark.parametrize(
    "way",
    quick_first(
        ["import hpi.cli; hpi.cli.main()", "import runpy; runpy.run_module('hpi.doctor', run_name='__main__')"]
    ),
)
def test_an_interrupt_ends_what_is_being_tried(tmp_path, way):
    started = tmp_path / "pid"
    code = f"import os, pathlib; pathlib.Path({str(started)!r}).write_text(str(os.getpid()))\n{HANG}"
    start = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {way}"
    command = ["doctor"] if "cli" in way else []
    with subprocess.Popen(
        [sys.executable, "-c", start, *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(module(tmp_path / "hanging", "cv2", code))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(lambda: started.is_file() and started.read_text(), "the import of a package")
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=HANGS_S)
    assert (process.returncode, printed, said) == (130, "", "interrupted\n")
    wait_until(lambda: is_gone(int(started.read_text())), "the end of the process that hangs")


def is_gone(pid):
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


@pytest.mark.full
@pytest.mark.parametrize("name", quick_first(["cv2", "typer", "yaml"], 2))
def test_other_commands_point_to_it_where_a_package_is_broken(tmp_path, name):
    folder = module(tmp_path / "empty", name, "")
    found = run([sys.executable, "-m", "hpi", "predict", EXAMPLE], tmp_path, PYTHONPATH=folder)
    assert found.returncode == 1
    assert name in found.stderr
    assert found.stderr.endswith("python -m hpi.doctor tells which, and starts without it\n")
    assert "Traceback" not in found.stderr
    with_traceback = run([sys.executable, "-m", "hpi", "predict", EXAMPLE, "--debug"], tmp_path, PYTHONPATH=folder)
    assert "Traceback" in with_traceback.stderr


# What is asked of processes.


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (CRASH, "died of SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "died of SIGKILL: it was killed, perhaps for lack"),
        ("import os; os.write(2, b'OSError: no such library'); os._exit(3)", "ended with code 3: no such library"),
    ],
)
def test_a_crash_leaves_the_facts_before_it(in_front, code, said):
    module(in_front, "crashing_one", code)
    answer = ask("imports", "json", "crashing_one", "csv", limit_s=HANGS_S)
    assert answer.failure.startswith(said)
    assert answer.facts["json"]["error"] is None
    assert answer.facts["importing"] == "crashing_one"


@pytest.mark.full
def test_what_hangs_is_killed_with_all_that_it_started(in_front, tmp_path):
    pid = tmp_path / "pid"
    child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {HANG!r}])"
    module(in_front, "hanging_one", f"{child}; open({str(pid)!r}, 'w').write(str(subprocess.os.getpid()))\n{HANG}")
    answer = ask("imports", "hanging_one", limit_s=2)
    assert answer.failure == "did not finish within 2 s"
    wait_until(lambda: not pid.exists() or is_gone(int(pid.read_text())), "the end of the process that hangs")


@pytest.mark.full
def test_neither_prints_nor_processes_that_stay_behind_disturb(in_front, tmp_path):
    """As a runtime's banner, and the telemetry of OpenVINO, which keeps its copy of the pipes."""
    pid = tmp_path / "pid"
    stay = f"import time; time.sleep({2 * HANGS_S})"
    code = f"""
import os, subprocess, sys
print("a banner")
os.write(1, b"{{}} native banner")
process = subprocess.Popen([sys.executable, "-c", {stay!r}], start_new_session=True)
open({str(pid)!r}, "w").write(str(process.pid))
"""
    module(in_front, "leaving_one", code)
    answer = ask("imports", "leaving_one", limit_s=HANGS_S)
    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert answer.failure is None
    assert answer.facts["leaving_one"]["error"] is None


def test_an_empty_folder_is_not_a_package(in_front):
    (in_front / "left_over").mkdir()
    answer = ask("imports", "left_over", limit_s=HANGS_S)
    assert answer.facts["left_over"]["error"] == "only an empty folder of it is left"


# Packages.


@pytest.mark.full
def test_versions_that_do_not_fit_are_told_with_the_reason(in_front):
    package(in_front, "paddlepaddle", "3.3.0")
    package(in_front, "opencv-python", "5.0.0.1")
    package(in_front, "openvino", "2024.1.0")
    check = check_packages(Installed())
    said = texts(check)
    assert "paddlepaddle 3.3.0 is installed, but >=3.0,<3.3 is needed: Paddle 3.3 fails" in said
    assert 'pip install "paddlepaddle>=3.0,<3.3"' in said
    assert f"opencv-python 5.0.0.1 is installed, but {needed('opencv-python')[13:]} is needed: OpenCV 5 rounds" in said
    assert f'pip install "{needed("openvino")}"' in said
    assert {problem.text.split()[0]: problem.blocks for problem in check.problems} == {
        "opencv-python": True,
        "openvino": False,
        "paddlepaddle": False,
    }


@pytest.mark.full
@pytest.mark.parametrize(
    ("names", "shared", "kept"),
    [
        (["onnxruntime-gpu"], "onnxruntime", "onnxruntime-gpu"),
        (["onnxruntime_directml"], "onnxruntime", "onnxruntime"),
        (["opencv-contrib-python", "opencv-python-headless"], "cv2", "opencv-python"),
        (["pillow-simd"], "PIL", "pillow"),
    ],
)
def test_packages_that_share_files_are_a_conflict(in_front, names, shared, kept):
    before = check_conflicts(Installed())
    assert (before.found, before.problems) == ("none", ())
    for name in names:
        package(in_front, name, "4.14", [f"{shared}/__init__.py"])
    check = check_conflicts(Installed())
    (problem,) = check.problems
    assert f"{shared}/" in problem.text
    assert all(name.replace("_", "-") in problem.cure for name in names)
    assert f'pip install "{kept}>=' in problem.cure
    assert check.status(works=True) == "warning"
    assert check.status(works=False) == "error"


def test_packages_that_share_only_a_namespace_are_none(in_front):
    package(in_front, "openvino-tools", "1.0", ["openvino/tools/__init__.py"])
    package(in_front, "onnxruntime-extensions", "1.0", ["onnxruntime_extensions/__init__.py"])
    assert check_conflicts(Installed()).problems == ()


def test_another_package_with_the_same_module_stands_in(in_front, monkeypatch):
    """Such as opencv-python-headless, which servers without a screen use."""
    package(in_front, "opencv-python-headless", "4.12.0.88", ["cv2/__init__.py"])
    monkeypatch.setattr(sys, "path", [str(in_front)])
    found = Installed().find("opencv-python")
    assert (found.installed, found.version, found.fits) == ("opencv-python-headless", "4.12.0.88", True)


def test_missing_files_are_counted(in_front):
    info = package(
        in_front, "a-package", "1.0", [f"a_package/{name}.py" for name in ("__init__", "a", "b")], "a_package"
    )
    installed = Installed()
    assert installed.missing_files("a-package") == (0, 5)
    (in_front / "a_package" / "b.py").unlink()
    assert installed.missing_files("a-package") == (1, 5)
    (info / "RECORD").unlink()  # as system packages are
    assert installed.missing_files("a-package") == (0, 0)


def test_missing_files_of_the_project_itself_are_told(in_front, monkeypatch):
    monkeypatch.setattr("hpi.doctor.packages.requirements", lambda: {"": []})
    package(in_front, "hpi-pose", "0.1.0", ["hpi/configs/parity/parity.yaml"])
    (problem,) = check_packages(Installed()).problems
    assert "hpi-pose: 1 of its 3 files are gone" in problem.text
    assert problem.cure == 'pip install --force-reinstall --no-deps "hpi-pose"'


# The rest of the machine.


@pytest.mark.parametrize("text", ["2", "3", "no number"])
def test_threads_are_those_that_a_run_uses(monkeypatch, text):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    facts = check_cpu().facts
    assert facts["threads"] == (int(text) if text.isdigit() else facts["usable_cores"])
    assert facts["omp_num_threads"] == text


def test_the_cache_is_only_looked_at(tmp_path, monkeypatch):
    monkeypatch.setenv("HPI_HOME", str(tmp_path / "not" / "yet"))
    check = check_cache()
    assert check.problems == ()
    assert check.facts["exists"] is False
    assert list(tmp_path.iterdir()) == []


def loop(place):
    place.symlink_to(place)


def dangling(place):
    place.symlink_to(place.parent / "nowhere")


@pytest.mark.parametrize("make", [loop, dangling])
@pytest.mark.parametrize("below", ["", "below"])
def test_a_link_that_leads_nowhere_is_no_folder(tmp_path, monkeypatch, make, below):
    place = tmp_path / "home"
    make(place)
    monkeypatch.setenv("HPI_HOME", str(place / below))
    check = check_cache()
    assert f"{place} is not a folder" in texts(check)
    assert "HPI_HOME" in texts(check)
    assert check.facts["writable"] is False
    assert check.facts["free_bytes"] > 0


NO_SUCH_USER = "~no-such-user/cache"


def test_the_home_of_an_unknown_user_is_named(monkeypatch):
    monkeypatch.setenv("HPI_HOME", NO_SUCH_USER)
    (problem,) = check_cache().problems
    assert "HPI_HOME" in problem.text
    assert NO_SUCH_USER in problem.text
    assert "HPI_HOME" in problem.cure


@pytest.mark.full
def test_prediction_names_the_home_of_an_unknown_user(tmp_path):
    found = run([sys.executable, "-m", "hpi", "predict", EXAMPLE], tmp_path, HPI_HOME=NO_SUCH_USER)
    assert found.returncode == 2
    assert f"HPI_HOME is '{NO_SUCH_USER}'" in found.stderr
    assert "Traceback" not in found.stderr


def test_models_that_are_not_here_are_counted():
    places = {"a": "cached", "b": "to download", "c": "to be exported", "d": "to be exported", "e": "cached"}
    assert _models(Answer({"models": places}, None)).found.splitlines() == [
        "cached: a, e",
        "to download: 1 model (hpi models lists them)",
        "to be exported: 2 models (hpi models lists them)",
    ]


@pytest.mark.full
def test_a_killed_comparison_leaves_no_folder(in_front, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    module(in_front, "onnxruntime", HANG)
    tried = try_runtime(MAIN_JOB, "onnxruntime", "cpu", limit_s=2)
    assert tried["failure"] == "did not finish within 2 s"
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.full
def test_without_a_temporary_folder_nothing_is_compared(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    tried = try_runtime(MAIN_JOB, "onnxruntime", "cpu", limit_s=HANGS_S)
    assert (tried["passed"], tried["deviation_px"], tried["failure"]) == (True, None, None)
    known = {"onnxruntime": {"installed": True, "install": ""}}
    assert "not compared (no temporary folder can be made)" in runtimes_check([tried], known).found


@pytest.mark.parametrize("arguments", [["--limit", "soon"], ["--online"]])
def test_wrong_usage_without_the_command_line(tmp_path, arguments):
    found = run([sys.executable, "-m", "hpi.doctor", *arguments], tmp_path)
    assert (found.returncode, found.stdout) == (2, "")
    assert arguments[0] in found.stderr


def test_a_file_within_the_cache_is_noticed(tmp_path):
    assert why_not_writable(tmp_path) is None
    (tmp_path / "models").touch()
    assert why_not_writable(tmp_path) == f"{tmp_path / 'models'} is not a folder"


def test_a_server_that_answers_is_reachable_and_others_are_a_note(tmp_path):
    with serve(tmp_path) as address:
        assert check_network([address]).status(works=True) == "ok"
        check = check_network([address, f"{address}/missing", "http://127.0.0.1:9"])
    hosts = check.facts["hosts"]
    assert hosts[address] == hosts[f"{address}/missing"] == "reachable"
    assert hosts["http://127.0.0.1:9"].startswith("not reachable")
    assert check.status(works=False) == "note"


@pytest.mark.parametrize("scheme", ["http://", ""])
@pytest.mark.parametrize("login", ["me:secret", "me:sec/ret", "me:sec@ret", "me:"])
def test_proxies_are_used_and_their_passwords_hidden(monkeypatch, scheme, login):
    for name, value in {**NO_NETWORK, "http_proxy": f"{scheme}{login}@127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    check = check_network(["http://example.org"])
    assert check.facts["hosts"]["http://example.org"].startswith("not reachable")
    text = json.dumps(Report(True, "", (check,)).as_json())
    assert f"by the proxy {scheme}***@127.0.0.1:9" in text
    assert not re.search("sec|ret|me:", text)


def test_the_login_of_a_download_server_is_left_out(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://me:secret@hub.example")
    assert download_hosts([], hugging_face=True) == ["https://hub.example"]


# Reports.


def test_a_report_names_no_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    problem = Problem(f"{tmp_path}/me/a and {tmp_path}/me", f"see {tmp_path}/me-too")
    content = Report(True, "", (Check("a", "", (problem,), facts={"files": [f"{tmp_path}/me/b"]}),)).as_json()
    assert content["checks"]["a"]["problems"] == [{"text": "~/a and ~", "cure": f"see {tmp_path}/me-too"}]
    assert content["checks"]["a"]["facts"] == {"files": ["~/b"]}


def test_a_home_at_the_root_is_left_alone(monkeypatch):
    monkeypatch.setenv("HOME", "/")
    assert Report(True, "/usr/lib", ()).as_json()["verdict"] == "/usr/lib"


def test_logins_are_hidden_wherever_they_are():
    text = "cannot reach https://me:secret@host/a and http://token@other:3128"
    assert "secret" not in shareable(text)
    assert "token" not in shareable(text)
    assert shareable("pip install hpi-pose @ git") == "pip install hpi-pose @ git"
