"""Who is who, on planted people."""

import sys
from collections.abc import Sequence

import numpy as np
import pytest

from hpi import ConfigError
from hpi.heads.embedded_boxes import EmbeddedBoxesHead
from hpi.instances import Instances
from hpi.skeletons import load_skeleton
from hpi.tracking.base import TRACKERS, UNTRACKED, Tracking
from hpi.tracking.make import make_tracker

from poses import pose
from support import require

require("trackers")

SKELETON = load_skeleton("coco17")
SIZE = (40.0, 100.0)
"""Width and height of a planted person, pixels."""
WALKING = 80.0
"""Pixels a second at that size: 1.4 m a second."""
JITTER = 1.0
"""Of boxes and keypoints from frame to frame, pixels."""


LOOKS = 100 * np.eye(16)
"""Of each walker; so far apart that the number before it does not matter."""


def made(name, threshold=0.5):
    return make_tracker(Tracking(name), SKELETON, threshold, EmbeddedBoxesHead())


@pytest.fixture(params=TRACKERS)
def tracker(request):
    return made(request.param)


class Walker:
    """Somebody who walks on a lane of their own, to the left or to the right."""

    def __init__(self, number: int, rng: np.random.Generator):
        self.number = number
        self.start = np.array([rng.uniform(500, 1000), 120.0 * number])
        self.velocity = np.array([rng.choice([-1, 1]) * rng.uniform(0.2, 1) * WALKING, 0])

    def corner(self, time_s: float) -> np.ndarray:
        return self.start + self.velocity * time_s


def frame(walkers: Sequence[Walker], time_s: float, rng: np.random.Generator, score: float = 0.9) -> Instances:
    """What a model finds of them, in any order; their numbers are in the embeddings."""
    walkers = [walkers[index] for index in rng.permutation(len(walkers))]
    if not walkers:
        return Instances.empty(len(SKELETON)).replaced(embeddings=np.empty((0, 1 + len(LOOKS))))
    corners = np.stack([walker.corner(time_s) for walker in walkers])
    boxes = np.concatenate([corners, corners + SIZE], axis=1)
    keypoints = corners[:, None] + pose(SKELETON) * SIZE
    return Instances(
        np.full(len(walkers), score),
        boxes=boxes + rng.normal(0, JITTER, boxes.shape),
        keypoints=keypoints + rng.normal(0, JITTER, keypoints.shape),
        keypoint_scores=np.full(keypoints.shape[:2], 0.8),
        embeddings=[[walker.number, *LOOKS[walker.number]] for walker in walkers],
    )


def follow(tracker, scene, rng):
    """The ids that each walker gets, frame by frame; the scene is of times and those who are there."""
    ids: dict[int, list[int]] = {}
    for time_s, walkers in scene:
        found = tracker.update(frame(walkers, time_s, rng), time_s)
        assert len(found) == len(walkers)
        for number, track_id in zip(found.embeddings[:, 0].astype(int), found.track_ids, strict=True):
            ids.setdefault(int(number), []).append(int(track_id))
    return ids


def only_id(ids: Sequence[int]) -> int:
    """The one id of somebody, who may have been untracked at first."""
    (track_id,) = set(ids) - {UNTRACKED}
    return track_id


def test_ids_start_at_1_in_each_stream_and_stay(tracker, rng):
    walkers = [Walker(number, rng) for number in range(5)]
    times = np.arange(50) / 25
    ids = follow(tracker, [(time_s, walkers) for time_s in times], rng)
    assert sorted(map(only_id, ids.values())) == [1, 2, 3, 4, 5]
    assert all(track_ids[3:] == [only_id(track_ids)] * 47 for track_ids in ids.values())


def test_ids_stay_when_frames_are_missing(tracker, rng):
    """At 10 frames a second three of ten are missing, up to half a second in a row, once all speeds are known."""
    walkers = [Walker(number, rng) for number in range(5)]
    present = rng.random(100) > 0.3
    present[:5] = present[::5] = True
    ids = follow(tracker, [(index / 10, walkers) for index in np.flatnonzero(present)], rng)
    assert sorted(map(only_id, ids.values())) == [1, 2, 3, 4, 5]


def test_ids_stay_at_a_frame_rate_that_varies(tracker, rng):
    walkers = [Walker(number, rng) for number in range(5)]
    times = np.cumsum(rng.uniform(0.01, 0.15, 100))
    ids = follow(tracker, [(time_s, walkers) for time_s in times], rng)
    assert sorted(map(only_id, ids.values())) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("between", [0, 1, 10])
def test_when_one_leaves_and_another_comes_nobody_gets_another_ones_id(tracker, between, rng):
    stays, leaves, comes = (Walker(number, rng) for number in range(3))
    scene = [(index / 25, [leaves, stays]) for index in range(25)]
    scene += [(index / 25, [stays]) for index in range(25, 25 + between)]
    scene += [(index / 25, [stays, comes]) for index in range(25 + between, 60)]
    ids = follow(tracker, scene, rng)
    assert {only_id(ids[0]), only_id(ids[1])} == {1, 2}
    assert only_id(ids[2]) == 3


