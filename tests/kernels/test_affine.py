import cv2
import numpy as np
import pytest
from hypothesis import strategies as st

from hpi.kernels.affine import crop_matrices, stack_crops

place = st.floats(-200, 2000, width=32)
extent = st.floats(2, 2000, width=32)


def regions(rng, count=50):
    center = rng.uniform(0, 1000, (count, 2)).astype(np.float32)
    scale = rng.uniform(1, 800, (count, 2)).astype(np.float32)
    return center, scale


def apply(matrices, points):
    return np.einsum("nij,nkj->nki", matrices[:, :, :2], points) + matrices[:, None, :, 2]


def reference_matrix(center, scale, size):
    """The map that the reference describes by three points, solved by OpenCV."""
    width, height = size
    source = np.zeros((3, 2), np.float32)
    target = np.zeros((3, 2), np.float32)
    source[0] = center
    source[1] = center + np.array([0, scale[0] * -0.5], np.float32)
    direction = source[0] - source[1]
    source[2] = source[1] + np.array([-direction[1], direction[0]], np.float32)
    target[0] = [width * 0.5, height * 0.5]
    target[1] = [width * 0.5, height * 0.5 - width * 0.5]
    direction = target[0] - target[1]
    target[2] = target[1] + np.array([-direction[1], direction[0]], np.float32)
    return cv2.getAffineTransform(source, target)


@pytest.mark.parametrize("size", [(96, 128), (192, 256), (256, 256)])
def test_matrices_are_the_reference_to_the_bit(rng, size):
    center, scale = regions(rng)
    ours = crop_matrices(center, scale, size)
    theirs = np.stack([reference_matrix(c, s, size) for c, s in zip(center, scale, strict=True)])
    assert np.array_equal(ours, theirs)


def test_the_region_fills_the_width_of_the_crop(rng):
    center, scale = regions(rng)
    edges = np.stack([center - scale / 2, center + scale / 2], axis=1)
    mapped = apply(crop_matrices(center, scale, (96, 128)), edges)
    assert mapped[:, 0, 0] == pytest.approx(np.zeros(len(center)), abs=0.05)
    assert mapped[:, 1, 0] == pytest.approx(np.full(len(center), 96), abs=0.05)


def test_a_udp_region_spans_the_pixel_centres_both_ways(rng):
    center, scale = regions(rng)
    edges = np.stack([center - scale / 2, center + scale / 2], axis=1)
    mapped = apply(crop_matrices(center, scale, (96, 128), udp=True), edges)
    assert mapped[:, 0] == pytest.approx(np.zeros((len(center), 2)), abs=0.05)
    assert mapped[:, 1] == pytest.approx(np.tile([95.0, 127.0], (len(center), 1)), abs=0.05)


def test_crops_are_opencv_crops(rng):
    images = [rng.integers(0, 256, shape, np.uint8) for shape in ((300, 200, 3), (50, 400, 3), (120, 120, 3))]
    counts = [3, 0, 2]
    matrices = [crop_matrices(*regions(rng, count), (96, 128)) for count in counts]
    batch = stack_crops(images, matrices, (96, 128))
    expected = [
        cv2.warpAffine(image, matrix, (96, 128), flags=cv2.INTER_LINEAR)
        for image, of_image in zip(images, matrices, strict=True)
        for matrix in of_image
    ]
    assert batch.shape == (5, 128, 96, 3)
    assert np.array_equal(batch, expected)


def test_outside_the_image_is_black():
    image = np.full((40, 40, 3), 255, np.uint8)
    matrices = crop_matrices(np.array([[20, 20]], np.float32), np.array([[80, 80]], np.float32), (80, 80))
    batch = stack_crops([image], [matrices], (80, 80))[0]
    assert batch[:15].max() == batch[:, :15].max() == batch[65:].max() == 0
    assert batch[25:55, 25:55].min() == 255
