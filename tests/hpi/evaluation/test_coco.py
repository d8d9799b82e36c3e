"""COCO AP: the reference's figures on every runtime, pycocotools' own on any detections, and bad annotations."""

import dataclasses
import json
import shutil
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("pycocotools", reason="pycocotools is not installed")

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hpi import Predictor
from hpi.errors import ConfigError, InputError
from hpi.evaluation.coco import CocoDataset
from hpi.evaluation.coco.cocoeval import BOX_FIGURES, KEYPOINT_FIGURES
from hpi.evaluation.coco.oks import oks
from hpi.evaluation.predictions import Journal, Person, predict
from hpi.instances import Skeleton
from hpi.skeletons import load_skeleton

from support import BACKEND_PACKAGES, EXAMPLE, quick_first

WITHIN = 0.2
SIGMAS = load_skeleton("coco17").sigmas
BUNDLED = ("MoveNet-Thunder_256x256", "PicoDet-S_person_416")

# What PaddleX 3.7.2 itself detects on these images (threshold 0), through pycocotools. coco_val_ap.json has 41.8 and
# 44.3 for the boxes, by a protocol that it does not state.
PADDLEX_BOX_AP = {
    "PicoDet-S_pedestrian_320": {"AP": 52.470, "AP50": 80.805},
    "PicoDet-S_person_416": {"AP": 52.305, "AP50": 79.927},
}


@pytest.fixture(scope="module")
def places(shared):
    folder = shared / "data" / "coco_val"
    return folder / "person_keypoints.json", folder / "images"


@pytest.fixture(scope="module")
def truth(places):
    return json.loads(places[0].read_text())


@pytest.fixture
def estimator():
    with Predictor("MoveNet-Thunder_256x256", backend="onnxruntime") as predictor:
        yield predictor


def folder_of(shared, model):
    return None if model in BUNDLED else shared / "models" / model


def fail(error):
    raise error


def predictions_of(predictor, dataset):
    return predict(predictor, dataset.images, Journal(None), 8, on_error=fail)


MODELS = (
    ("PP-TinyPose_128x96", False),
    ("PP-TinyPose_128x96", True),
    ("PP-TinyPose_256x192", False),
    ("PP-TinyPose_256x192", True),
    ("MoveNet-Thunder_256x256", False),
)


@pytest.mark.parametrize(
    ("backend", "model", "flip"),
    quick_first((backend, *model) for backend in BACKEND_PACKAGES for model in MODELS),
    indirect=["backend"],
)
def test_keypoint_ap_is_the_references(shared, places, paddle_model_backend, model, flip):
    expected = json.loads((shared / "golden" / "coco_val_ap.json").read_text())["keypoints"]
    expected = expected[f"{model} flip" if flip else model]
    dataset = CocoDataset(*places)
    with Predictor(model, model_dir=folder_of(shared, model), backend=paddle_model_backend, flip=flip) as predictor:
        predictions = predictions_of(predictor, dataset)
        found = dataset.figures(predictions, predictor)
    assert len(dataset.cases(predictions)) == sum(map(len, predictions.values())) == expected["people"]
    assert tuple(found) == KEYPOINT_FIGURES
    for name in ("AP", "AP50", "AP75"):
        assert found[name] == pytest.approx(expected[name], abs=WITHIN)


@pytest.mark.full
@pytest.mark.parametrize(
    ("backend", "model"),
    quick_first((backend, model) for backend in BACKEND_PACKAGES for model in PADDLEX_BOX_AP),
    indirect=["backend"],
)
def test_box_ap_is_paddlexs(shared, places, paddle_model_backend, model):
    dataset = CocoDataset(*places, "detector")
    with Predictor(model, model_dir=folder_of(shared, model), backend=paddle_model_backend) as predictor:
        found = dataset.figures(predictions_of(predictor, dataset), predictor)
    for name, value in PADDLEX_BOX_AP[model].items():
        assert found[f"box {name}"] == pytest.approx(value, abs=WITHIN)


