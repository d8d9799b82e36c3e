"""Associative embedding: against PaddleDetection's results, and against a plain reading of the algorithm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi.benchmarks import plain_grouping
from hpi.benchmarks.grouping import _planted
from hpi.kernels.grouping import association_costs, find_peaks, group, refine, salvage

from support import SHARED

solve = pytest.importorskip("scipy.optimize", reason="SciPy is not installed").linear_sum_assignment

NETWORK = sorted((SHARED / "zoo" / "golden" / "higherhrnet_random_weights").glob("*.npz"))


@st.composite
def peaks(draw, dimensions=1):
    """Heights, highest first, and tags of peaks: few people with near tags, many keypoints, equal values among them."""
    keypoints, count = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    step = draw(st.sampled_from([0.25, 0.5, 1.0, 0.01]))
    tags = np.round(rng.uniform(-3, 3, (keypoints, count, dimensions)) / step) * step
    heats = np.sort(np.round(rng.uniform(0, 1, (keypoints, count)), draw(st.integers(1, 6))))[:, ::-1]
    return heats.astype(np.float32), tags.astype(np.float32)


def as_rows(people, keypoints):
    return [[somebody.peaks.get(keypoint, -1) for keypoint in range(keypoints)] for somebody in people]


@given(peaks(), st.integers(1, 6))
def test_people_are_those_of_the_plain_loop(given_peaks, most):
    heats, tags = given_peaks
    expected = plain_grouping.group(heats, tags, most=most)
    found = group(heats, tags, solve, most=most)
    assert found.peaks.tolist() == as_rows(expected, len(heats))
    assert np.abs(found.tags - np.array([one.tag for one in expected]).reshape(found.tags.shape)).max(initial=0) < 1e-6


@given(peaks(dimensions=2))
def test_tags_of_two_dimensions_are_compared_by_their_distance(given_peaks):
    heats, tags = given_peaks
    assert group(heats, tags, solve).peaks.tolist() == as_rows(plain_grouping.group(heats, tags), len(heats))


@pytest.mark.parametrize("path", NETWORK, ids=lambda path: path.stem)
def test_hundreds_of_people_of_a_network_are_paddledetections(path):
    """The people of its own peaks; their scores, without salvaged keypoints, are exact."""
    golden = np.load(path)
    heats = golden["heat_k"][0]
    people = group(heats, golden["tags_at_inds"][..., None], solve)
    seen = people.peaks >= 0
    scores = np.where(seen, heats[np.arange(len(heats)), people.peaks], 0).mean(axis=1)
    assert len(people) > 200
    assert np.abs(scores - golden["scores"]).max() < 1e-6


def test_costs_of_a_keypoint_count_the_distance_before_the_heat():
    tags, heats = np.array([[0.1], [5.0]], np.float32), np.array([0.9, 0.5], np.float32)
    costs, distances = association_costs(tags, heats, np.array([[0.0]], np.float32))
    assert np.allclose(costs, [[-0.9, 0], [499.5, 0]], atol=1e-4)
    assert np.allclose(distances, [[0.1], [5]])


def test_nobody_is_found_without_a_peak_above_the_threshold():
    found = group(np.full((17, 30), 0.2, np.float32), np.zeros((17, 30, 1), np.float32), solve)
    assert (found.peaks.shape, found.tags.shape) == ((0, 17), (0, 1))


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.integers(1, 40))
def test_peaks_are_cells_that_none_within_two_cells_exceeds(seed, height, width, count):
    rng = np.random.default_rng(seed)
    heatmaps = np.round(rng.uniform(-0.2, 1, (2, height, width)), int(rng.integers(1, 5))).astype(np.float32)
    heats, cells = find_peaks(heatmaps, count)
    assert heats.shape == cells.shape == (2, count)
    for heatmap, of_map, at in zip(heatmaps, heats, cells, strict=True):
        highest = [
            heatmap[y, x]
            for y in range(height)
            for x in range(width)
            if heatmap[y, x] >= heatmap[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].max()
        ]
        best = sorted((float(one) for one in highest if one > 0), reverse=True)[:count]
        assert of_map[of_map > 0].tolist() == best
        assert (heatmap.flat[at[of_map > 0]] == of_map[of_map > 0]).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 2))
def test_missing_keypoints_are_where_heat_less_tag_distance_is_most(seed, dimensions):
    rng = np.random.default_rng(seed)
    scale = rng.choice([0.02, 0.1, 0.5, 1.5])  # warm maps and cold ones
    heatmaps = np.round(rng.uniform(-0.5, 1, (3, 7, 9)) * scale, 3).astype(np.float32)
    tagmaps = rng.uniform(-2, 2, (3, 7, 9, dimensions)).astype(np.float32)
    people, missing = rng.uniform(-2, 2, (4, dimensions)).astype(np.float32), rng.random((4, 3)) < 0.7
    cells, scores = salvage(heatmaps, tagmaps, people, missing)
    for person, keypoint in np.ndindex(4, 3):
        apart = np.sqrt(((tagmaps[keypoint] - people[person]) ** 2).sum(axis=-1))
        likely = heatmaps[keypoint] - np.round(apart)
        best = likely.max() if missing[person, keypoint] and likely.max() > 0 else 0
        assert scores[person, keypoint] == pytest.approx(best, abs=1e-6)
        if best:
            assert likely.flat[cells[person, keypoint]] == pytest.approx(best, abs=1e-6)


def test_keypoints_move_a_quarter_of_a_cell_towards_the_higher_neighbour():
    heatmap = np.array([[[0.2, 1, 0.4], [0.3, 0.1, 0], [0, 0, 0]]], np.float32)
    assert refine(heatmap, np.array([0]), np.array([1])).tolist() == [[1.75, 0.25]]
    corner = refine(heatmap, np.array([0]), np.array([8]))  # of equal neighbours none is higher
    assert corner.tolist() == [[2.25, 2.25]]


@pytest.mark.parametrize("people", [1, 9, 30])
def test_a_crowd_is_decoded_as_by_the_plain_loop(people):
    from hpi.heads.tags import TagsHead

    heatmaps, tagmaps, heats, cells = (array[:5] for array in _planted(people))
    heatmaps, tagmaps, cells = _cropped(heatmaps, tagmaps, heats, cells)
    expected, scores = plain_grouping.decode(heatmaps, tagmaps, heats, cells)
    size = (heatmaps.shape[2], heatmaps.shape[1])
    found, items = TagsHead().decode([one[None] for one in (heatmaps, tagmaps, heats, cells)], 1, size)
    assert items.tolist() == [0] * people
    assert np.abs(found.points - expected).max() < 1e-4
    assert np.abs(found.scores - scores).max() < 1e-6


def _cropped(heatmaps, tagmaps, heats, cells, side=96):
    """Smaller maps with the same peaks elsewhere: the plain loop looks at each cell for each person."""
    small = np.zeros((len(heats), side, side), np.float32), np.zeros((len(heats), side, side, 1), np.float32)
    places = np.random.default_rng(0).permuted(np.tile(np.arange(side * side), (len(heats), 1)), axis=1)[:, :30]
    for keypoint in range(len(heats)):
        small[0][keypoint].flat[places[keypoint]] = heats[keypoint]
        small[1][keypoint].reshape(-1)[places[keypoint]] = tagmaps[keypoint].reshape(-1)[cells[keypoint]]
    return *small, places
