"""Models of users: other names of inputs, other normalisations, and models that return NaN.

They are made from the bundled ones by editing their graphs, so that the keypoints must stay what they are.
"""

import json
import logging
import shutil
import warnings

import numpy as np
import pytest
import yaml

from hpi import BackendError, ConfigError, ModelError, Predictor
from hpi.backends import BACKENDS
from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import SessionOptions
from hpi.models.detector import Detector
from hpi.models.readers import read_model
from hpi.selection.loading import validated
from hpi.selection.ranking import Candidate
from hpi.zoo import Zoo

from support import EXAMPLE, assert_same_keypoints, quick_first, require, run_hpi

pytestmark = pytest.mark.long  # its slow cases run each night

onnx = pytest.importorskip("onnx")

POSE, DETECTOR = "MoveNet-Thunder_256x256", "PicoDet-S_person_416"


class Edited:
    """A copy of a bundled model with its graph open for editing."""

    def __init__(self, name, folder):
        source = Zoo.default().find(name).folder
        folder.mkdir(parents=True)
        self.folder = folder
        self.yml = yaml.safe_load((source / "inference.yml").read_text())
        del self.yml["Global"]
        self.model = onnx.load(str(source / "inference.onnx"))
        self.graph = self.model.graph

    def rename_input(self, old, new):
        for node in self.graph.node:
            node.input[:] = [new if name == old else name for name in node.input]
        for value in self.graph.input:
            value.name = new if value.name == old else value.name

    def put_before(self, kind, value):
        """An operator with a constant in front of the image."""
        self.constant("front", value)
        for node in self.graph.node:
            node.input[:] = ["changed" if name == "image" else name for name in node.input]
        self.graph.node.insert(0, onnx.helper.make_node(kind, ["image", "front"], ["changed"]))

    def put_behind(self, *nodes, result):
        """Nodes that make a value of the first output, which they find as ``first``."""
        name = self.graph.output[0].name
        for node in self.graph.node:
            node.input[:] = ["first" if one == name else one for one in node.input]
            node.output[:] = ["first" if one == name else one for one in node.output]
        for kind, inputs, output, *attributes in nodes:
            made = name if output == result else output
            self.graph.node.append(onnx.helper.make_node(kind, inputs, [made], **dict(attributes)))

    def constant(self, name, value):
        self.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value, np.float32), name))

    def save(self):
        onnx.save(self.model, str(self.folder / "inference.onnx"))
        (self.folder / "inference.yml").write_text(yaml.safe_dump(self.yml))
        return self.folder


@pytest.fixture
def pose(tmp_path, home):
    return Edited(POSE, tmp_path / "pose")


@pytest.fixture
def detector(tmp_path, home):
    return Edited(DETECTOR, tmp_path / "detector")


@pytest.fixture(params=quick_first(["onnxruntime", "openvino"]))
def backend(request):
    pytest.importorskip(request.param)
    return request.param


def keypoints(folder, backend, image, name="mine"):
    with Predictor(name, model_dir=folder, backend=backend, device="cpu") as predictor:
        (result,) = predictor.predict(image)
    return np.array([person["keypoints"] for person in result["kpts"]])


def as_before(folder, backend, image, atol=0.02):
    expected = keypoints(None, "onnxruntime", image, POSE)
    np.testing.assert_allclose(keypoints(folder, backend, image), expected, atol=atol)


# Inputs


@pytest.mark.parametrize(
    "name", ["x", *(pytest.param(name, marks=pytest.mark.full) for name in ("input.1", "scale_factor", "images"))]
)
def test_the_input_of_a_keypoint_model_may_have_any_name(pose, backend, image, name):
    pose.rename_input("image", name)
    as_before(pose.save(), backend, image)


def test_an_input_by_another_name_takes_uint8_images_too(pose, options):
    pytest.importorskip("openvino")
    pose.rename_input("image", "x")
    with BACKENDS["openvino"].load(read_model(pose.save()).files, options) as session:
        ((name, dtype),) = [(of_input.name, of_input.dtype) for of_input in session.info.inputs]
    assert (name, dtype) == ("x", np.uint8)


