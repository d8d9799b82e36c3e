"""Detectors and one-stage models through the Predictor: planted outputs, and real weights."""

import json

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from hpi import BackendError, ModelError, Predictor
from hpi.backends import BACKENDS
from hpi.evaluation.predictions import Journal, predict
from hpi.models.description import NAME
from hpi.models.readers import read_model
from hpi.selection.parity import reference_results, validate
from hpi.zoo import Zoo

from planted import save_planted
from support import BOX_ROUNDING, assert_same_keypoints, missing_backend, quick_first

POSE = "MoveNet-Thunder_256x256"
SIZE = (96, 64)
CELLS = 12 * 8 + 6 * 4 + 3 * 2
RUNTIMES = [one for one in ("onnxruntime", "openvino") if missing_backend(one) is None]
BOX, SCORE = [10.0, 8.0, 50.0, 40.0], 0.75
POINTS = [[20.0, 12.0, 0.5], [30.0, 24.0, 0.25]]


def array(*values):
    return np.array(values, np.float32)


def columns(*rest):
    """A candidate of YOLO among others that score 0."""
    made = np.zeros((1, 5 + len(rest), CELLS), np.float32)
    (left, top, right, bottom) = BOX
    made[0, :, 7] = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top, SCORE, *rest
    return made


def level(stride, *values):
    made = np.full((1, SIZE[1] // stride, SIZE[0] // stride, 5), -20, np.float32)
    if values:
        made[0, 2, 3] = values
    return made


def yolox():
    made = np.zeros((1, CELLS, 6), np.float32)
    made[0, 2 * 12 + 3] = 30 / 8 - 3, 24 / 8 - 2, np.log(40 / 8), np.log(32 / 8), 0.75, 1  # row 2, column 3 of stride 8
    return made


FLAT = [value for point in POINTS for value in point]
WIDE, HIGH = SIZE
PLANTED = {
    "dets": {"dets": array([[*BOX, SCORE], [0, 0, 0, 0, 0]]), "labels": np.array([[0, -1]])},
    "rtmdet": {"a": level(8, np.log(3), 14, 8, 26, 24), "b": level(16), "c": level(32)},
    "yolox": {"output": yolox()},
    "yolo_boxes": {"output0": columns()},
    "yolo_pose": {"output0": columns(*FLAT)},
    "yolo26_boxes": {"output0": array([[*BOX, SCORE, 0], [0] * 6])},
    "yolo26_pose": {"output0": array([[*BOX, SCORE, 0, *FLAT], [0] * 12])},
    "rtmo": {"dets": array([[*BOX, SCORE], [0] * 5]), "keypoints": array([POINTS, [[0, 0, 0]] * 2])},
    "multipose": {
        "rows": array(
            [
                [y / HIGH if axis == 0 else value for x, y, s in POINTS for axis, value in enumerate((y, x / WIDE, s))]
                + [BOX[1] / HIGH, BOX[0] / WIDE, BOX[3] / HIGH, BOX[2] / WIDE, SCORE]
            ]
        )
    },
}
"""Outputs of each head for an input of 96x64: one person, the same in all of them."""
POSES = [kind for kind in PLANTED if "keypoints" in PLANTED[kind] or kind in {"yolo_pose", "yolo26_pose", "multipose"}]


def save(folder, kind, outputs=None, batch="N", position="corner", **content):
    save_planted(folder / "model.onnx", PLANTED[kind] if outputs is None else outputs, (batch, 3, HIGH, WIDE))
    transform = {"type": "fit"} if position == "fit" else {"type": "letterbox", "position": position}
    description = {"transform": {**transform, "size": list(SIZE)}, "head": {"type": kind}, **content}
    (folder / NAME).write_text(yaml.safe_dump(description))
    return folder


def to_image(points, width, height, position):
    """From pixels of the input to those of an image, as the reference of each position goes back."""
    ratio = min(WIDE / width, HIGH / height)
    points = np.array(points, np.float64)
    if position == "corner":  # mmdeploy
        return points / ratio
    if position == "center":  # Ultralytics
        left, top = (round((side - round(of * ratio)) / 2 - 0.1) for side, of in ((WIDE, width), (HIGH, height)))
        return (points - (left, top)) / ratio
    middle = np.round(np.array([width, height]) / 2)  # mmpose
    return (points - (WIDE / 2, HIGH / 2)) / ratio + middle


def images(rng):
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for width, height in ((192, 128), (97, 200), (333, 91))]


QUICK = ("rtmdet", "yolo_pose", "rtmo")
CASES = [(kind, "N", "corner") for kind in QUICK] + [
    *(pytest.param(kind, "N", "corner", marks=pytest.mark.full) for kind in PLANTED if kind not in QUICK),
    *(pytest.param(kind, "N", position, marks=pytest.mark.full) for kind in PLANTED for position in ("center", "fit")),
    *(pytest.param(kind, 1, "corner", marks=pytest.mark.full) for kind in PLANTED),
]


@pytest.mark.parametrize("backend", quick_first(RUNTIMES))
@pytest.mark.parametrize(("kind", "batch", "position"), CASES)
def test_planted_people_are_found_in_images_of_different_sizes(tmp_path, rng, kind, batch, position, backend):
    folder, different = save(tmp_path, kind, batch=batch, position=position), images(rng)
    with Predictor(folder, backend=backend) as predictor:
        found = [result.instances for result in predictor.predict(different, batch_size=3, threshold=0.5)]
    for people, image in zip(found, different, strict=True):
        height, width = image.shape[:2]
        box = to_image(np.reshape(BOX, (2, 2)), width, height, position).ravel()
        assert people.scores.tolist() == pytest.approx([SCORE], abs=1e-6)
        if kind in POSES:
            points = to_image(array(*POINTS)[:, :2], width, height, position)
            np.testing.assert_allclose(people.keypoints, [points], atol=1e-3)
            np.testing.assert_allclose(people.keypoint_scores, [array(*POINTS)[:, 2]])
            assert not people.boxes_derived
        else:
            box = box.clip(0, [width, height, width, height])  # detectors' boxes end with the image
        np.testing.assert_allclose(people.boxes, [box], atol=1e-3)


def test_nobody_is_nobody(tmp_path, rng):
    nothing = {"dets": np.zeros((1, 0, 5), np.float32), "keypoints": np.zeros((1, 0, 17, 3), np.float32)}
    with Predictor(save(tmp_path, "rtmo", nothing), backend="onnxruntime") as predictor:
        found = [result.instances for result in predictor.predict(images(rng), batch_size=3, threshold=0)]
    assert [people.keypoints.shape for people in found] == [(0, 17, 2)] * 3
    assert [people.boxes.shape for people in found] == [(0, 4)] * 3


@pytest.mark.parametrize("kind", quick_first(PLANTED))
def test_nan_is_an_error(tmp_path, rng, kind):
    outputs = {name: values.copy() for name, values in PLANTED[kind].items()}
    first = next(iter(outputs.values()))
    first[first > 0.1] = np.nan
    with (
        Predictor(save(tmp_path, kind, outputs), backend="onnxruntime") as predictor,
        pytest.raises(BackendError, match=r"model\.onnx on onnxruntime .* returns NaN or infinity"),
    ):
        list(predictor.predict(images(rng)))


def test_outputs_of_another_layout_are_an_error_that_names_the_model(tmp_path, rng):
    other = {"output0": np.zeros((1, 300, 57), np.float32)}
    with (
        Predictor(save(tmp_path, "yolo_boxes", other, classes=["person"]), backend="onnxruntime") as predictor,
        pytest.raises(ModelError, match=r"model\.onnx: its output, float32 \(1, 300, 57\), is not boxes and scores"),
    ):
        list(predictor.predict(images(rng)[:1]))


def test_a_skeleton_of_another_number_of_keypoints_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="hand21 of 21 keypoints, but the model finds 2"):
        Predictor(save(tmp_path, "yolo26_pose", skeleton="hand21"), backend="onnxruntime")


