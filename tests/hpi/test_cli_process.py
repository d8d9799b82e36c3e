"""How the process of a command ends: on signals at any moment, and its exit codes."""

import json
import os
import pty
import signal
import subprocess
import sys
import time

import cv2
import pytest

from support import EXAMPLE, HANGS_S, missing_backend, require, run_python, wait_until

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")

ENDS = {signal.SIGINT: (130, "interrupted\n"), signal.SIGTERM: (143, "terminated\n")}

# A shell starts its background jobs, of which these tests may be one, with the signal ignored.
START = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import hpi.cli; hpi.cli.main()"

AT_IMPORT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
module, number = sys.argv.pop(1), int(sys.argv.pop(1))

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == module and self in sys.meta_path:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), number)

sys.meta_path.insert(0, Finder())
import hpi.cli
hpi.cli.main()
"""


def start(*arguments, cwd, **options):
    command = [sys.executable, "-c", START, *map(str, arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(command, cwd=cwd, text=True, **streams)


def run_command(body, cwd):
    """Run Python code as a command; ``kill(number)`` in it sends a signal to its process."""
    script = f"""
import os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from hpi.cli import process
process.AGAIN_S = 0.2
def kill(number=signal.SIGINT):
    os.kill(os.getpid(), number)
def command():
{body}
process.run(command)
"""
    return run_python("-c", script, cwd=cwd)


@pytest.mark.parametrize(
    ("module", "number"),
    [
        ("typer", signal.SIGINT),
        ("cv2", signal.SIGTERM),
        ("onnxruntime", signal.SIGINT),
        *(
            pytest.param(module, number, marks=pytest.mark.full)
            for module in ("rich.console", "pydantic", "yaml", "numpy", "numpy.linalg", "hpi.predictor", "openvino")
            for number in ENDS
        ),
    ],
)
def test_a_signal_during_an_import(tmp_path, module, number):
    if module == "openvino" and missing_backend(module):
        pytest.skip("OpenVINO is not installed")
    done = run_python("-c", AT_IMPORT, module, str(int(number)), "predict", EXAMPLE, cwd=tmp_path)
    assert (done.returncode, done.stderr, done.stdout) == (*ENDS[number], "")


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.full)])
def test_a_signal_during_a_conversion_ends_the_converter_too(tmp_path, shared, number):
    if missing_backend("paddle"):
        pytest.skip("Paddle is not installed")
    require("paddle2onnx")
    model = ("--model", "PP-TinyPose_128x96", "--model_dir", shared / "models" / "PP-TinyPose_128x96")
    environment = {**os.environ, "HPI_HOME": str(tmp_path / "home")}
    with start("predict", EXAMPLE, *model, "--backend", "onnxruntime", cwd=tmp_path, env=environment) as process:
        while not (converters := running_children(process.pid)):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        fragment = process.communicate(timeout=HANGS_S)[1]
    assert (process.returncode, fragment) == ENDS[number]
    end = time.monotonic() + 30
    while any(map(is_running, converters)):  # killed, but not gone at once
        assert time.monotonic() < end
        time.sleep(0.02)
    left = [path.name for path in (tmp_path / "home").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert left == []


def running_children(pid):
    """The child processes of a process that run another program."""
    found = open(f"/proc/{pid}/task/{pid}/children").read().split()  # noqa: PTH123, SIM115
    return [child for child in found if b"paddle2onnx" in command_of(child)]


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:  # noqa: PTH123
            return stream.read()
    except OSError:
        return b""


@pytest.mark.full
def is_running(pid):
    """Whether a process is running; a zombie has no command line."""
    return bool(command_of(pid))


@pytest.mark.full
def test_an_interrupt_leaves_only_whole_files(tmp_path):
    with start("predict", *[EXAMPLE] * 500, "--save_path", "out", cwd=tmp_path) as process:
        for line in process.stdout:
            if line.startswith("saved"):
                break
        process.send_signal(signal.SIGINT)
        _, fragment = process.communicate(timeout=HANGS_S)
    assert (process.returncode, fragment) == ENDS[signal.SIGINT]
    saved = {path.name for path in (tmp_path / "out").iterdir()}
    assert 0 < len(saved) < 1000
    for path in (tmp_path / "out").glob("*.json"):
        assert json.loads(path.read_text())["boxes"]
    for path in (tmp_path / "out").glob("*.png"):
        assert cv2.imread(str(path)) is not None
    assert len(saved) == len(list((tmp_path / "out").glob("*.json"))) + len(list((tmp_path / "out").glob("*.png")))


@pytest.mark.parametrize("seconds", [0, *(pytest.param(n / 10, marks=pytest.mark.full) for n in range(4, 30, 2))])
def test_control_c_on_a_terminal(tmp_path, seconds):
    """The terminal sends the signal to every process of the command at any moment."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "hpi", "predict", *[str(EXAMPLE)] * 200, "--save_path", "out"]
    own = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored in a background job
