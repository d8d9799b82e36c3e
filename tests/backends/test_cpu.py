"""The cores and threads that a process may use."""

import math
import os
import platform
import subprocess
import sys
from pathlib import Path

import archspec.cpu.detect as detect
import pytest
from archspec.vendor.cpuid.cpuid import CPUID, CPUID_struct

from hpi.backends.cpu import ARM_LEVELS, ISA_LEVELS, cgroup_cores, cpu_name, default_threads, this_cpu, usable_cores
from hpi.selection.priors import CpuClass

from support import require, run_python

RECORDED = Path(detect.__file__).parents[1] / "json" / "tests" / "targets"
"""What real machines say of their CPUs: ``/proc/cpuinfo``, ``sysctl``, registers of ``cpuid``."""


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


# The class of a CPU

CLASSES = {
    "linux-rhel7-haswell": ("intel", "avx2"),
    "linux-ubuntu20.04-zen3": ("amd", "avx2"),
    "linux-ubuntu24.04-alderlake": ("intel", "avx2_vnni"),
    "linux-rhel7-skylake_avx512": ("intel", "avx512"),
    "linux-centos7-cascadelake": ("intel", "avx512_vnni"),
    "windows-cpuid-icelake": ("intel", "avx512_vnni"),
    "linux-rocky8.5-zen4": ("amd", "avx512_bf16"),
    "linux-unknown-sapphirerapids": ("intel", "amx"),
    "linux-rhel7-ivybridge": ("intel", "other"),
    "windows-cpuid-broadwell": ("intel", "avx2"),
    "darwin-mojave-skylake": ("intel", "avx2"),
    "darwin-bigsur-m1": ("apple", "neon_dotprod"),
    "darwin-monterey-m2": ("apple", "neon_i8mm"),
    "darwin-sequoia-m4": ("apple", "neon_i8mm"),
    "linux-asahi-m1": ("apple", "neon_dotprod"),
    "linux-amazon-cortex_a72": ("arm", "neon"),
    "linux-amazon-neoverse_n1": ("arm", "neon_dotprod"),
    "linux-ubuntu22.04-neoverse_v2": ("arm", "neon_i8mm"),
    "linux-ubuntu22.04-ampere1": ("other", "neon_i8mm"),
    "linux-rhel8-power9": ("other", "other"),
}


@pytest.fixture
def on_machine(monkeypatch):
    """Lets archspec read what another machine says of its CPU."""

    def forget():
        detect._machine.cache_clear()
        detect._darwin_sysctl_data.cache_clear()

    def pretend(name):
        forget()
        record, system = RECORDED / name, name.partition("-")[0].title()
        text = record.read_text()
        family = next((family for word, family in FAMILIES.items() if word in text), "x86_64")
        monkeypatch.setattr("platform.system", lambda: system)
        monkeypatch.setattr("platform.machine", lambda: "AMD64" if system == "Windows" else family)
        monkeypatch.setattr(detect, "open", lambda _: record.open(), raising=False)
        monkeypatch.setattr(detect, "_check_output", lambda *_, **__: text)
        if system == "Windows":
            rows = [[int(number) for number in line.split(",")] for line in text.splitlines() if line]
            known = {(eax, ecx): registers for eax, ecx, *registers in rows}
            answer = lambda _, eax, ecx: CPUID_struct(*known.get((eax, ecx), (0, 0, 0, 0)))  # noqa: E731
            monkeypatch.setattr(CPUID, "registers_for", answer)

    yield pretend
    forget()


FAMILIES = {"CPU implementer": "aarch64", "brand_string: Apple": "arm64", "POWER": "ppc64le", "hart": "riscv64"}


@pytest.mark.parametrize(("machine", "expected"), CLASSES.items())
def test_the_class_of_real_cpus(machine, expected, on_machine):
    on_machine(machine)
    cpu = this_cpu()
    assert (cpu.vendor, cpu.isa) == expected
    assert str(CpuClass.of(cpu)) == str(cpu)


def test_every_recorded_cpu_has_a_class(on_machine):
    machines = [file.name for file in RECORDED.iterdir() if file.name.startswith(("linux", "windows", "darwin"))]
    for machine in machines:
        on_machine(machine)
        assert CpuClass.of(this_cpu()).isa in ISA_LEVELS + ARM_LEVELS
    assert len(machines) > len(CLASSES)


def test_an_arm_that_tells_nothing_has_neon(on_machine, monkeypatch):
    """Windows on ARM."""
    on_machine("windows-cpuid-icelake")
    monkeypatch.setattr("platform.machine", lambda: "ARM64")
    assert (this_cpu().vendor, this_cpu().isa) == ("other", "neon")


def test_a_system_that_lets_nobody_ask_the_cpu_still_gives_a_name(monkeypatch):
    """SELinux may forbid memory that can be executed."""

    def refuses():
        raise MemoryError("Could not allocate RWX memory")

    monkeypatch.setattr("hpi.backends.cpu.brand_string", refuses)
    assert cpu_name() == (platform.processor() or "unknown")
