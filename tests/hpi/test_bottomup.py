"""Models that find people with their keypoints in whole images: HigherHRNet, and a small graph that sees dots."""

import base64
import json
import sys
from dataclasses import replace
from typing import ClassVar, Literal

import cv2
import numpy as np
import onnx
import pytest

from hpi import Predictor
from hpi.backends import BACKENDS
from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import SessionOptions
from hpi.benchmarks import plain_grouping
from hpi.cli.evaluate import EvaluationRequest, run
from hpi.devices import OnHost
from hpi.errors import BackendError, ConfigError, InputError, ModelError
from hpi.evaluation.coco.results_file import RESULTS
from hpi.heads import HEADS
from hpi.heads.base import Head, Task
from hpi.heads.tags import TagsHead
from hpi.instances import Instances
from hpi.models import open_model
from hpi.models.bottomup import BottomUp
from hpi.models.readers import read_model
from hpi.selection.parity import reference_results, validate
from hpi.skeletons import COCO, load_skeleton
from hpi.transforms import ShortSide

import dots
from support import SHARED, missing_backend, run_hpi

pytest.importorskip("scipy", reason="SciPy is not installed")

GOLDEN = SHARED / "zoo" / "golden"
MAPS = sorted([*(GOLDEN / "higherhrnet_postprocess").glob("*.npz"), *(GOLDEN / "higherhrnet_semi_real").glob("*.npz")])
ON = [one for one in ("onnxruntime", "openvino") if missing_backend(one) is None]


@pytest.fixture
def folder(tmp_path):
    return dots.save(tmp_path / "dots")


@pytest.fixture
def scene(rng):
    """The people of an image, and the image, of the input's size."""
    size = (128, 64)
    everyone = dots.people(rng, 5, size)
    return everyone, dots.paint(everyone, size)


def assert_same_set(found, expected, limit=1e-3):
    """Assert that each of the people is there once, with keypoints and scores as close as that."""
    assert len(found) == len(expected)
    apart = np.abs(found.points[:, None] - expected.points[None]).max(axis=(2, 3), initial=0)
    apart = np.maximum(apart, np.abs(found.scores[:, None] - expected.scores[None]))
    left = list(range(len(expected)))
    for row in apart:
        closest = min(left, key=row.__getitem__)
        assert row[closest] < limit
        left.remove(closest)


def planted(everyone):
    """What the model should find of people who are dots: in the middle of a quarter of a cell."""
    points = everyone[..., :2] + np.float32(0.25)
    points[everyone[..., 2] == 0] = 0
    return Instances(everyone[..., 2].mean(axis=1), keypoints=points, keypoint_scores=everyone[..., 2])


# PaddleDetection's results


@pytest.mark.full
@pytest.mark.parametrize("path", MAPS, ids=lambda path: path.stem)
@pytest.mark.parametrize("peaks", [True, False], ids=["peaks of the graph", "own peaks"])
def test_people_of_maps_are_those_of_paddledetection(path, peaks):
    golden = np.load(path)
    names = ["heatmap", "tagmap", *(["heat_k", "inds_k"] if peaks else [])]
    height, width = golden["heatmap"].shape[2:]
    found, items = TagsHead().decode([golden[name] for name in names], 1, (width, height))
    image = np.zeros((int(golden["original_height"]), int(golden["original_width"]), 3), np.uint8)
    transform = ShortSide(min(height, width))
    assert transform.size_for(image) == (width, height)
    found = transform.prepare(OnHost({}), [image]).inverse.apply(found, items)
    # Of nobody it returns two arrays of keypoints.
    scores = golden["scores"] if len(golden["keypoints"]) else np.zeros(0)
    keypoints = golden["keypoints"]
    assert_same_set(found, Instances(scores, keypoints=keypoints[..., :2], keypoint_scores=keypoints[..., 2]))


