"""PaddleX's two functions: its arguments, its order, its tolerance."""

import logging

import pytest
import yaml

from hpi import BackendError, ConfigError, InputError, Predictor, create_model, create_pipeline
from hpi.backends import BACKENDS
from hpi.backends.gpu import gpu_count
from hpi.compat.paddlex.config import pipeline_text

from support import EXAMPLE, quick_first

LITE, POSE, DETECTOR = "human_keypoint_detection_lite", "MoveNet-Thunder_256x256", "PicoDet-S_person_416"


@pytest.fixture
def content():
    return yaml.safe_load(pipeline_text(LITE))


def people(results):
    (result,) = results
    return len(result["boxes"])


def test_paddlex_pipeline_sample(tmp_path):
    pipeline = create_pipeline(pipeline="human_keypoint_detection_lite", device="cpu", use_hpip=True)
    for result in pipeline.predict(str(EXAMPLE), det_threshold=0.5):
        result.print()
        result.save_to_img(tmp_path)
        result.save_to_json(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["basketball_res.json", "basketball_res.png"]


def test_paddlex_module_sample(tmp_path):
    model = create_model(model_name=POSE, flip=True, hpi_config={"backend": "onnxruntime"}, batch_size=2)
    assert model.batch_size == 2
    for result in model(str(EXAMPLE), batch_size=1):
        result.print(json_format=False)
        result.save_to_json(tmp_path / "res.json")
    assert (tmp_path / "res.json").is_file()


def test_paddlex_arguments_that_are_wrong():
    with pytest.raises(ConfigError, match="name or YAML file"):
        create_pipeline()
    with pytest.raises(ConfigError, match="backend"):
        create_model(POSE, hpi_config={"backend": "magic"})
    with pytest.raises(ConfigError, match="transformers"):
        create_model(POSE, engine="transformers")


@pytest.mark.parametrize(("engine", "expected"), [("hpi", set(BACKENDS)), ("onnxruntime", {"onnxruntime"})])
def test_paddlex_engine_names(engine, expected):
    with create_model(POSE, engine=engine) as predictor:
        assert predictor.backend in expected


@pytest.mark.full
def test_second_position_of_a_pipeline_is_the_threshold():
    with create_pipeline(LITE) as pipeline:
        (result,) = pipeline.predict(str(EXAMPLE), 0.5)
        scores = sorted(person["det_score"] for person in result["boxes"])
        between = sum(scores) / 2
        assert people(pipeline.predict(str(EXAMPLE), between)) == 1
        assert people(pipeline(str(EXAMPLE), between)) == 1
        with pytest.raises(InputError, match="det_threshold"):
            pipeline.predict(str(EXAMPLE), 2)


def test_second_position_of_a_model_is_the_batch_size():
    with create_model(DETECTOR) as model:
        assert len(list(model.predict([str(EXAMPLE)] * 3, 2, threshold=0.5))) == 3
        with pytest.raises(InputError, match="batch_size"):
            model.predict(str(EXAMPLE), 0.5)


def test_predictor_takes_batch_size_by_keyword_only(lite):
    with pytest.raises(TypeError):
        lite.predict(str(EXAMPLE), 2)


@pytest.mark.full
def test_attributes_of_a_model(shared):
    folder = shared / "models" / "PP-TinyPose_128x96"
    with create_model("PP-TinyPose_128x96", folder, device="CPU", batch_size=3) as model:
        assert (model.model_name, model.model_dir, model.device, model.batch_size) == (folder.name, folder, "cpu", 3)


def test_threshold_of_a_detector_is_its_default():
    with create_model(DETECTOR, threshold=0.99) as model:
        assert people(model.predict(str(EXAMPLE))) == 0
        assert people(model.predict(str(EXAMPLE), threshold=0.5)) == 2


KEYWORDS = [
    {"engine_config": {"paddle_static": {"run_mode": "paddle"}}},
    {"pp_option": object()},
    {"genai_config": {"backend": "native"}},
    {"no_such_option": 1},
]


@pytest.mark.parametrize("keywords", quick_first(KEYWORDS, 1), ids=lambda keywords: next(iter(keywords)))
def test_keywords_without_effect_are_logged_once(keywords, caplog):
    (name,) = keywords
    for make, argument in ((create_pipeline, LITE), (create_model, POSE)):
        caplog.clear()
        with make(argument, **keywords):
            assert [name in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize("name", ["img_size", "imgsz"])
def test_input_size_of_a_model_is_fixed(name, caplog):
    with create_model(DETECTOR, **{name: 640}):
        assert f"create_model: {name} is ignored: the size of a model's input is fixed" in caplog.messages


def test_unknown_keywords_of_predict_are_logged(caplog):
    with create_pipeline(LITE) as pipeline:
        assert people(pipeline.predict(str(EXAMPLE), use_doc_preprocessor=True)) == 2
    assert "predict: use_doc_preprocessor is ignored: it has no effect here" in caplog.messages


FIELDS = [
    (lambda c: c["SubModules"]["ObjectDetection"].update(device="cpu"), "ObjectDetection: device is ignored"),
    (lambda c: c["SubModules"]["ObjectDetection"].update(img_size=640), "ObjectDetection: img_size is ignored"),
    (lambda c: c["SubModules"]["KeypointDetection"].update(genai_config={}), "genai_config is ignored"),
    (lambda c: c.update(hpi_config={"model_name": "x"}), "hpi_config: model_name is ignored"),
    (lambda c: c["SubModules"]["ObjectDetection"].update(treshold=0.3), "treshold is ignored: did you mean threshold?"),
    (lambda c: c["SubModules"].update(Tracking={}), "SubModules: Tracking is ignored"),
    (lambda c: c.update(engine_config={"run_mode": "paddle"}), "engine_config has no effect"),
]


@pytest.mark.parametrize(("change", "said"), quick_first(FIELDS, 1), ids=[said for _, said in FIELDS])
def test_fields_of_paddlex_are_logged_and_ignored(change, said, content, caplog, tmp_path):
    change(content)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    for source in ({"config": content}, {"pipeline": str(tmp_path / "mine.yaml")}):
        caplog.clear()
        with create_pipeline(**source):
            assert [said in message for message in caplog.messages] == [True]


@pytest.mark.parametrize(("change", "said"), FIELDS[:-1], ids=[said for _, said in FIELDS[:-1]])
def test_predictor_is_strict_about_the_same_fields(change, said, content):
    change(content)
    with pytest.raises(ConfigError):
        Predictor("x", config=content)


def test_values_that_are_wrong_are_errors_here_too(content):
    content["SubModules"]["ObjectDetection"]["threshold"] = True
    with pytest.raises(ConfigError, match="threshold"):
        create_pipeline(config=content)


def test_engine_in_the_yaml_counts(content):
    content["engine"] = "onnxruntime"
    with create_pipeline(config=content) as pipeline:
        assert pipeline.backend == "onnxruntime"
    content["engine"] = "transformers"
    with pytest.raises(ConfigError, match="transformers"):
        create_pipeline(config=content)


def test_config_outranks_the_name(content, caplog):
    content["pipeline_name"] = "mine"
    with create_pipeline("human_keypoint_detection", config=content) as pipeline:
        assert pipeline.name == "mine"
    assert "the config is for mine; pipeline=human_keypoint_detection is ignored" in caplog.messages


@pytest.mark.skipif(gpu_count(), reason="there is a GPU")
@pytest.mark.parametrize("device", quick_first(["gpu", "gpu:0", "GPU:1", "cuda:0"], 1))
def test_without_a_gpu_the_cpu_takes_its_place(device, caplog, monkeypatch):
    with create_pipeline(LITE, device=device) as pipeline:
        assert pipeline.device == "cpu"
        assert people(pipeline.predict(str(EXAMPLE))) == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert f"the device {device} cannot be used" in caplog.text
    with pytest.raises(BackendError, match="gpu"):
        create_pipeline(LITE, device=device, strict_device=True)
    monkeypatch.setenv("PADDLE_PDX_DISABLE_DEVICE_FALLBACK", "1")
    with pytest.raises(BackendError, match="gpu"):
        create_model(POSE, device=device)


@pytest.mark.skipif(gpu_count(), reason="there is a GPU")
def test_other_devices_are_never_replaced():
    with pytest.raises(BackendError, match="npu"):
        create_pipeline(LITE, device="npu:0")
    with pytest.raises(ConfigError, match="device 'tpu'"):
        create_pipeline(LITE, device="tpu")


def test_what_fails_on_the_cpu_too_is_the_first_error():
    with pytest.raises(BackendError, match="gpu"):
        create_pipeline(LITE, device="gpu:0", hpi_config={"backend": "tensorrt"})
