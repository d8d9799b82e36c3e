import os
import shutil
import tempfile
from pathlib import Path

import pytest
import yaml

from hpi.backends.base import Normalization
from hpi.errors import ModelError, ModelNotFoundError
from hpi.heads.heatmap import HeatmapHead
from hpi.models.readers import read_model
from hpi.transforms import Letterbox, Stretch, TopDownAffine
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
    assert (pose.transform.padding, pose.head.offset) == (1.1, 0.5)
    assert pose.files.normalization == Normalization(pytest.approx((1 / 127.5,) * 3), (-1.0,) * 3)
    detector = Zoo.default().find("PicoDet-S_person_416")
    assert isinstance(detector.transform, Stretch)
    assert (detector.task, detector.input_size, detector.labels) == (
        "object_detection",
        (416, 416),
        ("person",),
    )
    assert detector.draw_threshold == 0.5


def test_a_paddle_2_folder(shared):
    spec = read_model(shared / "models" / "tinypose_256x192_paddle2")
    assert isinstance(spec.transform, TopDownAffine)
    assert spec.input_size == (192, 256)
    assert spec.name == "tinypose_256x192_paddle2"
    assert spec.files.paddle.program.name == "model.pdmodel"
    assert (spec.transform.padding, spec.head.offset) == (1.25, 0)


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
    assert (spec.transform.padding, spec.head.offset) == (1.25, 0)
    assert spec.input_size == (96, 128)
    assert not spec.transform.udp


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
        (operator(1, norm_type="other"), "norm_type"),
        (operator(0, keep_ratio=False), "keep_ratio"),
        (lambda c: c["Preprocess"].reverse(), "Preprocess"),
        (lambda c: c["Preprocess"].pop(), "Preprocess"),
        (lambda c: c["Preprocess"][0].pop("type"), "type"),
        (lambda c: c.update(TopDown={"padding": -1}), "padding"),
        (lambda c: c.update(TopDown={"paddin": 1}), "paddin"),
        (lambda c: c.update(draw_threshold=7), "draw_threshold"),
        (lambda c: c.update(Global={}), "model_name"),
    ],
)
def test_errors_name_the_file_and_the_field(folder, change, field):
    rewrite(folder, change)
    with pytest.raises(ModelError) as error:
        read_model(folder)
    assert str(folder / "inference.yml") in str(error.value)
    assert field in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 10_000


LETTERBOX = [
    {"type": "Resize", "target_size": [64, 96], "keep_ratio": True, "interp": 1},
    {"type": "Pad", "size": [64, 96], "fill_value": [114.0, 114.0, 114.0]},
    {"type": "Permute"},
]


def test_keep_ratio_and_pad_are_a_letterbox(folder):
    rewrite(folder, lambda c: c.update(Preprocess=LETTERBOX))
    assert read_model(folder).transform == Letterbox((96, 64), 1, (114, 114, 114))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (operator(1, size=[64, 64]), "give both the same size"),
        (operator(1, fill_value=[300, 0, 0]), "fill_value"),
        (operator(1, fill_value=[1.5, 0, 0]), "fill_value"),
        (operator(0, keep_ratio=False), "Resize, Pad"),
    ],
)
def test_an_incomplete_letterbox_is_refused(folder, change, what):
    rewrite(folder, lambda c: c.update(Preprocess=LETTERBOX))
    rewrite(folder, change)
    with pytest.raises(ModelError, match=what) as error:
        read_model(folder)
    assert "inference.yml" in str(error.value)


def test_a_yml_can_name_skeleton_head_and_input(folder):
    own = {
        "skeleton": "mpii16",
        "image_input": "x",
        "head": {"type": "heatmap", "decoder": "quarter", "outputs": ["h"]},
    }
    rewrite(folder, lambda c: c.update(hpi=own))
    spec = read_model(folder)
    assert (spec.skeleton.name, spec.image_input) == ("mpii16", "x")
    assert (spec.head.decoder, spec.head.outputs) == ("quarter", ("h",))