def test_the_input_is_that_of_paddledetection(shared):
    class Seen(OnHost):
        def crops(self, images, matrices, size):
            self.matrix = matrices[0][0]
            return super().crops(images, matrices, size)

    for case in json.loads(
        (shared / "zoo" / "golden" / "topdown_postprocess" / "higherhrnet_eval_affine.json").read_text()
    ):
        image, host = np.zeros((case["h"], case["w"], 3), np.uint8), Seen({})
        prepared = ShortSide(case["s"]).prepare(host, [image])
        assert prepared.size == tuple(case["size_wh"]) == prepared.batch.shape[2:0:-1]
        assert np.abs(host.matrix - case["trans"]).max() < 1e-9
        corners = np.array([[[0, 0], prepared.size]], np.float32)
        back = prepared.inverse.apply(Instances([1], keypoints=corners, keypoint_scores=[[1, 1]]), np.array([0]))
        inverse = np.array(case["inverse"])
        assert np.abs(back.keypoints[0] - (corners[0] @ inverse[:, :2].T + inverse[:, 2])).max() < 1e-3


# A whole model


@pytest.mark.parametrize("backend", ON)
def test_people_are_found_drawn_and_saved(folder, scene, backend, tmp_path):
    everyone, image = scene
    with Predictor("dots", model_dir=folder, backend=backend, device="cpu") as predictor:
        (result,) = predictor.predict(image)
    assert_same_set(result.instances, planted(everyone))
    assert (np.diff(result.scores) <= 0).all()
    assert result.skeleton == load_skeleton(COCO)
    assert [person.keys() for person in result["kpts"]] == [{"keypoints", "kpt_score"}] * len(everyone)
    assert [person["kpt_score"] for person in result["kpts"]] == result.scores.tolist()
    assert (result.plot() != image).any()
    saved = result.save(tmp_path / "output")
    assert [path.suffix for path in saved] == [".json", ".png"]
    assert len(json.loads(saved[0].read_text())["kpts"]) == len(everyone)


def test_boxes_are_around_the_keypoints_and_say_so(folder, scene):
    with Predictor("dots", model_dir=folder, device="cpu") as predictor:
        (result,) = predictor.predict(scene[1])
    assert result.instances.boxes_derived
    for person in result.instances:
        seen = person.keypoints[0][person.keypoint_scores[0] > 0]
        assert person.boxes[0].tolist() == [*seen.min(axis=0), *seen.max(axis=0)]
    entry = result.to_coco()[0]
    assert (len(entry["keypoints"]), entry["bbox"][0]) == (51, result.boxes[0, 0])
    assert not any("coordinate" in person for person in result["kpts"])


def test_supervision_gets_keypoints_and_boxes(folder, scene):
    pytest.importorskip("supervision")
    with Predictor("dots", model_dir=folder, device="cpu") as predictor:
        (result,) = predictor.predict(scene[1])
    points, boxes = result.to_supervision()
    assert points.xy.shape == (5, 17, 2)
    assert (boxes.xyxy == result.boxes).all()


def test_everyone_is_kept_who_scores_above_the_threshold(folder, rng):
    """The yml's draw_threshold, of 0.5, is for drawn keypoints."""
    everyone = dots.people(rng, 6, (128, 64), seen=0.4)
    image, scores = dots.paint(everyone, (128, 64)), everyone[..., 2].mean(axis=1)
    middle = float(np.sort(scores)[2:4].mean())
    with Predictor("dots", model_dir=folder, device="cpu") as predictor:
        counts = [len(next(predictor.predict(image, threshold=one)).instances) for one in (None, 0, middle, 1)]
    assert counts == [6, 6, 3, 0]


@pytest.mark.full
@pytest.mark.parametrize("backend", ON)
@pytest.mark.parametrize("peaks", [True, False])
def test_images_of_all_sizes_have_the_results_that_they_have_alone(tmp_path, rng, backend, peaks):
    folder = dots.save(tmp_path / "dots", dots.graph(peaks=peaks))
    sizes = [
        (128, 64),
        (64, 64),
        (64, 128),
        (128, 64),
        (100, 70),
        (64, 64),
        (300, 200),
        (128, 64),
        (128, 64),
        (128, 64),
    ]
    images = [dots.paint(dots.people(rng, 4, size), size) for size in sizes]
    with Predictor("dots", model_dir=folder, backend=backend, device="cpu") as predictor:
        together = list(predictor.predict(images, batch_size=len(images)))
        alone = [next(predictor.predict(image)) for image in images]
    for both, one in zip(together, alone, strict=True):
        assert_same_set(both.instances, one.instances, 1e-4)


