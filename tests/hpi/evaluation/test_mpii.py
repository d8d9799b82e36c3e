"""PCKh: answers known by hand, head sizes, bad annotations, and real images."""

import json
import shutil

import numpy as np
import pytest

from hpi import Predictor
from hpi.errors import ConfigError, InputError
from hpi.evaluation.mpii import SKELETON, MpiiDataset
from hpi.evaluation.predictions import Journal, Person, predict
from hpi.skeletons import load_skeleton

from support import EXAMPLE

COCO = list(load_skeleton("coco17").keypoints)
MPII = list(SKELETON.keypoints)
PREDICTOR = None  # the figures do not depend on it


def entry(**changes):
    """A person on a grid of 10 px whose head segment is 40 px long; from 1, as in MPII's files."""
    joints = [[10.0 * number + 1, 101.0] for number in range(16)]
    joints[MPII.index("upper_neck")], joints[MPII.index("head_top")] = [101.0, 91.0], [101.0, 51.0]
    return {
        "image": "a.png",
        "center": [201, 221],
        "scale": 1.5,
        "joints": joints,
        "joints_vis": [1] * 16,
    } | changes


@pytest.fixture
def read(tmp_path):
    """Writes annotations and reads them."""
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        shutil.copy(EXAMPLE, tmp_path / "images" / name)

    def read(*entries, headboxes=None):
        file = tmp_path / "annotations.json"
        file.write_text(json.dumps(entries))
        return MpiiDataset(file, tmp_path / "images", headboxes)

    return read


@pytest.fixture(scope="module")
def plain():
    """A model with COCO's keypoints."""
    with Predictor("MoveNet-Thunder_256x256", backend="onnxruntime") as predictor:
        yield predictor


def predicted(of, names=COCO, **moved):
    """The true keypoints in the order of a model, some moved to the right by so many pixels."""
    true = {name: of["joints"][MPII.index(name)] for name in names if name in MPII}
    places = [np.add(true.get(name, (9, 9)), (moved.get(name, 0) - 1, -1)) for name in names]
    return np.column_stack([places, np.full(len(names), 0.9)]).astype(np.float32)


def test_known_answers_from_the_head_segment(read):
    """Head size 40 px: 20 px are within 0.5, 4 px within 0.1."""
    one = entry()
    one["joints_vis"][MPII.index("left_ankle")] = 0
    dataset = read(one)
    found = predicted(one, left_wrist=20.5, right_elbow=20, right_wrist=4, left_knee=4.5, left_ankle=500)
    predictions = {0: [Person((0, 0, 1, 1), annotation=0, keypoints=found)]}
    figures = dataset.figures(predictions, PREDICTOR)
    assert figures == pytest.approx(
        {
            "PCKh@0.5": 100 * 10 / 11,
            "PCKh@0.1": 100 * 8 / 11,
            "Head": None,
            "Shoulder": 100,
            "Elbow": 100,
            "Wrist": 50,
            "Hip": 100,
            "Knee": 100,
            "Ankle": 100,
        }
    )
    (case,) = dataset.cases(predictions)
    assert (case.measure, case.value) == ("PCKh", pytest.approx(10 / 11))
    assert case.error == pytest.approx((20.5 + 20 + 4 + 4.5) / 40 / 11)
    assert len(case.pairs) == 11


@pytest.mark.parametrize("suffix", [".json", ".mat"])
def test_known_answers_from_head_boxes(read, tmp_path, suffix):
    """Head boxes of 30 x 40 px: 0.6 x 50 px = 30 px, so 15 px and 3 px. All of MPII's keypoints but two count."""
    boxes = np.zeros((2, 2, 2))
    boxes[1, :, 0], boxes[1, :, 1] = (30, 40), (300, 400)
    file = tmp_path / f"heads{suffix}"
    if suffix == ".mat":
        pytest.importorskip("scipy.io").savemat(file, {"headboxes_src": boxes})
    else:
        file.write_text(json.dumps({"headboxes_src": boxes.tolist()}))
    one, other = entry(joints_vis=[1] * 8 + [0] + [1] * 7), entry(image="b.png")
    dataset = read(one, other, headboxes=file)
    near = predicted(one, MPII, head_top=15, right_hip=15.5, left_hip=3, pelvis=900, thorax=900)
    figures = dataset.figures(
        {
            0: [Person((0, 0, 1, 1), annotation=0, keypoints=near)],
            1: [Person((0, 0, 1, 1), annotation=1, keypoints=predicted(other, MPII, head_top=15.5))],
        },
        PREDICTOR,
    )
    counted = 13 + 14  # without pelvis and thorax, and for the first without its neck
    assert figures["PCKh@0.5"] == pytest.approx(100 * (counted - 1) / counted)
    assert figures["PCKh@0.1"] == pytest.approx(100 * (counted - 2) / counted)
    assert (figures["Head"], figures["Hip"]) == pytest.approx((100, 75))