@pytest.mark.parametrize(("name", "other"), quick_first([("image", "mask"), ("x", "y")], 1))
def test_an_additional_input_of_a_keypoint_model_is_named(pose, backend, name, other):
    pose.rename_input("image", name)
    pose.graph.input.append(onnx.helper.make_tensor_value_info(other, onnx.TensorProto.FLOAT, ["N", 1]))
    with pytest.raises((ModelError, BackendError), match=rf"one input, the image; .* as .*{other}"):
        keypoints(pose.save(), backend, np.zeros((64, 64, 3), np.uint8))


def test_an_input_of_another_size_than_the_yml_says(pose, backend):
    pose.yml["Preprocess"][0]["trainsize"] = [192, 256]
    with pytest.raises((ModelError, BackendError), match=r"256, 256\].*\[N, 3, 256, 192\]|256, 256, 3.*256, 192"):
        keypoints(pose.save(), backend, np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("name", quick_first(["x", "img"], 1))
def test_a_detectors_inputs_have_the_names_of_paddledetection(detector, backend, name):
    detector.rename_input("image", name)
    with pytest.raises((ModelError, BackendError), match=f"not a detector .*{name}.*'image'"):
        Predictor("mine", model_dir=detector.save(), backend=backend, device="cpu").warmup()


# Normalisation: MoveNet's is level / 127.5 - 1


@pytest.mark.full
def test_a_model_without_normalize_image_takes_levels(pose, backend, image):
    pose.put_before("Sub", 127.5)
    pose.constant("scale", 1 / 127.5)
    pose.graph.node.insert(1, onnx.helper.make_node("Mul", ["changed", "scale"], ["scaled"]))
    for node in list(pose.graph.node)[2:]:
        node.input[:] = ["scaled" if name == "changed" else name for name in node.input]
    del pose.yml["Preprocess"][1]
    as_before(pose.save(), backend, image)


@pytest.mark.full
def test_a_model_with_norm_type_none_takes_levels_from_0_to_1(pose, backend, image):
    pose.put_before("Sub", 0.5)
    pose.constant("scale", 2)
    pose.graph.node.insert(1, onnx.helper.make_node("Mul", ["changed", "scale"], ["scaled"]))
    for node in list(pose.graph.node)[2:]:
        node.input[:] = ["scaled" if name == "changed" else name for name in node.input]
    pose.yml["Preprocess"][1] |= {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "norm_type": "none"}
    as_before(pose.save(), backend, image)


@pytest.mark.full
@pytest.mark.parametrize(
    ("change", "score", "box"),
    [
        (lambda steps: steps[0].pop("interp"), 0.96874881, [101.15021, 20.720737, 261.08136, 387.38074]),
        (lambda steps: steps[0].pop("keep_ratio"), 0.96874881, [101.15021, 20.720737, 261.08136, 387.38074]),
        (lambda steps: steps[0].update(interp="LINEAR"), 0.96891165, [101.20602, 20.721725, 261.09772, 387.28918]),
        (
            lambda steps: steps[1].update(mean=[0, 0, 0], std=[1, 1, 1], norm_type="none"),
            *(0.96554297, [101.50595, 20.777576, 259.75253, 387.02454]),
        ),
        (lambda steps: steps.pop(1), 0.86886168, [125.649994, 0, 359, 63.449997]),
    ],
    ids=["interp", "keep_ratio", "linear", "norm_type none", "no NormalizeImage"],
)
def test_defaults_of_a_yml_give_the_boxes_of_paddlex(tmp_path, shared, change, score, box):
    """As PaddleX 3.7.2 gave them for the same folders."""
    require("paddle")
    folder = shutil.copytree(
        shared / "models" / "PicoDet-S_pedestrian_320", tmp_path / "model", copy_function=shutil.copyfile
    )
    yml = yaml.safe_load((folder / "inference.yml").read_text())
    change(yml["Preprocess"])
    (folder / "inference.yml").write_text(yaml.safe_dump(yml))
    with Predictor("mine", model_dir=folder, backend="paddle", device="cpu") as predictor:
        (result,) = predictor.predict(shared / "data" / "photos" / "keypoint_detection_002.jpg", threshold=0.03)
    best = result["boxes"][0]
    assert best["score"] == pytest.approx(score, abs=1e-4)
    np.testing.assert_allclose(best["coordinate"], box, atol=0.02)


@pytest.mark.full
def test_labels_that_yaml_reads_as_other_types_are_kept_as_text(detector, image, tmp_path):
    detector.yml["label_list"] = [1]
    with Predictor("mine", model_dir=detector.save(), device="cpu") as predictor:
        (result,) = predictor.predict(image)
    assert {box["label"] for box in result["boxes"]} == {"1"}
    result.save_to_json(tmp_path / "result.json")
    assert {box["label"] for box in json.loads((tmp_path / "result.json").read_text())["boxes"]} == {"1"}


@pytest.mark.full
@pytest.mark.parametrize("labels", [[], None])
def test_a_class_without_a_name_is_labelled_by_its_number(detector, image, labels):
    detector.yml["label_list"] = labels
    with Predictor("mine", model_dir=detector.save(), device="cpu") as predictor:
        (result,) = predictor.predict(image)
    assert {box["label"] for box in result["boxes"]} == {"0"}


# NaN and infinity

WHITE = np.full((300, 300, 3), 255, np.uint8)


def give_nan_for_white_images(edited, value=np.nan):
    """Adds NaN to the first output where an image has hardly a dark level."""
    for name, constant in (("bright", 0.95), ("bad", value), ("good", 0)):
        edited.constant(name, constant)
    edited.put_behind(
        ("ReduceMin", ["image"], "least", ("keepdims", 0)),
        ("Less", ["least", "bright"], "dark"),
        ("Where", ["dark", "good", "bad"], "added"),
        ("Add", ["first", "added"], "result"),
        result="result",
    )


@pytest.mark.full
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_keypoint_model_that_always_returns_nan_is_refused(pose, value, image):
    pose.constant("bad", value)
    pose.put_behind(("Add", ["first", "bad"], "result"), result="result")
    folder = pose.save()
    with pytest.raises(BackendError, match="NaN or infinity") as error:
        Predictor("mine", model_dir=folder, device="cpu")
    assert str(folder / "inference.onnx") in str(error.value)
    with (
        Predictor("mine", model_dir=folder, backend="onnxruntime", device="cpu") as predictor,
        pytest.raises(BackendError, match=r"inference\.onnx on onnxruntime .*NaN or infinity.*fetch them again"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        list(predictor.predict(image))


@pytest.mark.parametrize("value", quick_first([np.nan, np.inf], 1))
def test_only_the_image_that_gives_nan_is_an_error(pose, backend, image, value):
    give_nan_for_white_images(pose, value)
    with Predictor("mine", model_dir=pose.save(), backend=backend, device="cpu") as predictor:
        for _ in range(2):
            (result,) = predictor.predict(image)
            assert np.isfinite(result["kpts"][0]["keypoints"]).all()
            with pytest.raises(BackendError, match="NaN or infinity"):
                list(predictor.predict(WHITE))


@pytest.mark.full
def test_another_runtime_replaces_one_that_returns_nan(pose, image, caplog):
    """A folder with a broken graph and a good Paddle program."""
    require("paddle")
    source = Zoo.default().find(POSE).folder
    for name in ("inference.json", "inference.pdiparams"):
        shutil.copy(source / name, pose.folder)
    pose.constant("bad", np.nan)
    pose.put_behind(("Add", ["first", "bad"], "result"), result="result")
    with Predictor("mine", model_dir=pose.save(), device="cpu") as predictor:
        assert predictor.backend.startswith("paddle")
        (result,) = predictor.predict(image)
    assert np.isfinite(result["kpts"][0]["keypoints"]).all()
    assert "NaN or infinity" in caplog.text


@pytest.mark.full
def test_the_parity_gate_refuses_a_candidate_that_returns_nan(pose, tmp_path):
    pytest.importorskip("openvino")
    options = SessionOptions(ArtifactCache(tmp_path / "artifacts"), threads=2)  # the verdict is kept for the good model
    pose.constant("bad", np.nan)
    pose.put_behind(("Add", ["first", "bad"], "result"), result="result")
    broken, good = read_model(pose.save()), Zoo.default().find(POSE)
    with BACKENDS["openvino"].load(broken.files, options) as session:
        verdict = validated(good, session, Candidate("openvino", session.info.variant), options)
    assert not verdict.passed
    assert "NaN or infinity" in verdict.summary


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (1, np.nan),
        *(pytest.param(column, value, marks=pytest.mark.full) for column in (0, 2, 5) for value in (np.nan, np.inf)),
    ],
)
def test_a_detector_that_returns_nan_is_an_error(detector, backend, image, column, value):
    row = np.zeros(6, np.float32)
    row[column] = value
    detector.constant("bad", row)
    detector.put_behind(("Add", ["first", "bad"], "result"), result="result")
    with (
        Predictor("mine", model_dir=detector.save(), backend=backend, device="cpu") as predictor,
        pytest.raises(BackendError, match=r"inference\.onnx on .*NaN or infinity"),
    ):
        list(predictor.predict(image))


@pytest.mark.full
def test_a_detector_without_any_candidates_logs_a_warning(detector, caplog):
    """NMS drops NaN."""
    weights = max(detector.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = np.full_like(onnx.numpy_helper.to_array(weights), np.nan)
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    with caplog.at_level(logging.WARNING), Predictor("mine", model_dir=detector.save(), device="cpu") as predictor:
        (result,) = predictor.predict(np.zeros((64, 64, 3), np.uint8))
    assert result["boxes"] == []
    assert "finds nothing at all" in caplog.text


@pytest.fixture
def rows(options):
    """The detections above a score of 0.5 in given outputs of a detector's session."""
    spec = Zoo.default().find(DETECTOR)

    def detections(rows, counts=None):
        outputs = [np.array(rows, np.float32), np.array([len(rows)] if counts is None else counts)]
        images = [np.zeros((100, 100, 3), np.uint8)] * len(outputs[1])
        with BACKENDS["onnxruntime"].load(spec.files, options) as session:
            model = Detector(spec, session)
            return model.decode(outputs, model.prepare(images), images, np.full(len(images), 0.5))

    return detections


GOOD = [0, 0.9, 10, 10, 50, 50]
NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    "padding",
    [
        [-1, 0, 0, 0, 0, 0],
        [-1, INF, INF, INF, INF, INF],
        [-1, NAN, NAN, NAN, NAN, NAN],
        [-INF, 0.9, NAN, NAN, NAN, NAN],
        [0, 0, INF, INF, INF, INF],
        [0, 0.5, NAN, 0, 0, 0],
        [0, -INF, 0, 0, 5, 5],
    ],
)
def test_rows_that_do_not_count_may_hold_anything(rows, padding):
    (found,) = rows([GOOD, padding])
    assert found.boxes.tolist() == [GOOD[2:]]


@pytest.mark.parametrize(
    "bad", quick_first([[NAN, *GOOD[1:]], [INF, *GOOD[1:]], [0, NAN, 1, 1, 2, 2], [0, INF, 1, 1, 2, 2]])
)
@pytest.mark.parametrize("column", [None, 2, 5])
def test_rows_that_count_must_be_finite(rows, bad, column):
    if column is not None:
        bad = [*GOOD]
        bad[column] = -INF
    with pytest.raises(BackendError, match="NaN or infinity"):
        rows([GOOD, bad])


@pytest.mark.parametrize("counts", [[2], [0], [-1, 2], [1.0], [[1]], [1, 1]])
def test_counts_that_do_not_fit_the_rows_are_an_error(rows, counts):
    with pytest.raises(ModelError, match="their number per image"):
        rows([GOOD], counts)


@pytest.mark.full
def test_the_command_line_reports_it_in_one_line(pose, tmp_path):
    pose.constant("bad", np.nan)
    pose.put_behind(("Add", ["first", "bad"], "result"), result="result")
    options = ("--model", "mine", "--model_dir", pose.save(), "--backend", "onnxruntime", "--save_path", tmp_path)
    done = run_hpi("predict", EXAMPLE, *options, cwd=tmp_path)
    assert done.returncode != 0
    assert "NaN or infinity" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.full
# Skeletons, heads and outputs


@pytest.mark.full
def test_a_model_that_names_no_skeleton_has_numbered_keypoints(pose, image):
    folder = pose.save()
    with Predictor("mine", model_dir=folder, device="cpu") as predictor:
        (result,) = predictor.predict(image)
    assert result.keypoint_names == [str(index) for index in range(17)]
    assert result.skeleton.bones == ()
    with pytest.raises(ConfigError, match=r"flip needs to know left and right.*hpi: \{skeleton: coco17\}"):
        Predictor("mine", model_dir=folder, device="cpu", flip=True)


@pytest.mark.full
def test_a_skeleton_of_another_number_of_keypoints_is_refused(pose):
    pose.yml["hpi"] = {"skeleton": "mpii16"}
    with pytest.raises(ModelError, match="names the skeleton mpii16 of 16 keypoints, but the model finds 17"):
        Predictor("mine", model_dir=pose.save(), device="cpu")


@pytest.mark.full
def test_a_head_reads_the_outputs_that_the_yml_names(pose, backend, image):
    """Of a graph with several outputs in any order, and an input of any name."""
    heatmaps = pose.graph.output[0].name
    pose.rename_input("image", "pixels")
    pose.graph.node.append(onnx.helper.make_node("Identity", ["pixels"], ["aside"]))
    pose.graph.output.insert(0, onnx.helper.make_tensor_value_info("aside", onnx.TensorProto.FLOAT, None))
    head = {"type": "heatmap", "offset": 0.5, "outputs": [heatmaps]}
    pose.yml["hpi"] = {"skeleton": "coco17", "head": head}
    known = {"backend": backend, "device": "cpu"}
    with Predictor("mine", model_dir=pose.save(), **known) as mine, Predictor(POSE, **known) as theirs:
        (found,), (expected,) = (one.predict(image) for one in (mine, theirs))
    assert_same_keypoints(found.instances.points, expected.instances.points)
    head["outputs"] = ["other"]
    with pytest.raises(ModelError, match=r"has no output other, which the yml in .* names"):
        Predictor("mine", model_dir=pose.save(), **known)


def test_quarter_offset_decoding_through_the_predictor(pose, image):
    """Peaks that are refined by a quarter of a cell in place of DARK's step: less than a cell away."""
    pose.yml["hpi"] = {"skeleton": "coco17", "head": {"type": "heatmap", "offset": 0.5, "decoder": "quarter"}}
    known = {"backend": "onnxruntime", "device": "cpu"}
    boxes = [[39, 77, 160, 478]]
    with Predictor("mine", model_dir=pose.save(), **known) as mine, Predictor(POSE, **known) as theirs:
        (found,), (expected,) = (one.predict(image, boxes=boxes) for one in (mine, theirs))
    cell = 4 * 1.1 * (478 - 77) / 256
    clear = expected.keypoint_scores > 0.3  # DARK's step may be a long one where a heatmap has no clear peak
    assert np.abs(found.keypoints - expected.keypoints)[clear].max() < cell
    assert not np.array_equal(found.keypoints, expected.keypoints)
    assert found.keypoint_scores == pytest.approx(expected.keypoint_scores, abs=1e-5)