def test_keypoints_are_in_pixels_of_the_image(folder, rng):
    """A dot of 8x8 pixels is one cell of the input."""
    everyone = dots.people(rng, 3, (128, 64))
    image = cv2.resize(dots.paint(everyone, (128, 64)), None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST)
    with Predictor("dots", model_dir=folder, device="cpu") as predictor:
        (result,) = predictor.predict(image)
    seen = everyone[..., 2] > 0
    order = [int(np.abs(result.scores - score).argmin()) for score in everyone[..., 2].mean(axis=1)]
    assert sorted(order) == [0, 1, 2]
    assert np.abs(result.keypoints[order] / 8 - everyone[..., :2])[seen].max() < 1


def test_nobody_in_an_image_is_an_empty_result(folder):
    with Predictor("dots", model_dir=folder, device="cpu") as predictor:
        (result,) = predictor.predict(np.zeros((64, 100, 3), np.uint8))
    assert result.keypoints.shape == (0, 17, 2)
    assert result.boxes.shape == (0, 4)
    assert result["kpts"] == []
    assert result.to_coco() == []


@pytest.mark.parametrize("peaks", [True, False])
def test_flip_averages_heatmaps_and_compares_both_tags(tmp_path, rng, peaks):
    """As PaddleDetection's evaluation does, read here image by image."""
    folder = dots.save(tmp_path / "dots", dots.graph(peaks=peaks))
    image = dots.paint(dots.people(rng, 4, (128, 64)), (128, 64))
    with Predictor("dots", model_dir=folder, backend="onnxruntime", flip=True) as predictor:
        (result,) = predictor.predict(image)
        (model,) = predictor.pipelines[0].models
        maps = [
            [output[0] for output in model.outputs_of(model.feeds(model.prepare([np.ascontiguousarray(view)])))][:2]
            for view in (image, image[:, ::-1])
        ]
    order = load_skeleton(COCO).mirrored
    (heatmap, tagmap), (mirrored, mirrored_tags) = maps
    heatmap = np.stack([(heatmap[k] + mirrored[order[k]][:, ::-1]) / 2 for k in range(17)])
    tags = np.stack([np.concatenate([tagmap[k], mirrored_tags[order[k]][:, ::-1]], axis=-1) for k in range(17)])
    highest = np.where(heatmap == [cv2.dilate(one, np.ones((5, 5))) for one in heatmap], heatmap, 0).reshape(17, -1)
    cells = np.argsort(-highest, axis=1, kind="stable")[:, :30]
    expected, scores = plain_grouping.decode(heatmap, tags, np.take_along_axis(highest, cells, axis=1), cells)
    expected = Instances(scores, keypoints=expected[..., :2], keypoint_scores=expected[..., 2])
    assert len(expected) >= 4
    assert_same_set(result.instances, expected)


class RowsHead(Head):
    """Boxes, scores and keypoints of people, ``[N, M, 5 + 3 K]``, in pixels of the input."""

    type: Literal["rows"] = "rows"
    task: ClassVar[Task] = "keypoint_detection"

    def decode(self, outputs, count, size, kernels=None):
        rows = outputs[0].reshape(-1, outputs[0].shape[2])
        points = rows[:, 5:].reshape(len(rows), -1, 3)
        found = Instances(rows[:, 4], rows[:, :4], keypoints=points[..., :2], keypoint_scores=points[..., 2])
        return found, np.repeat(np.arange(count), outputs[0].shape[1])

    def keypoints_in(self, outputs):
        return (outputs[0].shape[2] - 5) // 3


def test_a_head_may_give_the_boxes_itself(tmp_path, monkeypatch):
    """Of a model whose input has a fixed size, 64x64, in an image of 128x64."""
    monkeypatch.setitem(HEADS, "rows", RowsHead)
    row = np.float32([8, 16, 24, 40, 0.75, 10, 20, 0.5, 20, 30, 0.25])
    text = """rows (float[N, 3, 64, 64] image) => (float[N, 1, 11] rows) {
        mean = ReduceMean <axes = [1, 2, 3], keepdims = 1> (image)
        flat = Squeeze (mean, last)
        nothing = Mul (flat, no)
        rows = Add (nothing, row)
    }"""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 13]> {text}')
    values = {"last": np.array([3]), "no": np.float32([0]), "row": row[None, None]}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in values.items())
    folder = dots.save(
        tmp_path / "rows",
        model,
        Preprocess=[{"type": "Resize", "target_size": 64}, {"type": "Permute"}],
        hpi={"head": {"type": "rows"}},
    )
    image = np.zeros((64, 128, 3), np.uint8)
    with Predictor("rows", model_dir=folder, device="cpu") as predictor:
        (result,) = predictor.predict(image)
        (none,) = predictor.predict(image, threshold=0.8)
    assert not result.instances.boxes_derived
    assert result.boxes.tolist() == [[16, 16, 48, 40]]
    (person,) = result["boxes"]
    assert person["coordinate"] == [16, 16, 48, 40]
    assert (person["det_score"], person["keypoints"].tolist()) == (0.75, [[20, 20, 0.5], [40, 30, 0.25]])
    assert (result.plot() != image).any()
    assert none["boxes"] == []


