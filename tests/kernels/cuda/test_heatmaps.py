"""Keypoints decoded on the GPU match those of the CPU."""

import numpy as np
import pytest

from hpi.kernels.heatmaps import decode_dark, heatmap_peaks


def blobs(rng, shape, *, noise=0.0, floor=0.0):
    """``[6, 5, *shape]``: blobs at random places, also near and over the border, on noise and an offset."""
    height, width = shape
    centers = rng.uniform([-1, -1], [width, height], (6, 5, 2))
    y, x = np.mgrid[:height, :width]
    squared = (x - centers[..., 0, None, None]) ** 2 + (y - centers[..., 1, None, None]) ** 2
    heights = rng.uniform(0.2, 1.1, (6, 5, 1, 1))
    return (heights * np.exp(-squared / 4) + rng.normal(0, noise, squared.shape) + floor).astype(np.float32)


def decoded(cupy, kernels, maps):
    keypoints, scores = kernels.decode_dark(cupy.asarray(maps))
    assert keypoints.dtype == np.float64
    assert scores.dtype == np.float32
    return cupy.asnumpy(keypoints), cupy.asnumpy(scores)


def assert_keypoints_match_the_cpu(cupy, kernels, maps):
    assert_decoded(*decoded(cupy, kernels, maps), maps)


def assert_decoded(keypoints, scores, maps):
    expected, expected_scores = decode_dark(maps)
    assert np.array_equal(scores, expected_scores)
    # A nearly singular Hessian makes a long step, whose error grows with its square.
    step = np.abs(expected - heatmap_peaks(maps)[0]).max(axis=-1, keepdims=True)
    assert (np.abs(keypoints - expected) <= 1e-6 * np.maximum(1, step**2)).all()


@pytest.mark.parametrize("shape", [(32, 24), (64, 48), (64, 64), (7, 6), (3, 90)])
@pytest.mark.parametrize(("noise", "floor"), [(0, 0), (0.01, 0.05), (0.01, -0.01), (0.03, 0), (0, -2)])
def test_keypoints_match_the_cpu(cupy, kernels, rng, shape, noise, floor):
    """Without an offset, blobs fall below the floor of the logarithm around the peak; with -2 all are negative."""
    assert_keypoints_match_the_cpu(cupy, kernels, blobs(rng, shape, noise=noise, floor=floor))


def test_keypoints_of_sparse_maps_match_the_cpu(cupy, kernels, rng):
    """Some values around the peak are below the floor, and the others are rescaled."""
    maps = rng.random((6, 5, 32, 24), np.float32) * (rng.random((6, 5, 32, 24)) < 0.1)
    assert_keypoints_match_the_cpu(cupy, kernels, maps)


def test_keypoints_of_single_cells_match_the_cpu(cupy, kernels):
    """Each cell of a map that is zero elsewhere: all values around the peak are below the floor."""
    maps = np.eye(9 * 8, dtype=np.float32).reshape(8, 9, 9, 8) * np.float32(0.7)
    assert_keypoints_match_the_cpu(cupy, kernels, maps)


def test_equal_peaks_are_resolved_as_on_the_cpu(cupy, kernels, rng):
    """The first of equal peaks counts, whichever thread finds it."""
    maps = np.floor(4 * rng.random((6, 5, 32, 24), np.float32)) / 4
    assert_keypoints_match_the_cpu(cupy, kernels, maps)


def test_keypoints_of_flat_maps_match_the_cpu(cupy, kernels):
    levels = np.array([0, -1, 1, 1e-12, -np.inf], np.float32)
    assert_keypoints_match_the_cpu(cupy, kernels, np.tile(levels[None, :, None, None], (2, 1, 32, 24)))


def test_a_map_with_nan_gives_nan(cupy, kernels, rng):
    maps = blobs(rng, (32, 24))[:1, :2]
    maps[0, 0, 20, 10] = np.nan
    keypoints, scores = decoded(cupy, kernels, maps)
    expected, expected_scores = decode_dark(maps)
    assert np.isnan(scores[0, 0])
    assert np.array_equal(scores, expected_scores, equal_nan=True)
    assert np.array_equal(np.isnan(keypoints), np.isnan(expected))


def test_a_strided_array_can_be_decoded(cupy, kernels, rng):
    maps = blobs(rng, (32, 24))
    keypoints, scores = kernels.decode_dark(cupy.asarray(maps)[:, ::2, :, ::-1])
    part = np.ascontiguousarray(maps[:, ::2, :, ::-1])
    assert_decoded(cupy.asnumpy(keypoints), cupy.asnumpy(scores), part)


def test_decoding_does_not_modify_the_maps(cupy, kernels, rng):
    maps = blobs(rng, (32, 24))
    on_gpu = cupy.asarray(maps)
    kernels.decode_dark(on_gpu)
    kernels.wait()
    assert np.array_equal(cupy.asnumpy(on_gpu), maps)


def test_an_empty_batch_is_decoded(cupy, kernels):
    keypoints, scores = decoded(cupy, kernels, np.empty((0, 17, 32, 24), np.float32))
    assert keypoints.shape == (0, 17, 2)
    assert scores.shape == (0, 17)