@pytest.mark.parametrize("hidden_s, same", [(0.6, True), (1.4, False)])
def test_somebody_who_was_hidden_for_longer_than_said_gets_a_new_id(tracker, hidden_s, same, rng):
    walker = Walker(0, rng)
    scene = [(index / 25, [walker]) for index in range(25)]
    scene += [(time_s, []) for time_s in np.arange(1, 1 + hidden_s, 0.04)]
    scene += [(1.04 + hidden_s + index / 25, [walker]) for index in range(10)]
    (ids,) = follow(tracker, scene, rng).values()
    assert ids[24] == 1 and ids[-1] == (1 if same else 2)


def test_a_gap_between_two_frames_ends_tracks_too(tracker, rng):
    walker = Walker(0, rng)
    scene = [(index / 25, [walker]) for index in (*range(25), *range(75, 100))]
    (ids,) = follow(tracker, scene, rng).values()
    assert ids[24] == 1 and ids[-1] == 2


def test_times_that_stand_still_or_run_back_end_no_track(tracker, rng):
    class Still(Walker):
        def corner(self, time_s):
            return self.start

    still = Still(0, rng)
    times = [0, 0.04, 0.08, 0.12, 0.12, 0.12, 5.0, 0.0, 0.04, 0.08]
    ids = [tracker.update(frame([still], time_s, rng), time_s).track_ids[0] for time_s in times]
    assert ids[3:6] == [1, 1, 1]
    assert ids[6] != 1  # five seconds later
    assert len(set(ids[-3:]) - {UNTRACKED}) == 1


def test_nothing_in_the_first_frames(tracker, rng):
    walker = Walker(0, rng)
    scene = [(index / 25, [] if index < 5 else [walker]) for index in range(15)]
    (ids,) = follow(tracker, scene, rng).values()
    assert only_id(ids) == 1


def test_whoever_counts_is_returned_in_order_with_everything_known_of_them(tracker, rng):
    """Whatever is found: random places and scores, boxes without area, keypoints that nobody can see."""
    for index in range(200):
        count = rng.integers(0, 9)
        corners = rng.uniform(0, 200, (count, 2))
        sides = rng.choice([0, 1], (count, 1), p=[0.1, 0.9]) * rng.uniform(10, 90, (count, 2))
        people = Instances(
            rng.random(count),
            boxes=np.concatenate([corners, corners + sides], axis=1),
            keypoints=rng.uniform(0, 200, (count, len(SKELETON), 2)),
            keypoint_scores=rng.random((count, len(SKELETON))) * rng.choice([0, 1], (count, 1)),
            embeddings=np.arange(count)[:, None],
        )
        found = tracker.update(people, index / 25)
        rows = found.embeddings[:, 0].astype(int).tolist()
        assert rows == sorted(set(rows))
        assert set(np.flatnonzero(people.scores > 0.5)) <= set(rows)
        assert found.track_ids.dtype == np.int64
        followed = found.track_ids[found.track_ids != UNTRACKED]
        assert (followed >= 1).all() and len(set(followed)) == len(followed)
        assert ((found.scores > 0.5) | (found.track_ids != UNTRACKED)).all()
        for name in ("scores", "boxes", "keypoints", "keypoint_scores"):
            assert (getattr(found, name) == getattr(people, name)[rows]).all()


def test_bytetrack_goes_on_with_low_scores_but_starts_nothing_with_them(rng):
    tracker = make_tracker(Tracking("bytetrack"), threshold=0.5)
    assert tracker.lowest_score < 0.3
    walker, ghost = Walker(0, rng), Walker(1, rng)
    for index in range(20):
        of_walker = frame([walker], index / 25, rng, score=0.9 if index < 10 else 0.3)
        found = tracker.update(
            Instances.concatenate([of_walker, frame([ghost], index / 25, rng, score=0.3)]), index / 25
        )
        assert found.track_ids.tolist() == ([1] if index else [UNTRACKED])


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("name", TRACKERS)
def test_the_threshold_says_who_counts(name, threshold, rng):
    tracker = made(name, threshold)
    assert tracker.lowest_score <= threshold
    walker, score = Walker(0, rng), threshold + 0.8 * (1 - threshold)
    for index in range(10):
        found = tracker.update(frame([walker], index / 25, rng, score), index / 25)
    assert found.track_ids.tolist() == [1]


def test_settings_that_name_no_tracker():
    with pytest.raises(ConfigError, match="no tracker is chosen"):
        make_tracker(Tracking(None))
    with pytest.raises(ConfigError, match="follows keypoints, and the model finds none"):
        make_tracker(Tracking("oks"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tracker": "deepsort"}, "tracker is 'deepsort': give bytetrack, ocsort, oks, embedding, or None"),
        ({"det_every": 0}, "det_every is 0: give a whole number from 1, or 'auto'"),
        ({"det_every": 1.5}, "det_every is 1.5"),
        ({"det_every": True}, "det_every is True"),
        ({"max_lost_s": 0}, "max_lost_s is 0: give seconds, more than 0"),
        ({"max_lost_s": float("nan")}, "max_lost_s is nan"),
        ({"max_lost_s": "1"}, "max_lost_s is '1'"),
    ],
)
def test_wrong_settings(wrong, message):
    with pytest.raises(ConfigError, match=message):
        Tracking(**wrong)


@pytest.mark.parametrize(
    "name, package", [("bytetrack", "trackers"), ("oks", "scipy.optimize"), ("embedding", "scipy.optimize")]
)
def test_what_is_missing_is_said(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=r'install it with: pip install "hpi-pose\[video\]"'):
        made(name)
