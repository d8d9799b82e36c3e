"""Device strings, and the GPUs of a machine with a fake CUDA driver."""

import sys
from types import SimpleNamespace

import pytest

from hpi.backends import gpu
from hpi.backends.base import device_index, device_kind
from hpi.backends.gpu import Gpu, check_gpu, gpu_count, gpu_of
from hpi.errors import BackendError
from hpi.selection.priors import GpuClass, device_class


@pytest.mark.parametrize(("device", "kind", "index"), [("cpu", "cpu", 0), ("gpu:0", "gpu", 0), ("npu:12", "npu", 12)])
def test_parts_of_a_device(device, kind, index):
    assert (device_kind(device), device_index(device)) == (kind, index)


class Driver:
    """CUDA's driver with some GPUs, or one that fails with an error code."""

    def __init__(self, gpus, failure=0):
        self.gpus = gpus
        self.failure = failure

    def cuInit(self, _):
        return self.failure

    def cuDeviceGetCount(self, count):
        count._obj.value = self.gpus
        return 0


@pytest.fixture
def cuda(monkeypatch):
    """A machine with the driver and CuPy, as a function that adds GPUs."""

    def install(*gpus, failure=0):
        def properties(index):
            name, major, minor = gpus[index]
            return {"name": name.encode(), "major": major, "minor": minor}

        runtime = SimpleNamespace(getDeviceProperties=properties, runtimeGetVersion=lambda: 12080)
        monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(runtime=runtime)))
        monkeypatch.setattr(gpu, "_load_driver", lambda: Driver(len(gpus), failure))

    return install


def test_gpu_of_a_device_string(cuda):
    cuda(("Tesla T4", 7, 5), ("NVIDIA H200", 9, 0))
    assert gpu_count() == 2
    assert gpu_of("gpu:0") == Gpu(0, "Tesla T4", 7.5, 12.8)
    assert str(gpu_of("gpu:1")) == "NVIDIA H200, compute capability 9, CUDA 12.8"


def test_missing_gpu_is_named(cuda):
    cuda(("Tesla T4", 7, 5))
    with pytest.raises(BackendError, match="'gpu:1' cannot be used: there are only 1, gpu:0 to gpu:0"):
        check_gpu("gpu:1")


@pytest.mark.parametrize(("failure", "count", "said"), [(100, 0, "no NVIDIA GPU"), (803, None, "does not work")])
def test_broken_driver_is_reported(cuda, failure, count, said):
    """100: no device; 803: the driver and its kernel module differ in version."""
    cuda(("Tesla T4", 7, 5), failure=failure)
    assert gpu_count() == count
    with pytest.raises(BackendError, match=said):
        gpu_of("gpu:0")


def test_missing_driver_is_reported(monkeypatch):
    monkeypatch.setattr(gpu, "_load_driver", lambda: None)
    assert gpu_count() is None
    with pytest.raises(BackendError, match="NVIDIA's driver is not on this machine"):
        gpu_of("gpu:0")


def test_without_cupy_a_gpu_has_no_device_class(cuda, monkeypatch):
    cuda(("Tesla T4", 7, 5))
    monkeypatch.setattr("hpi.selection.priors.is_installed", lambda _: False)
    assert device_class("gpu:0") is None
    monkeypatch.setattr("hpi.selection.priors.is_installed", lambda _: True)
    assert device_class("gpu:0") == GpuClass(name="Tesla T4", compute_capability=7.5, cuda=12.8)
