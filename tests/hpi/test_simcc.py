"""SimCC models: real weights, planted outputs, and what the parity gate makes of their scores and bins."""

import numpy as np
import onnx
import pytest
import yaml
from onnx import helper, numpy_helper

from hpi import Predictor
from hpi.backends import BACKENDS
from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import SessionOptions
from hpi.errors import ConfigError, ModelError
from hpi.heads.simcc import SimccHead
from hpi.models.readers import read_model
from hpi.selection.parity import reference_results, validate

from planted import save_planted
from support import missing_backend, quick_first

SIZE = (192, 256)
RTMPOSE = {
    "input": {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]},
    "transform": {"type": "top_down", "size": list(SIZE)},
    "head": {"type": "simcc"},
}
"""What all RTMPose models have in common."""


def described(folder, **more):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hpi.yml").write_text(yaml.safe_dump({**RTMPOSE, **more}))
    return folder


# Real weights: PP-TinyPose with its heatmaps turned into vectors


@pytest.fixture
def example(shared):
    return np.load(shared / "zoo" / "real" / "simcc_example.npz")


@pytest.fixture
def real(shared, tmp_path):
    folder = described(tmp_path / "simcc", skeleton="coco17")
    (folder / "model.onnx").symlink_to(shared / "zoo" / "real" / "simcc_from_tinypose_256x192.onnx")
    return folder


def test_the_vectors_of_the_example_are_its_keypoints(example):
    found, _ = SimccHead().decode([example["simcc_x"], example["simcc_y"]], 1, SIZE)
    assert np.array_equal(found.keypoints[0], example["keypoints_crop"][:, :2])
    assert found.keypoint_scores[0] == pytest.approx(example["keypoints_crop"][:, 2], abs=1e-7)


@pytest.mark.parametrize("backend", ["onnxruntime", pytest.param("openvino", marks=pytest.mark.full)], indirect=True)
def test_the_example_through_the_predictor(shared, real, example, backend):
    x, y, width, height = example["box_xywh"]
    image = shared / "data" / "photos" / "keypoint_detection_002.jpg"
    with Predictor(real, backend=backend, device="cpu") as predictor:
        (result,) = predictor.predict(image, boxes=[[x, y, x + width, y + height]])
    assert result.skeleton.name == "coco17"
    assert result.keypoints[0] == pytest.approx(example["keypoints_image"], abs=1e-3)
    assert result.keypoint_scores[0] == pytest.approx(example["keypoints_crop"][:, 2], abs=1e-4)


@pytest.mark.full
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"], indirect=True)
def test_keypoint_ap_of_real_weights(shared, real, backend):
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    from hpi.evaluation.coco import CocoDataset
    from hpi.evaluation.predictions import Journal, predict

    def fail(error):
        raise error

    folder = shared / "data" / "coco_val"
    dataset = CocoDataset(folder / "person_keypoints.json", folder / "images")
    ap = {}
    for flip in (False, True):
        with Predictor(real, backend=backend, device="cpu", flip=flip) as predictor:
            predictions = predict(predictor, dataset.images, Journal(None), 8, on_error=fail)
            ap[flip] = dataset.figures(predictions, predictor)["AP"]
    assert ap[False] == pytest.approx(63.4, abs=0.3)
    assert ap[True] > ap[False] - 1.5  # as little as PP-TinyPose's own heatmaps gain or lose by it


# Planted outputs


def peaks(scores, size=SIZE, places=None, ratio=2):
    """Vectors for one person, whose keypoints have these scores, at places in whole bins."""
    places = np.full((len(scores), 2), 40) if places is None else places
    vectors = {}
    for axis, name in enumerate(("simcc_x", "simcc_y")):
        vector = np.full((1, len(scores), size[axis] * ratio), -10, np.float32)
        vector[0, np.arange(len(scores)), places[:, axis]] = scores
        vectors[name] = vector
    return vectors


