import pytest
import yaml

from hpi.compat.paddlex.config import options_of, pipeline_names, pipeline_text, read_pipeline
from hpi.errors import ConfigError
from hpi.options import read_devices, resolve


@pytest.fixture
def content():
    return yaml.safe_load(pipeline_text("human_keypoint_detection"))


def test_the_pipelines_of_the_package():
    assert pipeline_names() == ["human_keypoint_detection", "human_keypoint_detection_lite"]
    modules = read_pipeline("human_keypoint_detection").modules
    assert (modules.ObjectDetection.model_name, modules.KeypointDetection.model_name) == (
        "PP-YOLOE-S_human",
        "PP-TinyPose_128x96",
    )
    for name in pipeline_names():
        assert read_pipeline(name).pipeline_name == name


def test_what_paddlex_writes_is_read(content):
    """The fields of its engines and its service are accepted; each module's hpi_config outranks the pipeline's."""
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
def test_what_is_wrong_names_the_field(content, change, field, tmp_path):
    change(content)
    with pytest.raises(ConfigError, match=field):
        read_pipeline(content)
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=field) as error:
        read_pipeline(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("content", ["", "{", "just text", "[1, 2]"])
def test_files_that_are_no_pipeline(content, tmp_path):
    file = tmp_path / "pipeline.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"pipeline\.yaml"):
        read_pipeline(file)


def test_unknown_names_and_missing_files(tmp_path):
    with pytest.raises(ConfigError, match="known are human_keypoint_detection"):
        read_pipeline("human_keypoints")
    with pytest.raises(ConfigError, match="No such file"):
        read_pipeline(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("device", "cards"),
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
def test_device_strings_of_paddlex(device, cards):
    assert read_devices(device) == cards


@pytest.mark.parametrize("device", ["", "cpu:0", "tpu", "gpu:", "gpu:a", "gpu:0,", "gpu 0", 0, "gpu:9999"])
def test_other_device_strings(device):
    with pytest.raises(ConfigError, match="give cpu, gpu"):
        read_devices(device)


def test_a_card_is_named_once():
    with pytest.raises(ConfigError, match="twice"):
        read_devices("gpu:1,01")
