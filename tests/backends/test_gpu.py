"""Device strings, and the GPUs of a machine, of which CUDA tells here what it is told to."""

import sys
from types import SimpleNamespace

import pytest

from hpi.backends import gpu
from hpi.backends.base import device_index, device_kind
from hpi.backends.gpu import Gpu, gpu_of, has_gpu
from hpi.errors import BackendError


@pytest.mark.parametrize(("device", "kind", "index"), [("cpu", "cpu", 0), ("gpu:0", "gpu", 0), ("npu:12", "npu", 12)])
def test_parts_of_a_device(device, kind, index):
    assert (device_kind(device), device_index(device)) == (kind, index)


class Runtime:
    """What ``cupy.cuda.runtime`` tells."""

    def __init__(self, cards, failure=None):
        self.cards = cards
        self.failure = failure

    def getDeviceCount(self):
        if self.failure:
            raise RuntimeError(self.failure)
        return len(self.cards)

    def getDeviceProperties(self, index):
        name, major, minor = self.cards[index]
        return {"name": name.encode(), "major": major, "minor": minor}

    def runtimeGetVersion(self):
        return 12080


@pytest.fixture
def cuda(monkeypatch):
    """A machine with the driver and CuPy; gives a function that puts cards in."""

    def install(*cards, failure=None):
        runtime = SimpleNamespace(cuda=SimpleNamespace(runtime=Runtime(cards, failure)))
        monkeypatch.setitem(sys.modules, "cupy", runtime)
        monkeypatch.setattr(gpu, "find_library", lambda _: "libcuda.so.1")
        monkeypatch.setattr(gpu, "is_installed", lambda _: True)

    return install


def test_the_gpu_that_a_device_names(cuda):
    cuda(("Tesla T4", 7, 5), ("NVIDIA H200", 9, 0))
    assert has_gpu()
    assert gpu_of("gpu:0") == Gpu(0, "Tesla T4", 7.5, 12.8)
    assert str(gpu_of("gpu:1")) == "NVIDIA H200, compute capability 9, CUDA 12.8"


def test_a_card_that_is_not_there(cuda):
    cuda(("Tesla T4", 7, 5))
    with pytest.raises(BackendError, match="'gpu:1' cannot be used: there are only 1, gpu:0 to gpu:0"):
        gpu_of("gpu:1")


def test_a_driver_without_cards(cuda):
    cuda(failure="cudaErrorNoDevice: no CUDA-capable device is detected")
    assert not has_gpu()
    with pytest.raises(BackendError, match="there is no NVIDIA GPU"):
        gpu_of("gpu:0")


def test_a_driver_that_is_too_old(cuda):
    cuda(failure="cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version")
    assert not has_gpu()
    with pytest.raises(BackendError, match=r"driver version is insufficient.*nvidia-smi"):
        gpu_of("gpu:0")


def test_all_that_is_missing_is_named_at_once(monkeypatch):
    monkeypatch.setattr(gpu, "find_library", lambda _: None)
    monkeypatch.setattr(gpu, "is_installed", lambda _: False)
    assert not has_gpu()
    with pytest.raises(BackendError, match=r"lacks NVIDIA's driver \(libcuda\) and the package cupy \(pip install"):
        gpu_of("gpu:0")
