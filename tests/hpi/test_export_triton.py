"""The model repository for Triton: what is written, and what cannot be. tests/hpi/serving runs it in a real server."""

import re
import shutil

import numpy as np
import pytest
import yaml

from hpi import Predictor
from hpi.backends.artifacts import ArtifactCache, content_hash
from hpi.backends.onnx_header import read_header
from hpi.errors import BackendError, ConfigError
from hpi.export.triton.config_text import Name, config_text
from hpi.export.triton.repository import RUNTIMES, Settings, export_triton
from hpi.zoo import Zoo

from support import EXAMPLE, ROOT, run_hpi

PIPELINE = "human_keypoint_detection_lite"
DETECTOR, KEYPOINTS = "PicoDet-S_person_416", "MoveNet-Thunder_256x256"


def parsed(folder):
    """A configuration, read with Triton's own proto."""
    model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    text_format = pytest.importorskip("google.protobuf.text_format")
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


@pytest.fixture(scope="module")
def repository(home, tmp_path_factory):
    folder = tmp_path_factory.mktemp("triton") / "repository"
    written = export_triton(PIPELINE, folder)
    assert [(one.name, one.runtime) for one in written] == [
        (PIPELINE, "python"), (DETECTOR, "onnxruntime"), (KEYPOINTS, "onnxruntime"),
    ]  # fmt: skip
    return folder


def test_the_files_are_those_that_triton_looks_for(repository):
    assert {path.name for path in repository.iterdir()} == {PIPELINE, DETECTOR, KEYPOINTS}
    assert {path.name for path in repository.parent.iterdir()} == {"repository"}
    for name in (DETECTOR, KEYPOINTS):
        graph = repository / name / "1" / "model.onnx"
        assert graph.read_bytes() == Zoo.default().find(name).files.onnx.read_bytes()
    assert np.fromfile(repository / DETECTOR / "warmup" / "ones", np.float32).tolist() == [1, 1]
    assert not (repository / KEYPOINTS / "warmup").exists()
    version = repository / PIPELINE / "1"
    content = yaml.safe_load((version / "pipeline.yaml").read_text())
    assert {module["model_dir"] for module in content["SubModules"].values()} == {
        f"models/{DETECTOR}", f"models/{KEYPOINTS}",
    }  # fmt: skip
    assert not list(version.rglob("*.pdiparams"))


@pytest.mark.parametrize("native", [None, *RUNTIMES[:2]])
@pytest.mark.parametrize("max_batch", [1, 8])
@pytest.mark.full
@pytest.mark.cluster
def test_the_configurations_fit_the_proto_and_the_onnx_files(home, tmp_path, native, max_batch):
    folder = tmp_path / "repository"
    export_triton(PIPELINE, folder, Settings(native, instances=3, max_batch=max_batch))
    whole = parsed(folder / PIPELINE)
    assert (whole.name, whole.backend, whole.max_batch_size) == (PIPELINE, "python", max_batch if max_batch > 1 else 0)
    assert [(one.name, one.data_type, list(one.dims), one.optional) for one in whole.input] == [
        ("image", 2, [-1, -1, 3], True), ("encoded", 13, [1], True), ("threshold", 11, [1], True),
    ]  # fmt: skip
    assert [(one.name, one.data_type, list(one.dims)) for one in whole.output] == [
        ("boxes", 11, [-1, 4]), ("scores", 11, [-1]), ("keypoints", 11, [-1, 17, 3]),
    ]  # fmt: skip
    assert whole.parameters["native"].string_value == (f"{native} on cpu" if native else "")
    for name in (DETECTOR, KEYPOINTS) if native else ():
        assert_fits(folder / name, native, 3, joined=name == KEYPOINTS and native == "onnxruntime")


