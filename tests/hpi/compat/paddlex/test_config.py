from pathlib import Path

import pytest
import yaml

from hpi.compat.paddlex.config import options_of, pipeline_names, pipeline_text, read_pipeline
from hpi.compat.paddlex.pairs import paired
from hpi.errors import ConfigError
from hpi.io.validation import read_yaml
from hpi.options import read_devices, resolve


@pytest.fixture
def content():
    return yaml.safe_load(pipeline_text("human_keypoint_detection"))


def test_the_pipelines_of_the_package():
    paddlexs = [name for name in pipeline_names() if name not in paired()]
    assert paddlexs == ["human_keypoint_detection", "human_keypoint_detection_lite"]
    modules = read_pipeline("human_keypoint_detection").modules
    assert (modules.ObjectDetection.model_name, modules.KeypointDetection.model_name) == (
        "PP-YOLOE-S_human",
        "PP-TinyPose_128x96",
    )
    for name in pipeline_names():
        assert read_pipeline(name).pipeline_name == name
        assert yaml.safe_load(pipeline_text(name))["pipeline_name"] == name


def test_paddlexs_fields_are_accepted(content):
    """Those of its engines and its service too; the hpi_config of a module outranks that of the pipeline."""
    content.update(
        use_hpip=True,
        hpi_config={"backend": "openvino", "backend_config": {"cpu_num_threads": 4}, "auto_config": False},
        engine=None,
        engine_config={"paddle_static": {"run_mode": "paddle"}},
        Serving={"visualize": False},
    )
    content["SubModules"]["KeypointDetection"]["hpi_config"] = {"backend": "paddle"}
    pipeline = read_pipeline(content)
    detector = resolve(options_of(pipeline.modules.ObjectDetection), options_of(pipeline))
    pose = resolve(options_of(pipeline.modules.KeypointDetection), options_of(pipeline))
    assert (detector.backend, detector.threads) == ("openvino", 4)
    assert (pose.backend, pose.threads) == ("paddle", 4)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda c: c.pop("pipeline_name"), "pipeline_name"),
        (lambda c: c.pop("SubModules"), "SubModules"),
        (lambda c: c["SubModules"].pop("KeypointDetection"), "KeypointDetection"),
        (lambda c: c["SubModules"]["ObjectDetection"].pop("model_name"), "model_name"),
        (lambda c: c["SubModules"]["ObjectDetection"].update(treshold=0.5), "treshold.*did you mean 'threshold'"),
        (lambda c: c.update(hpi_config={"backed": "paddle"}), "backed.*did you mean 'backend'"),
        (lambda c: c.update(hpi_config={"backend_config": {"cpu_threds": 2}}), "did you mean 'cpu_threads'"),
        (lambda c: c.update(hpi_config={"backend_config": {"cpu_num_threads": 0}}), "cpu_num_threads"),
        (lambda c: c.update(hpi_config={"backend_config": {"run_mode": "trt_fp16"}}), "run_mode"),
        (lambda c: c["SubModules"]["ObjectDetection"].update(threshold=1.5), "threshold"),
        (lambda c: c["SubModules"]["ObjectDetection"].update(threshold=float("nan")), "threshold"),
        (lambda c: c["SubModules"]["ObjectDetection"].update(batch_size=0), "batch_size"),
        (lambda c: c["SubModules"]["ObjectDetection"].update(img_size=320), "img_size"),
        (lambda c: c["SubModules"]["KeypointDetection"].update(flip="sometimes"), "flip"),
        (lambda c: c.update(hpi_config={"backend": 3}), "backend"),
        (lambda c: c.update(piplines=1), "piplines"),
    ],
)
def test_errors_name_the_field(content, change, field, tmp_path):
    change(content)
    with pytest.raises(ConfigError, match=field):
        read_pipeline(content)
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=field) as error:
        read_pipeline(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("content", ["", "{", "just text", "[1, 2]"])
def test_files_that_are_not_pipelines_are_refused(content, tmp_path):
    file = tmp_path / "pipeline.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"pipeline\.yaml"):
        read_pipeline(file)


def test_unknown_names_and_missing_files(tmp_path):
    with pytest.raises(ConfigError, match="did you mean human_keypoint_detection or"):
        read_pipeline("human_keypoint")
    with pytest.raises(ConfigError, match="No such file"):
        read_pipeline(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("device", "devices"),
    [
        ("cpu", ["cpu"]),
        ("gpu", ["gpu:0"]),
        ("gpu:2", ["gpu:2"]),
        ("gpu:0,1", ["gpu:0", "gpu:1"]),
        ("cuda:1", ["gpu:1"]),
        ("npu:0", ["npu:0"]),
        ("xpu", ["xpu:0"]),
        ("CPU", ["cpu"]),
        ("GPU:0", ["gpu:0"]),
        (" Gpu:0,1 ", ["gpu:0", "gpu:1"]),
    ],
)
def test_device_strings_of_paddlex(device, devices):
    assert read_devices(device) == devices


@pytest.mark.parametrize("device", ["", "cpu:0", "tpu", "gpu:", "gpu:a", "gpu:0,", "gpu 0", 0, "gpu:9999"])
def test_other_device_strings(device):
    with pytest.raises(ConfigError, match="give cpu, gpu"):
        read_devices(device)


def test_a_gpu_named_twice_is_an_error():
    with pytest.raises(ConfigError, match="twice"):
        read_devices("gpu:1,01")


# Folders of models, and names of files


def lite_with(model_dir):
    return {
        "pipeline_name": "mine",
        "SubModules": {
            "ObjectDetection": {"model_name": "PicoDet-S_person_416", "model_dir": model_dir},
            "KeypointDetection": {"model_name": "MoveNet-Thunder_256x256"},
        },
    }


def folder_of(source):
    return read_pipeline(source).modules.ObjectDetection.model_dir


@pytest.mark.parametrize("name", ["mine.yaml", "mine.yml", "MINE.YAML", "Mine.Yml"])
def test_a_relative_folder_is_looked_up_beside_the_file_first(name, tmp_path, monkeypatch):
    config, elsewhere = tmp_path / "config", tmp_path / "elsewhere"
    for folder in (config / "models" / "a", elsewhere / "models" / "a", elsewhere / "models" / "b"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    for model_dir, found in (
        ("models/a", config / "models" / "a"),
        ("./models/b", elsewhere / "models" / "b"),
        (str(elsewhere / "models" / "a"), elsewhere / "models" / "a"),
    ):
        (config / name).write_text(yaml.safe_dump(lite_with(model_dir)))
        assert folder_of(config / name) == str(found)
    (config / name).write_text(yaml.safe_dump(lite_with("models/c")))
    with pytest.raises(ConfigError, match=r"ObjectDetection\.model_dir: no such folder") as error:
        read_pipeline(config / name)
    assert isinstance(error.value, FileNotFoundError)
    assert str(config / "models" / "c") in str(error.value)
    assert str(elsewhere / "models" / "c") in str(error.value)


def test_a_folder_in_the_home_folder(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(lite_with("~/models")))
    assert folder_of(file) == str(tmp_path / "models")


@pytest.mark.parametrize(("model_dir", "expected"), [("", None), (None, None), (Path("/a/b"), "/a/b")])
def test_folders_in_a_dictionary(model_dir, expected):
    assert folder_of(lite_with(model_dir)) == expected


# What YAML says without saying so


@pytest.mark.parametrize(
    "text",
    [
        "pipeline_name: a\npipeline_name: b\n",
        "a: {threshold: 0.3, threshold: 0.5}\n",
        "a:\n  - {b: 1}\n  - {b: 1, b: 2}\n",
        "a: 1\n'a': 2\n",
        "1: a\n1: b\n",
        "? [a, b]\n: 1\n? [a, b]\n: 2\n",
    ],
)
def test_a_duplicate_key_is_an_error(text, tmp_path):
    file = tmp_path / "twice.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"twice\.yaml"):
        read_yaml(file)


def test_merged_keys_may_be_overridden(tmp_path):
    file = tmp_path / "merge.yaml"
    file.write_text("base: &base {x: 1, y: 2}\nmine:\n  <<: *base\n  x: 3\n")
    assert read_yaml(file)["mine"] == {"x": 3, "y": 2}


@pytest.mark.parametrize("value", [True, False, [True], "yes", "on"])
@pytest.mark.parametrize(
    ("section", "field"),
    [("ObjectDetection", "threshold"), ("ObjectDetection", "batch_size"), ("KeypointDetection", "batch_size")],
)
def test_booleans_are_not_numbers(section, field, value, content, tmp_path):
    content["SubModules"][section][field] = value
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(content).replace("'yes'", "yes").replace("'on'", "on"))
    for source in (content, file):
        with pytest.raises(ConfigError, match=field):
            read_pipeline(source)


def test_booleans_stay_booleans(content):
    content["use_hpip"] = False
    content["SubModules"]["KeypointDetection"]["flip"] = True
    assert read_pipeline(content).modules.KeypointDetection.flip is True


def test_a_label_that_yaml_reads_as_a_boolean_is_named(content):
    content["SubModules"]["ObjectDetection"]["classes"] = ["person", True]
    with pytest.raises(ConfigError, match=r"classes.*quotes"):
        read_pipeline(content)


@pytest.mark.parametrize("batch_size", [0, -1, 1025, 100000, 2.5])
def test_batch_size_has_a_limit(batch_size, content):
    content["SubModules"]["ObjectDetection"]["batch_size"] = batch_size
    with pytest.raises(ConfigError, match="batch_size"):
        read_pipeline(content)


def test_each_field_without_effect_is_logged(content, caplog):
    content["hpi_config"] = {"auto_config": True, "backend_config": {"trt_use_dynamic_shapes": False}}
    content["SubModules"]["ObjectDetection"]["engine_config"] = {"run_mode": "paddle"}
    read_pipeline(content)
    assert sorted(message.split(":")[-2].split()[0] for message in caplog.messages) == [
        "auto_config",
        "engine_config",
        "trt_use_dynamic_shapes",
    ]


def test_the_yaml_of_paddlexs_page_logs_nothing(content, caplog):
    read_pipeline(content)
    assert caplog.messages == []