@pytest.fixture
def random_people(truth, rng):
    """Annotated people moved about, some twice, some not at all, and one who is nowhere."""
    people = {image["id"]: [] for image in truth["images"]}
    for one in truth["annotations"]:
        x, y, width, height = one["bbox"]
        for _ in range(rng.integers(0, 3)):
            points = np.array(one["keypoints"], np.float32).reshape(17, 3)
            points[:, :2] += rng.normal(0, 0.03 * np.sqrt(one["area"]), (17, 2))
            points[:, 2] = rng.uniform(0, 1, 17)
            corners = np.array([x, y, x + width, y + height]) + rng.normal(0, 0.02 * height, 4)
            people[one["image_id"]].append(Person(tuple(corners), float(rng.uniform()), None, points))
    people[truth["images"][0]["id"]].append(Person((0.0, 0.0, 9.0, 9.0), 0.5, None, np.zeros((17, 3), np.float32)))
    return people


def independent_summary(annotations, results, kind, file):
    file.write_text(json.dumps(results))
    truth = COCO(str(annotations))
    evaluation = COCOeval(truth, truth.loadRes(str(file)), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def test_the_figures_are_those_of_pycocotools(places, random_people, tmp_path):
    dataset = CocoDataset(*places, "detector")
    keypoints, boxes = [], []
    for image, people in random_people.items():
        for person in people:
            confident = [score for score in person.keypoints[:, 2] if score > 0.2]
            score = person.score * (np.mean(confident, dtype=np.float32) if confident else 0)
            points = [float(value) for value in person.keypoints.ravel()]
            keypoints.append({"image_id": image, "category_id": 1, "keypoints": points, "score": float(score)})
            x1, y1, x2, y2 = person.box
            boxes.append({"image_id": image, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1]})
            boxes[-1]["score"] = person.score
    for found, names, results, kind in (
        (dataset.keypoint_figures(random_people), KEYPOINT_FIGURES, keypoints, "keypoints"),
        (dataset.box_figures(random_people), BOX_FIGURES, boxes, "bbox"),
    ):
        stats = independent_summary(places[0], results, kind, tmp_path / "results.json").stats
        assert tuple(found) == names
        assert list(found.values()) == pytest.approx((100 * stats).tolist(), abs=1e-9)
        assert 5 < found["AP"] < 95


def test_oks_is_that_of_pycocotools(places, truth, random_people, tmp_path):
    results = [
        {"image_id": image, "category_id": 1, "keypoints": person.keypoints.astype(float).ravel().tolist(), "score": 1}
        for image, people in random_people.items()
        for person in people
    ]
    evaluation = independent_summary(places[0], results, "keypoints", tmp_path / "results.json")
    checked = 0
    for image, people in random_people.items():
        annotations = [one for one in truth["annotations"] if one["image_id"] == image]
        for column, one in enumerate(annotations):
            if one["num_keypoints"] and people:
                keypoints = np.stack([person.keypoints for person in people])[:20]  # pycocotools looks at no more
                found = oks(np.array(one["keypoints"]).reshape(17, 3), one["area"], keypoints, SIGMAS)
                assert found == pytest.approx(evaluation.ious[image, 1][:, column], abs=1e-12)
                checked += 1
    assert checked > 30


def numbered(truth, images, annotations, category):
    """The same people under other ids."""
    of_images = dict(zip((image["id"] for image in truth["images"]), images, strict=True))
    return {
        **truth,
        "images": [{**image, "id": of_images[image["id"]]} for image in truth["images"]],
        "categories": [{**one, "id": category} for one in truth["categories"]],
        "annotations": [
            {**one, "id": number, "image_id": of_images[one["image_id"]], "category_id": category}
            for one, number in zip(truth["annotations"], annotations, strict=True)
        ],
    }


