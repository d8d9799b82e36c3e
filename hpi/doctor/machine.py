"""The machine: system and Python, CPU, GPUs."""

from __future__ import annotations

import math
import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hpi.backends.cpu import OMP_THREADS, cgroup_cores, cpu_flags, cpu_name, default_threads, this_cpu
from hpi.doctor.packages import OWN
from hpi.doctor.process import ask
from hpi.doctor.report import Check, Problem

GPU_LIMIT_S = 60
SMI = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")


def check_system() -> Check:
    """Versions of this package, Python and the system.

    Example:
        >>> check_system().facts["python"] == platform.python_version()
        True
    """
    try:
        own = version(OWN)
    except PackageNotFoundError:
        own = "not installed"
    facts = {
        "hpi": own,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "platform": platform.platform(),
    }
    found = f"{OWN} {own}, {facts['implementation']} {facts['python']} ({sys.executable})\n{facts['platform']}"
    return Check("system", found, facts=facts)


def check_cpu() -> Check:
    """The CPU, and how much of it may be used.

    Example:
        >>> check_cpu().facts["threads"] == default_threads()
        True
    """
    cpu, quota, flags = this_cpu(), cgroup_cores(Path("/")), cpu_flags()
    facts = {
        "name": cpu_name(),
        "class": str(cpu),
        "vendor": cpu.vendor,
        "isa": cpu.isa,
        "instruction_sets": sorted(flag for flag in flags if flag.startswith(("sse4", "avx", "amx", "fma", "f16c"))),
        "cores": os.cpu_count(),
        "usable_cores": cpu.cores,
        "quota": None if math.isinf(quota) else quota,
        "threads": default_threads(),
        "omp_num_threads": os.environ.get(OMP_THREADS),
    }
    limit = "no quota" if math.isinf(quota) else f"quota of {quota:g}"
    asked = f" ({OMP_THREADS}={facts['omp_num_threads']})" if facts["omp_num_threads"] else ""
    found = (
        f"{facts['name']}: {cpu.vendor}, {cpu.isa}\n"
        f"{cpu.cores} of {facts['cores']} cores, {limit}; {facts['threads']} threads by default{asked}"
    )
    return Check("cpu", found, facts=facts)


def check_gpus() -> Check:
    """The GPUs that CUDA shows, with names and driver from nvidia-smi where that is there."""
    answer = ask("gpus", limit_s=GPU_LIMIT_S)
    smi = _nvidia_smi()
    count = answer.facts.get("count")
    facts = {"count": count, "nvidia_smi": smi, "described": answer.facts.get("described", [])}
    if answer.failure and (smi or count):
        cure = "see whether nvidia-smi works; device=cpu needs no GPU"
        return Check("gpu", "\n".join(smi) or f"{count}", (Problem(f"GPUs: {answer.failure}", cure),), facts=facts)
    if count:
        return Check("gpu", "\n".join([*smi, *facts["described"]]) or f"{count}", facts=facts)
    if smi:
        text = "nvidia-smi shows GPUs that CUDA does not show to this process"
        cure = "check CUDA_VISIBLE_DEVICES and, in a container, --gpus all"
        return Check("gpu", "\n".join(smi), (Problem(text, cure),), facts=facts)
    none = "no GPU is visible to CUDA" if count == 0 else "none: no working NVIDIA driver"
    return Check("gpu", none, is_note=True, facts=facts)


def _nvidia_smi() -> list[str]:
    """A line of name, driver and memory for each GPU; empty where the tool is missing or fails."""
    if shutil.which(SMI[0]) is None:
        return []
    try:
        done = subprocess.run(SMI, capture_output=True, text=True, errors="replace", timeout=GPU_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = [line.split(", ") for line in done.stdout.splitlines()] if done.returncode == 0 else []
    return [f"{line[0]}, driver {line[1]}, {line[2]}" for line in lines if len(line) == 3]
