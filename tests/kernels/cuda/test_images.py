"""Crops and resized frames made on the GPU match those of the CPU."""

import cv2
import numpy as np
import pytest

from hpi.kernels.affine import crop_matrices, stack_crops
from hpi.kernels.normalize import normalize

pytestmark = pytest.mark.long  # its slow cases run each night

SCALE, SHIFT = (0.0171, 0.0175, 0.0174), (-2.1179, -2.0357, -1.8044)
LEVELS = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)  # leaves the levels as they are
SHAPES = ((90, 70), (1, 1), (37, 200), (260, 3), (120, 160))


def random_images(rng, shapes=SHAPES):
    return [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]


def random_matrices(rng, image, size, count, *, udp=False):
    """Regions from less than a pixel to many times the image, around it and beyond it."""
    extent = np.array(image.shape[1::-1])
    center = rng.uniform(-0.6 * extent, 1.6 * extent, (count, 2)).astype(np.float32)
    scale = np.exp(rng.uniform(np.log(0.5), np.log(20 * extent.max()), (count, 2))).astype(np.float32)
    return crop_matrices(center, scale, size, udp=udp)


def assert_crops_match_the_cpu(cupy, kernels, images, matrices, size):
    on_gpu = [kernels.upload(image) for image in images]
    crops = kernels.crop_normalized(on_gpu, matrices, size, SCALE, SHIFT)
    assert crops.dtype == np.float32
    assert np.array_equal(cupy.asnumpy(crops), normalize(stack_crops(images, matrices, size), SCALE, SHIFT))


@pytest.fixture(scope="session")
def real_images(shared):
    paths = sorted((shared / "data" / "photos").glob("*.jpg"))
    return [np.asarray(cv2.imread(str(path))) for path in paths]


@pytest.mark.full
@pytest.mark.parametrize("udp", [False, True])
@pytest.mark.parametrize("size", [(96, 128), (192, 256), (33, 17)])
def test_crops_are_bit_identical_to_the_cpu(cupy, kernels, rng, size, udp):
    images = random_images(rng)
    matrices = [random_matrices(rng, image, size, 4, udp=udp) for image in images]
    assert_crops_match_the_cpu(cupy, kernels, images, matrices, size)


def test_crops_of_real_images_are_bit_identical_to_the_cpu(cupy, kernels, rng, real_images):
    size = (96, 128)
    matrices = [random_matrices(rng, image, size, 6) for image in real_images]
    assert_crops_match_the_cpu(cupy, kernels, real_images, matrices, size)


def test_rotated_and_sheared_crops_are_bit_identical_to_the_cpu(cupy, kernels, rng, image):
    matrices = rng.normal(0, 1, (6, 2, 3)) * [1, 1, 50]
    assert_crops_match_the_cpu(cupy, kernels, [image], [matrices], (96, 128))


@pytest.mark.parametrize(
    ("center", "scale"),
    [([-1e7, 3e8], [60, 80]), ([30, 30], [1e-6, 1e-6]), ([30, 30], [1e9, 1e9]), ([1e6, 1e6], [1e7, 1e7])],
)
def test_crops_far_outside_match_the_cpu(cupy, kernels, rng, center, scale):
    images = random_images(rng)[:1]
    matrices = crop_matrices(np.array([center], np.float32), np.array([scale], np.float32), (96, 128))
    assert_crops_match_the_cpu(cupy, kernels, images, [matrices], (96, 128))


def test_crops_of_a_singular_map_match_the_cpu(cupy, kernels, rng):
    assert_crops_match_the_cpu(cupy, kernels, random_images(rng)[:1], [np.ones((1, 2, 3))], (8, 8))


def test_people_stay_with_their_images(cupy, kernels, rng):
    images, counts = random_images(rng), [2, 0, 1, 3, 0]
    matrices = [random_matrices(rng, image, (24, 32), n) for image, n in zip(images, counts, strict=True)]
    assert_crops_match_the_cpu(cupy, kernels, images, matrices, (24, 32))


@pytest.mark.parametrize("images", [0, 2])
def test_no_people_make_an_empty_batch(kernels, rng, images):
    on_gpu = [kernels.upload(image) for image in random_images(rng)[:images]]
    crops = kernels.crop_normalized(on_gpu, [np.empty((0, 2, 3))] * images, (24, 32), SCALE, SHIFT)
    assert crops.shape == (0, 3, 32, 24)


