"""hpi evaluate: going on where a run was broken off, the report, the pictures, and wrong usage."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="pycocotools is not installed")

import typer

from hpi.cli.evaluate import WORST, EvaluationRequest, run
from hpi.errors import ConfigError, InputError
from hpi.evaluation.pictures import draw_case, worst
from hpi.evaluation.predictions import Case, Journal, Person
from hpi.skeletons import COCO, load_skeleton
from hpi.zoo import Zoo

from support import EXAMPLE, missing_backend, run_hpi

POSE, DETECTOR = "MoveNet-Thunder_256x256", "PicoDet-S_person_416"
IMAGES = 4


@pytest.fixture
def people(shared, tmp_path):
    """What to ask for to evaluate on a few images of COCO."""
    folder = shared / "data" / "coco_val"
    content = json.loads((folder / "person_keypoints.json").read_text())
    content["images"] = content["images"][:IMAGES]
    ids = {image["id"] for image in content["images"]}
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] in ids]
    annotations = tmp_path / "annotations.json"
    annotations.write_text(json.dumps(content))
    return EvaluationRequest(
        "coco", annotations, folder / "images", model=POSE, backends=["onnxruntime"], output=tmp_path / "output"
    )


def report(request):
    return json.loads((request.output / f"{request.dataset}.json").read_text())


def journals(request):
    return sorted(request.output.glob("predictions-*.jsonl"))


@pytest.mark.full
def test_a_later_run_continues_an_interrupted_one(people, capsys):
    run(people)
    figures = report(people)["rows"][0]["figures"]
    (journal,) = journals(people)
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == IMAGES
    assert "are done" not in capsys.readouterr().err

    journal.write_bytes(b"".join(lines[:2]) + lines[2][:50])  # broken off while writing
    run(people)
    assert f"2 of {IMAGES} images are done" in capsys.readouterr().err
    again = journal.read_bytes()
    assert again.startswith(b"".join(lines[:2]))
    assert sorted(again.splitlines()) == sorted(whole.splitlines())
    assert report(people)["rows"][0]["figures"] == figures

    journal.write_bytes(b"".join(lines[:2]))
    run(replace(people, fresh=True))
    assert "are done" not in capsys.readouterr().err
    assert report(people)["rows"][0]["figures"] == figures

    for damaged in (b'{"image": 1}\n', re.sub(rb'"keypoints": \[\[[^,]*', b'"keypoints": [[NaN', whole)):
        journal.write_bytes(damaged)
        with pytest.raises(ConfigError, match=r"line \d is damaged; start over with --fresh"):
            run(people)


@pytest.mark.full
def test_other_predictions_have_another_file(people, tmp_path):
    run(people)
    run(people)
    assert len(journals(people)) == 1
    run(replace(people, flip=True))
    assert len(journals(people)) == 2
    other = tmp_path / "other.json"
    other.write_text(people.annotations.read_text() + " ")
    run(replace(people, annotations=other))
    assert len(journals(people)) == 3
    boxes = tmp_path / "boxes.json"
    (image, *_) = json.loads(other.read_text())["images"]
    boxes.write_text(json.dumps([{"image_id": image["id"], "category_id": 1, "bbox": [9, 9, 90, 90], "score": 1}]))
    run(replace(people, boxes=str(boxes)))
    assert len(journals(people)) == 4


@pytest.mark.full
def test_the_report_has_a_column_for_each_runtime(people, capsys):
    pytest.importorskip("openvino")
    run(replace(people, backends=["onnxruntime", "openvino"]))
    printed = capsys.readouterr()
    assert "onnxruntime fp32" in printed.out
    assert "AP75" in printed.out
    content = report(people)
    assert content["environment"]["cores"]
    assert "num_keypoints > 0" in content["protocol"]
    first, second = content["rows"]
    assert (first["title"], second["title"]) == ("onnxruntime fp32", "openvino fp32")
    assert len(first["figures"]) == 10
    assert first["figures"]["AP"] == pytest.approx(second["figures"]["AP"], abs=1)
    text = (people.output / "coco.md").read_text()
    assert "| % | published | onnxruntime fp32 | openvino fp32 |" in text
    assert f"| AP |  | {first['figures']['AP']:.2f} | {second['figures']['AP']:.2f} |" in text
    assert str(people.images) not in text + json.dumps(content) + "".join(map(str, journals(people)[0].open()))
    shown = first["worst"]
    assert len(shown) == min(WORST, first["people"])
    assert [one["OKS"] for one in shown] == sorted(one["OKS"] for one in shown)
    for rank, one in enumerate(shown, 1):
        assert cv2.imread(str(people.output / one["picture"])).shape == (548, 968, 3)
        assert f"![number {rank}]({one['picture']})" in text


@pytest.mark.full
def test_doubtful_annotations_are_warned_of_and_reported(people, capsys):
    content = json.loads(people.annotations.read_text())
    for one in content["annotations"]:
        del one["iscrowd"]
    people.annotations.write_text(json.dumps(content))
    run(people)
    said = f"annotation id {content['annotations'][0]['id']}: iscrowd is missing, so that it counts as 0"
    assert f"warning: {said}" in capsys.readouterr().err
    assert said in report(people)["rows"][0]["warnings"][0]
    assert f"- {said}" in (people.output / "coco.md").read_text()


def test_a_file_that_spoils_the_figures_is_refused_at_once(people, capsys):
    content = json.loads(people.annotations.read_text())
    for one in content["annotations"]:
        one["area"] = 0
    people.annotations.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"area is 0 in a box"):
        run(people)
    assert not people.output.exists()


@pytest.mark.full
def test_a_pipeline_is_evaluated_with_its_detector(people):
    """Its detector's boxes by default, or its keypoint model on the ground truth."""
    content = json.loads(people.annotations.read_text())
    content["images"] = content["images"][:1]
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] == content["images"][0]["id"]]
    people.annotations.write_text(json.dumps(content))
    lite = replace(people, model=None, pipeline="human_keypoint_detection_lite")
    run(lite)
    (row,) = report(lite)["rows"]
    assert {"AP", "ARL", "box AP", "box AR100"} <= set(row["figures"])
    assert [model["model"] for model in row["models"]] == [DETECTOR, POSE]
    run(replace(lite, boxes="gt"))
    (on_truth,) = report(lite)["rows"]
    assert [model["model"] for model in on_truth["models"]] == [POSE]
    run(people)
    assert on_truth["figures"] == report(people)["rows"][0]["figures"]


