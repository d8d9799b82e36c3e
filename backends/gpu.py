"""The NVIDIA GPUs of this machine, as CUDA shows them to this process."""

from __future__ import annotations

import sys
from ctypes.util import find_library
from dataclasses import dataclass
from typing import Any

from hpi.backends.base import device_index, import_runtime, is_installed
from hpi.backends.messages import essence
from hpi.errors import BackendError

PACKAGE = "cupy"
INSTALL = 'pip install "hpi-pose[gpu]"'
INSTALL_ONNXRUNTIME = "pip uninstall -y onnxruntime && pip install --force-reinstall --no-deps onnxruntime-gpu"


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
        index: its number, as CUDA counts (``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER`` count).
        name: such as ``"Tesla T4"``.
        compute_capability: such as 7.5.
        cuda: version of the CUDA runtime in use, such as 12.8.
    """

    index: int
    name: str
    compute_capability: float
    cuda: float

    def __str__(self) -> str:
        return f"{self.name}, compute capability {self.compute_capability:g}, CUDA {self.cuda:g}"


def gpu_of(device: str) -> Gpu:
    """The GPU that a device string such as ``"gpu:0"`` names.

    Raises:
        BackendError: there is none; the message says what is missing.
    """
    if lacking := _lacking():
        raise BackendError(f"device {device!r} cannot be used: this machine lacks {' and '.join(lacking)}")
    cupy = import_runtime(PACKAGE, INSTALL)
    count, index = _count(cupy), device_index(device)
    if index >= count:
        found = f"there are only {count}, gpu:0 to gpu:{count - 1}" if count else "there is no NVIDIA GPU"
        raise BackendError(f"device {device!r} cannot be used: {found}")
    facts = cupy.cuda.runtime.getDeviceProperties(index)
    version = cupy.cuda.runtime.runtimeGetVersion()
    return Gpu(
        index,
        facts["name"].decode(),
        facts["major"] + facts["minor"] / 10,
        version // 1000 + version % 1000 // 10 / 10,
    )


def has_gpu() -> bool:
    """Whether there is a GPU and what it takes to use it."""
    if _lacking():
        return False
    try:
        return _count(import_runtime(PACKAGE, INSTALL)) > 0
    except BackendError:
        return False


def _lacking() -> list[str]:
    """What is not installed of that which every GPU needs."""
    lacking = []
    if find_library("nvcuda" if sys.platform == "win32" else "cuda") is None:
        lacking.append("NVIDIA's driver (libcuda)")
    if not is_installed(PACKAGE):
        lacking.append(f"the package {PACKAGE} ({INSTALL})")
    return lacking


def _count(cupy: Any) -> int:
    try:
        return int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:
        said = essence(str(error))
        if said.startswith("cudaErrorNoDevice"):
            return 0
        raise BackendError(
            f"CUDA cannot be used: {said}; a GPU needs NVIDIA's driver (nvidia-smi shows whether it works)"
        ) from error