@pytest.mark.parametrize(
    ("keypoints", "skeleton"),
    quick_first([(133, "coco_wholebody133"), (17, "coco17"), (26, "halpe26"), (21, "hand21"), (106, "lapa106_face")]),
)
def test_people_of_any_skeleton_are_where_they_were_planted(tmp_path, rng, image, keypoints, skeleton):
    bins = np.stack([rng.integers(0, side * 2, keypoints) for side in SIZE], axis=-1)
    scores = rng.uniform(0.5, 9, keypoints).astype(np.float32)
    folder = described(tmp_path / "planted", skeleton=skeleton)
    save_planted(folder / "end2end.onnx", peaks(scores, places=bins))
    boxes = np.array([[39, 77, 160, 478], [432, 20, 640, 480]], np.float32)
    with Predictor(folder, backend="onnxruntime", device="cpu") as predictor:
        (result,) = predictor.predict(image, boxes=boxes.tolist())
    center, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) * 1.25
    # Widened to the input's aspect ratio; a keypoint is at the same share of the region as of the input.
    width = np.maximum(sides[:, 0], sides[:, 1] * SIZE[0] / SIZE[1])
    region = np.stack([width, width * SIZE[1] / SIZE[0]], axis=-1)
    expected = bins / 2 / SIZE * region[:, None] + center[:, None] - region[:, None] / 2
    assert result.keypoints == pytest.approx(expected, abs=1e-2)
    assert result.keypoint_scores == pytest.approx(np.stack([scores, scores]))
    assert len(result.keypoint_names) == keypoints


def test_flip_needs_left_and_right(tmp_path):
    folder = described(tmp_path / "planted")
    save_planted(folder / "end2end.onnx", peaks(np.ones(17)))
    with pytest.raises(ConfigError, match="flip needs to know left and right"):
        Predictor(folder, backend="onnxruntime", device="cpu", flip=True)


def test_flip_averages_with_left_and_right_exchanged(tmp_path, image):
    """A network that gives the same for any input, so the mirrored places come from the flip alone."""
    places = np.full((17, 2), 40)
    scores = np.linspace(1, 2, 17).astype(np.float32)
    folder = described(tmp_path / "planted", skeleton="coco17")
    save_planted(folder / "end2end.onnx", peaks(scores, places=places))
    with Predictor(folder, backend="onnxruntime", device="cpu", flip=True) as predictor:
        (model,) = predictor.pipelines[0].models
        along_x, along_y = model.raw_outputs(np.zeros((1, 256, 192, 3), np.uint8))
        mirrored = model.skeleton.mirrored
    assert along_x[0, :, 40] == pytest.approx((scores - 10) / 2)
    assert along_x[0, :, 383 - 40] == pytest.approx((scores[mirrored] - 10) / 2)
    assert along_y[0, :, 40] == pytest.approx((scores + scores[mirrored]) / 2)


def test_vectors_of_another_split_ratio_are_an_error(tmp_path, image):
    folder = described(tmp_path / "planted", head={"type": "simcc", "split_ratio": 3.0})
    save_planted(folder / "end2end.onnx", peaks(np.ones(17)))
    with (
        pytest.raises(ModelError, match=r"split_ratio 3 makes 576 along x and 768 along y: correct split_ratio"),
        Predictor(folder, backend="onnxruntime", device="cpu") as predictor,
    ):
        list(predictor.predict(image))


def test_outputs_in_another_order_are_named(tmp_path, image):
    vectors = peaks(np.ones(17))
    turned = {name: vectors[name] for name in reversed(vectors)}
    found = {}
    for name, outputs in (("right", vectors), ("turned", turned)):
        folder = described(tmp_path / name, head={"type": "simcc", "outputs": ["simcc_x", "simcc_y"]})
        save_planted(folder / "end2end.onnx", outputs)
        with Predictor(folder, backend="onnxruntime", device="cpu") as predictor:
            (result,) = predictor.predict(image)
        found[name] = result.keypoints
    assert np.array_equal(found["right"], found["turned"])


# The parity gate


def verdict(folder, reference, candidate, options):
    """What the gate says of a network that gives one thing, where the reference gives another."""
    spec = read_model(described(folder))
    sessions = []
    for name, outputs in (("reference", reference), ("candidate", candidate)):
        save_planted(folder / name / "end2end.onnx", outputs)
        files = read_model(described(folder / name)).files
        sessions.append(BACKENDS["onnxruntime"].load(files, options))
    one, other = sessions
    with one, other:
        return validate(spec, other, reference_results(spec, one, "fp32"))


@pytest.fixture
def says(tmp_path, options):
    def say(reference, candidate):
        folder = described(tmp_path / "model")
        save_planted(folder / "end2end.onnx", reference)
        return verdict(folder, reference, candidate, options)

    return say


def moved(places, bins):
    return places + np.array([bins, 0])


@pytest.mark.full
@pytest.mark.parametrize(
    ("keypoints", "best"), quick_first([(133, 40), (17, 0.004), (17, 0.9), (17, 40), (133, 0.2)], 2)
)
def test_the_gate_looks_at_the_clearest_keypoints_whatever_the_scores(says, rng, keypoints, best):
    """Of random weights all scores are small, of others they exceed 1: neither passes unseen, nor fails for that."""
    places = rng.integers(20, 300, (keypoints, 2))
    scores = rng.uniform(0.85, 1, keypoints) * best
    same = says(peaks(scores, places=places), peaks(scores * 1.001, places=places))
    assert same.passed
    assert f"{8 * keypoints} keypoints" in same.summary
    assert not says(peaks(scores, places=places), peaks(scores, places=moved(places, 3))).passed
    assert not says(peaks(scores, places=places), peaks(scores * 1.2, places=places)).passed


