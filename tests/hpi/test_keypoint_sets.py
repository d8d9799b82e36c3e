"""Models of every keypoint set of the package, with planted keypoints: from the file to what comes out."""

import csv
import json

import numpy as np
import pytest

from hpi import Frame, Instances, KeypointResult, Predictor
from hpi.models.reference_images import ReferenceImages
from hpi.selection.parity import reference_results, validate
from hpi.sinks.formats import FORMATS
from hpi.sinks.lines import read_lines
from hpi.skeletons import load_skeleton, skeleton_names
from hpi.zoo import Zoo

from planted import save_planted_pose
from poses import pose
from recording import write_clip
from support import require, run_hpi

pytestmark = pytest.mark.long  # its slow cases run each night

BOX = [100, 40, 292, 296]
"""As large as the input, and cut out as it is, so keypoints of the input are those of the image, moved."""


SOME = ("coco_wholebody133", "hand21")
EVERY = [name if name in SOME else pytest.param(name, marks=pytest.mark.full) for name in skeleton_names()]


@pytest.fixture(params=EVERY)
def skeleton(request):
    return load_skeleton(request.param)


@pytest.fixture
def result(skeleton, image, tmp_path):
    expected = save_planted_pose(tmp_path / "model", skeleton) + np.array([*BOX[:2], 0])
    with Predictor(tmp_path / "model", backend="onnxruntime") as predictor:
        (result,) = predictor.predict(image, boxes=[BOX])
    assert result.instances.points[0] == pytest.approx(expected, abs=1e-3)
    return result


def test_every_form_of_a_result(result, skeleton, tmp_path):
    count = len(skeleton)
    assert result.keypoint_names == list(skeleton.keypoints)
    (person,) = result.json["res"]["kpts"]
    assert np.array_equal(np.float32(person["keypoints"]), result.instances.points[0])
    assert person["kpt_score"] == pytest.approx(result.keypoint_scores.mean())
    assert len(result.to_coco()[0]["keypoints"]) == 3 * (17 if skeleton.name == "coco_wholebody133" else count)
    columns = result.columns()
    last = skeleton.keypoints[-1]
    assert len(columns) == 5 + 3 * count
    assert columns[f"{last}_x"].tolist() == [result.keypoints[0, -1, 0]]
    written, picture = result.save(tmp_path / "out")
    assert len(json.loads(written.read_text())["kpts"][0]["keypoints"]) == count
    assert picture.stat().st_size
    assert (result.plot() != result.image).any()


@pytest.mark.full
def test_supervision_takes_every_set(result, skeleton):
    require("supervision")
    points, _ = result.to_supervision()
    assert points.xy.shape == (1, len(skeleton), 2)


def test_coco_of_a_whole_body_is_that_of_coco_wholebody(image, tmp_path):
    """The numbers of keypoints: jin-s13/COCO-WholeBody, data_format.md."""
    skeleton = load_skeleton("coco_wholebody133")
    people = Instances([0.9], keypoints=pose(skeleton)[None], keypoint_scores=np.full((1, 133), 0.5))
    (entry,) = KeypointResult(Frame(image), people, skeleton, detected=False).to_coco()
    counts = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
    assert {name: len(entry[name]) for name in counts} == {name: 3 * count for name, count in counts.items()}
    in_order = [number for name in counts for number in entry[name]]
    assert np.array_equal(np.float32(in_order).reshape(133, 3), people.points[0])


@pytest.mark.full
def test_every_format_of_a_stream(image, tmp_path):
    require("av")
    require("pyarrow")
    clip = write_clip(tmp_path / "clip.mp4", np.ascontiguousarray(np.roll(image, 40, axis=1)), frames=8)
    save_planted_pose(tmp_path / "model", load_skeleton("coco_wholebody133"))
    words = [word for name in FORMATS for word in ("--format", name)]
    models = ["--det_model_dir", Zoo.default().find("PicoDet-S_person_416").folder, "--keypoint_model_dir", "model"]
    options = ["--backend", "onnxruntime", "--smooth_results", "--det_threshold", "0.3"]
    done = run_hpi("predict", clip, *models, "--save_path", "out", *words, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    followed = [(index, people) for index, _, people in read_lines(out / "clip_res.jsonl") if len(people)]
    assert followed
    assert {people.keypoints.shape[1] for _, people in followed} == {133}
    with (out / "clip_res.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(people) for _, people in followed)
    assert float(rows[0]["right_pinky_finger4_x"]) == pytest.approx(followed[0][1].keypoints[0, -1, 0], abs=1e-4)
    assert {len(entry["face_kpts"]) for entry in json.loads((out / "clip_res.coco.json").read_text())} == {3 * 68}
    index = followed[0][0]
    frame = json.loads((out / "clip_res.openpose" / f"clip_{index:012d}_keypoints.json").read_text())
    assert {len(person["hand_left_keypoints_2d"]) for person in frame["people"]} == {3 * 21}
    assert list((out / "clip_res_trc").glob("clip_person*.trc"))


# The parity gate


@pytest.mark.parametrize(("name", "largest"), [("hand21", 90), ("face68", 130), ("lapa106_face", 130), ("coco17", 480)])
def test_the_gate_looks_at_what_has_the_keypoints(name, largest):
    """Hands and faces, where a model is for these."""
    boxes = ReferenceImages.load().of(load_skeleton(name)).boxes
    assert len(boxes) == 8
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (boxes[:, 2:] - boxes[:, :2]).max() <= largest
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= (640, 480)).all()


def test_boxes_for_other_keypoints_change_no_verdict_of_a_body():
    reference = ReferenceImages.load()
    others = ReferenceImages(reference.config.model_copy(update={"closer": []}))
    body, hand = load_skeleton("coco17"), load_skeleton("hand21")
    assert reference.of(body).key == reference.of(None).key == others.of(body).key
    assert reference.of(hand).key != others.of(hand).key


def test_the_gate_compares_all_that_a_model_of_hands_finds(tmp_path):
    save_planted_pose(tmp_path / "model", load_skeleton("hand21"))
    with Predictor(tmp_path / "model", backend="onnxruntime") as predictor:
        (model,) = predictor.pipelines[0].models
        _, regions = model.example_inputs(1)
        expected = reference_results(model.spec, model.session, "fp32")
        verdict = validate(model.spec, model.session, expected)
    assert regions[0].boxes.tolist() == [[118, 136, 168, 178]]
    assert verdict.summary.startswith(f"{8 * 21} keypoints against onnxruntime fp32: at most 0 px")
    assert verdict.passed
