import numpy as np
import pytest

from hpi.kernels.normalize import normalize
from hpi.models.readers.paddle import NormalizeImage


def normalized(images, mean, std, *, is_scale=True):
    """As the yml of a model configures it."""
    yml = NormalizeImage(type="NormalizeImage", mean=mean, std=std, is_scale=is_scale)
    return normalize(images, yml.normalization.scale, yml.normalization.shift)


IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@pytest.mark.parametrize("is_scale", [True, False])
def test_normalisation_is_bit_identical_to_the_reference(rng, is_scale):
    """x * alpha + beta in float32, channel by channel over RGB planes."""
    mean, std = IMAGENET
    images = rng.integers(0, 256, (3, 20, 30, 3), np.uint8)
    unit = 1 / 255 if is_scale else 1.0
    expected = np.empty((3, 3, 20, 30), np.float32)
    for channel in range(3):
        plane = images[..., 2 - channel].astype(np.float32)
        plane *= np.float32(unit / std[channel])
        plane += np.float32(-mean[channel] / std[channel])
        expected[:, channel] = plane
    ours = normalized(images, mean, std, is_scale=is_scale)
    assert ours.dtype == np.float32
    assert ours.flags.c_contiguous
    assert np.array_equal(ours, expected)


def test_normalisation_matches_the_textbook_formula(rng):
    mean, std = IMAGENET
    images = rng.integers(0, 256, (2, 8, 8, 3), np.uint8)
    textbook = (images[..., ::-1].transpose(0, 3, 1, 2) / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(
        std, (3, 1, 1)
    )
    assert np.abs(normalized(images, mean, std) - textbook).max() < 1e-6
