"""Where people are expected in frames without the detector, and when it has to look."""

import numpy as np
import pytest

from hpi.instances import Instances
from hpi.tracking.carry import MAX_UNSEEN_S, Carrier

SIZE = 400, 300
STEP_S = 0.1
SHAPE = np.array([[0.5, 0.1], [0.2, 0.3], [0.8, 0.3], [0.5, 0.6], [0.3, 0.9], [0.7, 0.9]])
"""Keypoints, in parts of the box."""


def people(*corners, side=(40, 100), scores=0.8):
    """People whose boxes begin at these corners."""
    boxes = np.array([[x, y, x + side[0], y + side[1]] for x, y in corners], np.float32).reshape(-1, 4)
    keypoints = boxes[:, None, :2] + SHAPE * side
    points = np.broadcast_to(np.float32(scores), keypoints.shape[:2])
    return Instances(np.full(len(boxes), 0.9), boxes=boxes, keypoints=keypoints, keypoint_scores=points)


def seen(carrier, *frames):
    """Let the detector find people in frames, and return the time of the next."""
    for index, found in enumerate(frames):
        carrier.update(found, index * STEP_S, detected=True)
    return len(frames) * STEP_S


def test_boxes_move_on_with_the_keypoints(rng):
    carrier = Carrier(det_every=9, visible_above=0.2)
    start, velocity = rng.uniform((100, 80), (200, 120)), rng.uniform(-5, 5, 2)
    seen(carrier, people(start), people(start + velocity))
    for index in range(2, 9):
        carried = carrier.carried(index * STEP_S, SIZE)
        expected = people(start + index * velocity)
        np.testing.assert_allclose(carried.boxes, expected.boxes, atol=1e-3)
        assert carried.scores.tolist() == expected.scores.tolist()
        boxes = carried.boxes.copy()
        carrier.update(expected.replaced(boxes=carried.boxes), index * STEP_S, detected=False)
        assert carried.boxes.tolist() == boxes.tolist()  # those of a result stay as they are
        assert not carrier.detected
    assert carrier.carried(1.1, SIZE) is not None
    carrier.update(expected, 1.1, detected=False)
    assert carrier.carried(1.2, SIZE) is None


def test_frames_may_be_missing(rng):
    """Time counts, not the number of frames."""
    carrier, velocity = Carrier(det_every=9, visible_above=0.2), rng.uniform(-5, 5, 2)
    start = np.array([150, 100])
    time_s = seen(carrier, people(start), people(start + velocity))
    carried = carrier.carried(time_s + STEP_S, SIZE)
    np.testing.assert_allclose(carried.boxes, people(start + 3 * velocity).boxes, atol=1e-3)


@pytest.mark.parametrize(
    "then",
    [
        people((150, 100), scores=0.6),
        people((180, 100)),
        people((150, 130)),
    ],
    ids=["scores fell", "jumped aside", "jumped down"],
)
def test_the_detector_looks_after_a_doubtful_frame(then):
    carrier = Carrier(det_every=9, visible_above=0.2)
    time_s = seen(carrier, people((150, 100)))
    carried = carrier.carried(time_s, SIZE)
    carrier.update(then.replaced(boxes=carried.boxes), time_s, detected=False)
    assert carrier.carried(time_s + STEP_S, SIZE) is None


@pytest.mark.parametrize(
    ("before", "last"),
    [
        (people((8, 100)), people((2, 100))),
        (people((347, 100)), people((356, 100))),
        (people((150, 180)), people((150, 194))),
        (people((0, 100), side=(34, 100)), people((0, 100))),
        (people((100, 100), (140, 100)), people((107, 100), (131, 100))),
    ],
    ids=["left border", "right border", "lower border", "comes in", "merge"],
)
def test_the_detector_looks_where_boxes_are_about_to_meet(before, last):
    carrier = Carrier(det_every=9, visible_above=0.2)
    assert carrier.carried(seen(carrier, before, last), SIZE) is None


def test_who_stands_at_the_border_is_carried():
    """Half in the image, as before a camera on a desk."""
    carrier = Carrier(det_every=9, visible_above=0.2)
    carried = carrier.carried(seen(carrier, people((150, 200)), people((152, 200))), SIZE)
    np.testing.assert_allclose(carried.boxes, [[154, 200, 194, 300]], atol=1e-3)


def test_nobody_is_carried_until_the_detector_has_to_look_again():
    carrier = Carrier(det_every=3, visible_above=0.2)
    time_s = seen(carrier, people())
    for _ in range(2):
        carried = carrier.carried(time_s, SIZE)
        assert len(carried) == 0
        carrier.update(people(), time_s, detected=False)
        time_s += STEP_S
    assert carrier.carried(time_s, SIZE) is None


def run(carrier, truth, rate):
    """The frames in which the detector ran; it finds what is there, and nobody else is found otherwise."""
    detected = []
    for index, there in enumerate(truth):
        carried = carrier.carried(index / rate, SIZE)
        found = there if carried is None else there[: len(carried)]
        found = found if carried is None else found.replaced(boxes=carried.boxes)
        carrier.update(found, index / rate, detected=carried is None)
        detected.append(carried is None)
    return detected


@pytest.mark.parametrize("rate", [10, 25])
def test_auto_rests_as_long_as_nobody_new_comes_but_not_longer_than_half_a_second(rate):
    detected = np.flatnonzero(run(Carrier("auto", 0.2), [people((150, 100))] * 20 * rate, rate))
    assert np.diff(detected)[-3:].tolist() == [np.ceil(MAX_UNSEEN_S * rate)] * 3


def test_auto_looks_more_often_where_people_come_and_go(rng):
    """Somebody new, at a new place, every three frames."""
    frames = [of_three for _ in range(40) for of_three in [people((150, 100), rng.uniform((20, 20), (340, 180)))] * 3]
    often = np.mean(run(Carrier("auto", 0.2), frames, rate=25))
    seldom = np.mean(run(Carrier("auto", 0.2), [people((150, 100), (250, 100))] * len(frames), rate=25))
    assert often > 2 * seldom
