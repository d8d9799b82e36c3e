import numpy as np
import pytest

from hpi.kernels.oks import oks


def by_definition(person, area, other, sigmas, counted):
    """A plain loop over the keypoints of two people."""
    values = [
        np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * area * (2 * sigma) ** 2))
        for (x, y), (u, v), sigma, counts in zip(person, other, sigmas, counted, strict=True)
        if counts
    ]
    return sum(values) / len(values) if values else 0


def test_every_pair_is_as_defined(rng):
    people, others = rng.uniform(0, 60, (4, 5, 2)), rng.uniform(0, 60, (3, 5, 2))
    areas, sigmas = rng.uniform(500, 5000, 4), rng.uniform(0.02, 0.2, 5)
    counted = rng.random((4, 3, 5)) < 0.7
    counted[0, 0] = False
    found = oks(people, areas, others, sigmas, counted)
    assert found.shape == (4, 3) and found[0, 0] == 0
    for row, person in enumerate(people):
        for column, other in enumerate(others):
            expected = by_definition(person, areas[row], other, sigmas, counted[row, column])
            assert found[row, column] == pytest.approx(expected, abs=1e-12)


def test_keypoints_that_are_not_compared_do_not_matter(rng):
    person, sigmas = rng.uniform(0, 60, (1, 3, 2)), [0.05, 0.05, 0.05]
    moved = person + np.array([[0, 0], [0, 0], [900, 900]])
    assert oks(person, np.array([100]), moved, sigmas, np.array([True, True, False])) == 1
    assert oks(person, np.array([100]), moved, sigmas, np.array([True, True, True])) == pytest.approx(2 / 3)


def test_float32_is_right_to_a_millionth(rng):
    people, others = rng.uniform(0, 2000, (2, 9, 17, 2)).astype(np.float32)
    people[:3] = others[:3] + rng.normal(0, 5, (3, 17, 2)).astype(np.float32)
    areas, sigmas, every = rng.uniform(500, 50000, 9), rng.uniform(0.02, 0.2, 17), np.array([True] * 17)
    exact = oks(people, areas, others, sigmas, every)
    found = oks(people, areas, others, sigmas, every, np.float32)
    assert found.dtype == np.float32 and exact[:3].max() > 0.1
    np.testing.assert_allclose(found, exact, atol=1e-6)


def test_people_endlessly_far_apart_are_not_alike():
    person, other = np.zeros((1, 3, 2), np.float32), np.full((1, 3, 2), 3e38, np.float32)
    everything = np.array([True] * 3)
    assert oks(person, np.ones(1), other, [0.05] * 3, everything, np.float32).tolist() == [[0]]


def test_of_nobody():
    nobody, one = np.empty((0, 3, 2)), np.zeros((1, 3, 2))
    everything = np.array([True] * 3)
    assert oks(nobody, np.empty(0), one, [0.05] * 3, everything).shape == (0, 1)
    assert oks(one, np.ones(1), nobody, [0.05] * 3, everything).shape == (1, 0)