def assert_fits(folder, native, instances, *, joined):
    """A native model's configuration names exactly the tensors of its graph."""
    config, header = parsed(folder), read_header(folder / "1" / "model.onnx")
    assert (config.name, config.backend, config.default_model_filename) == (folder.name, native, "model.onnx")
    assert [(group.count, group.kind) for group in config.instance_group] == [(instances, 2)]  # KIND_CPU
    assert config.dynamic_batching.priority_levels == config.dynamic_batching.default_priority_level == 2
    assert config.max_batch_size == (32 if joined else 0)
    batch = [None] if config.max_batch_size else []
    types = {"float32": 11, "int32": 8, "int64": 9}
    for declared, values in ((config.input, header.inputs), (config.output, header.outputs)):
        assert [one.name for one in declared] == [value.name for value in values]
        for one, value in zip(declared, values, strict=True):
            assert one.data_type == types[value.dtype]
            assert (*batch, *(None if side == -1 else side for side in one.dims)) == value.shape
    (warmup,) = config.model_warmup
    assert warmup.batch_size == 1
    for one in config.input:
        given = warmup.inputs[one.name]
        assert given.data_type == one.data_type
        assert all(want in {-1, side} and side > 0 for want, side in zip(one.dims, given.dims, strict=True))
        assert given.zero_data == (one.name == "image")


def test_text_format():
    text = config_text({"a": 'ü "b"\\', "b": [1, -1], "c": Name("ON"), "d": [{"e": True}, {"e": False}], "f": {}})
    assert text == 'a: "ü \\"b\\"\\\\"\nb: [1, -1]\nc: ON\nd {\n  e: true\n}\nd {\n  e: false\n}\nf {\n}\n'


@pytest.mark.parametrize(
    ("pipeline", "says"),
    [
        ("no_such_pipeline", "unknown pipeline"),
        ("rtmo-m", "rtmo-m is a model; a pipeline is exported"),
        ("PicoDet-S_person_416", "is a model; a pipeline is exported"),
        ("missing.yaml", "missing.yaml"),
    ],
)
def test_what_is_no_pipeline(tmp_path, pipeline, says):
    with pytest.raises(ConfigError, match=says):
        export_triton(pipeline, tmp_path / "repository")
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty; give a new folder"):
        export_triton(PIPELINE, tmp_path)
    with pytest.raises(ConfigError, match="is a file"):
        export_triton(PIPELINE, tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"native": "tensorrt"}, "TensorRT runs on GPUs"),
        ({"native": "openvino", "device": "gpu"}, "OpenVINO backend runs on the CPU"),
        ({"native": "paddle"}, "unknown backend 'paddle' of native models; known are onnxruntime, openvino, tensorrt"),
        ({"device": "gpu:0"}, "give cpu or gpu"),
        ({"instances": 0}, "at least 1"),
    ],
)
def test_wrong_settings(values, says):
    with pytest.raises(ConfigError, match=re.escape(says)):
        Settings(**values)


def pipeline_file(folder, **changes):
    content = {
        "pipeline_name": "mine",
        "SubModules": {
            "ObjectDetection": {"model_name": DETECTOR, "threshold": 0.4},
            "KeypointDetection": {"model_name": KEYPOINTS, "flip": True, "skeleton": "coco17.yaml"},
        },
    }
    shutil.copy(ROOT / "configs" / "skeletons" / "coco17.yaml", folder)
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump({**content, **changes}))
    return file


@pytest.mark.full
def test_a_yaml_file_keeps_its_options(home, tmp_path):
    export_triton(pipeline_file(tmp_path), tmp_path / "new" / "repository", Settings(native=None))
    (tmp_path / "coco17.yaml").unlink()
    version = tmp_path / "new" / "repository" / "mine" / "1"
    content = yaml.safe_load((version / "pipeline.yaml").read_text())
    assert content["SubModules"]["KeypointDetection"]["skeleton"] == "coco17.yaml"
    with Predictor(version / "pipeline.yaml", device="cpu") as predictor:
        assert len(next(predictor.predict(EXAMPLE)).instances) == 2
    assert content["SubModules"]["ObjectDetection"]["threshold"] == 0.4
    assert content["SubModules"]["KeypointDetection"]["flip"] is True
    assert not (tmp_path / "new" / "repository" / DETECTOR).exists()


def test_a_name_that_is_no_folder(tmp_path):
    with pytest.raises(ConfigError, match="'my/pose' cannot be the name of a model in Triton"):
        export_triton(pipeline_file(tmp_path, pipeline_name="my/pose"), tmp_path / "repository")


def test_a_pipeline_with_the_name_of_its_model(home, tmp_path):
    with pytest.raises(ConfigError, match="need different names"):
        export_triton(pipeline_file(tmp_path, pipeline_name=DETECTOR), tmp_path / "repository")
    assert {path.name for path in tmp_path.iterdir()} == {"mine.yaml", "coco17.yaml"}


