"""Device strings, and the GPUs of a machine, of which CUDA tells here what it is told to."""

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
    """CUDA's driver with some cards, or one that gives an error code."""

    def __init__(self, cards, failure=0):
        self.cards = cards
        self.failure = failure

    def cuInit(self, _):
        return self.failure

    def cuDeviceGetCount(self, count):
        count._obj.value = self.cards
        return 0


@pytest.fixture
def cuda(monkeypatch):
    """A machine with the driver and CuPy; gives a function that puts cards in."""

    def install(*cards, failure=0):
        def properties(index):
            name, major, minor = cards[index]
            return {"name": name.encode(), "major": major, "minor": minor}

        runtime = SimpleNamespace(getDeviceProperties=properties, runtimeGetVersion=lambda: 12080)
        monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(runtime=runtime)))
        monkeypatch.setattr(gpu, "_load_driver", lambda: Driver(len(cards), failure))

    return install


def test_the_gpu_that_a_device_names(cuda):
    cuda(("Tesla T4", 7, 5), ("NVIDIA H200", 9, 0))
    assert gpu_count() == 2
    assert gpu_of("gpu:0") == Gpu(0, "Tesla T4", 7.5, 12.8)
    assert str(gpu_of("gpu:1")) == "NVIDIA H200, compute capability 9, CUDA 12.8"


def test_a_card_that_is_not_there(cuda):
    cuda(("Tesla T4", 7, 5))
    with pytest.raises(BackendError, match="'gpu:1' cannot be used: there are only 1, gpu:0 to gpu:0"):
        check_gpu("gpu:1")


@pytest.mark.parametrize(("failure", "count", "said"), [(100, 0, "no NVIDIA GPU"), (803, None, "does not work")])
def test_a_driver_that_is_of_no_use(cuda, failure, count, said):
    """100: it sees no card; 803: it is of another version than its kernel module."""
    cuda(("Tesla T4", 7, 5), failure=failure)
    assert gpu_count() == count
    with pytest.raises(BackendError, match=said):
        gpu_of("gpu:0")


def test_without_a_driver(monkeypatch):
    monkeypatch.setattr(gpu, "_load_driver", lambda: None)
    assert gpu_count() is None
    with pytest.raises(BackendError, match="NVIDIA's driver is not on this machine"):
        gpu_of("gpu:0")


def test_without_cupy_nothing_is_known_of_a_card_but_that_it_is_there(cuda, monkeypatch):
    cuda(("Tesla T4", 7, 5))
    monkeypatch.setattr("hpi.selection.priors.is_installed", lambda _: False)
    assert device_class("gpu:0") is None
    monkeypatch.setattr("hpi.selection.priors.is_installed", lambda _: True)
    assert device_class("gpu:0") == GpuClass(name="Tesla T4", compute_capability=7.5, cuda=12.8)
