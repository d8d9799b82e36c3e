"""The contract of a session, on every runtime with the bundled models."""

import dataclasses
import shutil
import threading

import numpy as np
import pytest

from hpi import Predictor
from hpi.backends import BACKENDS
from hpi.backends.base import ModelFiles, Variant, is_installed
from hpi.backends.cpu import usable_cores
from hpi.errors import BackendError, ModelError
from hpi.zoo import Zoo

from support import BACKEND_PACKAGES, ROUNDING, float_files, quick_first

POSE, DETECTOR = "MoveNet-Thunder_256x256", "PicoDet-S_person_416"


@pytest.fixture
def pose(backend, options):
    with BACKENDS[backend].load(float_files(POSE), options) as session:
        yield session


@pytest.fixture
def detector(backend, options):
    with BACKENDS[backend].load(float_files(DETECTOR), options) as session:
        yield session


def test_info_states_what_is_engaged(pose, detector, backend):
    threads = min(2, usable_cores()) if backend == "openvino" else 2  # OpenVINO takes no more than there are cores
    for session in (pose, detector):
        info = session.info
        assert (info.backend, info.device, info.precision, info.threads) == (backend, "cpu", "fp32", threads)
        assert info.version
        assert info.model_path.is_file()
    assert [(spec.name, spec.shape) for spec in pose.info.inputs] == [("image", (None, 3, 256, 256))]
    assert {spec.name for spec in detector.info.inputs} == {"image", "scale_factor"}
    assert pose.batch_size is None
    assert detector.batch_size == 1


@pytest.mark.parametrize("backend", quick_first(BACKEND_PACKAGES), indirect=True)
def test_batch_equals_its_items_one_by_one(pose, rng):
    batch = rng.standard_normal((3, 3, 256, 256), np.float32)
    together = pose.run({"image": batch})[0]
    alone = np.concatenate([pose.run({"image": batch[i : i + 1]})[0] for i in range(3)])
    assert together.shape == (3, 17, 64, 64)
    assert np.abs(together - alone).max() < ROUNDING


@pytest.mark.parametrize("backend", quick_first(BACKEND_PACKAGES), indirect=True)
def test_fixed_batch_of_one_is_split(detector, rng):
    batch = rng.random((3, 3, 416, 416), np.float32)
    scale = np.ones((3, 2), np.float32)
    rows, counts = detector.run({"image": batch, "scale_factor": scale})
    assert counts.shape == (3,)
    assert rows.shape == (counts.sum(), 6)


def test_the_runtimes_agree(backend, options, rng):
    files = float_files(POSE)
    batch = rng.standard_normal((2, 3, 256, 256), np.float32)
    with (
        BACKENDS["onnxruntime"].load(files, options) as reference,
        BACKENDS[backend].load(files, options) as session,
    ):
        expected, found = reference.run({"image": batch})[0], session.run({"image": batch})[0]
    assert np.abs(found - expected).max() < ROUNDING


@pytest.mark.parametrize("backend", quick_first(BACKEND_PACKAGES), indirect=True)
def test_sessions_are_thread_safe(pose, rng):
    batches = rng.standard_normal((6, 1, 3, 256, 256), np.float32)
    expected = [pose.run({"image": batch})[0] for batch in batches]
    found: dict[int, np.ndarray] = {}

    def work(index):
        for _ in range(2):
            found[index] = pose.run({"image": batches[index]})[0]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, one in enumerate(expected):
        assert np.abs(found[index] - one).max() < ROUNDING


@pytest.mark.parametrize("backend", quick_first(BACKEND_PACKAGES), indirect=True)
def test_feeds_that_do_not_fit_are_refused(pose):
    for feeds, said in (
        ({}, "takes inputs"),
        ({"images": np.zeros((1, 3, 256, 256), np.float32)}, "takes inputs"),
        ({"image": np.zeros((1, 3, 256, 256))}, "float64"),
        ({"image": np.zeros((1, 3, 128, 96), np.float32)}, "128, 96"),
        ({"image": np.zeros((0, 3, 256, 256), np.float32)}, "above 0"),
    ):
        with pytest.raises(BackendError, match=said):
            pose.run(feeds)


