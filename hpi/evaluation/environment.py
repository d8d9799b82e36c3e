"""The machine and the package versions that a result was measured with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hpi.backends.cpu import usable_cores

PACKAGES = ("hpi-pose", "numpy", "opencv-python", "onnxruntime", "openvino", "paddlepaddle", "paddle2onnx")


def describe_environment() -> dict[str, str]:
    """Processor, cores, system, Python and package versions; ``"not installed"`` for a package that is missing.

    Example:
        >>> sorted(describe_environment())[:3]
        ['cores', 'hpi-pose', 'numpy']
    """
    return {
        "processor": _processor(),
        "cores": str(usable_cores()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
