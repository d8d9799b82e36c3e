"""The cores and threads that a process may use."""

import math
import os
import subprocess
import sys

import pytest

from hpi.backends.cpu import cgroup_cores, default_threads, usable_cores

from support import require, run_python


@pytest.fixture
def root(tmp_path):
    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, math.inf),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, math.inf),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        (
            {
                "proc/self/cgroup": "0::/kubepods/pod1\n",
                "sys/fs/cgroup/kubepods/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/kubepods/pod1/cpu.max": "max 100000\n",
            },
            2,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/a\n3:memory:/docker/a\n",
                "sys/fs/cgroup/cpu/docker/a/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/docker/a/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/a\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            math.inf,
        ),
    ],
)
def test_the_quota_of_a_control_group_counts(root, files, cores):
    assert cgroup_cores(root(files)) == cores


def test_at_least_one_core_is_usable():
    assert usable_cores() >= 1


@pytest.mark.parametrize(("said", "threads"), [("3", 3), ("2,4", 2), (" 5 ", 5), ("1", 1)])
def test_omp_num_threads_is_the_default(said, threads, tmp_path):
    done = run_python(
        "-c",
        "from hpi.backends.cpu import default_threads; print(default_threads())",
        cwd=tmp_path,
        OMP_NUM_THREADS=said,
    )
    assert done.stdout.split() == [str(threads)], done.stderr


@pytest.mark.parametrize("said", ["", "0", "-1", "many", "1.5", ","])
def test_invalid_omp_num_threads_is_ignored(said, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert default_threads() == usable_cores()


def without_omp_num_threads(code, folder):
    """What code prints in a process that is started without the variable."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


DIFFERENCE = (
    "import os, paddle; from hpi.backends.cpu import default_threads, usable_cores; "
    "print(os.environ['OMP_NUM_THREADS'], default_threads() - usable_cores())"
)


@pytest.mark.full
def test_omp_num_threads_set_by_paddle_is_ignored(tmp_path):
    """Importing Paddle sets OMP_NUM_THREADS to 1 where it is not set."""
    require("paddle")
    assert without_omp_num_threads(DIFFERENCE, tmp_path) == ["1", "0"]
    done = run_python("-c", DIFFERENCE, cwd=tmp_path, OMP_NUM_THREADS="1")
    assert done.stdout.split() == ["1", str(1 - usable_cores())], done.stderr


@pytest.mark.full
def test_loading_paddle_leaves_the_environment_unchanged(tmp_path):
    require("paddle")
    code = (
        "import os; from hpi.backends.base import import_runtime; import_runtime('paddle', ''); "
        "print(os.environ.get('OMP_NUM_THREADS'))"
    )
    assert without_omp_num_threads(code, tmp_path) == ["None"]