@pytest.mark.parametrize("how", ["skeleton", "description"])
def test_the_error_says_that_a_skeleton_was_asked_for(tmp_path, how):
    file = save_planted(tmp_path / "yolo.onnx", PLANTED["yolo26_pose"], ("N", 3, HIGH, WIDE))
    said = {"transform": {"type": "letterbox", "size": SIZE}, "head": {"type": "yolo26_pose"}}
    asked = {"description": {**said, "skeleton": "hand21"}}
    if how == "skeleton":
        (tmp_path / NAME).write_text(yaml.safe_dump({**said, "transform": {"type": "letterbox", "size": list(SIZE)}}))
        asked = {"skeleton": "hand21"}
    with pytest.raises(ModelError, match="the skeleton hand21 of 21 keypoints was asked for, but the model finds 2"):
        Predictor(file, backend="onnxruntime", **asked)


def test_oks_in_an_hpi_yml_needs_sigmas_that_somebody_says(tmp_path, rng):
    folder = save(tmp_path, "yolo_pose", skeleton=None, head={"type": "yolo_pose", "suppress": "oks"})
    with pytest.raises(ModelError, match=r"hpi\.yml: head: suppress: oks needs the sigmas .* nothing names its skel"):
        Predictor(folder, backend="onnxruntime")
    save(tmp_path, "yolo_pose", head={"type": "yolo_pose", "suppress": "oks", "sigmas": [0.06, 0.06]})
    with Predictor(folder, backend="onnxruntime") as predictor:
        (result,) = predictor.predict(images(rng)[0])
    assert result.scores.tolist() == pytest.approx([SCORE])


