"""Filling gaps: known answers, what is never filled, and how long frames wait."""

import itertools

import numpy as np
import pytest

from hpi.instances import Instances
from hpi.tracking.gaps import GapFiller


def people(*rows, scores=None):
    """People at ``(track id, x)``."""
    xs = np.array([x for _, x in rows], np.float32).reshape(-1, 1)
    keypoints = np.stack([np.broadcast_to(xs, (len(rows), 3)), np.full((len(rows), 3), 5.0)], axis=-1)
    return Instances(
        np.full(len(rows), 0.9) if scores is None else scores,
        xs + np.array([0, 0, 10, 20], np.float32),
        keypoints=keypoints,
        keypoint_scores=np.full((len(rows), 3), 0.8),
        track_ids=[number for number, _ in rows],
    )


def fill(max_frames, frames, times=None):
    """All frames, in order."""
    filler, out = GapFiller(max_frames), []
    for number, frame in enumerate(frames):
        out += filler.add(frame, number if times is None else times[number])
    return out + filler.flush()


def rows_of(found):
    return [
        (int(number), float(box[0]), bool(filled))
        for number, box, filled in zip(found.track_ids, found.boxes, found.interpolated, strict=True)
    ]


def test_a_gap_is_filled_in_time_not_in_frames():
    first, last = people((1, 0), scores=[0.9]), people((1, 40), scores=[0.6])
    first.keypoint_scores[0, 1] = 0.3
    out = fill(2, [first, people(), people(), last], times=[0, 1, 3, 4])
    assert [rows_of(one) for one in out] == [[(1, 0, False)], [(1, 10, True)], [(1, 30, True)], [(1, 40, False)]]
    assert out[1].scores == pytest.approx([0.6])
    assert out[1].keypoint_scores[0] == pytest.approx([0.8, 0.3, 0.8])
    assert out[1].keypoints[0].tolist() == [[10, 5]] * 3


def test_people_of_a_file_of_results_have_no_classes():
    """Some frames come from it, the others from the models."""
    there, back = people((1, 0), (2, 0)), people((1, 30), (2, 3)).replaced(class_ids=[0, 0])
    for between in (people((2, 1)), people((2, 1)).replaced(class_ids=[0])):
        out = fill(2, [there, between, back])
        assert rows_of(out[1]) == [(2, 1, False), (1, 15, True)]


def test_several_people_with_gaps_of_their_own():
    frames = [people((1, 0), (2, 0)), people((1, 1)), people((2, 20)), people((1, 3), (2, 30))]
    out = fill(1, frames)
    assert [rows_of(one) for one in out] == [
        [(1, 0, False), (2, 0, False)],
        [(1, 1, False), (2, 10, True)],
        [(2, 20, False), (1, 2, True)],
        [(1, 3, False), (2, 30, False)],
    ]


@pytest.mark.parametrize(
    "frames",
    [
        [people((1, 0)), people(), people(), people((1, 9))],  # longer than one frame
        [people(), people((1, 0)), people()],  # nobody before, nobody after
        [people((1, 0)), people(), people((2, 9))],  # somebody else
        [people((-1, 0)), people(), people((-1, 9))],  # not tracked
    ],
)
def test_what_is_never_filled(frames):
    out = fill(1, frames)
    assert [rows_of(one) for one in out] == [[(*row[:2], False) for row in rows_of(mark(one))] for one in frames]


def mark(frame):
    return frame.replaced(interpolated=np.zeros(len(frame), bool))


def test_without_gaps_nobody_waits():
    filler = GapFiller(3)
    assert [len(filler.add(people((1, number)), number)) for number in range(4)] == [1] * 4
    assert len(GapFiller(0).add(people((1, 0)), 0)) == 1


def test_frames_wait_for_a_bounded_time(rng):
    """Every frame comes out once, in order, at most ``max_frames`` late; what is kept does not grow."""
    filler, longest, released = GapFiller(3), 0, []
    for number in range(500):
        rows = [(track, number) for track in range(number // 9, number // 9 + 4) if rng.random() < 0.5]
        released += filler.add(people(*rows, (-1, number)), number)
        longest = max(longest, number + 1 - len(released))
        assert len(filler._last_seen) <= 4 + 3
    assert 0 < longest <= 3
    released += filler.flush()
    assert [one.boxes[one.track_ids == -1, 0].item() for one in released] == list(range(500))
    assert filler.flush() == []


def test_no_gap_of_up_to_so_many_frames_is_left(rng):
    seen = rng.random(300) < 0.4
    out = fill(2, [people((1, number)) if there else people() for number, there in enumerate(seen)])
    places = np.flatnonzero(seen)
    filled = [step for a, b in itertools.pairwise(places) if b - a <= 3 for step in range(a + 1, b)]
    assert [number for number, one in enumerate(out) if one.interpolated.any()] == filled
    assert all(one.boxes[0, 0] == pytest.approx(number) for number, one in enumerate(out) if len(one))


def test_people_without_boxes_keypoints_or_ids():
    first, last = (people((1, x)).replaced(boxes=None) for x in (0, 8))
    assert fill(1, [first, people().replaced(boxes=None), last])[1].keypoints[0, 0, 0] == 4
    first, last = (people((1, x)).replaced(keypoints=None, keypoint_scores=None) for x in (0, 8))
    assert rows_of(fill(1, [first, people(), last])[1]) == [(1, 4, True)]
    nobody = people((1, 0)).replaced(track_ids=None)
    assert len(fill(1, [nobody, people().replaced(track_ids=None), nobody])[1]) == 0


def test_frames_without_time_between_them_are_not_filled():
    assert len(fill(1, [people((1, 0)), people(), people((1, 8))], times=[1, 1, 1])[1]) == 0