def test_crops_come_from_center_and_scale(read):
    """As in HRNet: 15 x scale further down, from pixel 0; 200 x scale wide before the padding."""
    (image,) = read(entry()).images
    center = np.array([200, 220 + 15 * 1.5])
    assert image.given[0].box == pytest.approx((*(center - 150), *(center + 150)))


def test_people_without_a_head_size_are_counted(read):
    headless = [1] * 16
    headless[MPII.index("head_top")] = 0
    dataset = read(entry(), entry(joints_vis=headless), entry(joints_vis=[0] * 16), entry(image="missing.png"))
    assert dataset.counts == {"images without a file": 1, "people without a head size or a labelled keypoint": 2}
    assert [[person.annotation for person in image.given] for image in dataset.images] == [[0]]
    assert set(dataset.figures({}, PREDICTOR).values()) == {None}


def test_people_without_center_or_scale_are_counted(read, plain):
    """-1, as MPII's toolkit writes where they are missing."""
    dataset = read(entry(), entry(scale=-1), entry(center=[-1, -1]))
    assert dataset.counts == {"people without center or scale": 2}
    assert [[person.annotation for person in image.given] for image in dataset.images] == [[0]]
    assert dataset.check(plain) == ["left out: 2 people without center or scale, number 1, 2 (from 0)"]


def test_head_boxes_of_no_size_measure_nobody(read, tmp_path, plain):
    boxes = np.zeros((2, 2, 3))
    boxes[1, :, 0], boxes[1, :, 1] = (30, 40), (0.3, 0.4)
    file = tmp_path / "heads.json"
    file.write_text(json.dumps({"headboxes_src": boxes.tolist()}))
    dataset = read(entry(), entry(), entry(), headboxes=file)
    assert dataset.counts == {"people without a head size or a labelled keypoint": 2}
    assert "number 1, 2 (from 0)" in dataset.check(plain)[0]
    file.write_text(json.dumps({"headboxes_src": (boxes / 100).tolist()}))
    with pytest.raises(InputError, match="none of its 3 people can be measured"):
        read(entry(), entry(), entry(), headboxes=file)


def test_missing_keypoints_that_are_labelled_are_warned_of(read, plain):
    nowhere, beyond = entry(), entry()
    nowhere["joints"][0], beyond["joints"][0] = [-1, -1], [0, 0]
    assert "people number 1, 2 (from 0): a keypoint at 0, 0" in read(entry(), nowhere, beyond).check(plain)[0]


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        (lambda one: one, True),
        (lambda one: one | {"scale": one["scale"] * 200}, False),
        (lambda one: one | {"scale": one["scale"] / 200}, False),
        (lambda one: one | {"center": [value / 640 for value in one["center"]]}, False),
        (lambda one: one | {"joints": (np.array(one["joints"]) / 640).tolist()}, False),
    ],
)
def test_center_and_scale_in_other_units_are_refused(read, change, fits):
    moved = (np.array(entry()["joints"]) + 400).tolist()
    people = [change(entry(joints=moved, center=[501, 501])) for _ in range(12)]
    if fits:
        assert len(read(*people).images) == 1
    else:
        with pytest.raises(InputError, match="do not frame the keypoints"):
            read(*people)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"joints": [[1, 1]] * 15}, "0.joints"),
        ({"scale": 0}, "0.scale"),
        ({"scale": float("nan")}, "0.scale"),
        ({"center": [1, float("inf")]}, "0.center.1"),
        ({"joints_vis": None}, "0.joints_vis"),
        ({"image": ""}, "0.image"),
        ({"image": "none.png"}, "none of the 1 annotated images"),
    ],
)
def test_bad_annotations_are_one_error(read, wrong, said):
    with pytest.raises(InputError) as error:
        read(entry(**wrong))
    assert said in str(error.value)
    with pytest.raises(InputError, match=r"annotations\.json"):
        read()


def test_bad_head_boxes_are_one_error(read, tmp_path):
    file = tmp_path / "heads.json"
    for content in ({}, {"headboxes_src": [[[1], [2]], [[3], [4]]]}, {"headboxes_src": [[[1, 2]], [[3]]]}, "text"):
        file.write_text(json.dumps(content))
        with pytest.raises(InputError, match=r"heads\.json"):
            read(entry(), entry(), headboxes=file)
    pytest.importorskip("scipy.io").savemat(tmp_path / "other.mat", {"x": 1})
    (tmp_path / "damaged.mat").write_bytes(b"MATLAB 5.0" + bytes(200))
    for name in ("other.mat", "damaged.mat", "none.mat"):
        with pytest.raises(InputError, match=name):
            read(entry(), headboxes=tmp_path / name)


