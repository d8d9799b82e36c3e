"""PaddleDetection's smoothing: what its own code returns."""

import numpy as np
import pytest

from hpi.compat.paddledetection.smoothing import FILTER_TYPES, make_smoother
from hpi.instances import Instances


@pytest.mark.parametrize("filter_type", FILTER_TYPES)
def test_the_same_keypoints(shared, filter_type):
    golden = np.load(shared / "zoo" / "golden" / "topdown_postprocess" / f"smoothing_{filter_type}.npz")
    smoother = make_smoother(filter_type, (int(golden["width"]), int(golden["height"])))
    smoothed = []
    for number, points in enumerate(golden["input"]):
        person = Instances([0.9], keypoints=[points[:, :2]], keypoint_scores=[points[:, 2]], track_ids=[0])
        smoothed.append(smoother.update(person, number).points[0])
    assert np.abs(np.array(smoothed) - golden["output"]).max() < 1e-4  # float32, images of 640 px
