"""``-c MODULE.yaml -o KEY=VALUE``: checking a dataset, evaluating and running one model, as PaddleX's main.py does."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import typer
import yaml

from hpi import ConfigError, HpiError, InputError, ModelError, ModelNotFoundError
from hpi.compat.paddlex.modules import read_module, run
from hpi.compat.paddlex.values import read_literal, read_value
from hpi.evaluation.coco import CocoDataset

from support import EXAMPLE, run_hpi

POSE, DETECTOR = "MoveNet-Thunder_256x256", "PicoDet-S_person_416"


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module file with PaddleX's fields."""
    monkeypatch.chdir(tmp_path)
    content = {
        "Global": {"model": POSE, "mode": "check_dataset", "dataset_dir": "data", "device": "gpu:0,1", "output": "out"},
        "CheckDataset": {
            "convert": {"enable": False, "src_dataset_type": None},
            "split": {"enable": False, "train_percent": None, "val_percent": None},
        },
        "Train": {"num_classes": 1, "epochs_iters": 50, "learning_rate": 0.001, "resume_path": None},
        "Evaluate": {"weight_path": "best_model/best_model.pdparams", "log_interval": 10},
        "Predict": {
            "batch_size": 1,
            "model_dir": "best_model/inference",
            "input": "people.jpg",
            "kernel_option": {"run_mode": "paddle"},
        },
        "Export": {"weight_path": "best_model.pdparams"},
    }
    path = tmp_path / "module.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def dataset(tmp_path, shared):
    """A training and a validation set of two real images each, in PaddleX's layout."""
    source = shared / "data" / "coco_val"
    content = json.loads((source / "person_keypoints.json").read_text())
    seen = {one["image_id"] for one in content["annotations"] if one["num_keypoints"] > 5}
    images = [image for image in content["images"] if image["id"] in seen][:4]
    for name, part in (("train", images[:2]), ("val", images[2:])):
        kept = {image["id"] for image in part}
        annotations = [one for one in content["annotations"] if one["image_id"] in kept]
        target = tmp_path / "data" / "annotations" / f"instance_{name}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps({**content, "images": part, "annotations": annotations}))
    (tmp_path / "data" / "images").mkdir()
    for image in images:
        shutil.copy(source / "images" / image["file_name"], tmp_path / "data" / "images")
    return tmp_path / "data"


def result(mode):
    return json.loads(Path("out", f"{mode}_result.json").read_text())


# Reading


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("None", None), ("null", None), ("True", True), ("t", True), ("T", True), ("f", False),
        ("2", 2), ("-1e-3", -0.001), ("'2'", "2"), ("[1, 'a', true]", [1, "a", True]), ("{'a': null}", {"a": None}),
        ("output/best_model", "output/best_model"), ("001.jpg", "001.jpg"), ("a=b", "a=b"), ("__import__('os')",) * 2,
        ("{'a': b}",) * 2, ("[" * 5000,) * 2, ("9" * 5000,) * 2, ("1 + 1",) * 2, ("\0",) * 2, ("(yield)",) * 2,
    ],
)  # fmt: skip
def test_values_are_parsed(text, value):
    assert read_value(text) == value


def test_random_values_survive_a_round_trip(rng):
    for _ in range(200):
        value = random_value(rng, depth=3)
        assert read_literal(repr(value)) == value
        assert read_literal(json.dumps(value)) == value


def random_value(rng, depth):
    kind = rng.integers(7 if depth else 5)
    if kind == 5:
        return [random_value(rng, depth - 1) for _ in range(rng.integers(4))]
    if kind == 6:
        return {f"key {index}": random_value(rng, depth - 1) for index in range(rng.integers(4))}
    words = ["true", "null é", "'", '"', "\\", "\n"]
    return [None, bool(rng.integers(2)), int(rng.integers(-99, 99)), float(rng.normal()), words[rng.integers(6)]][kind]


def test_fields_are_replaced_and_added(module):
    changes = ["Global.mode=predict", "Predict.input=http://a/b?c=d", "Predict.hpi_config={'backend': 'openvino'}"]
    content = read_module(module, [*changes, "Predict.kernel_option.cpu_threads=2", "Predict.engine_config.a.b=1"])
    assert content["Global"]["mode"] == "predict"
    assert content["Predict"]["input"] == "http://a/b?c=d"
    assert content["Predict"]["hpi_config"] == {"backend": "openvino"}
    assert content["Predict"]["kernel_option"] == {"run_mode": "paddle", "cpu_threads": 2}
    assert content["Predict"]["engine_config"] == {"a": {"b": 1}}