# What does not fit


def test_a_very_long_image_is_refused_alone(folder, scene, tmp_path):
    cv2.imwrite(str(tmp_path / "long.png"), np.zeros((32, 600, 3), np.uint8))
    failed = []
    images = [np.zeros((32, 500, 3), np.uint8), str(tmp_path / "long.png"), scene[1]]
    with Predictor("dots", model_dir=folder, device="cpu") as predictor:
        results = list(predictor.predict(images, batch_size=3, on_error=failed.append))
        with pytest.raises(InputError, match="600x32 pixels are too elongated"):
            next(predictor.predict(images[1]))
    assert [len(result.instances) for result in results] == [0, 5]
    assert str(failed[0]).startswith(f"{tmp_path / 'long.png'}: 600x32 pixels are too elongated")


def test_a_graph_of_one_size_is_refused(tmp_path):
    folder = dots.save(tmp_path / "dots", dots.graph(sides="64, 64"))
    with pytest.raises(
        ModelError,
        match=r"takes 'image' float32 .*64, 64.* of any height and width; export the model with both left free",
    ):
        Predictor("dots", model_dir=folder, backend="onnxruntime", device="cpu")


def test_a_graph_without_tags_is_to_be_exported_again(tmp_path):
    model = dots.graph(peaks=False)
    del model.graph.output[1]
    with pytest.raises(ModelError, match="has 1 outputs, but tags are read from 2; export it again with all of them"):
        Predictor("dots", model_dir=dots.save(tmp_path / "dots", model), backend="onnxruntime", device="cpu")


def test_outputs_that_are_not_maps_say_what_to_export(tmp_path):
    text = """g (float[N, 3, H, W] image) => (float[N] a, float[N] b)
        { a = ReduceMean <axes = [1, 2, 3], keepdims = 0> (image) b = Identity (a) }"""
    folder = dots.save(tmp_path / "dots", onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 13]> {text}'))
    with (
        Predictor("dots", model_dir=folder, backend="onnxruntime", device="cpu") as predictor,
        pytest.raises(ModelError, match="export the model with the outputs heatmap, tagmap"),
    ):
        _ = predictor.pipelines[0].skeleton


NORMALIZE, PERMUTE = {"type": "NormalizeImage", "mean": [0, 0, 0], "std": [1, 1, 1]}, {"type": "Permute"}


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([{"type": "EvalAffine", "size": 500}, NORMALIZE, PERMUTE], "size.*multiple of 64"),
        ([{"type": "EvalAffine", "size": 512}, PERMUTE, {"type": "PadStride", "stride": 128}], "leave out PadStride"),
        ([{"type": "Resize", "target_size": [64, 128], "keep_ratio": True}, PERMUTE], "padded after normalisation"),
    ],
)
def test_steps_that_make_no_input_for_it_are_refused(tmp_path, steps, said):
    folder = dots.save(tmp_path / "dots", Preprocess=steps, hpi={"head": {"type": "tags"}})
    with pytest.raises(ModelError, match=said):
        read_model(folder)


def test_everyone_is_kept_whatever_makes_the_input(tmp_path):
    steps = [{"type": "Resize", "target_size": [64, 64]}, NORMALIZE, PERMUTE]
    folder = dots.save(tmp_path / "dots", Preprocess=steps, hpi={"head": {"type": "tags"}})
    assert read_model(folder).draw_threshold == 0