def test_a_detector_is_evaluated_by_its_boxes(people):
    run(replace(people, model=DETECTOR, boxes="detector"))
    (row,) = report(people)["rows"]
    assert row["figures"]["box AP"] > 20
    assert row["worst"] == []


@pytest.mark.full
def test_a_published_figure_stands_beside(people, shared):
    if reason := missing_backend("paddle"):
        pytest.skip(reason)
    name = "PP-TinyPose_128x96"
    run(replace(people, model=name, model_dir=shared / "models" / name, backends=["paddle"]))
    text = (people.output / "coco.md").read_text()
    assert "| AP | 58.4 | " in text
    assert "AP: published by PaddleX, COCO val2017" in text


@pytest.mark.full
def test_images_that_cannot_be_read_are_reported(people, tmp_path, capsys):
    images = tmp_path / "images"
    shutil.copytree(people.images, images)
    names = [image["file_name"] for image in json.loads(people.annotations.read_text())["images"]]
    (images / names[0]).write_bytes(b"no image")
    (images / names[1]).unlink()
    with pytest.raises(typer.Exit) as exit_code:
        run(replace(people, images=images))
    assert exit_code.value.exit_code == 1
    assert f"{names[0]}: not an image" in capsys.readouterr().err
    (row,) = report(people)["rows"]
    (failed,) = row["failed"]
    assert failed.startswith(f"{names[0]}: not an image")
    assert row["left_out"] == {"images without a file": 1}
    assert row["photos"] == IMAGES - 2
    assert "images that could not be used: 1" in (people.output / "coco.md").read_text()
    for name in names:
        (images / name).write_bytes(b"no image")
    with pytest.raises(InputError, match="none of its images could be used"):
        run(replace(people, images=images, fresh=True))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"boxes": "detector"}, "no detector"),
        ({"model": DETECTOR}, "is a detector"),
        ({"boxes": "mine"}, "--boxes 'mine'"),
        ({"headboxes": EXAMPLE}, "--headboxes"),
        ({"model": None, "pipeline": "human_keypoint_detection_lite", "model_dir": EXAMPLE.parent}, "--model_dir"),
        ({"dataset": "mpii", "boxes": "detector"}, "own centers"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(people, change, said):
    with pytest.raises(ConfigError, match=said):
        run(replace(people, **change))


def test_an_output_that_cannot_be_written_is_an_error(people):
    people.output.write_text("a file")
    with pytest.raises(ConfigError, match="cannot be written"):
        run(people)


def test_mpii_is_evaluated_by_pckh(people, tmp_path):
    joints = [[100 + 10 * number, 200] for number in range(8)] + [[300, 120], [300, 80]] + [[250, 150]] * 6
    entry = {"image": EXAMPLE.name, "center": [270, 240], "scale": 2, "joints": joints, "joints_vis": [1] * 16}
    file = tmp_path / "mpii.json"
    file.write_text(json.dumps([entry]))
    request = replace(people, dataset="mpii", annotations=file, images=EXAMPLE.parent)
    run(request)
    (row,) = report(request)["rows"]
    assert row["figures"]["Head"] is None
    assert 0 <= row["figures"]["PCKh@0.1"] <= row["figures"]["PCKh@0.5"] <= 100
    assert row["worst"][0]["PCKh"] == pytest.approx(row["figures"]["PCKh@0.5"] / 100, abs=1e-4)
    assert "| Head |  | - |" in (request.output / "mpii.md").read_text()


def test_the_command_prints_the_table(people, tmp_path):
    arguments = ("evaluate", "--dataset", "coco", "--annotations", people.annotations, "--images", people.images)
    done = run_hpi(
        *arguments, "--model", POSE, "--backend", "onnxruntime", "--batch_size", "3", "--output", "out", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "onnxruntime fp32" in done.stdout
    assert (tmp_path / "out" / "coco.md").is_file()


@pytest.mark.full
def test_the_command_prints_one_error(people, tmp_path):
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"images": []}')
    done = run_hpi("evaluate", "--dataset", "coco", "--annotations", wrong, "--images", people.images, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {wrong}: field 'images'")
    assert "Traceback" not in done.stderr


def test_a_journal_keeps_every_bit(tmp_path, rng):
    people = [
        Person((0.1, 2, 3, 4), 0.3, 5, rng.normal(0, 100, (17, 3)).astype(np.float32)),
        Person((1, 2, 3, 4)),
    ]
    path = tmp_path / "folder" / "journal.jsonl"
    with Journal(path) as journal:
        assert journal.read() == {}
        journal.append(3, people)
        journal.append(4, [])
    found = Journal(path).read()
    assert list(found) == [3, 4]
    assert [one.keypoints.tolist() for one in found[3]] == [one.keypoints.tolist() for one in people]
    assert [replace(one, keypoints=None) for one in found[3]] == [replace(one, keypoints=None) for one in people]


def test_a_journal_of_version_0_1_can_be_read(tmp_path):
    path = tmp_path / "journal.jsonl"
    person = {"box": [1, 2, 3, 4], "score": 0.5, "annotation": None, "joints": [[5, 6, 0.25]]}
    path.write_text(json.dumps({"photo": 3, "people": [person]}) + "\n")
    ((found,),) = Journal(path).read().values()
    assert found.keypoints.tolist() == [[5, 6, 0.25]]


def test_hostile_cases_have_a_picture_too():
    """Nobody found, keypoints far outside, a box of no size at the edge, another alphabet."""
    skeleton = load_skeleton(COCO)
    truth = np.full((17, 3), 5, np.float32)
    far = np.full((17, 3), 1e30, np.float32)
    pairs = np.stack([truth[:, :2], far[:, :2]], axis=1)
    image = np.zeros((40, 30, 3), np.uint8)
    for found, links in ((None, pairs[:0]), (far, pairs)):
        case = Case(EXAMPLE.with_name("фото.png"), 1, "OKS", 0.0, 0.0, (5, 5, 5, 5), truth, skeleton, found, links)
        assert draw_case(case, image, skeleton).shape == (548, 968, 3)
    better = replace(case, value=0.5)
    assert worst([better, replace(case, error=2.0), case], 2) == [replace(case, error=2.0), case]


@pytest.mark.full
@pytest.mark.parametrize("boxes", ["file", "detector"])
def test_predictions_can_be_saved_without_being_measured(people, capsys, boxes):
    """As for a benchmark whose truth nobody has; who was found twice is in the file once."""
    content = json.loads(people.annotations.read_text())
    asked = replace(people, save_prediction_only=True, boxes="detector")
    if boxes == "file":
        detections = [
            {"image_id": one["image_id"], "category_id": 1, "bbox": one["bbox"], "score": 0.5}
            for one in content["annotations"]
            if one["num_keypoints"]
        ]
        path = people.annotations.with_name("bbox.json")
        path.write_text(json.dumps([*detections, *detections]))
        asked = replace(asked, boxes=str(path))
    else:
        del content["images"][1:]  # a detector's boxes are many
        asked = replace(asked, model=None, pipeline="human_keypoint_detection_lite")
    del content["annotations"]
    people.annotations.write_text(json.dumps(content))
    run(asked)
    entries = json.loads((people.output / "keypoints_results.json").read_text())
    assert {one["image_id"] for one in entries} <= {image["id"] for image in content["images"]}
    if boxes == "file":
        assert 0 < len(entries) <= len(detections)
    for one in entries:
        assert set(one) == {"image_id", "category_id", "keypoints", "score", "center", "scale"}
        assert len(one["keypoints"]) == 51
        scores = np.array(one["keypoints"][2::3])
        box_score = 0.5 if boxes == "file" else 1
        assert one["score"] <= box_score * scores.max() + 1e-6
    assert not (people.output / "coco.json").exists()
    assert f"{len(entries)} people in {len(content['images'])} images" in capsys.readouterr().err


@pytest.mark.full
def test_a_file_of_predictions_that_would_lack_images_is_not_written(people, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(people.images, images)
    name = json.loads(people.annotations.read_text())["images"][0]["file_name"]
    (images / name).write_text("no image")
    with pytest.raises(InputError, match=r"keypoints_results\.json: not written, since 1 images cannot be used"):
        run(replace(people, images=images, save_prediction_only=True))
    assert not (people.output / "keypoints_results.json").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataset": "mpii"}, "--save_prediction_only needs --dataset coco"),
        ({"backends": ["onnxruntime", "openvino"]}, "writes one file: give one --backend"),
        ({"precisions": ["fp32", "bf16"]}, "writes one file: give one --backend and one --precision"),
        ({"model": DETECTOR, "boxes": "detector"}, "is a detector: it finds no keypoints to save"),
    ],
)
def test_predictions_are_saved_of_one_keypoint_model_on_coco(people, change, said):
    with pytest.raises(ConfigError, match=said):
        run(replace(people, save_prediction_only=True, **change))


def test_a_model_may_be_given_by_its_path(home):
    """Its own name, not that of the path, is compared with what its files say."""
    folder = Zoo.default().find(POSE).folder
    assert EvaluationRequest("coco", Path("people.json"), Path("images"), model=str(folder)).boxes_from == "gt"
