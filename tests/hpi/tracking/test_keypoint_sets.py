"""Following and smoothing with every keypoint set: whole bodies, faces and hands move as far as bodies do."""

import numpy as np
import pytest

from hpi import Instances
from hpi.instances import Skeleton
from hpi.skeletons import load_skeleton, skeleton_names
from hpi.tracking.oks import OksTracker
from hpi.tracking.smoothing import Smoother

from poses import pose

SIZE = 100
RATE = 10


def passing(skeleton, frames, rng, *, speed, noise):
    """Two who pass each other: ``speed`` and ``noise`` in sizes, a frame."""
    figure = SIZE * pose(skeleton)
    for index in range(frames):
        step = index * speed * SIZE
        keypoints = figure + np.array([[[step, 0]], [[300 - step, 90]]])
        keypoints += rng.normal(0, noise * SIZE, keypoints.shape)
        yield Instances(
            [0.9, 0.9],
            boxes=np.concatenate([keypoints.min(axis=1), keypoints.max(axis=1)], axis=1),
            keypoints=keypoints,
            keypoint_scores=np.full(keypoints.shape[:2], 0.9),
        )


@pytest.mark.parametrize("name", [*skeleton_names(), "numbered"])
def test_ids_stay(name, rng):
    """Those without sigmas too. By those of faces and hands alone, nobody who walks would be followed."""
    skeleton = Skeleton.numbered(17) if name == "numbered" else load_skeleton(name)
    like = load_skeleton("coco17") if name == "numbered" else skeleton
    tracker = OksTracker(skeleton, threshold=0.3, max_lost_s=1.0)
    ids = [
        tracker.update(people, index / RATE).track_ids.tolist()
        for index, people in enumerate(passing(like, 30, rng, speed=0.08, noise=0.02))
    ]
    assert ids == [[-1, -1]] + [[1, 2]] * 29


@pytest.mark.parametrize("name", skeleton_names())
def test_keypoints_are_steadier(name, rng):
    skeleton = load_skeleton(name)
    smoother = Smoother("oneeuro", lowest_score=skeleton.visible_above)
    found, smooth = [], []
    for index, people in enumerate(passing(skeleton, 60, rng, speed=0, noise=0.01)):
        tracked = people.replaced(track_ids=[1, 2])
        found.append(tracked.keypoints)
        smooth.append(smoother.update(tracked, index / RATE).keypoints)
    trembling = [np.abs(np.diff(np.stack(one)[10:], 2, axis=0)).mean() for one in (found, smooth)]
    assert trembling[1] < 0.5 * trembling[0]
