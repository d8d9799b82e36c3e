import shutil

import pytest
import yaml

from hpi.backends.base import Normalization
from hpi.errors import ModelError
from hpi.model_files import Resize, TopDownEvalAffine, read_model
from hpi.zoo import Zoo

POSE = {
    "Preprocess": [
        {"type": "TopDownEvalAffine", "trainsize": [96, 128]},
        {"type": "NormalizeImage", "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2], "is_scale": True},
        {"type": "Permute"},
    ],
    "label_list": ["keypoint"],
}


@pytest.fixture
def folder(tmp_path):
    """A folder that looks like a model's; only its yml is read here."""
    (tmp_path / "inference.json").write_text("{}")
    (tmp_path / "inference.pdiparams").write_text("weights")
    (tmp_path / "inference.yml").write_text(yaml.safe_dump(POSE))
    return tmp_path


def rewrite(folder, change):
    content = yaml.safe_load((folder / "inference.yml").read_text())
    change(content)
    (folder / "inference.yml").write_text(yaml.safe_dump(content))


def test_a_paddle_3_folder(home):
    pose = Zoo.default().find("MoveNet-Thunder_256x256")
    assert (pose.name, pose.task, pose.input_size) == (
        "MoveNet-Thunder_256x256",
        "keypoint_detection",
        (256, 256),
    )
    assert (pose.top_down.padding, pose.top_down.heatmap_offset) == (1.1, 0.5)
    assert pose.files.normalization == Normalization(pytest.approx((1 / 127.5,) * 3), (-1.0,) * 3)
    detector = Zoo.default().find("PicoDet-S_person_416")
    assert isinstance(detector.geometry, Resize)
    assert (detector.task, detector.input_size, detector.labels) == (
        "object_detection",
        (416, 416),
        ("person",),
    )
    assert detector.draw_threshold == 0.5


def test_a_paddle_2_folder(shared):
    spec = read_model(shared / "models" / "tinypose_256x192_paddle2")
    assert isinstance(spec.geometry, TopDownEvalAffine)
    assert spec.input_size == (192, 256)
    assert spec.name == "tinypose_256x192_paddle2"
    assert spec.files.paddle.program.name == "model.pdmodel"
    assert (spec.top_down.padding, spec.top_down.heatmap_offset) == (1.25, 0)


@pytest.mark.parametrize("yml", ["inference.yml", "infer_cfg.yml"])
def test_an_onnx_folder(tmp_path, home, yml):
    source = Zoo.default().find("MoveNet-Thunder_256x256").folder
    shutil.copy(source / "inference.yml", tmp_path / yml)
    shutil.copy(source / "inference.onnx", tmp_path / "pose.onnx")
    spec = read_model(tmp_path)
    assert spec.files.paddle is None
    assert spec.files.onnx == tmp_path / "pose.onnx"


def test_defaults_are_those_of_pp_tinypose(folder):
    spec = read_model(folder)
    assert (spec.top_down.padding, spec.top_down.heatmap_offset) == (1.25, 0)
    assert spec.input_size == (96, 128)
    assert not spec.geometry.use_udp


def operator(index, **fields):
    return lambda content: content["Preprocess"][index].update(fields)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda c: c.pop("Preprocess"), "Preprocess"),
        (lambda c: c.update(Preprocess=[]), "Preprocess"),
        (lambda c: c.update(Preprocess="Resize"), "Preprocess"),
        (operator(0, type="LetterBoxResize"), "LetterBoxResize"),
        (operator(0, trainsize=[96]), "trainsize"),
        (operator(0, trainsize=[96, 0]), "trainsize"),
        (operator(0, trainsize="big"), "trainsize"),
        (operator(0, trainsize=[96000, 128000]), "trainsize"),
        (operator(1, mean=[float("inf"), 0, 0]), "mean"),
        (lambda c: c.update(TopDown={"padding": float("inf")}), "padding"),
        (lambda c: c.update(Preprocess="x" * 100_000), "Preprocess"),
        (lambda c: c.update(Preprocess=[{"type": "A" * 1000}] * 500), "Preprocess"),
        (operator(0, blur=3), "blur"),
        (lambda c: c["Preprocess"][0].pop("trainsize"), "trainsize"),
        (lambda c: c["Preprocess"][1].pop("mean"), "mean"),
        (operator(1, std=[1, 1, 0]), "std"),
        (operator(1, norm_type="none"), "norm_type"),
        (lambda c: c["Preprocess"].reverse(), "Preprocess"),
        (lambda c: c["Preprocess"].pop(), "Preprocess"),
        (lambda c: c["Preprocess"][0].pop("type"), "type"),
        (lambda c: c.update(TopDown={"padding": -1}), "padding"),
        (lambda c: c.update(TopDown={"paddin": 1}), "paddin"),
        (lambda c: c.update(draw_threshold=7), "draw_threshold"),
        (lambda c: c.update(Global={}), "model_name"),
    ],
)
def test_what_is_not_understood_names_file_and_field(folder, change, field):
    rewrite(folder, change)
    with pytest.raises(ModelError) as error:
        read_model(folder)
    assert str(folder / "inference.yml") in str(error.value)
    assert field in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 10_000


def test_a_resize_that_keeps_the_aspect_ratio_is_refused(folder):
    rewrite(
        folder,
        lambda c: c["Preprocess"].__setitem__(0, {"type": "Resize", "target_size": [8, 8], "keep_ratio": True}),
    )
    with pytest.raises(ModelError, match="keep_ratio"):
        read_model(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"- a\n- b\n",
        b"\xff\xfe\x00",
        b"a: [1, 2\nb: 3",
        b"!!python/object:os.system x",
        b"a: 2023-99-99",
        b"a: !!int x",
        b"[" * 5000,
        b"x" * (2 << 20),
    ],
)
def test_a_corrupt_yml(folder, content):
    (folder / "inference.yml").write_bytes(content)
    with pytest.raises(ModelError) as error:
        read_model(folder)
    assert "inference.yml" in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_and_empty_files(folder):
    with pytest.raises(ModelError, match="no such model folder"):
        read_model(folder / "none")
    (folder / "inference.pdiparams").write_bytes(b"")
    with pytest.raises(ModelError, match="empty"):
        read_model(folder)
    (folder / "inference.pdiparams").unlink()
    with pytest.raises(ModelError, match=r"inference\.pdiparams are missing"):
        read_model(folder)
    (folder / "inference.json").unlink()
    with pytest.raises(ModelError, match=r"no inference\.json"):
        read_model(folder)
    (folder / "inference.yml").unlink()
    with pytest.raises(ModelError, match=r"no inference\.yml"):
        read_model(folder)


def test_two_graphs_are_ambiguous(folder):
    (folder / "a.onnx").write_text("a")
    (folder / "b.onnx").write_text("b")
    with pytest.raises(ModelError, match=r"a\.onnx, b\.onnx"):
        read_model(folder)


def test_the_name_in_the_yml_must_be_the_one_asked_for(folder):
    rewrite(folder, lambda c: c.update(Global={"model_name": "PP-TinyPose_128x96"}))
    assert read_model(folder, "PP-TinyPose_128x96").name == "PP-TinyPose_128x96"
    with pytest.raises(ModelError, match="PP-TinyPose_256x192"):
        read_model(folder, "PP-TinyPose_256x192")
