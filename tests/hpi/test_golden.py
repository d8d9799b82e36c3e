"""The same keypoints as PaddleX 3.7.2: ``golden/`` holds its results for twelve images, made on OpenCV 4.10.

Every third image by default, all twelve with ``--all``.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from hpi import Predictor

from support import BACKEND_PACKAGES, BOX_ROUNDING, CLEAR, ROUNDING, assert_same_people, quick_first

POSES = ("PP-TinyPose_128x96", "PP-TinyPose_256x192")
DETECTOR = "PicoDet-S_pedestrian_320"


@pytest.fixture
def goldens(shared, request):
    """A function from a folder to the results in it."""

    def read(folder: str) -> list[dict]:
        files = sorted((shared / "golden" / folder).glob("*.json"))
        assert len(files) == 12
        return [json.loads(file.read_text()) for file in files[:: 1 if request.config.getoption("--all") else 3]]

    return read


def image_of(shared: Path, name: str) -> str:
    return str(
        next(
            path
            for path in (shared / "data" / "coco_val" / "images" / name, shared / "data" / "photos" / name)
            if path.is_file()
        )
    )


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


def assert_the_reference_s_people(shared: Path, expected: list[dict], predictor: Predictor) -> None:
    images = [image_of(shared, golden["input_path"]) for golden in expected]
    assert_same_people(list(predictor.predict(images, batch_size=5)), expected)


@pytest.mark.full
@pytest.mark.parametrize(
    ("backend", "pose", "flip"),
    quick_first((backend, pose, flip) for pose in POSES for flip in (False, True) for backend in BACKEND_PACKAGES),
    indirect=["backend"],
)
def test_pipeline(shared, goldens, paddle_model_backend, pose, flip):
    with Predictor("x", config=pipeline_config(shared, pose, flip), backend=paddle_model_backend) as predictor:
        assert predictor.backend == paddle_model_backend
        expected = goldens(f"pipeline/{pose}_flip" if flip else f"pipeline/{pose}")
        assert_the_reference_s_people(shared, expected, predictor)


@pytest.mark.parametrize("objective", ["latency", "throughput", "memory"])
@pytest.mark.parametrize("pose", POSES)
@pytest.mark.full
def test_pipeline_on_the_chosen_runtimes(shared, goldens, pose, objective):
    with Predictor("x", config=pipeline_config(shared, pose, False), objective=objective) as predictor:
        assert_the_reference_s_people(shared, goldens(f"pipeline/{pose}"), predictor)


@pytest.mark.full
@pytest.mark.parametrize(
    ("backend", "pose"),
    quick_first((backend, pose) for backend in BACKEND_PACKAGES for pose in (*POSES[::-1], "tinypose_256x192_paddle2")),
    indirect=["backend"],
)
def test_keypoint_model_on_whole_images(shared, goldens, paddle_model_backend, pose):
    """Also the same weights in PaddleDetection's Paddle 2 layout."""
    expected = goldens(f"module/{POSES[1] if pose.endswith('paddle2') else pose}")
    images = [image_of(shared, golden["input_path"]) for golden in expected]
    with Predictor(pose, model_dir=shared / "models" / pose, backend=paddle_model_backend) as predictor:
        found = [result["kpts"][0]["keypoints"] for result in predictor.predict(images, batch_size=12)]
    keypoints, golden = np.array(found), np.array([one["kpts"][0]["keypoints"] for one in expected])
    clear = golden[..., 2] > CLEAR
    assert clear.any()
    # No box lies between: the crops are the same to the bit, and the heatmaps but for rounding. That moves a peak,
    # which is 2 cells wide, by the square of that times the relative change: 1.3e-3 cells of up to 17 px.
    assert np.abs(keypoints - golden)[..., 2].max() < ROUNDING
    assert np.abs(keypoints - golden)[clear, :2].max() < 0.02


def test_detector(shared, goldens, paddle_model_backend):
    with Predictor(DETECTOR, model_dir=shared / "models" / DETECTOR, backend=paddle_model_backend) as predictor:
        for golden in goldens(f"detector/{DETECTOR}"):
            (result,) = predictor.predict(image_of(shared, golden["input_path"]))
            assert [box["label"] for box in result["boxes"]] == [box["label"] for box in golden["boxes"]]
            for ours, theirs in zip(result["boxes"], golden["boxes"], strict=True):
                assert ours["score"] == pytest.approx(theirs["score"], abs=ROUNDING)
                assert np.abs(np.array(ours["coordinate"]) - theirs["coordinate"]).max() < BOX_ROUNDING