def test_a_view_of_an_image_can_be_cropped(cupy, kernels, rng):
    """The pitch of its rows is larger than their length."""
    (image,) = random_images(rng, [(60, 50)])
    part = slice(5, 45), slice(7, 47)
    matrices = random_matrices(rng, image[part], (24, 32), 3)
    crops = kernels.crop_normalized([kernels.upload(image)[part]], [matrices], (24, 32), SCALE, SHIFT)
    expected = normalize(stack_crops([image[part]], [matrices], (24, 32)), SCALE, SHIFT)
    assert np.array_equal(cupy.asnumpy(crops), expected)


def test_images_of_any_layout_can_be_uploaded(cupy, kernels, rng):
    (image,) = random_images(rng, [(60, 50)])
    for layout in (image[:, ::-1], image[::2], np.asfortranarray(image)):
        uploaded = kernels.upload(layout)
        assert np.array_equal(cupy.asnumpy(uploaded), layout)
        assert uploaded.flags.c_contiguous


@pytest.mark.parametrize("spoil", [lambda image: image[:, ::2], lambda image: image[..., 0], lambda i: i.astype("f4")])
def test_images_of_another_layout_are_refused(kernels, rng, spoil):
    image = spoil(kernels.upload(random_images(rng)[0]))
    with pytest.raises(ValueError, match="is not rows of BGR uint8"):
        kernels.crop_normalized([image], [np.ones((1, 2, 3))], (24, 32), SCALE, SHIFT)


def resized_on_cpu(images, size, interpolation, scale, shift):
    resized = [cv2.resize(image, size, interpolation=interpolation) for image in images]
    return normalize(np.stack(resized), scale, shift)


@pytest.mark.parametrize("size", [(64, 64), (160, 120), (80, 60), (35, 45), (97, 31)])
def test_linear_resize_is_bit_identical_to_the_cpu(cupy, kernels, rng, size):
    """Smaller, larger, half and the same size."""
    images = random_images(rng)
    resized = kernels.resize_normalized([kernels.upload(image) for image in images], size, 1, SCALE, SHIFT)
    assert resized.dtype == np.float32
    assert np.array_equal(cupy.asnumpy(resized), resized_on_cpu(images, size, 1, SCALE, SHIFT))


def levels_apart(cupy, kernels, images, size):
    """Between cubic resize here and on the CPU, for every level."""
    resized = kernels.resize_normalized([kernels.upload(image) for image in images], size, 2, *LEVELS)
    return np.abs(cupy.asnumpy(resized) - resized_on_cpu(images, size, 2, *LEVELS))


@pytest.mark.parametrize("size", [(64, 64), (160, 120), (80, 60), (97, 31)])
def test_cubic_resize_differs_by_at_most_a_level(cupy, kernels, rng, size):
    assert levels_apart(cupy, kernels, random_images(rng), size).max() <= 1


@pytest.mark.parametrize("interpolation", [1, 2])
def test_resized_real_images_match_the_cpu(cupy, kernels, real_images, interpolation):
    size = (320, 320)
    resized = kernels.resize_normalized([kernels.upload(image) for image in real_images], size, interpolation, *LEVELS)
    apart = np.abs(cupy.asnumpy(resized) - resized_on_cpu(real_images, size, interpolation, *LEVELS))
    assert apart.max() <= (interpolation == 2)
    # OpenCV without Intel's library rounds the weights, which moves about 4% of the levels.
    assert (apart > 0).mean() < (1e-3 if cv2.ipp.useIPP() else 0.08)


@pytest.mark.parametrize("interpolation", [1, 2])
def test_an_image_of_the_target_size_is_unchanged(cupy, kernels, rng, interpolation):
    (image,) = random_images(rng, [(31, 47)])
    resized = kernels.resize_normalized([kernels.upload(image)], (47, 31), interpolation, SCALE, SHIFT)
    assert np.array_equal(cupy.asnumpy(resized), normalize(image[None], SCALE, SHIFT))


def test_no_images_make_an_empty_batch(kernels):
    assert kernels.resize_normalized([], (47, 31), 2, SCALE, SHIFT).shape == (0, 3, 31, 47)


@pytest.mark.parametrize("interpolation", [0, 3, 4])
def test_other_interpolations_are_refused(kernels, interpolation):
    with pytest.raises(ValueError, match=f"interpolation {interpolation} is not available on the GPU"):
        kernels.resize_normalized([], (47, 31), interpolation, SCALE, SHIFT)
