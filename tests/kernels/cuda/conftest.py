"""CuPy for the tests of the CUDA kernels: the real one if there is a GPU, and a stand-in on the host everywhere."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

import pytest

from hpi.kernels.cuda import CudaKernels

from host_cupy import HostCuPy, make_host_cupy


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cupy" in metafunc.fixturenames:
        both = ["host", pytest.param("gpu", marks=pytest.mark.gpu)]
        metafunc.parametrize("cupy", both, indirect=True, scope="session")


@pytest.fixture(scope="session")
def cupy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> HostCuPy | ModuleType:
    """CuPy, or its stand-in."""
    if request.param == "gpu":
        return _real_cupy()
    return make_host_cupy(tmp_path_factory.mktemp("cuda"))


def _real_cupy() -> ModuleType:
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("CuPy is not installed")
    cupy = importlib.import_module("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("no NVIDIA GPU")
    return cupy


@pytest.fixture(scope="session")
def kernels(cupy: HostCuPy | ModuleType) -> CudaKernels:
    """The kernels, compiled once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", cupy)  # type: ignore[arg-type]
        return CudaKernels()