def test_entries_of_a_list_are_replaced(module):
    content = read_module(module, ["Predict.input=['a', 'b']", "Predict.input.1=c"])
    assert content["Predict"]["input"] == ["a", "c"]
    for wrong in ("Predict.input.2=c", "Predict.input.x=c", "Predict.input.-1=c"):
        with pytest.raises(ConfigError, match="not an index of a list of 2"):
            read_module(module, ["Predict.input=['a', 'b']", wrong])


@pytest.mark.parametrize("wrong", ["Global.mode", "=1", "Global.=1", ".mode=1", "Global.mode.x=1", "Global.mode.x.y=1"])
def test_malformed_replacements_are_refused(module, wrong):
    with pytest.raises(ConfigError, match=r"^-o "):
        read_module(module, [wrong])


def test_each_unknown_field_is_logged_with_a_suggestion(module, caplog):
    read_module(module, ["Global.devise=cpu", "Evaluate.weight_pth=x", "Mine.own=1", "Train.anything=1"])
    messages = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert sorted(messages) == [
        "Evaluate.weight_pth is unknown and has no effect; did you mean Evaluate.weight_path?",
        "Global.devise is unknown and has no effect; did you mean Global.device?",
        "Mine is unknown and has no effect",
    ]


@pytest.mark.parametrize("content", ["", "[1]", "text", "a: [", "Global: 1"])
def test_files_that_are_not_modules_are_refused(module, content):
    module.write_text(content)
    with pytest.raises(ConfigError):
        run(module, [])


# Modes


@pytest.mark.parametrize(
    ("mode", "fragment"),
    [("train", "does not train"), ("export", "does not export"), ("evalute", "give check_dataset"), ("[1]", "give")],
)
def test_unsupported_modes_are_refused(module, mode, fragment):
    with pytest.raises(ConfigError, match=fragment):
        run(module, [f"Global.mode={mode}"])
    assert not module.with_name("out").exists()


def test_predict(module, capsys, caplog):
    options = ("Predict.model_dir=None", f"Predict.input={EXAMPLE}", "Predict.hpi_config.backend=onnxruntime")
    run(module, ["Global.mode=predict", *options])
    assert capsys.readouterr().out.startswith("{'res': {'input_path': ")
    assert len(json.loads(Path("out/basketball_res.json").read_text())["kpts"]) == 1
    assert [record.levelname for record in caplog.records] in (["WARNING"], [])  # of the GPUs that are not here


def test_predict_several_with_a_detector(module, tmp_path):
    names = [str(shutil.copy(EXAMPLE, tmp_path / name)) for name in ("a.png", "b.png")]
    (tmp_path / "bad.png").write_text("no image")
    source = [*names, str(tmp_path / "bad.png")]
    options = ("Predict.model_dir=", f"Predict.input={source}", "Predict.batch_size=2", "Predict.threshold=0.9")
    with pytest.raises(typer.Exit):
        run(module, ["Global.mode=predict", f"Global.model={DETECTOR}", "Global.device=cpu", *options])
    for name in ("a", "b"):
        assert len(json.loads((tmp_path / "out" / f"{name}_res.json").read_text())["boxes"]) == 1


@pytest.mark.parametrize(
    ("change", "kind", "fragment"),
    [
        ("Predict.model_dir=nowhere", ModelNotFoundError, "no such folder"),
        ("Predict.input=None", ConfigError, "Predict.input is missing"),
        ("Predict.kernel_option.run_mode=trt_int8", ConfigError, "run_mode=trt_int8"),
        ("Predict.kernel_option=paddle", ConfigError, "give a dictionary"),
        ("Global.model=None", ConfigError, "Global.model is missing"),
        ("Global.model=PP-OCRv5", ConfigError, "PP-OCRv5"),
        ("Predict.hpi_config.backend_config=[1]", ConfigError, "give a dictionary"),
        ("Predict.batch_size=0", HpiError, "batch_size"),
    ],
)
def test_failures_are_in_the_result_file(module, change, kind, fragment):
    changes = ["Global.mode=predict", "Predict.model_dir=None", f"Predict.input={EXAMPLE}", "Global.device=cpu", change]
    with pytest.raises(kind, match=fragment):
        run(module, changes)
    written = result("predict")
    assert written["done_flag"] is False
    assert fragment in written["err_msg"]
    assert kind.__name__ in written["err_type"] or kind is HpiError


def test_run_modes_select_a_runtime(module):
    """Without a GPU, or without that runtime, this is an error."""
    changes = ["Global.mode=predict", "Predict.model_dir=None", f"Predict.input={EXAMPLE}", "Global.device=cpu"]
    with pytest.raises(HpiError, match="tensorrt"):
        run(module, [*changes, "Predict.kernel_option.run_mode=trt_fp32"])


