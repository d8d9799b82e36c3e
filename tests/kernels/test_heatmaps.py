"""DARK against direct implementations of the references: one keypoint at a time, whole maps, a plain blur."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hpi.kernels.heatmaps import decode_dark, decode_dark_udp, heatmap_peaks


def reference_keypoint(heatmap):
    """Argmax, blur with a zero border, rescale to the old maximum, log with a floor, one Newton step."""
    height, width = heatmap.shape
    index = int(heatmap.argmax())
    score = heatmap.flat[index]
    x, y = index % width, index // width
    if score <= 0:
        return np.zeros(2), score
    padded = np.zeros((height + 2, width + 2))
    padded[1:-1, 1:-1] = heatmap
    blurred = cv2.GaussianBlur(padded, (3, 3), 0)[1:-1, 1:-1]
    log = np.log(np.maximum(blurred * (heatmap.max() / blurred.max()), 1e-10))
    keypoint = np.array([x, y], np.float64)
    if 1 < x < width - 2 and 1 < y < height - 2:
        gradient = 0.5 * np.array([log[y, x + 1] - log[y, x - 1], log[y + 1, x] - log[y - 1, x]])
        dxx = 0.25 * (log[y, x + 2] - 2 * log[y, x] + log[y, x - 2])
        dyy = 0.25 * (log[y + 2, x] - 2 * log[y, x] + log[y - 2, x])
        dxy = 0.25 * (log[y + 1, x + 1] - log[y - 1, x + 1] - log[y + 1, x - 1] + log[y - 1, x - 1])
        hessian = np.array([[dxx, dxy], [dxy, dyy]])
        if dxx * dyy - dxy**2 != 0:
            keypoint -= np.linalg.inv(hessian) @ gradient
    return keypoint, score


def reference(heatmaps):
    decoded = [[reference_keypoint(heatmap) for heatmap in person] for person in heatmaps]
    return (
        np.array([[keypoint for keypoint, _ in person] for person in decoded]),
        np.array([[score for _, score in person] for person in decoded]),
    )


def gaussians(rng, count=8, keypoints=17, shape=(32, 24), sigma=1.5, noise=0.0, floor=0.0):
    """Blobs at random places, also near and over the border, with noise and an offset."""
    height, width = shape
    centers = rng.uniform([-1, -1], [width, height], (count, keypoints, 2))
    y, x = np.mgrid[:height, :width]
    squared = (x - centers[..., 0, None, None]) ** 2 + (y - centers[..., 1, None, None]) ** 2
    peaks = rng.uniform(0.2, 1.1, (count, keypoints, 1, 1))
    maps = peaks * np.exp(-squared / (2 * sigma**2)) + rng.normal(0, noise or 1e-9, squared.shape) + floor
    return centers, maps.astype(np.float32)


@pytest.mark.parametrize("shape", [(32, 24), (64, 48), (64, 64), (7, 6)])
@pytest.mark.parametrize(("noise", "floor"), [(0, 0), (0.01, 0.05), (0.01, -0.01), (0.03, 0)])
def test_keypoints_match_the_reference(rng, shape, noise, floor):
    _, maps = gaussians(rng, shape=shape, noise=noise, floor=floor)
    before = maps.copy()
    keypoints, scores = decode_dark(maps)
    expected, expected_scores = reference(maps)
    step = np.abs(expected - heatmap_peaks(maps)[0]).max(axis=-1)
    # A nearly singular Hessian makes a long step, whose error grows with its square.
    tolerance = 1e-3 * np.maximum(1, step**2)
    assert np.array_equal(scores, expected_scores)
    assert (np.abs(keypoints - expected).max(axis=-1) <= tolerance).all()
    assert np.array_equal(maps, before)


def test_the_keypoint_of_a_clean_blob_is_its_centre(rng):
    centers, maps = gaussians(rng, shape=(64, 48), sigma=2)
    inside = ((centers > 6) & (centers < np.array([48, 64]) - 7)).all(axis=-1)
    keypoints, _ = decode_dark(maps)
    assert inside.sum() > 20
    assert np.abs(keypoints - centers)[inside].max() < 0.06


def test_scaling_a_map_does_not_move_its_keypoint(rng):
    """The factor max(raw)/max(blurred) cancels, so a map times any constant has the same keypoints."""
    _, maps = gaussians(rng, noise=0.005, floor=0.1)
    keypoints, _ = decode_dark(maps)
    scaled, _ = decode_dark(maps * np.float32(4))
    step = np.abs(keypoints - heatmap_peaks(maps)[0])
    assert (np.abs(keypoints - scaled) <= 1e-4 * np.maximum(1, step**2)).all()


def test_a_flat_or_negative_map_has_its_keypoint_at_the_origin():
    maps = np.stack([np.zeros((32, 24)), np.full((32, 24), -1.0), np.ones((32, 24))]).astype(np.float32)[None]
    keypoints, scores = decode_dark(maps)
    assert keypoints.tolist() == [[[0, 0], [0, 0], [0, 0]]]
    assert scores.tolist() == [[0, -1, 1]]


def test_the_first_of_equal_peaks_counts():
    maps = np.zeros((1, 1, 32, 24), np.float32)
    maps[0, 0, 20, 5] = maps[0, 0, 10, 12] = 0.9
    assert heatmap_peaks(maps)[0].tolist() == [[[12, 10]]]


def test_an_empty_batch_is_decoded():
    keypoints, scores = decode_dark(np.empty((0, 17, 32, 24), np.float32))
    assert keypoints.shape == (0, 17, 2)
    assert scores.shape == (0, 17)


@given(arrays.arrays(np.float32, (2, 3, 8, 7), elements=st.floats(-1, 1, width=16)))
def test_keypoints_of_any_heatmap_are_finite(maps):
    keypoints, scores = decode_dark(maps)
    assert np.isfinite(keypoints).all()
    assert np.array_equal(scores, maps.reshape(2, 3, -1).max(axis=-1))


# DARK-UDP

GAUSSIAN = np.exp(-((np.arange(-5, 6) / 2) ** 2) / 2)
GAUSSIAN /= GAUSSIAN.sum()


def udp_keypoint(heatmap):
    """The equations as they are written: blur, rescale, clip, log, and a step from the nine cells around the peak."""
    height, width = heatmap.shape
    score = heatmap.max()
    if score <= 0:
        return np.full(2, -1.0), score
    y, x = np.unravel_index(heatmap.argmax(), heatmap.shape)
    padded = np.pad(heatmap.astype(np.float64), 5)
    lines = np.stack([np.convolve(line, GAUSSIAN, "valid") for line in padded])
    blurred = np.stack([np.convolve(column, GAUSSIAN, "valid") for column in lines.T]).T
    if blurred.max() > 0:
        blurred *= score / blurred.max()
    log = np.log(np.clip(blurred, 0.001, 50))

    def at(dx, dy):
        return log[np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)]

    gradient = np.array([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)]) / 2
    dxx = at(1, 0) - 2 * at(0, 0) + at(-1, 0)
    dyy = at(0, 1) - 2 * at(0, 0) + at(0, -1)
    dxy = (at(1, 1) - at(1, 0) - at(0, 1) + 2 * at(0, 0) - at(-1, 0) - at(0, -1) + at(-1, -1)) / 2
    hessian = np.array([[dxx, dxy], [dxy, dyy]]) + np.finfo(np.float32).eps * np.eye(2)
    return np.array([x, y]) - np.linalg.solve(hessian, gradient), score


@pytest.mark.parametrize("shape", [(64, 48), (16, 12), (5, 4), (1, 9)])
@pytest.mark.parametrize(("noise", "floor"), [(0, 0), (0.01, 0.05), (0.01, -0.01), (0.03, 0)])
@pytest.mark.parametrize("factor", [1, 0.004, 60])
def test_udp_keypoints_match_the_equations(rng, shape, noise, floor, factor):
    """Also where values are clipped: of maps of small values from below, of large ones from above."""
    _, maps = gaussians(rng, 1, shape=shape, sigma=2, noise=noise, floor=floor)
    maps *= np.float32(factor)
    before = maps.copy()
    keypoints, scores = decode_dark_udp(maps)
    expected = [[udp_keypoint(heatmap) for heatmap in person] for person in maps]
    assert np.array_equal(scores, [[score for _, score in person] for person in expected])
    expected = np.array([[keypoint for keypoint, _ in person] for person in expected])
    step = np.abs(expected - heatmap_peaks(maps)[0]).max(axis=-1)
    # A nearly singular Hessian makes a long step, whose error grows with its square.
    assert (np.abs(keypoints - expected).max(axis=-1) <= 1e-3 * np.maximum(1, step**2)).all()
    assert np.array_equal(maps, before)


def test_udp_finds_the_centre_of_the_blob_that_the_model_is_trained_with(rng):
    centers, maps = gaussians(rng, shape=(64, 48), sigma=2)
    inside = ((centers > 8) & (centers < np.array([48, 64]) - 9)).all(axis=-1)
    assert inside.sum() > 20
    assert np.abs(decode_dark_udp(maps)[0] - centers)[inside].max() < 0.02


def test_udp_without_a_positive_value_is_outside():
    maps = np.stack([np.zeros((16, 12)), np.full((16, 12), -1.0), np.ones((16, 12))]).astype(np.float32)[None]
    keypoints, scores = decode_dark_udp(maps)
    assert keypoints[0, :2].tolist() == [[-1, -1], [-1, -1]]
    assert np.isfinite(keypoints).all()
    assert scores.tolist() == [[0, -1, 1]]
    assert decode_dark_udp(maps[:0])[0].shape == (0, 3, 2)


@given(arrays.arrays(np.float32, (2, 3, 8, 7), elements=st.floats(-100, 100, width=16)))
def test_udp_keypoints_of_any_heatmap_are_finite(maps):
    keypoints, scores = decode_dark_udp(maps)
    assert np.isfinite(keypoints.astype(np.float32)).all()
    assert np.array_equal(scores, maps.reshape(2, 3, -1).max(axis=-1))