os.execv(sys.argv[1], sys.argv[1:])
"""
    with subprocess.Popen(
        [sys.executable, "-c", own, *command],
        cwd=tmp_path,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    ) as process:
        os.close(slave)
        wait_until(lambda: is_listening(process.pid), "the command takes care of signals")
        time.sleep(seconds)
        os.write(master, b"\x03")
        shown = b"".join(iter(lambda: read(master), b""))
    os.close(master)
    assert process.returncode == 130, shown
    assert b"Traceback" not in shown
    assert not list(tmp_path.rglob("*.part"))


def is_listening(pid):
    """Whether a process has a handler for SIGTERM. Python itself has none."""
    with open(f"/proc/{pid}/status") as stream:  # noqa: PTH123
        caught = next(line for line in stream if line.startswith("SigCgt"))
    return int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1


def read(terminal):
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux's end of a terminal
        return b""


def test_a_lost_interrupt_is_raised_again(tmp_path):
    body = """
    try:
        kill()
    except KeyboardInterrupt:
        pass
    time.sleep(60)"""
    done = run_command(body, tmp_path)
    assert (done.returncode, done.stderr) == ENDS[signal.SIGINT]


def test_a_lost_interrupt_prints_nothing(tmp_path):
    body = """
    class Noisy:
        def __del__(self):
            kill()
    Noisy()
    time.sleep(60)"""
    done = run_command(body, tmp_path)
    assert (done.returncode, done.stderr) == ENDS[signal.SIGINT]


def test_further_signals_do_not_interrupt_the_cleanup(tmp_path):
    body = """
    try:
        kill(signal.SIGTERM)
    finally:
        kill(), kill(signal.SIGTERM)
        open("clean", "w").close()"""
    done = run_command(body, tmp_path)
    assert (done.returncode, done.stderr) == ENDS[signal.SIGTERM]
    assert (tmp_path / "clean").exists()


def test_the_process_does_not_wait_for_threads(tmp_path):
    done = run_command("    threading.Thread(target=time.sleep, args=[60]).start(); kill()", tmp_path)
    assert (done.returncode, done.stderr) == ENDS[signal.SIGINT]


def test_a_command_that_ends_by_itself_after_a_signal_may_take_its_time(tmp_path):
    body = """
    threading.Thread(target=time.sleep, args=[1]).start()
    try:
        kill(signal.SIGTERM)
    except KeyboardInterrupt:
        pass"""
    done = run_command(body, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_temporary_folders_are_removed(tmp_path):
    body = """
    import tempfile
    global kept
    kept = tempfile.TemporaryDirectory(dir=".")
    kill()"""
    done = run_command(body, tmp_path)
    assert (done.returncode, done.stderr) == ENDS[signal.SIGINT]
    assert list(tmp_path.iterdir()) == []


def test_a_forked_process_dies_silently(tmp_path):
    body = """
    child = os.fork()
    if not child:
        time.sleep(60)
    time.sleep(0.1)
    os.kill(child, signal.SIGINT)
    print(os.waitpid(child, 0)[1])"""
    done = run_command(body, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{int(signal.SIGINT)}\n", "")


def test_an_ignored_signal_stays_ignored(tmp_path):
    """Like that of a background job of a shell."""
    script = """
import os, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
from hpi.cli.process import run
run(lambda: os.kill(os.getpid(), signal.SIGINT))
"""
    assert run_python("-c", script, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("body", "code", "fragment"),
    [
        ("    return", 0, ""),
        ("    sys.exit(2)", 2, ""),
        ("    sys.exit()", 0, ""),
        ("    raise ValueError('a bug')", 1, "ValueError: a bug"),
        ("    try:\n        kill()\n    except KeyboardInterrupt:\n        sys.exit(0)  # as the service does", 0, ""),
    ],
)
def test_exit_codes(tmp_path, body, code, fragment):
    done = run_command(body, tmp_path)
    assert done.returncode == code
    assert fragment in done.stderr
    assert ("Traceback" in done.stderr) == bool(fragment)


@pytest.mark.full
def test_closed_standard_streams_are_not_an_error(tmp_path):
    shell = f'"{sys.executable}" -m hpi models'
    for redirection, code in ((">&-", 0), ("2>&-", 0), (">&- 2>&-", 0)):
        done = subprocess.run(["sh", "-c", f"{shell} {redirection}"], cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == code, redirection
        assert done.stderr == b""
