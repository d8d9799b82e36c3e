"""The NVIDIA GPUs that CUDA shows to this process."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Any

from hpi.backends.base import device_index, import_runtime
from hpi.errors import BackendError

PACKAGE = "cupy"
INSTALL = 'pip install "hpi-pose[gpu]"'
INSTALL_ONNXRUNTIME = "pip uninstall -y onnxruntime && pip install --force-reinstall --no-deps onnxruntime-gpu"

_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
        index: its number in CUDA's order, which follows ``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER``.
        name: such as ``"Tesla T4"``.
        compute_capability: such as 7.5.
        cuda: version of the CUDA runtime in use, such as 12.8.

    Example:
        >>> str(Gpu(0, "Tesla T4", 7.5, 12.8))
        'Tesla T4, compute capability 7.5, CUDA 12.8'
    """

    index: int
    name: str
    compute_capability: float
    cuda: float

    def __str__(self) -> str:
        return f"{self.name}, compute capability {self.compute_capability:g}, CUDA {self.cuda:g}"


def check_gpu(device: str) -> None:
    """Check that the GPU of a device string such as ``"gpu:0"`` exists; needs no package.

    Raises:
        BackendError: it does not exist; the message says what is missing.
    """
    count, index = gpu_count(), device_index(device)
    if count is None:
        raise BackendError(
            f"device {device!r} cannot be used: NVIDIA's driver is not on this machine, or does not work (nvidia-smi "
            "shows whether it does); device='cpu' needs none"
        )
    if index >= count:
        found = f"there are only {count}, gpu:0 to gpu:{count - 1}" if count else "there is no NVIDIA GPU"
        raise BackendError(f"device {device!r} cannot be used: {found}")


def gpu_count() -> int | None:
    """The number of GPUs that CUDA's driver shows to this process; None without a working driver."""
    driver = _load_driver()
    if driver is None:
        return None
    count = ctypes.c_int(0)
    outcome = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if outcome == _NO_DEVICE:
        return 0
    return None if outcome else count.value


def _load_driver() -> Any:
    try:
        return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None


def gpu_of(device: str) -> Gpu:
    """The GPU of a device string such as ``"gpu:0"``.

    Raises:
        BackendError: it does not exist, or CuPy, which describes it, is not installed.
    """
    check_gpu(device)
    cupy, index = import_runtime(PACKAGE, INSTALL), device_index(device)
    facts = cupy.cuda.runtime.getDeviceProperties(index)
    version = cupy.cuda.runtime.runtimeGetVersion()
    return Gpu(
        index,
        facts["name"].decode(),
        facts["major"] + facts["minor"] / 10,
        version // 1000 + version % 1000 // 10 / 10,
    )