def themselves(content):
    """The annotated people as predictions; those of crowds as boxes only."""
    found = {image["id"]: [] for image in content["images"]}
    for one in content["annotations"]:
        x, y, width, height = one["bbox"]
        points = np.array(one["keypoints"], np.float32).reshape(17, 3) * (1 - one["iscrowd"])
        found[one["image_id"]].append(Person((x, y, x + width, y + height), 1.0, one["id"], points))
    return found


def assert_that_truth_matches_itself(content, images, file):
    file.write_text(json.dumps(content))
    dataset, predictions = CocoDataset(file, images), themselves(content)
    keypoints, boxes = dataset.keypoint_figures(predictions), dataset.box_figures(predictions)
    assert [keypoints["AP"], keypoints["AR"], boxes["AP"], boxes["AR100"]] == pytest.approx([100] * 4)
    measured = {one["id"] for one in content["annotations"] if one["num_keypoints"] and not one["iscrowd"]}
    assert {case.annotation for case in dataset.cases(predictions) if case.value > 1 - 1e-6} == measured


@pytest.mark.parametrize("first", [0, 1, -7, 2**31 - 3, 2**53 - 1, 2**63 - 3, 10**30], ids=str)
def test_ground_truth_matches_itself_whatever_the_ids(places, truth, tmp_path, first):
    images, people = len(truth["images"]), len(truth["annotations"])
    content = numbered(truth, range(first, first + images), range(first, first + people), first)
    assert_that_truth_matches_itself(content, places[1], tmp_path / "annotations.json")


@pytest.mark.long
@pytest.mark.full
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_ground_truth_matches_itself_under_any_ids(places, truth, tmp_path, data):
    """Sparse, shuffled, negative and huge ids; any category; people that become crowds or lose their keypoints."""
    numbers = st.integers() | st.integers(-50, 50)
    images, people = (
        data.draw(st.lists(numbers, unique=True, min_size=len(truth[name]), max_size=len(truth[name])))
        for name in ("images", "annotations")
    )
    content = numbered(truth, images, people, data.draw(numbers))
    ignored = data.draw(st.lists(st.sampled_from(range(len(people))), unique=True, max_size=30))
    for number in ignored:
        content["annotations"][number].update(
            data.draw(st.sampled_from([{"iscrowd": 1}, {"keypoints": [0] * 51, "num_keypoints": 0}]))
        )
    assert_that_truth_matches_itself(content, places[1], tmp_path / "annotations.json")


def test_an_id_of_0_changes_no_figure(places, truth, random_people, tmp_path):
    """Each person in turn could be the one with id 0; here everyone has another id, and one of them 0."""
    file = tmp_path / "annotations.json"
    images = [image["id"] for image in truth["images"]]
    file.write_text(json.dumps(numbered(truth, images, range(-40, len(truth["annotations"]) - 40), 0)))
    expected, found = CocoDataset(*places, "detector"), CocoDataset(file, places[1], "detector")
    assert found.keypoint_figures(random_people) == expected.keypoint_figures(random_people)
    assert found.box_figures(random_people) == expected.box_figures(random_people)


def test_one_person_with_id_0_counts(tiny):
    content, read = tiny
    content["annotations"][0]["id"] = content["images"][0]["id"] = content["categories"][0]["id"] = 0
    content["annotations"][0]["category_id"] = content["annotations"][0]["image_id"] = 0
    person = Person((39, 77, 159, 477), 1.0, 0, np.array(KEYPOINT * 17, np.float32).reshape(17, 3))
    assert read().keypoint_figures({0: [person]})["AP"] == pytest.approx(100)
    assert read().box_figures({0: [person]})["AP"] == pytest.approx(100)