@pytest.mark.full
@pytest.mark.cluster
def test_paddle_models_are_exported_as_onnx(home, tmp_path, shared):
    """The copies find what the models find; they have no Paddle program."""
    names = {"ObjectDetection": "PicoDet-S_pedestrian_320", "KeypointDetection": "PP-TinyPose_128x96"}
    modules = {
        section: {"model_name": name, "model_dir": str(shared / "models" / name)} for section, name in names.items()
    }
    file = pipeline_file(tmp_path, SubModules=modules)
    export_triton(file, tmp_path / "repository")
    for name in names.values():
        assert_fits(tmp_path / "repository" / name, "onnxruntime", instances=1, joined=name.startswith("PP-TinyPose"))
    found = []
    for path in (file, tmp_path / "repository" / "mine" / "1" / "pipeline.yaml"):
        with Predictor(path, device="cpu", backend="onnxruntime") as predictor:
            found.append(next(predictor.predict(EXAMPLE)).instances)
    np.testing.assert_array_equal(found[0].points, found[1].points)
    np.testing.assert_array_equal(found[0].boxes, found[1].boxes)
    assert len(found[0]) >= 2


def test_a_model_of_which_no_onnx_graph_can_be_made(home, tmp_path, monkeypatch, shared):
    """Paddle runs it, but paddle2onnx is missing."""
    file = pipeline_file(
        tmp_path,
        SubModules={
            "ObjectDetection": {"model_name": DETECTOR},
            "KeypointDetection": {
                "model_name": "PP-TinyPose_128x96", "model_dir": str(shared / "models" / "PP-TinyPose_128x96"),
            },
        },
    )  # fmt: skip
    monkeypatch.setattr("hpi.backends.paddle_to_onnx.is_installed", lambda package: package != "paddle2onnx")
    with pytest.raises(BackendError, match="paddle2onnx is not installed"):
        export_triton(file, tmp_path / "repository")
    assert not (tmp_path / "repository").exists()


@pytest.mark.full
def test_an_engine_that_was_built_here_becomes_a_plan(tmp_path, monkeypatch):
    monkeypatch.setenv("HPI_HOME", str(tmp_path / "home"))
    settings = Settings("tensorrt", "gpu")
    with pytest.raises(ConfigError, match="no TensorRT engine in FP32 was built on this machine"):
        export_triton(PIPELINE, tmp_path / "repository", settings)
    zoo = Zoo.default()
    key = {"model": KEYPOINTS, "content": content_hash([zoo.find(KEYPOINTS).files.onnx]), "gpu": "one"}
    artifacts = ArtifactCache(zoo.artifacts)
    for variant in ("fp16", "fp32"):
        text = f"engine in {variant}"
        artifacts.get(
            "tensorrt", {**key, "variant": variant}, "model.engine", lambda file, text=text: file.write_text(text)
        )
    written = export_triton(PIPELINE, tmp_path / "repository", settings)
    assert [one.runtime for one in written] == ["python", "onnxruntime", "tensorrt"]
    assert (tmp_path / "repository" / KEYPOINTS / "1" / "model.plan").read_text() == "engine in fp32"
    text = (tmp_path / "repository" / KEYPOINTS / "config.pbtxt").read_text()
    assert 'default_model_filename: "model.plan"' in text
    assert "kind: KIND_GPU" in text
    assert "kind: KIND_CPU" in (tmp_path / "repository" / PIPELINE / "config.pbtxt").read_text()


@pytest.mark.full
def test_the_command(home, tmp_path):
    done = run_hpi("export", "triton", PIPELINE, "--output", "repository", "--models", "own", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "tritonserver --model-repository=repository" in done.stdout
    again = run_hpi("export", "triton", PIPELINE, "--output", "repository", cwd=tmp_path)
    assert (again.returncode, "is not empty" in again.stderr) == (2, True)
    wrong = run_hpi(
        "export", "triton", PIPELINE, "--output", "a", "--models", "own", "--backend", "openvino", cwd=tmp_path
    )
    assert (wrong.returncode, "--backend is for --models native" in wrong.stderr) == (2, True)
