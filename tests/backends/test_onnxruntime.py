"""ONNX Runtime's device memory and execution providers, as far as they can be tested without a GPU."""

import dataclasses

import numpy as np
import onnxruntime
import pytest

from hpi.backends import BACKENDS
from hpi.backends.base import Variant
from hpi.backends.gpu import Gpu
from hpi.backends.onnxruntime import OnnxRuntimeSession, providers_of, read_inputs, run_bound, tensorrt_settings
from hpi.errors import BackendError

from support import float_files

POSE, DETECTOR = "MoveNet-Thunder_256x256", "PicoDet-S_person_416"
HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


@pytest.fixture(scope="module")
def graphs(home):
    """The ONNX graphs of a keypoint model and a detector."""
    return {name: float_files(name).onnx for name in (POSE, DETECTOR)}


@pytest.fixture
def on_gpu(options):
    return dataclasses.replace(options, device="gpu:1", variant=Variant("fp16"))


def test_bound_memory_gives_the_same_outputs_as_arrays(graphs, options, rng):
    """The code path of GPU arrays, here with CPU memory."""
    image = rng.random((3, 3, 256, 256), np.float32)
    with BACKENDS["onnxruntime"].load(float_files(POSE), options) as session:
        (expected, *_) = session.run({"image": image})
        bound = {"image": (image.dtype, image.shape, image.ctypes.data)}
        (value, *_) = run_bound(session._sessions[0], bound, "cpu", 0)
        assert np.array_equal(value.numpy(), expected)
        assert (value.shape(), value.data_type()) == (list(expected.shape), "tensor(float)")


@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime_tensorrt"])
@pytest.mark.parametrize(
    ("installed", "reason"),
    [
        ({"onnxruntime"}, "the package for CPUs is installed: pip uninstall -y onnxruntime"),
        ({"onnxruntime", "onnxruntime-gpu"}, "have overwritten each other"),
        ({"onnxruntime-gpu"}, None),
    ],
)
def test_cpu_and_gpu_packages_are_told_apart(name, installed, reason, on_gpu, monkeypatch):
    monkeypatch.setattr("hpi.backends.onnxruntime._is_distributed", lambda package: package in installed)
    monkeypatch.setattr("hpi.backends.onnxruntime.is_installed", lambda _: True)
    fp32 = dataclasses.replace(on_gpu, variant=Variant())
    said = BACKENDS[name].unavailable(float_files(POSE), fp32)
    assert said == reason if reason is None else reason in said


@pytest.mark.skipif(HAS_CUDA, reason="this ONNX Runtime has the CUDA provider")
def test_provider_that_does_not_engage_is_an_error(graphs, on_gpu):
    """ONNX Runtime itself only warns and continues on the CPU."""
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(BackendError, match=r"engaged \['CPUExecutionProvider'\] for .* instead of"),
    ):
        OnnxRuntimeSession("onnxruntime", graphs[POSE], on_gpu, providers_of("gpu:1"))


def test_settings_of_cuda():
    (name, cuda), (fallback, _) = providers_of("gpu:1")
    assert (name, fallback) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert (cuda["device_id"], cuda["use_tf32"]) == ("1", "0")
    assert providers_of("cpu") == [("CPUExecutionProvider", {})]


def test_settings_of_tensorrt(graphs, on_gpu, tmp_path):
    """A free batch gets one profile for all sizes; a graph with a fixed one must have none."""
    settings = tensorrt_settings(graphs[POSE], on_gpu, tmp_path)
    assert settings["trt_profile_min_shapes"] == "image:1x3x256x256"
    assert settings["trt_profile_opt_shapes"] == "image:8x3x256x256"
    assert settings["trt_profile_max_shapes"] == "image:32x3x256x256"
    assert (settings["device_id"], settings["trt_fp16_enable"]) == ("1", "True")
    assert settings["trt_engine_cache_path"] == str(tmp_path)
    fixed = tensorrt_settings(graphs[DETECTOR], dataclasses.replace(on_gpu, variant=Variant()), tmp_path)
    assert fixed["trt_fp16_enable"] == "False"
    assert not [name for name in fixed if "profile" in name]


def test_engines_of_each_model_have_their_own_folder(graphs, on_gpu, monkeypatch):
    monkeypatch.setattr("hpi.backends.onnxruntime.gpu_of", lambda _: Gpu(1, "Tesla T4", 7.5, 12.8))
    backend = BACKENDS["onnxruntime_tensorrt"]
    pose, detector = (backend._engine_folder(float_files(name), graphs[name], on_gpu) for name in (POSE, DETECTOR))
    assert pose.is_dir()
    assert pose != detector
    (pose / "engine").write_bytes(b"engine")
    assert backend._engine_folder(float_files(POSE), graphs[POSE], on_gpu) == pose
    assert {artifact.folder for artifact in on_gpu.artifacts.entries()} >= {pose, detector}
    assert (pose / "engine").read_bytes() == b"engine"


def test_inputs_of_a_graph(graphs):
    (image,) = read_inputs(graphs[POSE])
    assert (image.name, image.dtype, image.shape) == ("image", np.float32, (None, 3, 256, 256))