def test_cases_say_how_well_each_person_was_found(places, truth):
    one = next(one for one in truth["annotations"] if one["num_keypoints"] > 10)
    perfect = Person((0, 0, 1, 1), 1.0, one["id"], np.array(one["keypoints"], np.float32).reshape(17, 3))
    nothing = {image["id"]: [] for image in truth["images"]}
    predictions = nothing | {one["image_id"]: [perfect]}
    cases = {case.annotation: case for case in CocoDataset(*places).cases(predictions)}
    assert cases[one["id"]].value == pytest.approx(1)
    assert cases[one["id"]].error == pytest.approx(0, abs=1e-6)
    assert len(cases[one["id"]].pairs) == one["num_keypoints"]
    assert all(case.value == 0 and case.found is None for person, case in cases.items() if person != one["id"])


def test_nothing_found_is_zero(places, truth):
    dataset = CocoDataset(*places, "detector")
    nothing = {image["id"]: [] for image in truth["images"]}
    assert dataset.keypoint_figures(nothing)["AP"] == 0
    assert dataset.box_figures(nothing)["AR100"] == 0


def test_boxes_from_a_file_are_used_with_their_scores(places, truth, tmp_path):
    """Ground truth as a file of detections gives the same people; the score of the box counts."""
    (image, *_) = {one["image_id"] for one in truth["annotations"] if one["num_keypoints"]}
    boxes = [
        {"image_id": one["image_id"], "category_id": 1, "bbox": one["bbox"], "score": 0.5}
        for one in truth["annotations"]
        if one["image_id"] == image
    ]
    outside = {"image_id": image, "category_id": 1, "bbox": [9000, 0, 5, 5], "score": 1}
    other = {"image_id": image, "category_id": 2, "bbox": [0, 0, 5, 5], "score": 1}
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps([*boxes, outside, other]))
    dataset = CocoDataset(*places, file)
    assert dataset.counts == {
        "boxes of other images or categories": 1,
        "people whose box has no area inside the image": 1,
    }
    assert {one.number: len(one.given) for one in dataset.images if one.given} == {image: len(boxes)}
    assert "score of the box times the mean" in dataset.protocol
    with Predictor("MoveNet-Thunder_256x256", backend="onnxruntime") as predictor:
        predictions = predictions_of(predictor, dataset)
    assert [person.score for person in predictions[image]] == [0.5] * len(boxes)
    assert all(person.keypoints.shape == (17, 3) for person in predictions[image])
    assert sum(map(len, predictions.values())) == len(boxes)


KEYPOINT = [20.0, 20.0, 2]


@pytest.fixture
def tiny(tmp_path):
    """One image, one person; and a function that writes the annotations and reads them."""
    (tmp_path / "images").mkdir()
    shutil.copy(EXAMPLE, tmp_path / "images" / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 640, "height": 480}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {
                "id": 7,
                "image_id": 1,
                "category_id": 1,
                "bbox": [39, 77, 120, 400],
                "area": 9000,
                "iscrowd": 0,
                "num_keypoints": 17,
                "keypoints": KEYPOINT * 17,
            }
        ],
    }

    def read(boxes="gt"):
        file = tmp_path / "annotations.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return CocoDataset(file, tmp_path / "images", boxes)

    return content, read