def test_its_head_does_not_read_crops(tmp_path):
    steps = [{"type": "TopDownEvalAffine", "trainsize": [64, 64]}, {"type": "Permute"}]
    folder = dots.save(tmp_path / "dots", Preprocess=steps, hpi={"head": {"type": "tags"}})
    with pytest.raises(ModelError, match="type tags finds any number of people, so it needs whole images"):
        read_model(folder)


def test_it_does_not_stand_behind_a_detector(folder):
    from hpi.compat.paddlex.config import read_pipeline

    content = read_pipeline("human_keypoint_detection_lite").model_dump(by_alias=True, exclude_none=True)
    content["SubModules"]["KeypointDetection"] |= {"model_name": "dots", "model_dir": str(folder)}
    with pytest.raises(ConfigError, match="dots finds people itself and needs no detector"):
        Predictor("x", config=content, device="cpu")


@pytest.mark.parametrize("options", [{"use_udp": True}, {"crop": "paddledetection"}, {"use_dark": False}])
def test_options_of_other_models_are_refused(folder, options):
    with pytest.raises(ConfigError, match="use_udp, crop and use_dark are for models that crop people"):
        Predictor("dots", model_dir=folder, device="cpu", **options)


def test_flip_needs_a_skeleton(tmp_path):
    folder = dots.save(tmp_path / "dots", metric="other")
    with pytest.raises(ConfigError, match="flip needs to know left and right"):
        Predictor("dots", model_dir=folder, device="cpu", flip=True)


def test_boxes_are_refused(folder):
    with (
        Predictor("dots", model_dir=folder, device="cpu") as predictor,
        pytest.raises(InputError, match="finds its own"),
    ):
        predictor.predict(np.zeros((64, 64, 3), np.uint8), boxes=[[0, 0, 8, 8]])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("output", ["heatmap", "tagmap"])
def test_maps_that_are_not_finite_are_an_error(tmp_path, scene, value, output):
    model = dots.graph()
    (node,) = [one for one in model.graph.node if one.output[0] == output]
    node.output[0] = "clean"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([value]), "bad"))
    index = list(model.graph.node).index(node)
    model.graph.node.insert(index + 1, onnx.helper.make_node("Add", ["clean", "bad"], [output]))
    folder = dots.save(tmp_path / "dots", model)
    with (
        Predictor("dots", model_dir=folder, backend="onnxruntime", device="cpu") as predictor,
        pytest.raises(BackendError, match="returns NaN or infinity"),
    ):
        next(predictor.predict(scene[1]))


def test_outputs_of_another_kind_are_refused(tmp_path, scene):
    model = dots.graph(peaks=False)
    first, second = (model.graph.output[index].name for index in (0, 1))
    for output, name in zip(model.graph.output, (second, first), strict=True):
        output.name = name
    folder = dots.save(tmp_path / "dots", model, hpi={"head": {"type": "tags", "outputs": ["tagmap", "heatmap"]}})
    with (
        pytest.raises(ModelError, match=r"are not heatmaps \[N, keypoints"),
        Predictor("dots", model_dir=folder, backend="onnxruntime", device="cpu") as predictor,
    ):
        next(predictor.predict(scene[1]))


def test_without_scipy_the_command_that_installs_it_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ConfigError, match=r'pip install "hpi-pose\[cpu\]"'):
        Predictor("dots", model_dir=folder, device="cpu")


# The parity gate


@pytest.fixture
def session(folder, options):
    with BACKENDS["onnxruntime"].load(read_model(folder).files, options) as session:
        yield session


@pytest.fixture
def model(folder, session):
    return BottomUp(read_model(folder), session)


def test_the_gate_compares_people_as_a_set(model, rng):
    expected = planted(dots.people(rng, 5, (640, 480)))
    shuffled = expected[rng.permutation(5)]
    deviation = model.deviation([expected], [shuffled])
    assert (deviation.pixels, deviation.score) == (0, 0)
    assert deviation.count == (expected.keypoint_scores > 0).sum()
    moved = shuffled.replaced(keypoints=shuffled.keypoints + np.float32([3, 4]))
    assert model.deviation([expected], [moved]).pixels == pytest.approx(5 * 64 / 480)


