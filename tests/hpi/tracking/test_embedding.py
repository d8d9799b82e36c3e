"""Following people by embeddings and boxes: planted people whose identity is known."""

import numpy as np
import pytest

from hpi.errors import ConfigError
from hpi.instances import Instances
from hpi.tracking.base import UNTRACKED, Tracking
from hpi.tracking.embedding import EmbeddingTracker
from hpi.tracking.make import make_tracker

INTERVAL_S = 0.1


def people(rng, places, looks, noise=0.05):
    """People 40 wide and 100 high, in any order, with what each looks like a little changed; and who is who."""
    order = rng.permutation(len(places))
    middle = np.asarray(places, float)[order]
    changed = looks[order] + rng.normal(0, noise / np.sqrt(looks.shape[1]), (len(order), looks.shape[1]))
    half = np.array([20, 50])
    boxes = np.hstack([middle - half, middle + half])
    return Instances(rng.uniform(0.5, 1, len(order)), boxes=boxes, embeddings=changed), order


def unlike(rng, count):
    """Unit vectors that are at right angles: nobody looks like another."""
    return np.linalg.qr(rng.normal(size=(128, count)))[0].T


def ids_of(tracker, rng, path, looks, who=None, start=0):
    """The ids of those at ``path[frame]`` (x, y) in each frame, by person."""
    ids = []
    for number, places in enumerate(path):
        seen = range(len(places)) if who is None else who[number]
        found, order = people(rng, places[list(seen)], looks[list(seen)])
        tracked = tracker.update(found, (start + number) * INTERVAL_S)
        ids.append({list(seen)[person]: int(one) for person, one in zip(order, tracked.track_ids, strict=True)})
    return ids


def walking(count, frames, speed=6.0):
    """``[frames, count, 2]``: people beside each other, who walk to the right."""
    start = np.stack([np.full(count, 50.0), 100 + 120.0 * np.arange(count)], axis=1)
    return start + np.arange(frames)[:, None, None] * np.array([speed, 0])


def test_ids_stay(rng):
    ids = ids_of(EmbeddingTracker(0.4, 1.0), rng, walking(5, 20), unlike(rng, 5))
    assert all(frame == ids[0] for frame in ids)
    assert sorted(ids[0].values()) == [1, 2, 3, 4, 5]


def test_people_who_cross_keep_their_ids(rng):
    """Their boxes coincide in the middle; what they look like tells them apart."""
    step = np.arange(21)[:, None, None] * np.array([[10.0, 0], [-10, 0]])
    ids = ids_of(EmbeddingTracker(0.4, 1.0), rng, np.array([[100.0, 200], [300, 200]]) + step, unlike(rng, 2))
    assert ids[-1] == ids[0]


def test_one_leaves_and_another_comes(rng):
    """In the same frame, elsewhere: a new person, and the others stay who they are."""
    path = walking(4, 12)
    ids = ids_of(EmbeddingTracker(0.4, 1.0), rng, path, unlike(rng, 4), [[0, 1, 2]] * 6 + [[3, 1, 2]] * 6)
    assert all((frame[1], frame[2]) == (ids[0][1], ids[0][2]) for frame in ids)
    assert [frame[3] for frame in ids[6:]] == [UNTRACKED] + [4] * 5


@pytest.mark.parametrize(("missing", "returns"), [(1, True), (8, True), (12, False)])
def test_somebody_hidden_keeps_the_id_for_a_second(rng, missing, returns):
    who = [[0, 1]] * 5 + [[1]] * missing + [[0, 1]] * 3
    path = walking(2, len(who))
    ids = ids_of(EmbeddingTracker(0.4, 1.0), rng, path, unlike(rng, 2), who)
    assert (ids[-1][0] == ids[0][0]) == returns
    assert ids[-1][1] == ids[0][1]
    assert ids[-1][0] != UNTRACKED


def test_who_is_seen_once_has_no_id_yet(rng):
    who = [[0], [0, 1], [0], [0, 2], [0, 2]]
    ids = ids_of(EmbeddingTracker(0.4, 1.0), rng, walking(3, 5), unlike(rng, 3), who)
    assert ids[1] == {0: 1, 1: UNTRACKED}
    assert ids[3] == {0: 1, 2: UNTRACKED}
    assert ids[4] == {0: 1, 2: 3}


def test_frames_that_are_missing_count_by_time(rng):
    """Every third frame of fast people, after some at full rate: motion is extrapolated three times as far."""
    tracker, looks, path = EmbeddingTracker(0.4, 1.0), np.ones((3, 128)), walking(3, 30, speed=20)
    first = ids_of(tracker, rng, path[:12], looks)
    later = [ids_of(tracker, rng, path[[number]], looks, start=number)[0] for number in range(14, 30, 3)]
    assert all(frame == first[0] for frame in later)


def test_nobody_is_dropped_and_the_order_stays(rng):
    tracker = EmbeddingTracker(0.4, 1.0)
    for number in range(30):
        count = int(rng.integers(0, 8))
        places, looks = rng.uniform(0, 600, (count, 2)), rng.normal(size=(count, 128))
        found, _ = people(rng, places, looks)
        tracked = tracker.update(found, number * INTERVAL_S)
        assert np.array_equal(tracked.boxes, found.boxes)
        ids = tracked.track_ids[tracked.track_ids != UNTRACKED]
        assert len(set(ids.tolist())) == len(ids)


def test_euclidean_distances(rng):
    tracker = EmbeddingTracker(0.4, 1.0, metric="euclidean", same_below=0.7)
    ids = ids_of(tracker, rng, walking(4, 8), unlike(rng, 4))
    assert ids[-1] == ids[0]


def test_a_detector_without_embeddings_is_refused():
    with pytest.raises(ConfigError, match="needs a detector that gives embeddings"):
        make_tracker(Tracking("embedding"))
    with pytest.raises(ConfigError, match="start anew, or follow people by 'bytetrack'"):
        EmbeddingTracker(0.4, 1.0).update(Instances([0.9], boxes=[[0, 0, 10, 20]]), 0.0)


def test_the_detector_runs_on_every_frame():
    with pytest.raises(ConfigError, match="det_every"):
        Tracking("embedding", det_every="auto")