@pytest.mark.full
def test_evaluate(module, dataset, capsys):
    run(module, ["Global.mode=evaluate", "Evaluate.weight_path=None", "Predict.hpi_config.backend=onnxruntime"])
    measured = result("evaluate")
    assert measured["done_flag"] is True
    assert list(measured["metrics"]) == ["AP"]
    assert 0 < measured["metrics"]["AP"] <= 1
    assert f"AP {measured['metrics']['AP']:.3f}" in capsys.readouterr().err


@pytest.mark.full
def test_evaluate_a_detector(module, dataset):
    run(module, ["Global.mode=evaluate", f"Global.model={DETECTOR}", "Evaluate.weight_path=None"])
    assert 0 < result("evaluate")["metrics"]["AP"] <= 1


def test_training_weights_must_be_exported(module, dataset):
    with pytest.raises(ModelError, match=r"Export them with PaddleX.*weight_path=best_model/inference"):
        run(module, ["Global.mode=evaluate"])
    assert result("evaluate")["done_flag"] is False


@pytest.mark.full
def test_images_that_cannot_be_evaluated_are_an_error(module, dataset):
    image = CocoDataset(dataset / "annotations" / "instance_val.json", dataset / "images").images[0].path
    image.write_text("no image")
    with pytest.raises(InputError, match="1 images cannot be used"):
        run(module, ["Global.mode=evaluate", "Evaluate.weight_path=None", "Global.device=cpu"])


@pytest.mark.full
def test_check_dataset(module, dataset, tmp_path):
    pytest.importorskip("matplotlib")
    done = run_hpi("-c", module, "-o", "CheckDataset.convert.enable=True", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "Check dataset passed !"
    written = result("check_dataset")
    assert (written["done_flag"], written["check_pass"]) == (True, True)
    assert written["attributes"]["train_samples"] == 2
    for path in (*written["attributes"]["val_sample_paths"], written["analysis"]["histogram"]):
        assert (tmp_path / "out" / path).is_file()


@pytest.mark.full
def test_check_dataset_after_splitting(module, dataset, capsys):
    pytest.importorskip("matplotlib")
    split = [f"CheckDataset.split.{name}" for name in ("enable=True", "train_percent=75", "val_percent=25")]
    run(module, split)
    assert result("check_dataset")["attributes"]["train_samples"] == 3
    assert "Split dataset successfully !\nCheck dataset passed !" in capsys.readouterr().err
    with pytest.raises(InputError):  # the earlier annotations would be lost
        run(module, split)
    assert result("check_dataset")["done_flag"] is False


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        (["CheckDataset.split.enable=True"], "train_percent is missing"),
        ([f"CheckDataset.split.{name}" for name in ("enable=1", "train_percent=50.", "val_percent=50")], "whole"),
        (["Global.model=PP-YOLOE-S_human"], "keypoint models only"),
        (["Global.dataset_dir=None"], "Global.dataset_dir is missing"),
        (["Global.dataset_dir=nowhere"], "nowhere"),
        (["Global.output=module.yaml"], "cannot be written"),
    ],
)  # fmt: skip
def test_impossible_checks_are_errors(module, changes, fragment):
    pytest.importorskip("matplotlib")
    with pytest.raises(HpiError, match=fragment):
        run(module, changes)


def test_converting_the_dataset_has_no_effect(module, dataset, caplog):
    pytest.importorskip("matplotlib")
    caplog.set_level(logging.WARNING)
    run(module, ["CheckDataset.convert.enable=True"])
    assert any("CheckDataset.convert has no effect" in record.getMessage() for record in caplog.records)


@pytest.mark.full
def test_a_module_file_of_paddlex(tmp_path, shared):
    """From the command line, with a model exported by PaddleX."""
    content = {
        "Global": {"model": "PP-TinyPose_128x96", "mode": "predict", "device": "gpu:0,1,2,3", "output": "output"},
        "Predict": {"batch_size": 1, "model_dir": "x", "input": "x", "kernel_option": {"run_mode": "paddle"}},
    }
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(content))
    model = shared / "models" / "PP-TinyPose_128x96"
    changes = (f"Predict.model_dir={model}", f"Predict.input={EXAMPLE}", "Predict.use_hpip=True")
    options = [part for change in changes for part in ("-o", change)]
    done = run_hpi(*options, "-c", "m.yaml", "-p", "batch_range=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "output" / "basketball_res.json").read_text())["kpts"][0]["keypoints"]) == 17