def test_bad_annotations_are_one_error(tiny):
    content, read = tiny
    (person,), (image,) = content["annotations"], content["images"]
    cases = [
        (person, "bbox", [0, 0, float("nan"), 5], "'annotations.0.bbox.2' of annotation id 7"),
        (person, "keypoints", KEYPOINT, "annotation id 7: keypoints has 3 numbers; give 3 x 17 = 51"),
        (person, "image_id", 5, "annotation id 7: image_id 5 is not among the images"),
        (person, "num_keypoints", 0, "annotation id 7: num_keypoints is 0, but 17 keypoints"),
        (image, "width", 0, "'images.0.width' of image id 1"),
        (image, "file_name", "none.png", "none of the 1 annotated images"),
        (image, "file_name", "a" * 500, "none of the 1 annotated images"),
        (image, "file_name", "a\0.png", "none of the 1 annotated images"),
        (image, "file_name", "../a.png", "leads out of the folder"),
        (image, "file_name", "/etc/hostname", "leads out of the folder"),
        (content, "annotations", "text", "'annotations'"),
        (content, "annotations", [person, person], "annotation id 7: 2 entries have it"),
        (content, "images", [image, image], "image id 1: 2 entries have it"),
        (content, "images", [image, {**image, "id": 2, "file_name": "./a.png"}], "image id 2: has the same file_name"),
        (content, "categories", [{"id": 1, "name": "cat"}], "no category is named 'person'"),
    ]
    for part, field, value, said in cases:
        before = part[field]
        part[field] = value
        with pytest.raises(InputError) as error:
            read()
        assert said in str(error.value)
        assert "\n" not in str(error.value)
        part[field] = before
    assert len(read().images) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", "no json", "null", "[" * 100_000])
def test_files_without_annotations_are_named_in_the_error(places, tmp_path, text):
    file = tmp_path / "annotations.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"annotations\.json"):
        CocoDataset(file, places[1])
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        CocoDataset(tmp_path / "none.json", places[1])


def test_bad_boxes_are_one_error(tiny, tmp_path):
    _, read = tiny
    good = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.5}
    for content, said in (
        ({}, "boxes.json"),
        ([{**good, "score": float("inf")}], "0.score"),
        ([{**good, "bbox": [0, 0, 9]}], "0.bbox"),
        ([{**good, "score": None}], "'0.score' of image id 1"),
        ([{name: value for name, value in good.items() if name != "score"}], "'0.score' of image id 1 is missing"),
        ([{**good, "score": 87}], "'0.score' of image id 1"),
        ([{**good, "image_id": 3}], "none of its 1 boxes belongs to a person in an image of"),
        ([{**good, "image_id": 3}], "they are for image id 3, category id 1"),
        ([{**good, "category_id": 0}], "category id 0, and people have category id 1"),
        ([{**good, "bbox": [0.1, 0.1, 0.5, 0.5]}], "are fractions of the images"),
        ([{**good, "bbox": [300, 200, 630, 470]}] * 3, "are two corners"),
    ):
        file = tmp_path / "boxes.json"
        file.write_text(json.dumps(content))
        with pytest.raises(InputError) as error:
            read(file)
        assert said in str(error.value)


def test_images_without_a_box_are_warned_of(places, truth, tmp_path, estimator):
    (image, *_) = [one["image_id"] for one in truth["annotations"] if one["num_keypoints"]]
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps([{"image_id": str(image), "category_id": 1.0, "bbox": [9, 9, 90, 90], "score": 1}]))
    (warning,) = CocoDataset(*places, file).check(estimator)
    assert warning.startswith("boxes.json has no box for image ids 139, 34417, 109313, ")
    assert "people count as missed" in warning
    file.write_text("[]")
    (warning,) = CocoDataset(*places, file).check(estimator)
    assert "68 people count as missed" in warning


def test_a_model_with_other_keypoints_is_refused_before_the_work(places, estimator, monkeypatch):
    """Whatever it calls them: one of another number, and one whose skeleton says so."""
    dataset = CocoDataset(*places)
    model = estimator.pipelines[0].models[0]
    skeleton = model.skeleton
    backwards = dataclasses.replace(skeleton, keypoints=skeleton.keypoints[::-1])
    monkeypatch.setattr(model, "skeleton", backwards)
    with pytest.raises(
        ConfigError, match="its 17 keypoints are not those that are measured: OKS is defined for COCO's"
    ):
        dataset.check(estimator)
    monkeypatch.setattr(model, "skeleton", Skeleton.numbered(16))
    with pytest.raises(ConfigError, match=r"the model has 16 keypoints, but OKS is defined for COCO's 17"):
        dataset.check(estimator)


def test_a_missing_pycocotools_is_an_error_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(ConfigError, match=r'pip install "hpi-pose\[evaluate\]"'):
        CocoDataset(tmp_path / "none.json", tmp_path)