@pytest.mark.parametrize(
    "change", ["one is missing", "one is twice", "one is split", "keypoints change places", "nobody"]
)
def test_the_gate_sees_whose_keypoints_are_whose(model, rng, change):
    expected = planted(dots.people(rng, 5, (640, 480)))
    points, scores = expected.keypoints.copy(), expected.keypoint_scores.copy()
    found = expected
    if change == "one is missing":
        found = expected[1:]
    elif change == "one is split":
        left, right = scores.copy()[:1], scores.copy()[:1]
        left[:, 8:], right[:, :8] = 0, 0
        halves = [Instances(half.mean(axis=1), keypoints=points[:1], keypoint_scores=half) for half in (left, right)]
        found = Instances.concatenate([*halves, expected[1:]])
    elif change == "keypoints change places":
        points[[0, 1], 0] = points[[1, 0], 0]
        found = expected.replaced(keypoints=points)
    elif change == "nobody":
        found = expected[:0]
    deviation = model.deviation([expected], [found])
    if change == "one is twice":
        assert model.deviation([expected], [Instances.concatenate([expected, expected[:1]])]).pixels == 0
    else:
        assert deviation.pixels > 1 or deviation.score > 0.05


def test_keypoints_of_nobody_clear_are_compared_for_themselves(model, rng):
    """As those of random weights, which are grouped by chance."""
    everyone = dots.people(rng, 5, (640, 480), seen=0)
    # One keypoint of each, and four more: who gets all of these has 5 of 17, and is not clear.
    everyone[range(4), 1 + rng.permutation(16)[:4], 2] = rng.integers(110, 250, 4) / 255
    expected = planted(everyone)
    mixed = np.stack([rng.permutation(expected.points[:, keypoint]) for keypoint in range(17)], axis=1)
    found = Instances(mixed[..., 2].mean(axis=1), keypoints=mixed[..., :2], keypoint_scores=mixed[..., 2])
    deviation = model.deviation([expected], [found])
    assert (deviation.pixels, deviation.score) == (0, 0)
    assert deviation.count == (expected.keypoint_scores > 0.3).sum()
    found.keypoint_scores[found.keypoint_scores > 0] += 0.2
    assert model.deviation([expected], [found]).score == pytest.approx(0.2, abs=1e-6)


def test_scenes_of_the_reference_images_have_one_input_size(model):
    images, regions = model.example_inputs(3)
    assert regions is None
    assert model.prepare(images).size == (128, 64)
    assert (images[0] == images[2]).all()
    assert (images[0] == images[1][:, ::-1]).all()


@pytest.mark.full
@pytest.mark.skipif("openvino" not in ON, reason="OpenVINO is not installed")
@pytest.mark.parametrize("path", [GOLDEN / "higherhrnet_semi_real" / "000000570688.npz"], ids=["semi-real"])
def test_a_runtime_passes_the_gate_on_people_of_whole_images(shared, path, tmp_path, home):
    """Maps of real people, whatever the image is, of the input's size of the reference image."""
    golden = np.load(path)
    folder = dots.save(tmp_path / "fixed", dots.constant(golden))
    yml = (folder / "infer_cfg.yml").read_text().replace("size: 64", "size: 512")
    (folder / "infer_cfg.yml").write_text(yml)
    spec, options = read_model(folder), SessionOptions(ArtifactCache(home / "artifacts"), threads=2)
    with BACKENDS["onnxruntime"].load(spec.files, options) as reference:
        expected = reference_results(spec, reference, "fp32")
        people = open_model(spec, reference).run(*open_model(spec, reference).example_inputs(1))[0]
    assert len(people) == len(golden["scores"]) == 8
    with BACKENDS["openvino"].load(spec.files, options) as session:
        verdict = validate(spec, session, expected)
    assert verdict.passed
    assert "keypoints against onnxruntime fp32" in verdict.summary


# Commands, service and evaluation


@pytest.mark.full
def test_explain_says_that_a_graph_takes_one_image_at_a_time(folder, tmp_path):
    arguments = ("explain", "--model", "dots", "--model_dir", folder, "--backend", "onnxruntime")
    assert "one item at a time: the graph has a fixed batch of 1" in run_hpi(*arguments, cwd=tmp_path).stdout
    dots.save(folder, dots.graph(peaks=False))
    assert "one item at a time" not in run_hpi(*arguments, cwd=tmp_path).stdout


