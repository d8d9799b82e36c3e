"""The part of CuPy that the kernels use, on a simulated GPU: memory of the host, and CUDA source compiled for it."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

RUNTIME = Path(__file__).parent / "kernels" / "cuda" / "host_cuda.h"
MOST_ROWS_OF_BLOCKS = 65535  # of a grid, on every GPU
OUTCOMES = {1: "arguments of other sizes than the kernel's parameters", 2: "a barrier that not all threads reached"}


class HostArray(np.ndarray):
    """An array on the simulated GPU: memory of the host."""

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.ctypes.data)


class HostCuPy:
    """The part of CuPy that the kernels use, with the CUDA source compiled for the host."""

    def __init__(self, compiler: str, folder: Path) -> None:
        self._compiler = compiler
        self._folder = folder
        self._running = threading.Lock()  # the simulated GPU runs one kernel at a time
        stream = SimpleNamespace(synchronize=lambda: None)
        self.cuda = SimpleNamespace(Device=nullcontext, get_current_stream=lambda: stream)

    def asarray(self, array: np.ndarray, order: str = "K") -> np.ndarray:
        return np.array(array, order=order).view(HostArray)

    def ascontiguousarray(self, array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array).view(HostArray)

    def empty(self, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        return np.full(shape, np.nan, dtype).view(HostArray)  # NaN shows what a kernel does not write

    def asnumpy(self, array: np.ndarray) -> np.ndarray:
        return np.asarray(array)

    def RawModule(self, *, code: str, options: Sequence[str]) -> HostModule:
        names = re.findall(r'extern "C" __global__ void (\w+)', code)
        launchers = "\n".join(f"HOST_LAUNCHER({name})" for name in names)
        source = Path(tempfile.mkdtemp(dir=self._folder)) / "kernels.cpp"
        library = source.with_suffix(".so")
        source.write_text(f'#include "{RUNTIME}"\n{code}\n{launchers}\n')
        defines = [option for option in options if option.startswith("-D")]
        flags = ["-std=c++20", "-O2", "-ffp-contract=off", "-shared", "-fPIC", *defines]
        command = [self._compiler, *flags, str(source), "-o", str(library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return HostModule(ctypes.CDLL(str(library)), self._running)


class HostModule:
    def __init__(self, library: ctypes.CDLL, running: threading.Lock) -> None:
        self._library = library
        self._running = running

    def get_function(self, name: str) -> Callable[..., None]:
        launch = self._library[f"launch_{name}"]

        def kernel(grid: tuple[int, ...], block: tuple[int], arguments: Sequence[np.ndarray | np.generic]) -> None:
            columns, rows = (*grid, 1)[:2]
            assert rows <= MOST_ROWS_OF_BLOCKS
            values = [_value(argument) for argument in arguments]
            places = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
            sizes = (ctypes.c_size_t * len(values))(*(value.nbytes for value in values))
            with self._running:
                outcome = launch(columns, rows, block[0], places, sizes, ctypes.c_size_t(len(values)))
            assert not outcome, OUTCOMES[outcome]

        return kernel


def _value(argument: np.ndarray | np.generic) -> np.ndarray:
    """The argument of a kernel: the address of an array on the GPU, or a value on the host."""
    if isinstance(argument, HostArray):
        return np.array(argument.data.ptr, np.uint64)
    value = np.asarray(argument)
    assert value.size == 1, "CuPy passes arrays on the host by value, and only those of size 1"
    return value


def make_host_cupy(folder: Path) -> HostCuPy:
    """The stand-in for CuPy; skips the test without a compiler."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("needs a C++ compiler, g++ or clang++")
    return HostCuPy(compiler, folder)
