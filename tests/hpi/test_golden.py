"""The same joints as PaddleX 3.7.2: ``golden/`` holds what it returned for twelve photos, made on OpenCV 4.10."""

import json
from pathlib import Path

import numpy as np
import pytest

from hpi import Predictor
from hpi.kernels.boxes import box_iou

POSES = ("PP-TinyPose_128x96", "PP-TinyPose_256x192")
DETECTOR = "PicoDet-S_pedestrian_320"


def photo_of(shared: Path, name: str) -> str:
    return str(
        next(
            path
            for path in (shared / "data" / "coco_val" / "images" / name, shared / "data" / "photos" / name)
            if path.is_file()
        )
    )


def goldens(shared: Path, folder: str) -> list[dict]:
    files = sorted((shared / "golden" / folder).glob("*.json"))
    assert len(files) == 12
    return [json.loads(file.read_text()) for file in files]


def pipeline_config(shared: Path, pose: str, flip: bool) -> dict:
    return {
        "pipeline_name": "human_keypoint_detection",
        "SubModules": {
            "ObjectDetection": {"model_name": DETECTOR, "model_dir": str(shared / "models" / DETECTOR)},
            "KeypointDetection": {
                "model_name": pose,
                "model_dir": str(shared / "models" / pose),
                "flip": flip,
            },
        },
    }


def match(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """For each expected box the index of the found one; they must be one to one with IoU above 0.9."""
    assert len(expected) == len(found)
    if not len(expected):
        return np.empty(0, int)
    iou = box_iou(expected, found)
    partner = iou.argmax(axis=1)
    assert sorted(partner) == list(range(len(found)))
    assert iou.max(axis=1).min() > 0.9
    return partner


def assert_same_joints(pairs: list[tuple[list, np.ndarray]]) -> None:
    """Joints with a golden score above 0.3: 99% within 0.2 px, all within 1 px, scores within 0.01."""
    expected = np.concatenate([np.array(golden) for golden, _ in pairs])
    found = np.concatenate([joints for _, joints in pairs])
    clear = expected[:, 2] > 0.3
    assert clear.sum() > 100
    distance = np.linalg.norm(expected[clear, :2] - found[clear, :2], axis=1)
    assert (distance <= 0.2).mean() >= 0.99
    assert distance.max() <= 1
    assert np.abs(expected[clear, 2] - found[clear, 2]).max() <= 0.01


def assert_same_people(shared, pose, flip, predictor):
    """The pipeline finds the reference's people and joints."""
    expected = goldens(shared, f"pipeline/{pose}_flip" if flip else f"pipeline/{pose}")
    photos = [photo_of(shared, golden["input_path"]) for golden in expected]
    pairs = []
    for golden, result in zip(expected, predictor.predict(photos, batch_size=5), strict=True):
        boxes = [
            np.array([box["coordinate"] for box in of["boxes"]], np.float32).reshape(-1, 4) for of in (golden, result)
        ]
        for person, partner in zip(golden["boxes"], match(*boxes), strict=True):
            found = result["boxes"][partner]
            assert found["det_score"] == pytest.approx(person["det_score"], abs=0.01)
            assert found["kpt_score"] == pytest.approx(person["kpt_score"], abs=0.01)
            pairs.append((person["keypoints"], found["keypoints"]))
    assert_same_joints(pairs)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("pose", POSES)
def test_pipeline(shared, paddle_model_backend, pose, flip):
    with Predictor("x", config=pipeline_config(shared, pose, flip), backend=paddle_model_backend) as predictor:
        assert predictor.backend == paddle_model_backend
        assert_same_people(shared, pose, flip, predictor)


@pytest.mark.parametrize("objective", ["latency", "throughput", "memory"])
@pytest.mark.parametrize("pose", POSES)
def test_pipeline_on_whatever_is_chosen(shared, pose, objective):
    with Predictor("x", config=pipeline_config(shared, pose, False), objective=objective) as predictor:
        assert_same_people(shared, pose, False, predictor)


@pytest.mark.parametrize("pose", [*POSES, "tinypose_256x192_paddle2"])
def test_keypoint_model_on_whole_photos(shared, paddle_model_backend, pose):
    """Also the same weights in PaddleDetection's Paddle 2 layout."""
    folder = "PP-TinyPose_256x192" if pose.endswith("paddle2") else pose
    expected = goldens(shared, f"module/{folder}")
    photos = [photo_of(shared, golden["input_path"]) for golden in expected]
    with Predictor(pose, model_dir=shared / "models" / pose, backend=paddle_model_backend) as predictor:
        found = [result["kpts"][0]["keypoints"] for result in predictor.predict(photos, batch_size=12)]
    pairs = [(golden["kpts"][0]["keypoints"], joints) for golden, joints in zip(expected, found, strict=True)]
    expected_joints = np.concatenate([np.array(golden) for golden, _ in pairs])
    clear = expected_joints[:, 2] > 0.3
    assert clear.any()
    assert np.abs(expected_joints - np.concatenate(found))[clear].max() < 0.02


def test_detector(shared, paddle_model_backend):
    with Predictor(DETECTOR, model_dir=shared / "models" / DETECTOR, backend=paddle_model_backend) as predictor:
        for golden in goldens(shared, f"detector/{DETECTOR}"):
            (result,) = predictor.predict(photo_of(shared, golden["input_path"]))
            assert [box["label"] for box in result["boxes"]] == [box["label"] for box in golden["boxes"]]
            for ours, theirs in zip(result["boxes"], golden["boxes"], strict=True):
                assert ours["score"] == pytest.approx(theirs["score"], abs=1e-4)
                assert np.abs(np.array(ours["coordinate"]) - theirs["coordinate"]).max() < 0.01
