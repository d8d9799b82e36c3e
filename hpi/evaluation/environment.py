"""The machine and the package versions that a result was measured with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from hpi.backends.cpu import cpu_name, usable_cores

PACKAGES = ("hpi-pose", "numpy", "opencv-python", "onnxruntime", "openvino", "paddlepaddle", "paddle2onnx")


def describe_environment() -> dict[str, str]:
    """Processor, cores, system, Python and package versions; ``"not installed"`` for a package that is missing.

    Example:
        >>> sorted(describe_environment())[:3]
        ['cores', 'hpi-pose', 'numpy']
    """
    return {
        "processor": cpu_name(),
        "cores": str(usable_cores()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