@pytest.mark.full
def test_people_are_predicted_from_the_command_line(folder, scene, tmp_path):
    cv2.imwrite(str(tmp_path / "people.png"), scene[1])
    done = run_hpi(
        "predict", "people.png", "--model", "dots", "--model_dir", folder, "--save_path", "out", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "5 people" in done.stdout
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".json", ".png"]


@pytest.fixture
def annotated(tmp_path, rng):
    """A data set of images of dots, in COCO's form."""
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for number in range(1, 4):
        everyone = dots.people(rng, number, (128, 128))
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), dots.paint(everyone, (128, 128)))
        images.append({"id": number, "file_name": f"{number}.png", "width": 128, "height": 128})
        for person in everyone:
            seen = person[:, 2] > 0
            keypoints = np.stack([*(person[:, :2] + 0.25).T * seen, 2 * seen], axis=1)
            x1, y1, x2, y2 = [*person[seen, :2].min(axis=0), *person[seen, :2].max(axis=0)]
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0,
                    "bbox": [float(one) for one in (x1, y1, x2 - x1, y2 - y1)], "area": float((x2 - x1) * (y2 - y1)),
                    "keypoints": keypoints.ravel().tolist(), "num_keypoints": int(seen.sum()),
                }
            )  # fmt: skip
    names = list(load_skeleton(COCO).keypoints)
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": names}],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    return EvaluationRequest("coco", tmp_path / "annotations.json", tmp_path / "images", output=tmp_path / "output")


def test_it_is_evaluated_without_boxes(folder, annotated):
    (folder / "infer_cfg.yml").write_text((folder / "infer_cfg.yml").read_text().replace("size: 64", "size: 128"))
    run(replace(annotated, model="dots", model_dir=folder, backends=["onnxruntime"]))
    report = json.loads((annotated.output / "coco.json").read_text())
    (row,) = report["rows"]
    assert row["figures"]["AP"] == pytest.approx(100)
    assert not any(name.startswith("box") for name in row["figures"])
    assert "The model finds people itself, with any score." in report["protocol"]
    assert "A person's score is the model's" in report["protocol"]


def test_people_with_missing_keypoints_are_all_saved(folder, annotated, rng):
    everyone = dots.people(rng, 3, (128, 128), seen=0)
    cv2.imwrite(str(annotated.images / "1.png"), dots.paint(everyone, (128, 128)))
    (folder / "infer_cfg.yml").write_text((folder / "infer_cfg.yml").read_text().replace("size: 64", "size: 128"))
    run(replace(annotated, model="dots", model_dir=folder, backends=["onnxruntime"], save_prediction_only=True))
    entries = json.loads((annotated.output / RESULTS).read_text())
    assert sum(entry["image_id"] == 1 for entry in entries) == 3


@pytest.mark.parametrize("change", [{"boxes": "gt"}, {"boxes": "detector"}, {"dataset": "mpii"}])
def test_it_is_not_evaluated_with_boxes(folder, annotated, change, monkeypatch):
    monkeypatch.setattr("hpi.cli.evaluate.MpiiDataset", lambda *_: None)
    with pytest.raises(ConfigError, match="dots finds people itself: it is evaluated on COCO without --boxes"):
        run(replace(annotated, model="dots", model_dir=folder, **change))


def test_it_is_served(folder, scene):
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    from hpi.serving.app import create_app
    from hpi.serving.settings import Settings

    everyone, image = scene
    body = {"image": base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode(), "visualize": True}
    with Predictor("dots", model_dir=folder, device="cpu") as predictor:
        (expected,) = predictor.predict(image)
        with TestClient(create_app(predictor, Settings())) as client:
            result = client.post("/human-keypoint-detection", json=body).json()["result"]
            long = {"image": base64.b64encode(cv2.imencode(".png", np.zeros((8, 400), np.uint8))[1].tobytes()).decode()}
            refused = client.post("/human-keypoint-detection", json=long)
    assert len(result["persons"]) == len(everyone)
    assert [person["bbox"] for person in result["persons"]] == expected.boxes.tolist()
    assert [person["detScore"] for person in result["persons"]] == expected.scores.tolist()
    assert np.allclose([person["kpts"] for person in result["persons"]], expected.instances.points)
    assert len(result["image"]) > 100
    assert (refused.status_code, "too elongated" in refused.json()["errorMsg"]) == (422, True)
