"""Models of every keypoint set of the package, with planted keypoints: from the file to what comes out."""

import json

import numpy as np
import pytest
import yaml
from planted import save_planted

from hpi import Frame, Instances, KeypointResult, Predictor
from hpi.skeletons import load_skeleton, skeleton_names

from poses import pose
from support import require

SIZE = (192, 256)
BOX = [100, 40, 292, 296]
"""Of the input's size, and cut out as it is, so keypoints of the input are those of the image, moved."""


def plant(folder, skeleton):
    """A top-down model that finds a pose, in the middle of each crop, and its keypoints in the image for BOX."""
    points = (np.array(SIZE) * (0.1 + 0.8 * pose(skeleton))).astype(np.float32)
    scores = np.linspace(0.5, 0.9, len(points), dtype=np.float32)
    save_planted(folder / "model.onnx", {"keypoints": np.column_stack([points, scores])[None]}, ("N", 3, *SIZE[::-1]))
    description = {
        "transform": {"type": "top_down", "size": list(SIZE), "padding": 1.0},
        "head": {"type": "keypoints"},
        "skeleton": skeleton.name,
    }
    (folder / "hpi.yml").write_text(yaml.safe_dump(description))
    return np.column_stack([points + BOX[:2], scores])


@pytest.fixture(params=skeleton_names())
def skeleton(request):
    return load_skeleton(request.param)


@pytest.fixture
def result(skeleton, image, tmp_path):
    expected = plant(tmp_path / "model", skeleton)
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
