"""Every mistake in an annotation file: what evaluate and check-dataset say about it, and that sound files pass both."""

import copy
import json

import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="pycocotools is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from hpi import Predictor
from hpi.errors import InputError
from hpi.evaluation.check_dataset import check_dataset
from hpi.evaluation.coco import CocoDataset
from hpi.evaluation.coco.checks import CHECKS
from hpi.evaluation.coco.checks.finding import NONE, REFUSE

pytestmark = pytest.mark.long  # its slow cases run each night

REFUSED, WARNED, SILENT = "R", "W", "-"
QUICK = {
    "no area",
    "area 0",
    "corners",
    "keypoints as fractions",
    "a keypoint far outside",
    "no iscrowd",
    "an image under two ids",
}
"""Those that run without ``--all``."""


@pytest.fixture(scope="module")
def truth(shared):
    return json.loads((shared / "data" / "coco_val" / "person_keypoints.json").read_text())


@pytest.fixture(scope="module")
def estimator():
    with Predictor("MoveNet-Thunder_256x256", backend="onnxruntime") as predictor:
        yield predictor


@pytest.fixture(scope="module")
def detector():
    with Predictor("PicoDet-S_person_416", backend="onnxruntime") as predictor:
        yield predictor


@pytest.fixture
def said(shared, tmp_path, estimator, detector, caplog):
    """What each command says of annotations: refused or warned, and the words."""
    images = tmp_path / "images"
    images.symlink_to(shared / "data" / "coco_val" / "images")

    def evaluated(content, predictor, boxes):
        file = tmp_path / "annotations.json"
        file.write_text(json.dumps(content))
        try:
            warnings = CocoDataset(file, images, boxes).check(predictor)
        except InputError as error:
            assert str(file) in str(error)
            return REFUSED, str(error)
        return (WARNED if warnings else SILENT), "\n".join(warnings)

    def trained(content):
        (tmp_path / "annotations").mkdir(exist_ok=True)
        names = ("train", "val")
        for name in names:
            (tmp_path / "annotations" / f"instance_{name}.json").write_text(json.dumps(content))
        caplog.clear()
        try:
            check_dataset(tmp_path, tmp_path / "output")
        except InputError as error:
            assert all(f"instance_{name}.json" in str(error) for name in names)
            return REFUSED, str(error)
        # Both sets are one here, which is warned of too.
        lines = [record.getMessage() for record in caplog.records if "in both sets" not in record.getMessage()]
        return (WARNED if lines else SILENT), "\n".join(lines)

    def say(content):
        return {
            "keypoints": evaluated(content, estimator, "gt"),
            "boxes": evaluated(content, detector, "detector"),
            "training": trained(content),
        }

    return say


def everyone(**changes):
    return lambda content: [one.update(changes) for one in content["annotations"]]


def first(**changes):
    return lambda content: content["annotations"][0].update(changes)


def without(*names):
    return lambda content: [one.pop(name, None) for one in content["annotations"] for name in names]


def each(change):
    """Change each annotation, knowing its image."""

    def apply(content):
        images = {image["id"]: image for image in content["images"]}
        for one in content["annotations"]:
            change(one, np.array([images[one["image_id"]][side] for side in ("width", "height")], float))

    return apply


def boxes(change):
    def apply(one, size):
        place, extent = np.array(one["bbox"]).reshape(2, 2)
        one["bbox"] = np.concatenate(change(place, extent, size)).tolist()

    return each(apply)


def keypoints(change):
    def apply(one, size):
        points = np.array(one["keypoints"], float).reshape(-1, 3)
        points[:, :2] = change(points[:, :2], size)
        one["keypoints"] = points.ravel().tolist()

    return each(apply)


def category(**changes):
    return lambda content: content["categories"][0].update(changes)


def image_again(**changes):
    return lambda content: content["images"].append({**content["images"][0], **changes})


def annotation_again(**changes):
    return lambda content: content["annotations"].append({**content["annotations"][0], **changes})