def test_a_skeleton_may_be_a_file_beside_the_yml(folder):
    (folder / "mine.yaml").write_text("keypoints: [a, b]\nbones: {x: [[0, 1]]}\ncolors: {x: [1, 2, 3]}\n")
    rewrite(folder, lambda c: c.update(hpi={"skeleton": "mine.yaml"}))
    assert read_model(folder).skeleton.keypoints == ("a", "b")


@pytest.mark.parametrize(
    ("own", "what"),
    [
        ({"skeleton": "coco71"}, "did you mean 'coco17'"),
        ({"skeleton": "other.yaml"}, "cannot be read"),
        ({"head": {"type": "heatmaps"}}, "did you mean 'heatmap'"),
        ({"head": {"type": "heatmap", "decoder": "soft"}}, "decoder"),
        ({"head": {"type": "heatmap", "offsets": 1}}, "did you mean 'offset'"),
        ({"head": {}}, "unknown type None"),
        ({"heads": {}}, "did you mean 'head'"),
    ],
)
def test_a_wrong_section_of_its_own_is_refused(folder, own, what):
    rewrite(folder, lambda c: c.update(hpi=own))
    with pytest.raises(ModelError, match=what) as error:
        read_model(folder)
    assert "inference.yml" in str(error.value)


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


@pytest.mark.parametrize("lacks", ["yml", "pdiparams", "json"])
def test_a_folder_that_lacks_a_file_says_to_export_anew(folder, lacks):
    for file in list(folder.iterdir()):
        if file.suffix == f".{lacks}":
            file.unlink()
        else:
            file.rename(folder / {"inference.yml": "infer_cfg.yml"}.get(file.name, f"model{file.suffix}"))
    missing = {"yml": r"infer_cfg\.yml", "pdiparams": r"model\.pdiparams", "json": r"model\.json"}[lacks]
    with pytest.raises(ModelNotFoundError, match=f"{missing}.*copy the missing file.*or export the model anew"):
        read_model(folder)


@pytest.mark.parametrize("also", [[], ["infer_cfg.yml"], ["model.json"], ["infer_cfg.yml", "model.json"]])
def test_the_checkpoint_of_a_training_is_to_be_exported(tmp_path, also):
    checkpoint = tmp_path / "hrnet_w32_256x192.pdparams"
    checkpoint.write_bytes(b"weights")
    (tmp_path / "hrnet_w32_256x192.pdopt").write_bytes(b"optimiser")
    for name in also:
        (tmp_path / name).write_text(yaml.safe_dump(POSE) if name.endswith("yml") else "{}")
    for path in (tmp_path, checkpoint) if not also else (tmp_path,):
        with pytest.raises(ModelError, match=rf"tools/export_model\.py -c CONFIG -o weights={checkpoint}"):
            read_model(path)


@pytest.mark.parametrize(("written", "decoder"), [("true", "dark"), ("false", "quarter"), (None, "dark")])
def test_use_dark_of_the_yml(folder, written, decoder):
    if written:
        with (folder / "inference.yml").open("a") as stream:
            stream.write(f"use_dark: {written}\n")
    assert read_model(folder).head == HeatmapHead(decoder=decoder)


def test_two_graphs_are_ambiguous(folder):
    (folder / "a.onnx").write_text("a")
    (folder / "b.onnx").write_text("b")
    with pytest.raises(ModelError, match=r"a\.onnx, b\.onnx"):
        read_model(folder)


def test_the_name_in_the_yml_must_be_the_requested_one(folder):
    rewrite(folder, lambda c: c.update(Global={"model_name": "PP-TinyPose_128x96"}))
    assert read_model(folder, "PP-TinyPose_128x96").name == "PP-TinyPose_128x96"
    with pytest.raises(ModelError, match="PP-TinyPose_256x192"):
        read_model(folder, "PP-TinyPose_256x192")


# What real exports have, and leave out

DETECTOR = {
    "Preprocess": [
        {"type": "Resize", "target_size": [416, 320], "keep_ratio": False, "interp": 2},
        {"type": "NormalizeImage", "mean": [0, 0, 0], "std": [1, 1, 1], "is_scale": True, "norm_type": "none"},
        {"type": "Permute"},
    ],
    "label_list": ["person"],
}