def test_predictions_with_other_keypoints_are_refused(read):
    person = Person((0, 0, 1, 1), annotation=0, keypoints=np.zeros((5, 3), np.float32))
    with pytest.raises(ConfigError, match="5 keypoints"):
        read(entry()).figures({0: [person]}, PREDICTOR)


def as_mpii(one, name):
    """A person of COCO as MPII would have it; the head's ends, which COCO does not have, from nose and shoulders."""
    joints = np.array(one["keypoints"], np.float64).reshape(17, 3)
    place = dict(zip(COCO, joints[:, :2] + 1, strict=True))
    neck = (place["left_shoulder"] + place["right_shoulder"]) / 2
    place |= {"upper_neck": neck, "head_top": neck + 1.8 * (place["nose"] - neck)}
    seen = dict(zip(COCO, joints[:, 2] > 0, strict=True))
    seen |= dict.fromkeys(("upper_neck", "head_top"), seen["nose"] and seen["left_shoulder"] and seen["right_shoulder"])
    x, y, width, height = one["bbox"]
    scale = max(width, height) / 200
    return {
        "image": name,
        "center": [x + width / 2 + 1, y + height / 2 + 1 - 15 * scale],
        "scale": scale,
        "joints": [list(place.get(name, (0, 0))) for name in MPII],
        "joints_vis": [int(seen.get(name, False)) for name in MPII],
    }


def test_a_real_model_on_real_images(shared, tmp_path):
    folder = shared / "data" / "coco_val"
    content = json.loads((folder / "person_keypoints.json").read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    whole = [one for one in content["annotations"] if one["num_keypoints"] >= 14 and not one["iscrowd"]][:8]
    file = tmp_path / "mpii.json"
    file.write_text(json.dumps([as_mpii(one, names[one["image_id"]]) for one in whole]))
    dataset = MpiiDataset(file, folder / "images")
    people = sum(len(image.given) for image in dataset.images)
    assert people >= 4
    with Predictor("MoveNet-Thunder_256x256", backend="onnxruntime") as predictor:
        predictions = predict(predictor, dataset.images, Journal(None), 4, on_error=pytest.fail)
        figures = dataset.figures(predictions, predictor)
    assert sum(map(len, predictions.values())) == people
    assert 80 < figures["PCKh@0.5"] <= 100
    assert 20 < figures["PCKh@0.1"] < figures["PCKh@0.5"]
    assert figures["Head"] is None


@pytest.mark.full
def test_a_model_of_the_zoo_with_mpiis_keypoints(exported, tmp_path):
    """PCKh counts the keypoints by their names, which the zoo knows. The truth is what it finds, but for three."""
    name = "hrnet_w32_256x256_mpii"
    (tmp_path / "images").mkdir()
    shutil.copy(EXAMPLE, tmp_path / "images" / "a.png")
    heads = tmp_path / "heads.json"
    heads.write_text(json.dumps({"headboxes_src": [[[100.0], [100.0]], [[130.0], [140.0]]]}))  # 30 px
    file = tmp_path / "mpii.json"
    file.write_text(json.dumps([entry(center=[101, 261], scale=2.0)]))
    with Predictor(name, model_dir=exported(name), backend="onnxruntime") as predictor:
        (image,) = MpiiDataset(file, tmp_path / "images", heads).images
        boxes = [one.box for one in image.given]
        (found,) = predictor.predict(str(tmp_path / "images" / "a.png"), boxes=boxes)
        assert list(found.keypoint_names) == MPII
        truth = found.keypoints[0] + 1
        for wrong in ("left_knee", "right_ankle", "head_top"):
            truth[MPII.index(wrong)] += 16
        file.write_text(json.dumps([entry(center=[101, 261], scale=2.0, joints=truth.tolist())]))
        dataset = MpiiDataset(file, tmp_path / "images", heads)
        predictions = predict(predictor, dataset.images, Journal(None), 4, on_error=pytest.fail)
        figures = dataset.figures(predictions, predictor)
    counted = 14  # without pelvis and thorax
    assert figures["PCKh@0.5"] == pytest.approx(100 * (counted - 3) / counted)
    assert (figures["Head"], figures["Knee"], figures["Ankle"], figures["Wrist"]) == pytest.approx((0, 50, 50, 100))