def test_the_gate_allows_the_next_of_two_bins(says, rng):
    """Two neighbours that are almost equal change their order with the last bits of a sum."""
    places = rng.integers(20, 300, (17, 2))
    scores = np.full(17, 0.9)
    next_bin = says(peaks(scores, places=places), peaks(scores, places=moved(places, 1)))
    assert next_bin.passed
    assert next_bin.pixels == 0
    assert not says(peaks(scores, places=places), peaks(scores, places=moved(places, 2))).passed


def test_the_gate_leaves_out_what_is_not_clear_beside_high_scores(says, rng):
    places = rng.integers(20, 300, (17, 2))
    scores = np.full(17, 12.0)
    scores[:5] = 2  # much for heatmaps, little here
    elsewhere = places.copy()
    elsewhere[:5] += 50
    found = says(peaks(scores, places=places), peaks(scores, places=elsewhere))
    assert found.passed
    assert f"{8 * 12} keypoints" in found.summary


def test_the_gate_does_not_pass_a_model_that_finds_nothing(says):
    nothing = peaks(np.full(17, -1.0))
    found = says(nothing, nothing)
    assert not found.passed
    assert "nothing to compare" in found.summary


def random_network(path, rng, keypoints=133):
    """A small network with random weights, whose vectors hang on the image."""
    weights = {
        "kernel": rng.normal(0, 0.3, (4, 3, 32, 32)),
        "along_x": rng.normal(0, 0.2, (4 * 8 * 6, keypoints * SIZE[0] * 2 // 8)),
        "along_y": rng.normal(0, 0.2, (4 * 8 * 6, keypoints * SIZE[1] * 2 // 8)),
    }
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    nodes = [
        helper.make_node("Conv", ["input", "kernel"], ["maps"], strides=[32, 32]),
        helper.make_node("Relu", ["maps"], ["features"]),
        helper.make_node("Flatten", ["features"], ["flat"]),
    ]
    outputs = []
    for axis, name in enumerate("xy"):
        bins = SIZE[axis] * 2
        constants.append(numpy_helper.from_array(np.array([-1, keypoints, bins // 8, 1]), f"shape_{name}"))
        constants.append(numpy_helper.from_array(rng.uniform(0.5, 1, (1, 1, 1, 8)).astype(np.float32), f"wave_{name}"))
        constants.append(numpy_helper.from_array(np.array([-1, keypoints, bins]), f"whole_{name}"))
        nodes += [
            helper.make_node("MatMul", ["flat", f"along_{name}"], [f"product_{name}"]),
            helper.make_node("Reshape", [f"product_{name}", f"shape_{name}"], [f"coarse_{name}"]),
            helper.make_node("Mul", [f"coarse_{name}", f"wave_{name}"], [f"fine_{name}"]),
            helper.make_node("Reshape", [f"fine_{name}", f"whole_{name}"], [f"simcc_{name}"]),
        ]
        outputs.append(helper.make_tensor_value_info(f"simcc_{name}", onnx.TensorProto.FLOAT, ["N", keypoints, bins]))
    image = helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["N", 3, SIZE[1], SIZE[0]])
    graph = helper.make_graph(nodes, "random", [image], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


@pytest.mark.full
def test_another_runtime_passes_the_gate_with_random_weights(tmp_path, home):
    """Of a whole body; its scores are of no scale at all. A fixed seed: of others two bins may be as good as equal."""
    if reason := missing_backend("openvino"):
        pytest.skip(reason)
    folder = described(tmp_path / "random", skeleton="coco_wholebody133")
    random_network(folder / "end2end.onnx", np.random.default_rng(0), 133)
    spec, options = read_model(folder), SessionOptions(ArtifactCache(home / "artifacts"), threads=2)
    with BACKENDS["onnxruntime"].load(spec.files, options) as reference:
        expected = reference_results(spec, reference, "fp32")
    scores = np.concatenate([one.keypoint_scores for one in expected.results])
    assert scores.max() > 1
    with BACKENDS["openvino"].load(spec.files, options) as candidate:
        found = validate(spec, candidate, expected)
    assert found.passed, found.summary
    assert int(found.summary.split()[0]) > 100
