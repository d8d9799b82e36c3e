"""Joints decoded on the card are those of the CPU."""

import numpy as np
import pytest

from hpi.kernels.heatmaps import decode_dark, heatmap_peaks


def blobs(rng, shape, *, noise=0.0, floor=0.0):
    """``[6, 5, *shape]``: blobs at random places, also near and over the border, on noise and a raised ground."""
    height, width = shape
    centers = rng.uniform([-1, -1], [width, height], (6, 5, 2))
    y, x = np.mgrid[:height, :width]
    squared = (x - centers[..., 0, None, None]) ** 2 + (y - centers[..., 1, None, None]) ** 2
    heights = rng.uniform(0.2, 1.1, (6, 5, 1, 1))
    return (heights * np.exp(-squared / 4) + rng.normal(0, noise, squared.shape) + floor).astype(np.float32)


def decoded(cupy, kernels, maps):
    joints, scores = kernels.decode_dark(cupy.asarray(maps))
    assert joints.dtype == np.float64
    assert scores.dtype == np.float32
    return cupy.asnumpy(joints), cupy.asnumpy(scores)


def assert_joints_are_the_cpus(cupy, kernels, maps):
    assert_decoded(*decoded(cupy, kernels, maps), maps)


def assert_decoded(joints, scores, maps):
    expected, expected_scores = decode_dark(maps)
    assert np.array_equal(scores, expected_scores)
    # A step from a nearly singular Hessian is far, and its error grows with its square.
    step = np.abs(expected - heatmap_peaks(maps)[0]).max(axis=-1, keepdims=True)
    assert (np.abs(joints - expected) <= 1e-6 * np.maximum(1, step**2)).all()


@pytest.mark.parametrize("shape", [(32, 24), (64, 48), (64, 64), (7, 6), (3, 90)])
@pytest.mark.parametrize(("noise", "floor"), [(0, 0), (0.01, 0.05), (0.01, -0.01), (0.03, 0), (0, -2)])
def test_joints_are_the_cpus(cupy, kernels, rng, shape, noise, floor):
    """Blobs without a ground sink under the floor of the logarithm round the peak; with -2 all is negative."""
    assert_joints_are_the_cpus(cupy, kernels, blobs(rng, shape, noise=noise, floor=floor))


def test_sparse_maps_are_decoded_as_on_the_cpu(cupy, kernels, rng):
    """Some values round the peak are under the floor, and the others are rescaled."""
    maps = rng.random((6, 5, 32, 24), np.float32) * (rng.random((6, 5, 32, 24)) < 0.1)
    assert_joints_are_the_cpus(cupy, kernels, maps)


def test_lone_cells_are_decoded_as_on_the_cpu(cupy, kernels):
    """At every cell of a map that is zero elsewhere: nothing round the peak but values under the floor."""
    maps = np.eye(9 * 8, dtype=np.float32).reshape(8, 9, 9, 8) * np.float32(0.7)
    assert_joints_are_the_cpus(cupy, kernels, maps)


def test_equal_peaks_are_decoded_as_on_the_cpu(cupy, kernels, rng):
    """The first of equals counts, wherever the threads found them."""
    maps = np.floor(4 * rng.random((6, 5, 32, 24), np.float32)) / 4
    assert_joints_are_the_cpus(cupy, kernels, maps)


def test_flat_maps_are_decoded_as_on_the_cpu(cupy, kernels):
    levels = np.array([0, -1, 1, 1e-12, -np.inf], np.float32)
    assert_joints_are_the_cpus(cupy, kernels, np.tile(levels[None, :, None, None], (2, 1, 32, 24)))


def test_a_broken_map_shows(cupy, kernels, rng):
    maps = blobs(rng, (32, 24))[:1, :2]
    maps[0, 0, 20, 10] = np.nan
    joints, scores = decoded(cupy, kernels, maps)
    expected, expected_scores = decode_dark(maps)
    assert np.isnan(scores[0, 0])
    assert np.array_equal(scores, expected_scores, equal_nan=True)
    assert np.array_equal(np.isnan(joints), np.isnan(expected))


def test_a_part_of_an_array_can_be_decoded(cupy, kernels, rng):
    maps = blobs(rng, (32, 24))
    joints, scores = kernels.decode_dark(cupy.asarray(maps)[:, ::2, :, ::-1])
    part = np.ascontiguousarray(maps[:, ::2, :, ::-1])
    assert_decoded(cupy.asnumpy(joints), cupy.asnumpy(scores), part)


def test_the_maps_are_not_changed(cupy, kernels, rng):
    maps = blobs(rng, (32, 24))
    on_card = cupy.asarray(maps)
    kernels.decode_dark(on_card)
    kernels.wait()
    assert np.array_equal(cupy.asnumpy(on_card), maps)


def test_nobody_has_no_joints(cupy, kernels):
    joints, scores = decoded(cupy, kernels, np.empty((0, 17, 32, 24), np.float32))
    assert joints.shape == (0, 17, 2)
    assert scores.shape == (0, 17)