def reversed_names(content):
    content["categories"][0]["keypoints"].reverse()


def first_14_keypoints(content):
    category(keypoints=content["categories"][0]["keypoints"][:14])(content)
    for one in content["annotations"]:
        one["keypoints"] = one["keypoints"][:42]
        one["num_keypoints"] = sum(flag > 0 for flag in one["keypoints"][2::3])


def two_categories_of_people(content):
    content["categories"].append({**content["categories"][0], "id": 0})
    content["annotations"][0]["category_id"] = 0


def crowd_of_25(content):
    someone = next(one for one in content["annotations"] if one["num_keypoints"] == 17)
    copies = [copy.deepcopy(someone) for _ in range(24)]
    for number, one in enumerate(copies):
        one["id"] = number
        one["keypoints"][0] += 1e-3 * (number + 1)
    content["annotations"] += copies


# A change; words of the message; and whether it is refused, warned of or passed in silence: by evaluate for
# keypoints, by evaluate for a detector's boxes, and by check-dataset.
MISTAKES = {
    "no area": (without("area"), "area is missing", "RWR"),
    "null area": (everyone(area=None), "area is missing", "RWR"),
    "area 0": (everyone(area=0), "area is 0 in a box", "RWR"),
    "one area 0": (first(area=0), "annotation id {id}: area is 0 in a box", "RWR"),
    "area 1 in the place of the real one": (everyone(area=1), "area is 1 in a box", "RWR"),
    "area below 0": (first(area=-9.5), "annotation id {id}: area is -9.5", "RRR"),
    "area above the image": (first(area=1e6), "annotation id {id}: area is 1e+06", "RWR"),
    "one area above its box": (first(area=40_000), "annotation id {id}: area is 40000", "WWW"),
    "areas of larger images": (
        each(lambda one, _: one.update(area=one["area"] * 9)),
        "times their boxes (median)",
        "RWR",
    ),
    "areas as fractions": (
        each(lambda one, size: one.update(area=one["area"] / size.prod())),
        "times their boxes (median)",
        "RWR",
    ),
    "area as text": (each(lambda one, _: one.update(area=str(one["area"]))), "write numbers without quotes", "--R"),
    "corners": (boxes(lambda place, extent, _: (place, place + extent)), "two corners", "RRR"),
    "centers": (
        boxes(lambda place, extent, _: (place + extent / 2, extent)),
        "most keypoints are outside of their own boxes",
        "RWR",
    ),
    "boxes as fractions": (
        boxes(lambda place, extent, size: (place / size, extent / size)),
        "are fractions of their images",
        "RRR",
    ),
    "no box": (without("bbox"), "bbox has 0 numbers; give 4", "RRR"),
    "null box": (first(bbox=None), "annotation id {id}: bbox has 0 numbers", "RRR"),
    "empty box": (first(bbox=[9, 9, 0, 9]), "annotation id {id}: bbox [9.0, 9.0, 0.0, 9.0] is empty", "WWR"),
    "box outside": (first(bbox=[900, 9, 9, 9]), "annotation id {id}: bbox", "WWR"),
    "box that reaches out": (first(bbox=[300, 0, 500, 427]), "reaches out of its image", "WWW"),
    "someone else's box": (first(bbox=[1, 1, 150, 200]), "most of its keypoints are outside of its bbox", "WWW"),
    "keypoints as fractions": (
        keypoints(lambda points, size: points / size),
        "annotation id {id}: keypoints are fractions of the image",
        "RWR",
    ),
    "keypoints in percent": (
        keypoints(lambda points, size: 100 * points / size),
        "most keypoints are outside of their own boxes",
        "RWR",
    ),
    "y before x": (
        keypoints(lambda points, _: points[:, ::-1]),
        "most keypoints are outside of their own boxes",
        "RWR",
    ),
    "a keypoint far outside": (
        first(keypoints=[*[420, 200, 2] * 16, 420, 900, 2], num_keypoints=17),
        "annotation id {id}: the keypoint at 420, 900 is far outside of its image of 640 x 427",
        "W-R",
    ),
    "a missing keypoint that is labelled": (
        first(keypoints=[*[420, 200, 2] * 16, 0, 0, 1], num_keypoints=17),
        "annotation id {id}: a keypoint at 0, 0 is labelled",
        "W-W",
    ),
    "a keypoint too few": (first(keypoints=[0] * 48), "keypoints has 48 numbers; give 3 x 17 = 51", "R-R"),
    "keypoints without visibility": (first(keypoints=[0] * 34), "keypoints has 34 numbers", "R-R"),
    "no keypoints": (without("keypoints", "num_keypoints"), "no keypoint is labelled", "R-R"),
    "nothing labelled": (everyone(keypoints=[0] * 51, num_keypoints=0), "no keypoint is labelled", "R-R"),
    "another visibility": (
        first(keypoints=[420, 200, 3] * 17, num_keypoints=17),
        "annotation id {id}: a visibility is 3",
        "W-R",
    ),
    "no num_keypoints": (without("num_keypoints"), "num_keypoints is missing", "W-R"),
    "num_keypoints 0": (first(num_keypoints=0), "annotation id {id}: num_keypoints is 0, but 13", "R-R"),
    "num_keypoints 1 of none": (
        first(keypoints=[0] * 51, num_keypoints=1),
        "annotation id {id}: num_keypoints is 1, but 0",
        "R-R",
    ),
    "num_keypoints too large": (first(num_keypoints=17), "num_keypoints is 17, but 13", "W-R"),
    "no iscrowd": (without("iscrowd"), "iscrowd is missing", "WWR"),
    "another iscrowd": (first(iscrowd=2), "annotation id {id}: iscrowd is 2", "RRR"),
    "ids as text": (
        each(lambda one, _: one.update(image_id=str(one["image_id"]))),
        "write it as a whole number",
        "--R",
    ),
    "ids with a point": (
        lambda content: [image.update(id=float(image["id"])) for image in content["images"]],
        "write it as a whole number",
        "--R",
    ),
    "an image under two ids": (image_again(id=5), "image id 5: has the same file_name as image id 397133", "RRR"),
    "an image in two spellings": (
        image_again(id=5, file_name="./000000397133.jpg"),
        "image id 5: has the same file_name as image id 397133",
        "RRR",
    ),
    "an image twice": (image_again(), "image id 397133: 2 entries have it", "RRR"),
    "an annotation twice": (annotation_again(), "annotation id {id}: 2 entries have it", "RRR"),
    "a person twice": (annotation_again(id=5), "annotation id 5: image, box and keypoints are those", "WWW"),
    "a category twice": (
        lambda content: content["categories"].append({"id": 1, "name": "cat"}),
        "category id 1: 2 entries have it",
        "RRR",
    ),
    "an unknown image": (
        lambda content: content["images"].pop(0),
        "annotation id {id}: image_id 397133 is not among the images",
        "RRR",
    ),
    "an unknown category": (first(category_id=9), "annotation id {id}: category_id 9 is not among", "WWR"),
    "no annotations": (lambda content: content["annotations"].clear(), "has no annotations", "RRR"),
    "a file name that leads out": (image_again(id=5, file_name="../a.jpg"), "leads out of", "RRR"),
    "nobody is a person": (category(name="horse"), "no category is named 'person', but ['horse']", "RRW"),
    "two categories of people": (two_categories_of_people, "category ids 1, 0 are all named 'person'", "RRW"),
    "keypoints of another skeleton": (first_14_keypoints, "category id 1: has 14 keypoints", "R-W"),
    "keypoints in another order": (reversed_names, "in another order than COCO's", "R-W"),
    "other names": (category(keypoints=list(map(str, range(17)))), "have other names than COCO's", "W--"),
    "more people than count": (crowd_of_25, "COCO counts the 20 best results", "W--"),
}