@pytest.mark.full
def test_messages_stay_short_however_many_are_wrong(tiny):
    content, read = tiny
    (person,) = content["annotations"]
    content["annotations"] = [{**person, "id": 10**200 + number, "area": None} for number in range(5000)]
    with pytest.raises(InputError) as error:
        read()
    assert "and 4994 more" in str(error.value)
    assert len(str(error.value)) < 1500
    content["annotations"] = [{**person, "id": number, "area": "x" * 10_000} for number in range(5000)]
    with pytest.raises(InputError) as error:
        read()
    assert "'annotations.0.area' of annotation id 0" in str(error.value)
    assert "4995 more" in str(error.value)
    assert len(str(error.value)) < 1500


def test_people_that_cannot_be_cropped_are_counted(tiny):
    content, read = tiny
    (person,) = content["annotations"]
    content["annotations"] += [
        {**person, "id": 8, "bbox": [700, 0, 10, 10]},
        {**person, "id": 9, "bbox": [50, 50, 1e-9, 10]},
        {**person, "id": 10, "iscrowd": 1},
    ]
    dataset = read()
    assert dataset.counts == {"people whose box has no area inside the image": 2}
    assert [one.annotation for one in dataset.images[0].given] == [7]


def test_images_that_cannot_be_used_are_left_out(tiny, tmp_path):
    content, read = tiny
    (person,), (image,) = content["annotations"], content["images"]
    (tmp_path / "images" / "bad.png").write_text("no image")
    shutil.copy(EXAMPLE, tmp_path / "images" / "small.png")
    content["images"] += [
        {**image, "id": 2, "file_name": "bad.png"},
        {**image, "id": 3, "file_name": "small.png", "width": 320},
        {**image, "id": 4, "file_name": "empty.png"},
        {**image, "id": 5, "file_name": "missing.png"},
    ]
    shutil.copy(EXAMPLE, tmp_path / "images" / "empty.png")
    content["annotations"] += [{**person, "id": 10 + number, "image_id": number} for number in (2, 3, 5)]
    dataset = read()
    errors, done = [], []
    with Predictor("MoveNet-Thunder_256x256", backend="onnxruntime") as predictor:
        predictions = predict(
            predictor, dataset.images, Journal(None), 2, on_error=errors.append, on_progress=lambda: done.append(1)
        )
        figures = dataset.figures(predictions, predictor)
    assert sorted(predictions) == [1, 4]
    assert len(done) == 4
    assert dataset.counts == {"images without a file": 1}
    assert ["bad.png" in str(errors[0]), "640x480" in str(errors[1])] == [True, True]
    assert figures["AP"] is not None
    assert figures["APL"] is None  # nobody so large is annotated
    assert len(dataset.cases(predictions)) == 1


@pytest.mark.parametrize("boxes", ["gt", "detector"])
def test_a_document_of_several_pages_is_refused(tiny, tmp_path, boxes):
    content, read = tiny
    pages = [Image.new("RGB", (640, 480), color) for color in ("white", "black")]
    pages[0].save(tmp_path / "images" / "a.tiff", save_all=True, append_images=pages[1:])
    content["images"][0]["file_name"] = "a.tiff"
    dataset, errors = read(boxes), []
    name = "MoveNet-Thunder_256x256" if boxes == "gt" else "PicoDet-S_person_416"
    with Predictor(name, backend="onnxruntime") as predictor:
        assert predict(predictor, dataset.images, Journal(None), 2, on_error=errors.append) == {}
    (error,) = errors
    assert "a.tiff" in str(error)
    assert "more than one image" in str(error)


def test_predictions_with_other_keypoints_are_refused(tiny):
    _, read = tiny
    person = Person((0, 0, 9, 9), keypoints=np.zeros((16, 3), np.float32))
    with pytest.raises(ConfigError, match="16 keypoints"):
        read().keypoint_figures({1: [person]})