# Several classes


def of_classes(*classes):
    """YOLO26 rows, one of each class, beside each other."""
    rows = np.zeros((1, len(classes), 12), np.float32)
    rows[0, :] = *BOX, SCORE, 0, *FLAT
    rows[0, :, 5] = classes
    rows[0, :, 4] -= np.arange(len(classes), dtype=np.float32) / 100
    return {"output0": rows}


@pytest.mark.parametrize(
    ("labels", "kept"),
    [
        (["dog", "Person"], [1, 1]),
        (["person", "dog"], [0]),
        (["cat", "dog"], [1, 0, 1]),
        ([], [1, 0, 1]),
    ],
)
def test_of_a_model_of_several_classes_people_are_kept(tmp_path, rng, labels, kept):
    """Of one that knows no people, such as of animals, everything."""
    folder = save(tmp_path, "yolo26_pose", of_classes(1, 0, 1), classes=labels)
    with Predictor(folder, backend="onnxruntime") as predictor:
        found = [result.instances for result in predictor.predict(images(rng), batch_size=3)]
    assert [people.class_ids.tolist() for people in found] == [kept] * 3


def test_too_few_outputs_are_an_error(tmp_path):
    with pytest.raises((ModelError, BackendError), match="has 1 outputs, but rtmdet are read from 3"):
        Predictor(save(tmp_path, "rtmdet", {"a": level(8)}), backend="onnxruntime").warmup()


# NMS in the graph, as mmdeploy writes it: how many rows there are depends on the image

SPOTS = array([4, 4, 24, 24], [6, 4, 26, 24], [40, 30, 60, 60], [70, 10, 90, 50])
"""Boxes that are there where the first pixels of the image are white; the first two overlap."""