@pytest.fixture
def detector(folder):
    (folder / "inference.yml").write_text(yaml.safe_dump(DETECTOR))
    return folder


@pytest.mark.parametrize("field", ["interp", "keep_ratio"])
def test_missing_fields_of_a_resize_have_paddlexs_defaults(detector, field):
    rewrite(detector, lambda c: c["Preprocess"][0].pop(field))
    assert read_model(detector).transform == Stretch((320, 416), 2)


@pytest.mark.parametrize(
    ("written", "read"), [(0, 0), (4, 4), ("LINEAR", 1), ("bicubic", 2), ("Area", 3), ("LANCZOS4", 4)]
)
def test_an_interpolation_has_a_number_or_paddlexs_name(detector, written, read):
    rewrite(detector, operator(0, interp=written))
    assert read_model(detector).transform.interpolation == read


def test_one_number_is_a_square(detector):
    rewrite(detector, operator(0, target_size=320))
    assert read_model(detector).input_size == (320, 320)


@pytest.mark.parametrize("fields", [{}, {"norm_type": None}, {"norm_type": "mean_std"}])
def test_norm_type_may_be_left_out(folder, fields):
    rewrite(folder, operator(1, **fields))
    assert read_model(folder).files.normalization.shift == (-2.5, -2.5, -2.5)


def test_norm_type_none_leaves_the_scale(detector):
    """PP-YOLOE+ and RT-DETR are exported like this."""
    normalization = read_model(detector).files.normalization
    assert (normalization.scale, normalization.shift) == ((1 / 255,) * 3, (0, 0, 0))


@pytest.mark.parametrize("fields", [{"mean": [0.5, 0.5, 0.5]}, {"std": [0.2, 0.2, 0.2]}])
def test_norm_type_none_with_a_mean_or_std_is_a_contradiction(detector, fields):
    rewrite(detector, operator(1, **fields))
    with pytest.raises(ModelError, match=r"Preprocess\.1.*norm_type none contradicts .*mean_std"):
        read_model(detector)


def test_without_normalize_image_a_model_takes_levels(folder):
    rewrite(folder, lambda c: c["Preprocess"].pop(1))
    normalization = read_model(folder).files.normalization
    assert (normalization.scale, normalization.shift) == ((1, 1, 1), (0, 0, 0))


@pytest.mark.parametrize("kind", ["Resize_Mult32", "CenterCrop", "EvalAffine", "WarpAffine", "", 5])
def test_another_operator_is_named_with_what_is_supported(detector, kind):
    rewrite(detector, lambda c: c["Preprocess"].insert(1, {"type": kind, "size": 640}))
    with pytest.raises(ModelError) as error:
        read_model(detector)
    assert str(kind) in str(error.value)
    assert "Resize" in str(error.value)
    assert "Permute" in str(error.value)


@pytest.mark.parametrize(
    ("written", "labels"),
    [
        ("[1, yes, no, 3.5, null]", ("1", "yes", "no", "3.5", "null")),
        ("[person, 0x1F, 1e3, 007, ~, On, 2024-01-01]", ("person", "0x1F", "1e3", "007", "~", "On", "2024-01-01")),
        ('["1", true, "true"]', ("1", "true", "true")),
        ("\n- 1\n- 人\n-", ("1", "人", "")),
        ("&labels [1, 2]", ("1", "2")),
        ("null", ()),
        ("[]", ()),
    ],
)
def test_labels_are_text_as_it_is_written(detector, written, labels):
    del (content := dict(DETECTOR))["label_list"]
    text = f"{yaml.safe_dump(content)}label_list: {written}\n"
    (detector / "inference.yml").write_text(text, encoding="utf-8")
    assert read_model(detector).labels == labels


@pytest.mark.parametrize("written", ["person", "5", "{0: person}", "[[person]]", "[{a: b}, 1]"])
def test_labels_that_are_not_a_list_of_names_are_an_error(detector, written):
    del (content := dict(DETECTOR))["label_list"]
    (detector / "inference.yml").write_text(f"{yaml.safe_dump(content)}label_list: {written}\n")
    with pytest.raises(ModelError, match="label_list"):
        read_model(detector)