@pytest.mark.parametrize("backend", quick_first(BACKEND_PACKAGES), indirect=True)
def test_inputs_must_share_one_batch_size(detector):
    feeds = {"image": np.zeros((2, 3, 416, 416), np.float32), "scale_factor": np.ones((1, 2), np.float32)}
    with pytest.raises(BackendError, match="one batch size"):
        detector.run(feeds)


@pytest.mark.parametrize("backend", quick_first(BACKEND_PACKAGES), indirect=True)
def test_a_graph_of_another_input_size_is_refused(home, tmp_path, backend):
    folder = shutil.copytree(Zoo.default().find(POSE).folder, tmp_path / "model")
    yml = (folder / "inference.yml").read_text().replace("- 256\n  - 256", "- 192\n  - 256")
    (folder / "inference.yml").write_text(yml.replace(POSE, "my-pose"))
    with pytest.raises(ModelError, match=r"\[N, 3, 256, 192\]"):
        Predictor("my-pose", model_dir=folder, backend=backend)


@pytest.mark.parametrize("backend", quick_first(BACKEND_PACKAGES), indirect=True)
def test_closed_session_can_be_closed_again_but_not_run(pose):
    pose.close()
    pose.close()
    with pytest.raises(BackendError, match="closed"):
        pose.run({"image": np.zeros((1, 3, 256, 256), np.float32)})


def test_all_usable_cores_are_the_default(backend, options, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    asked = dataclasses.replace(options, threads=None)
    with BACKENDS[backend].load(float_files(POSE), asked) as session:
        assert session.info.threads == usable_cores()


def test_variants_with_the_same_arithmetic_share_its_name():
    groups = {
        name: len({runtime.arithmetic(variant) for variant in runtime.variants("gpu:0")})
        for name, runtime in BACKENDS.items()
    }
    precisions = {variant.precision for variant in BACKENDS["openvino"].variants()}
    assert (groups["tensorrt"], groups["onnxruntime"], groups["openvino"]) == (3, 1, len(precisions))


def test_unavailable_runtime_states_the_reason(options):
    files = float_files(POSE)
    bare = ModelFiles("model")
    for runtime in BACKENDS.values():
        if not is_installed(runtime.package):
            assert runtime.install in runtime.unavailable(files, options)
            continue
        assert "'tpu:0'" in runtime.unavailable(files, dataclasses.replace(options, device="tpu:0"))
        on_its_own = dataclasses.replace(options, device=runtime.devices[0], variant=Variant("int4"))
        assert "int4" in runtime.unavailable(files, on_its_own)
    assert "no Paddle program" in BACKENDS["paddle"].cannot_read(dataclasses.replace(files, paddle=None))
    assert BACKENDS["paddle"].cannot_read(bare) is not None


def test_missing_runtime_tells_how_to_install_it(options, monkeypatch):
    monkeypatch.setattr("hpi.backends.base.is_installed", lambda _: False)
    for runtime in BACKENDS.values():
        assert runtime.install in runtime.unavailable(float_files(POSE), options)


def test_a_graph_with_a_fixed_batch_above_one_is_refused(tmp_path, options):
    onnx = pytest.importorskip("onnx")
    helper, tensor = onnx.helper, onnx.TensorProto.FLOAT
    values = [helper.make_tensor_value_info(name, tensor, [4, 3]) for name in ("image", "out")]
    graph = helper.make_graph([helper.make_node("Relu", ["image"], ["out"])], "graph", values[:1], values[1:])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    with pytest.raises(BackendError, match="fixed batch"):
        BACKENDS["onnxruntime"].load(ModelFiles("four", onnx=path), options)
