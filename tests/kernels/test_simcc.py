"""SimCC vectors against a reading of mmpose's rule, one keypoint at a time, and planted cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hpi.kernels.simcc import decode_simcc


def one_keypoint(along_x, along_y, *, mean):
    place = [int(along_x.argmax()), int(along_y.argmax())]
    most = along_x[place[0]], along_y[place[1]]
    score = np.float32(0.5) * (most[0] + most[1]) if mean else min(most)
    return [-1, -1] if score <= 0 else place, score


@pytest.mark.parametrize("keypoints", [17, 26, 133])
@pytest.mark.parametrize("mean", [False, True])
def test_every_keypoint_is_decoded_by_itself(rng, keypoints, mean):
    along_x = rng.normal(-1, 0.5, (5, keypoints, 64)).astype(np.float32)  # many maxima are not positive
    along_y = rng.normal(-1, 0.5, (5, keypoints, 80)).astype(np.float32)
    before = along_x.copy(), along_y.copy()
    bins, scores = decode_simcc(along_x, along_y, mean=mean)
    assert bins.dtype == scores.dtype == np.float32
    for person in range(5):
        for keypoint in range(keypoints):
            place, score = one_keypoint(along_x[person, keypoint], along_y[person, keypoint], mean=mean)
            assert bins[person, keypoint].tolist() == place
            assert scores[person, keypoint] == score
    assert 0 < (scores <= 0).sum() < scores.size
    assert np.array_equal(along_x, before[0])
    assert np.array_equal(along_y, before[1])


def test_the_first_of_equal_bins_counts():
    along_x, along_y = np.zeros((1, 1, 8), np.float32), np.zeros((1, 1, 6), np.float32)
    along_x[0, 0, [3, 5]] = along_y[0, 0, [0, 5]] = 2
    bins, scores = decode_simcc(along_x, along_y)
    assert bins.tolist() == [[[3, 0]]]
    assert scores.tolist() == [[2]]


@pytest.mark.parametrize(
    ("most_x", "most_y", "smaller", "mean"),
    [(4, 2, 2, 3), (2, 4, 2, 3), (3, -1, -1, 1), (0, 9, 0, 4.5), (-2, -4, -4, -3)],
)
def test_the_score_is_the_smaller_maximum_or_the_mean(most_x, most_y, smaller, mean):
    along_x, along_y = np.full((1, 1, 7), -9, np.float32), np.full((1, 1, 7), -9, np.float32)
    along_x[..., 4], along_y[..., 6] = most_x, most_y
    for takes_mean, expected in ((False, smaller), (True, mean)):
        bins, scores = decode_simcc(along_x, along_y, mean=takes_mean)
        assert scores.tolist() == [[expected]]
        assert bins.tolist() == [[[4, 6]] if expected > 0 else [[-1, -1]]]


def test_a_vector_of_one_bin_has_its_keypoint_there():
    bins, scores = decode_simcc(np.ones((2, 3, 1), np.float32), np.ones((2, 3, 1), np.float32))
    assert (bins == 0).all()
    assert (scores == 1).all()


def test_nobody_is_decoded():
    bins, scores = decode_simcc(np.empty((0, 17, 8), np.float32), np.empty((0, 17, 6), np.float32))
    assert bins.shape == (0, 17, 2)
    assert scores.shape == (0, 17)


@given(arrays.arrays(np.float32, (2, 3, 5), elements=st.floats(width=16, allow_infinity=False)), st.booleans())
def test_places_are_finite_and_nan_is_not_hidden(vectors, mean):
    bins, scores = decode_simcc(vectors, vectors[..., ::-1], mean=mean)
    assert ((bins >= -1) & (bins < 5)).all()
    assert np.array_equal(np.isnan(scores), np.isnan(vectors).any(axis=-1))
