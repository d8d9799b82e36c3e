import numpy as np
import pytest

from hpi.kernels.flip import fuse_flipped, mirror


def test_mirroring_twice_changes_nothing(rng):
    batch = rng.integers(0, 256, (2, 8, 6, 3), np.uint8)
    assert mirror(batch).flags.c_contiguous
    assert np.array_equal(mirror(batch)[:, :, 0], batch[:, :, -1])
    assert np.array_equal(mirror(mirror(batch)), batch)


@pytest.mark.parametrize("shift", [True, False])
def test_fusing_matches_the_reference(rng, shift):
    heatmaps, mirrored = rng.random((2, 4, 5, 5, 7), np.float32)
    expected = np.empty_like(heatmaps)
    partner = {0: 0, 1: 2, 2: 1, 3: 3, 4: 4}
    for person in range(4):
        for keypoint in range(5):
            back = mirrored[person, partner[keypoint], :, ::-1].copy()
            if shift:
                back[:, 1:] = back[:, :-1].copy()
            expected[person, keypoint] = (heatmaps[person, keypoint] + back) / 2
    assert np.array_equal(fuse_flipped(heatmaps, mirrored, np.array([0, 2, 1, 3, 4]), shift=shift), expected)


def test_a_symmetric_map_is_unchanged(rng):
    half = rng.random((1, 1, 4, 3), np.float32)
    symmetric = np.concatenate([half, half[..., ::-1]], axis=-1)
    assert np.array_equal(fuse_flipped(symmetric, symmetric, np.arange(1), shift=False), symmetric)
