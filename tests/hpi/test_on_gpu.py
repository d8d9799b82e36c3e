"""A whole pipeline on a GPU: frames are uploaded, keypoints come back, and all steps between run on the GPU.

The GPU is simulated: its memory is that of the host, its kernels are the CUDA source compiled for the host, and its
runtime is ONNX Runtime on the CPU, which accepts only arrays on the simulated GPU. Launches, streams and speed need a
real one, and are not tested here.
"""

import dataclasses
import sys
from itertools import product

import numpy as np
import pytest
from measuring import write_measuring

from hpi import Predictor
from hpi.backends import BACKENDS
from hpi.backends.gpu import Gpu, gpu_count
from hpi.backends.onnxruntime import OnnxRuntime, OnnxRuntimeSession, providers_of
from hpi.devices import OnGpu
from hpi.errors import BackendError

from host_cupy import HostArray, make_host_cupy
from support import assert_same_keypoints, assert_same_people, quick_first

pytestmark = pytest.mark.long  # its slow cases run each night


class SimulatedSession(OnnxRuntimeSession):
    def __init__(self, backend, graph, options):
        super().__init__(backend, graph, options, providers_of("cpu"))
        self.info = dataclasses.replace(self.info, device=options.device)

    def _run(self, feeds):
        assert all(isinstance(array, HostArray) and array.flags.c_contiguous for array in feeds.values())
        outputs = super()._run({name: np.asarray(array) for name, array in feeds.items()})
        return [output.view(HostArray) for output in outputs]


class SimulatedGpu(OnnxRuntime):
    name = "simulated"
    devices = ("gpu",)
    trust = None

    def unavailable(self, files, options):
        return None if options.device.startswith("gpu") else "not a GPU"

    def open(self, files, graph, options):
        return SimulatedSession(self.name, graph, options)


@pytest.fixture(scope="module")
def simulated_gpu(home, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", make_host_cupy(tmp_path_factory.mktemp("simulated")))
        patch.setitem(BACKENDS, "simulated", SimulatedGpu())
        patch.setattr("hpi.selection.priors.is_installed", lambda _: True)
        patch.setattr("hpi.selection.priors.check_gpu", lambda _: None)
        patch.setattr("hpi.selection.priors.gpu_of", lambda _: Gpu(0, "Host", 9.0, 12.8))
        yield


@pytest.mark.full
@pytest.mark.parametrize("flip", quick_first([False, True], 1))
def test_people_match_the_cpu(simulated_gpu, image, flip):
    images = [image, np.ascontiguousarray(image[:300]), np.zeros_like(image)]
    with (
        Predictor("human_keypoint_detection_lite", device="gpu:0", backend="simulated", flip=flip) as on_gpu,
        Predictor("human_keypoint_detection_lite", device="cpu", backend="onnxruntime", flip=flip) as on_cpu,
    ):
        assert isinstance(on_gpu.pipelines[0].models[1].device, OnGpu)
        assert {model["device"] for model in on_gpu.describe()["models"]} == {"gpu:0"}
        # Some levels of the resized frame are rounded differently, which moves boxes, and so crops, by some 0.01 px.
        found, expected = (list(one.predict(images, batch_size=3)) for one in (on_gpu, on_cpu))
    assert len(expected[0]["boxes"]) == 2
    assert_same_people(found, expected)


@pytest.mark.full
@pytest.mark.parametrize(("most", "crop"), list(product([None, 0.05], ["paddledetection", "paddlex"])))
def test_keypoints_in_given_boxes_match_the_cpu(simulated_gpu, image, most, crop):
    """With a limit on the deviation, the parity gate compares it with the reference, which runs on the CPU."""
    boxes, name = [[39, 77, 160, 478], [432, 20, 640, 480]], "MoveNet-Thunder_256x256"
    with (
        Predictor(name, device="gpu:0", backend="simulated", max_deviation_px=most, crop=crop) as on_gpu,
        Predictor(name, device="cpu", backend="onnxruntime", crop=crop) as on_cpu,
    ):
        (found,), (expected,) = (one.predict(image, boxes=boxes) for one in (on_gpu, on_cpu))
    keypoints, on_cpu = (np.array([person["keypoints"] for person in one["kpts"]]) for one in (found, expected))
    assert_same_keypoints(keypoints, on_cpu)
    # The crops are bit-identical, and so are the heatmaps.
    assert np.array_equal(keypoints[..., 2], on_cpu[..., 2])


@pytest.mark.full
def test_padding_is_zero_on_a_gpu(simulated_gpu, rng, tmp_path):
    images = [rng.integers(200, 256, (height, width, 3), np.uint8) for width, height in ((640, 427), (480, 320))]
    with Predictor("measuring", model_dir=write_measuring(tmp_path), device="gpu:0", backend="simulated") as predictor:
        results = list(predictor.predict(images * 2, batch_size=4))
    for result in results:
        height, width = result.image.shape[:2]
        assert result.boxes == pytest.approx(np.tile([0, 0, width, height], (2, 1)), abs=1)


@pytest.mark.full
@pytest.mark.parametrize("flip", quick_first([False, True]))
def test_people_of_whole_images_match_the_cpu(simulated_gpu, tmp_path, rng, flip):
    dots = pytest.importorskip("dots")
    pytest.importorskip("scipy")
    folder = dots.save(tmp_path / "dots")
    images = [dots.paint(dots.people(rng, 4, size), size) for size in ((128, 64), (64, 64), (128, 64))]
    with (
        Predictor("dots", model_dir=folder, device="gpu:0", backend="simulated", flip=flip) as on_gpu,
        Predictor("dots", model_dir=folder, device="cpu", backend="onnxruntime", flip=flip) as on_cpu,
    ):
        assert isinstance(on_gpu.pipelines[0].models[0].device, OnGpu)
        found, expected = (list(one.predict(images, batch_size=3)) for one in (on_gpu, on_cpu))
    for one, other in zip(found, expected, strict=True):
        assert len(one.instances) == len(other.instances) >= 4
        assert np.abs(one.instances.points - other.instances.points).max() < 1e-3


@pytest.mark.full
def test_two_gpus_share_the_images(simulated_gpu, image):
    with Predictor("human_keypoint_detection_lite", device="gpu:0,1", backend="simulated") as predictor:
        found = [len(result["boxes"]) for result in predictor.predict([image] * 5)]
        models = predictor.describe()["models"]
    assert found == [2] * 5
    assert [model["device"] for model in models] == ["gpu:0", "gpu:0", "gpu:1", "gpu:1"]


# On a real GPU


ON_GPU = [name for name, backend in BACKENDS.items() if "gpu" in backend.devices]


@pytest.mark.gpu
@pytest.mark.skipif(not gpu_count(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("backend", ON_GPU)
def test_every_runtime_on_a_real_gpu_matches_the_cpu(backend, image):
    """Also for an image without people."""
    images = [image, np.zeros_like(image), np.ascontiguousarray(image[:300])]
    name = "human_keypoint_detection_lite"
    try:
        on_gpu = Predictor(name, device="gpu", backend=backend)
    except BackendError as error:
        if "not installed" in str(error) or "package for CPUs" in str(error) or "not built for" in str(error):
            pytest.skip(str(error))
        raise
    with on_gpu, Predictor(name, device="cpu", backend="onnxruntime") as on_cpu:
        found, expected = (list(one.predict(images, batch_size=3)) for one in (on_gpu, on_cpu))
    assert_same_people(found, expected)