def cases(names, quick):
    return [pytest.param(name, marks=[] if name in quick else pytest.mark.full) for name in names]


@pytest.mark.parametrize("mistake", cases(MISTAKES, QUICK))
def test_a_mistake_is_refused_where_it_spoils_something(truth, said, mistake):
    change, words, expected = MISTAKES[mistake]
    content = copy.deepcopy(truth)
    words = words.format(id=content["annotations"][0]["id"])
    change(content)
    found = said(content)
    assert "".join(level for level, _ in found.values()) == expected, found
    for use in ("keypoints", "training"):
        level, text = found[use]
        assert level == SILENT or words in text
        assert len(text) < 4000


def person_of_another_project(content):
    """As Roboflow exports: a first category for the project, no ids from 1, no annotations for the first."""
    content["categories"] = [
        {"id": 0, "name": "person", "supercategory": "none"},
        {**content["categories"][0], "id": 1, "name": "Person"},
    ]


def numbered_from_0(content):
    numbers = {image["id"]: number for number, image in enumerate(content["images"])}
    for image in content["images"]:
        image["id"] = numbers[image["id"]]
    for number, one in enumerate(content["annotations"]):
        one.update(id=number, image_id=numbers[one["image_id"]], category_id=0)
    content["categories"][0]["id"] = 0