def save_suppressing(folder):
    """A detector with a batch of 1 whose scores are the first pixels of the image."""
    constants = {
        "boxes": SPOTS[None], "to_score": np.float32(1 / 255), "from": np.array([0, 0, 0, 0]),
        "to": np.array([1, 1, 1, len(SPOTS)]), "most": np.array(100), "iou": np.float32(0.5), "least": np.float32(0.1),
        "flat": np.array([1, 1, len(SPOTS)]), "column": np.array([2]), "one": np.array([1]), "all": np.array([-1]),
        "first": np.array(0),
    }  # fmt: skip
    nodes = [
        helper.make_node("Slice", ["input", "from", "to"], ["pixels"]),
        helper.make_node("Mul", ["pixels", "to_score"], ["levels"]),
        helper.make_node("Reshape", ["levels", "flat"], ["scores"]),
        helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "iou", "least"], ["kept"]),
        helper.make_node("Gather", ["kept", "column"], ["found"], axis=1),
        helper.make_node("Reshape", ["found", "all"], ["rows"]),
        helper.make_node("Gather", ["boxes", "rows"], ["of_rows"], axis=1),
        helper.make_node("Gather", ["scores", "rows"], ["score_of_rows"], axis=2),
        helper.make_node("Transpose", ["score_of_rows"], ["score_column"], perm=[0, 2, 1]),
        helper.make_node("Concat", ["of_rows", "score_column"], ["dets"], axis=2),
        helper.make_node("Gather", ["kept", "one"], ["class_column"], axis=1),
        helper.make_node("Transpose", ["class_column"], ["labels"], perm=[1, 0]),
    ]
    graph = helper.make_graph(
        nodes,
        "suppressing",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, HIGH, WIDE])],
        [
            helper.make_tensor_value_info("dets", TensorProto.FLOAT, [1, "M", 5]),
            helper.make_tensor_value_info("labels", TensorProto.INT64, [1, "M"]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "m.onnx")
    description = {"transform": {"type": "letterbox", "size": list(SIZE)}, "head": {"type": "dets"}}
    (folder / NAME).write_text(yaml.safe_dump(description))
    return folder


@pytest.mark.parametrize("backend", quick_first(RUNTIMES))
def test_a_graph_with_nms_inside_gives_each_image_its_own_number_of_boxes(tmp_path, backend):
    white = [(0, 1, 3), (), (2,), (1,)]
    pictures = [np.zeros((HIGH, WIDE, 3), np.uint8) for _ in white]
    for picture, spots in zip(pictures, white, strict=True):
        for spot in spots:
            picture[0, spot] = 255 - spot
    with Predictor(save_suppressing(tmp_path), backend=backend) as predictor:
        found = [result.instances for result in predictor.predict(pictures, batch_size=4, threshold=0.5)]
    expected = [(0, 3), (), (2,), (1,)]
    assert [people.boxes.tolist() for people in found] == [SPOTS[list(spots)].tolist() for spots in expected]
    assert [people.scores.tolist() for people in found] == [
        pytest.approx([1 - spot / 255 for spot in spots]) for spots in expected
    ]


# Real weights

RAW = {
    "input": {"color": "bgr", "mean": [103.53, 116.28, 123.675], "std": [57.375, 57.12, 58.395]},
    "transform": {"type": "letterbox", "size": [320, 320]},
    "head": {"type": "rtmdet"},
    "classes": ["person"],
    "threshold": 0.3,
}
MULTIPOSE = {
    "input": {"layout": "nhwc", "dtype": "int32"},
    "transform": {"type": "long_side", "length": 384, "multiple": 32},
    "head": {"type": "multipose"},
    "skeleton": "coco17",
    "threshold": 0.2,
}


def beside(graph, description, folder):
    """A folder with a graph and its description."""
    (folder / graph.name).symlink_to(graph)
    (folder / NAME).write_text(yaml.safe_dump(description))
    return folder


@pytest.fixture
def raw(shared, tmp_path):
    return beside(shared / "models" / "RTMDet-nano_raw" / "rtmdet-nano.onnx", RAW, tmp_path)


@pytest.fixture
def multipose(shared, tmp_path):
    return beside(shared / "zoo" / "real" / "movenet_multipose.onnx", MULTIPOSE, tmp_path)


@pytest.mark.parametrize("backend", quick_first(RUNTIMES))
def test_raw_rtmdet_has_the_boxes_of_its_finished_export(raw, shared, backend):
    pictures = sorted((shared / "data" / "coco_val" / "images").glob("*.jpg"))[:2]
    with (
        Predictor(raw, backend=backend) as mine,
        Predictor(shared / "models" / "RTMDet-nano_person_320", backend=backend) as finished,
    ):
        for ours, theirs in zip(mine.predict(pictures), finished.predict(pictures), strict=True):
            assert len(ours.instances) == len(theirs.instances) > 0
            np.testing.assert_allclose(ours.instances.boxes, theirs.instances.boxes, atol=BOX_ROUNDING)
            np.testing.assert_allclose(ours.instances.scores, theirs.instances.scores, atol=1e-4)


def figures_of(folder, shared, backend, boxes):
    pytest.importorskip("pycocotools")
    from hpi.evaluation.coco import CocoDataset

    data = shared / "data" / "coco_val"
    dataset = CocoDataset(data / "person_keypoints.json", data / "images", boxes)
    with Predictor(folder, backend=backend, device="cpu") as predictor:
        assert dataset.check(predictor) is not None
        failed = []
        found = predict(predictor, dataset.images, Journal(None), 8, on_error=failed.append)
        assert not failed
        return dataset.figures(found, predictor)


@pytest.mark.full
@pytest.mark.parametrize("backend", [*RUNTIMES, None])
def test_box_ap_of_raw_rtmdet_is_that_of_its_exporter(raw, shared, backend):
    assert figures_of(raw, shared, backend, "detector")["box AP"] == pytest.approx(54.72, abs=0.3)


@pytest.mark.full
@pytest.mark.parametrize("backend", RUNTIMES)
def test_keypoint_ap_of_multipose_is_that_of_its_converter(multipose, shared, backend):
    assert figures_of(multipose, shared, backend, "model")["AP"] == pytest.approx(31, abs=0.5)


@pytest.mark.full
def test_a_pipeline_picks_the_people_of_several_classes(tmp_path, rng):
    other = [40.0, 4.0, 60.0, 20.0]
    outputs = {"dets": array([[*BOX, SCORE], [*other, SCORE]]), "labels": np.array([[1, 0]])}
    detector = save(tmp_path, "dets", outputs, classes=["dog", "person"])
    with Predictor.of_folders(Zoo.default().find(POSE).folder, detector, backend="onnxruntime") as predictor:
        (result,) = predictor.predict(images(rng)[0])
    np.testing.assert_allclose(result.boxes, [np.multiply(BOX, 2)], atol=1e-3)


@pytest.mark.full
def test_raw_rtmdet_finds_people_for_a_top_down_model(raw, image):
    with (
        Predictor.of_folders(Zoo.default().find(POSE).folder, raw, backend="onnxruntime") as together,
        Predictor(POSE, backend="onnxruntime") as alone,
    ):
        (found,) = together.predict(image)
        (expected,) = alone.predict(image, boxes=found.boxes)
    assert len(found.instances) == 2
    assert found.keypoints.shape == (2, 17, 2)
    assert_same_keypoints(found.instances.points, expected.instances.points)


@pytest.mark.full
@pytest.mark.parametrize("backend", RUNTIMES)
def test_multipose_finds_the_people_of_its_reference(multipose, shared, backend):
    reference = json.loads((shared / "zoo" / "real" / "movenet_multipose_384.json").read_text())
    with Predictor(multipose, backend=backend) as predictor:
        for name, expected in reference.items():
            (result,) = predictor.predict(shared / "data" / "photos" / name, threshold=0.0)
            rows = sorted((row for row in expected["rows"] if row["score"] > 0), key=lambda row: -row["score"])
            found = result.instances
            np.testing.assert_allclose(found.scores, [row["score"] for row in rows], atol=1e-4)
            np.testing.assert_allclose(found.boxes, [row["box_xyxy"] for row in rows], atol=0.01)
            points = np.array([row["keypoints"] for row in rows])
            np.testing.assert_allclose(found.keypoints, points[..., :2], atol=0.01)
            np.testing.assert_allclose(found.keypoint_scores, points[..., 2], atol=1e-4)


@pytest.mark.full
def test_multipose_passes_the_parity_gate_on_each_runtime(multipose, options):
    spec = read_model(multipose)
    with BACKENDS["onnxruntime"].load(spec.files, options) as reference:
        expected = reference_results(spec, reference, "fp32")
        for name in RUNTIMES:
            with BACKENDS[name].load(spec.files, options) as session:
                verdict = validate(spec, session, expected)
            assert verdict.passed, verdict.summary
            assert "keypoints" in verdict.summary


@pytest.mark.full
def test_paddle_says_why_it_does_not_run_an_onnx_graph(multipose):
    if reason := missing_backend("paddle"):
        pytest.skip(reason)
    with pytest.raises(BackendError, match="only an ONNX file, no Paddle program"):
        Predictor(multipose, backend="paddle", device="cpu")
