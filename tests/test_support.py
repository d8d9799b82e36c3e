"""The comparisons that other tests rest on: what they let pass, and what not."""

import numpy as np
import pytest

from support import BOX_ROUNDING, CLEAR, ROUNDING, assert_same_detections, assert_same_keypoints, assert_same_people


@pytest.fixture
def keypoints(rng):
    """Of four people: clear, but for those of the last."""
    scores = np.where(
        np.arange(4)[:, None] < 3, rng.uniform(CLEAR + 0.02, 1, (4, 17)), rng.uniform(0, CLEAR - 0.02, (4, 17))
    )
    return np.concatenate([rng.uniform(0, 640, (4, 17, 2)), scores[..., None]], axis=-1)


def moved(keypoints, place, by):
    other = keypoints.copy()
    other[place] += by
    return other


@pytest.mark.parametrize(
    ("place", "by"),
    [
        ((0, slice(None), 0), 0.19),
        ((0, 3, 1), 0.9),  # one of 51
        ((0, slice(None), 2), 0.009),
        ((3, slice(None), slice(2)), 100),
        ((3, slice(None), 2), -0.04),
    ],
)
def test_keypoints_that_pass(keypoints, place, by):
    assert_same_keypoints(moved(keypoints, place, by), keypoints)


@pytest.mark.parametrize(
    ("place", "by"),
    [
        ((0, slice(2), 0), 0.21),
        ((0, 3, 1), 1.1),
        ((0, 3, 2), 0.011),
        ((3, 3, 2), 0.06),
        ((0, 3, 0), np.nan),
        ((3, 3, 2), np.nan),
    ],
)
def test_keypoints_that_do_not(keypoints, place, by):
    with pytest.raises(AssertionError):
        assert_same_keypoints(moved(keypoints, place, by), keypoints)


def test_people_may_come_in_any_order_but_all_must_come(keypoints, rng):
    boxes = np.array([[0, 0, 50, 90], [100, 0, 190, 80], [200, 0, 280, 90], [300, 0, 350, 99]])
    people = [
        {"coordinate": box, "det_score": 0.9, "kpt_score": of_one[:, 2].mean(), "keypoints": of_one}
        for box, of_one in zip(boxes, keypoints, strict=True)
    ]
    expected = [{"boxes": people}, {"boxes": []}]
    assert_same_people([{"boxes": [people[index] for index in rng.permutation(4)]}, {"boxes": []}], expected)
    for wrong in (people[:3], [*people[:3], people[0]], [*people, people[0]]):
        with pytest.raises(AssertionError):
            assert_same_people([{"boxes": wrong}, {"boxes": []}], expected)
    with pytest.raises(AssertionError):
        assert_same_people([{"boxes": [{**people[0], "det_score": 0.8}, *people[1:]]}, {"boxes": []}], expected)


def test_detections_stay_with_their_images(rng):
    rows = np.array([[0, 0.9, 0, 0, 50, 90], [0, 0.5, 100, 0, 190, 80], [0, 0.7, 0, 0, 50, 90]])
    counts = np.array([2, 1])
    assert_same_detections([rows[[1, 0, 2]], counts], [rows, counts])
    for column, by in ((0, 1), (1, 2 * ROUNDING), (2, 2 * BOX_ROUNDING)):
        wrong = rows.copy()
        wrong[0, column] += by
        with pytest.raises(AssertionError):
            assert_same_detections([wrong, counts], [rows, counts])
    with pytest.raises(AssertionError):
        assert_same_detections([rows[[2, 1, 0]], counts], [rows, counts])
    with pytest.raises(AssertionError):
        assert_same_detections([rows, np.array([1, 2])], [rows, counts])