def with_cats(content):
    content["categories"].append({"id": 17, "name": "cat"})
    cat = {"id": 1, "category_id": 17, "bbox": [1, 1, 9, 9], "area": 50, "iscrowd": 0}
    content["annotations"].append({**cat, "image_id": content["images"][0]["id"]})


SOUND = {
    "as it is": lambda content: None,
    "area of the box": each(lambda one, _: one.update(area=one["bbox"][2] * one["bbox"][3])),
    "iscrowd as a boolean": each(lambda one, _: one.update(iscrowd=bool(one["iscrowd"]))),
    "ids from 0": numbered_from_0,
    "no segmentation": without("segmentation"),
    "a category without names": category(keypoints=None, skeleton=None),
    "names in another spelling": lambda content: category(
        keypoints=[name.replace("_", " ").title() for name in content["categories"][0]["keypoints"]]
    )(content),
    "a first category without annotations": person_of_another_project,
    "boxes that reach out by half a pixel": boxes(lambda place, extent, _: (place - 0.5, extent + 1)),
    "only boxes": lambda content: content.update(
        annotations=[
            {name: value for name, value in one.items() if "keypoints" not in name} for one in content["annotations"]
        ]
    ),
    "cats beside the people": with_cats,
}


@pytest.mark.full
@pytest.mark.parametrize("file", cases(SOUND, {"as it is", "ids from 0"}))
def test_a_sound_file_passes(truth, said, file):
    content = copy.deepcopy(truth)
    SOUND[file](content)
    found = said(content)
    if file == "only boxes":  # enough for a detector
        assert found.pop("keypoints")[0] == found.pop("training")[0] == REFUSED
    if file == "cats beside the people":  # training needs keypoints of everything
        assert found.pop("training")[0] == REFUSED
    assert {level for level, _ in found.values()} == {SILENT}, found


def test_check_dataset_mentions_what_evaluate_refuses():
    for check in CHECKS:
        assert REFUSE not in {check.keypoints, check.boxes} or check.training is not NONE


def test_a_detector_needs_no_keypoints_and_a_pipeline_does(truth, said, tmp_path, shared, lite):
    content = copy.deepcopy(truth)
    without("keypoints", "num_keypoints")(content)
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps(content))
    dataset = CocoDataset(file, shared / "data" / "coco_val" / "images", "detector")
    with pytest.raises(InputError, match="no keypoint is labelled"):
        dataset.check(lite)
    with pytest.raises(InputError, match="no keypoint is labelled"):
        dataset.keypoint_figures({})