# Where a model lies


def test_paddle_3_in_paddledetections_layout(folder):
    """``model.json``; another JSON file beside a graph is none of the model's."""
    for suffix in ("json", "pdiparams"):
        (folder / f"inference.{suffix}").rename(folder / f"model.{suffix}")
    (folder / "config.json").write_text("{}")
    assert read_model(folder).files.paddle.program == folder / "model.json"


def test_a_folder_that_holds_one_model_folder(folder, tmp_path_factory):
    """As an archive is often unpacked."""
    outer = tmp_path_factory.mktemp("outer")
    shutil.copytree(folder, outer / "inner")
    assert read_model(outer).folder == outer / "inner"
    (outer / "notes").mkdir()
    assert read_model(outer, "mine").folder == outer / "inner"
    shutil.copytree(folder, outer / "another")
    with pytest.raises(ModelError, match="several models; give one of another, inner"):
        read_model(outer)


@pytest.mark.parametrize("name", ["inference.json", "inference.pdiparams", "inference.yml", "pose.onnx"])
def test_a_file_of_a_model_stands_for_its_folder(folder, home, name):
    shutil.copy(Zoo.default().find("MoveNet-Thunder_256x256").files.onnx, folder / "pose.onnx")
    assert read_model(folder / name).folder == folder


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("a.pdmodel", r"give the folder that holds inference\.yml"),
        ("a.tar", "an archive; unpack it"),
        ("a.pt", "weights of PyTorch .*export it to ONNX"),
        ("a.engine", "of TensorRT, .*give the ONNX file"),
        ("a.xml", "of OpenVINO, .*give the ONNX file"),
        ("a.txt", "no model; give an .onnx file, or the folder"),
    ],
)
def test_a_lone_file_is_an_error_that_says_what_to_give(tmp_path, name, what):
    (tmp_path / name).write_bytes(b"x" * 600)
    with pytest.raises(ModelError, match=f"{name}: .*{what}"):
        read_model(tmp_path / name)


def test_an_archive_is_to_be_unpacked(my_archive):
    with pytest.raises(ModelError, match="archive; unpack it, and give the folder"):
        read_model(my_archive)


@pytest.mark.parametrize("name", ["Model", "MODEL", "modle", "mode"])
def test_a_folder_that_is_not_there_may_be_another(tmp_path, name):
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelNotFoundError, match=rf"{name}: no such model folder; did you mean {tmp_path}/model\?"):
        read_model(tmp_path / name)


@pytest.mark.parametrize("name", ["a/b/c", "a\0b", "x" * 300, "x" * 5000])
def test_an_impossible_path_is_an_error(tmp_path, name):
    with pytest.raises(ModelError):
        read_model(tmp_path / name)


@pytest.mark.parametrize("what", ["folder", "inference.yml", "inference.pdiparams"])
def test_an_unreadable_file_is_an_error(folder, what):
    """In a process of a user who may read less than the one that runs the tests."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    for part in (folder, *folder.parents):
        if part == Path(tempfile.gettempdir()):
            break
        part.chmod(0o755)
    (folder if what == "folder" else folder / what).chmod(0)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        said = "nothing was raised"
        try:
            os.setuid(65534)
            read_model(folder)
        except BaseException as error:  # noqa: BLE001 - reported to the parent
            said = f"{type(error).__name__}: {error}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        said = stream.read()
    os.waitpid(child, 0)
    assert said.startswith("ModelError")
    assert "Permission denied" in said
    assert str(folder) in said


@pytest.mark.parametrize("name", ["inference.yml", "inference.json", "inference.pdiparams", "pose.onnx", "pose.data"])
def test_a_pointer_of_git_lfs_is_named(folder, home, name):
    shutil.copy(Zoo.default().find("MoveNet-Thunder_256x256").files.onnx, folder / "pose.onnx")
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 5456137\n")
    with pytest.raises(ModelError, match=rf"{name}: it is a Git LFS pointer .*git lfs pull"):
        read_model(folder)
