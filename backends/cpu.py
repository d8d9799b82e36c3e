"""The CPU of this machine, as far as it matters for speed."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from archspec.cpu import TARGETS, brand_string
from archspec.cpu.detect import detected_info

OMP_THREADS = "OMP_NUM_THREADS"

ISA_LEVELS = ("other", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "avx512_bf16", "amx")
"""Instruction sets of x86, each faster at inference than the one before; ``other`` is everything without AVX2."""
ARM_LEVELS = ("other", "neon", "neon_dotprod", "neon_i8mm")
"""Those of ARM, likewise; ``other`` is everything without NEON."""

# Without underscores, since macOS writes AVX512VNNI for what Linux calls avx512_vnni. AVX-512 alone has several parts
# (Knights Landing had others), and kernels for it need all of these.
_AVX512 = {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
_FLAGS = {
    "amx": {"amxtile", "amxbf16"},
    "avx512_bf16": {*_AVX512, "avx512bf16"},
    "avx512_vnni": {*_AVX512, "avx512vnni"},
    "avx512": _AVX512,
    "avx2_vnni": {"avx2", "avxvnni"},
    "avx2": {"avx2"},
    "neon_i8mm": {"asimd", "i8mm"},
    "neon_dotprod": {"asimd", "asimddp"},
    "neon": {"asimd"},
}
_VENDORS = {"GenuineIntel": "intel", "AuthenticAMD": "amd", "Apple": "apple", "ARM": "arm"}
_ARM = {"aarch64", "arm64", "ARM64"}


@dataclass(frozen=True)
class Cpu:
    """A class of CPUs.

    Attributes:
        vendor: ``"intel"``, ``"amd"``, ``"apple"``, ``"arm"`` or ``"other"``. Amazon's and Google's are ARM's.
        isa: one of :data:`ISA_LEVELS` or :data:`ARM_LEVELS`.
        cores: cores that the process may use.

    Example:
        >>> cpu = Cpu("amd", "avx512_bf16", 2)
        >>> str(cpu), cpu.has_bf16
        ('amd avx512_bf16, 2 cores', True)
    """

    vendor: str
    isa: str
    cores: int

    def __str__(self) -> str:
        return f"{self.vendor} {self.isa}, {self.cores} cores"

    @property
    def has_bf16(self) -> bool:
        """Whether it computes in bfloat16."""
        return self.isa in {"avx512_bf16", "amx"}


def usable_cores() -> int:
    """CPU cores that this process may use: its affinity, and the quota of its control group, rounded up.

    Example:
        >>> 1 <= usable_cores() <= os.cpu_count()
        True
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, cgroup_cores(Path("/")))))


def default_threads() -> int:
    """The default number of CPU threads of an inference: ``OMP_NUM_THREADS``, else :func:`usable_cores`.

    Example:
        >>> default_threads() >= 1
        True
    """
    asked = os.environ.get(OMP_THREADS, "").partition(",")[0].strip()  # a list is for nested parallel regions
    if not asked.isdigit() or not int(asked) or (asked == "1" and _set_by_paddle()):
        return usable_cores()
    return int(asked)


def _set_by_paddle() -> bool:
    """Whether ``OMP_NUM_THREADS`` is set only because Paddle was imported, which sets it to 1.

    On Linux the environment at the start of the process is still readable.
    """
    started_with = Path("/proc/self/environ")
    if "paddle" not in sys.modules or not started_with.is_file():
        return False
    return f"{OMP_THREADS}=".encode() not in started_with.read_bytes()


def cgroup_cores(root: Path) -> float:
    """CPU time per second that the control groups of this process allow, in cores; infinity without a limit.

    Containers set it (``docker run --cpus 2``, Kubernetes limits); their processes still see every core of the host.

    Args:
        root: the root of the file system.

    Returns:
        Cores, possibly a fraction of one.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for file, text in {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}.items():
        ...         Path(root, file).parent.mkdir(parents=True)
        ...         _ = Path(root, file).write_text(text)
        ...     cgroup_cores(Path(root))
        1.5
    """
    try:
        groups = os.fsdecode((root / "proc/self/cgroup").read_bytes()).splitlines()
    except OSError:
        return math.inf
    granted = math.inf
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if controllers == "":
            files, mount = ["cpu.max"], root / "sys/fs/cgroup"
        elif "cpu" in controllers.split(","):  # version 1
            files, mount = ["cpu.cfs_quota_us", "cpu.cfs_period_us"], root / "sys/fs/cgroup/cpu"
        else:
            continue
        # The limits of parent groups apply too. In a container the group itself may be mounted as the root.
        own = mount / path.lstrip("/")
        above = (folder for folder in (own, *own.parents) if folder.is_relative_to(mount))
        granted = min(granted, *(_quota([folder / file for file in files]) for folder in above))
    return granted


def _quota(files: Sequence[Path]) -> float:
    """Quota divided by period, from one file or two; infinity without a limit."""
    try:
        quota, period = " ".join(file.read_text(encoding="ascii") for file in files).split()
    except (OSError, ValueError):
        return math.inf
    return math.inf if quota in {"max", "-1"} else int(quota) / int(period)


def this_cpu() -> Cpu:
    """The CPU of this machine.

    Example:
        >>> cpu = this_cpu()
        >>> cpu.isa in ISA_LEVELS + ARM_LEVELS, cpu.cores == usable_cores()
        (True, True)
    """
    found, flags = detected_info(), {flag.replace("_", "") for flag in cpu_flags()}
    isa = next((level for level, needed in _FLAGS.items() if needed <= flags), "other")
    if isa == "other" and platform.machine() in _ARM:
        isa = "neon"  # every 64-bit ARM has it; Windows says no more
    return Cpu(_VENDORS.get(found.vendor, "other"), isa, usable_cores())


def cpu_flags() -> frozenset[str]:
    """The features of the CPU, mostly as Linux calls them; none where the system does not tell.

    Example:
        >>> isinstance(cpu_flags(), frozenset)
        True
    """
    found = detected_info()
    if found.vendor == "Apple" and found.name in TARGETS:  # macOS names the chip, not its features
        found = TARGETS[found.name]
    return frozenset(found.features)


def cpu_name() -> str:
    """What the CPU calls itself, or ``"unknown"``.

    Example:
        >>> len(cpu_name()) > 0
        True
    """
    try:
        brand = brand_string()
    except Exception:  # noqa: BLE001 - it runs an instruction of its own, which hardened systems forbid in several ways
        brand = None
    return brand or platform.processor() or "unknown"
