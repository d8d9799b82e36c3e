"""Sessions that normalise uint8 images themselves, against floats made with the reference's arithmetic."""

import numpy as np
import pytest

from hpi.backends import BACKENDS
from hpi.kernels.normalize import normalize
from hpi.zoo import Zoo

from support import ROUNDING, assert_same_detections, float_files


@pytest.mark.full
@pytest.mark.parametrize("name", ["MoveNet-Thunder_256x256", "PicoDet-S_person_416"])
def test_uint8_images_match_normalized_floats(options, rng, name):
    pytest.importorskip("openvino")
    spec = Zoo.default().find(name)
    width, height = spec.input_size
    images = rng.integers(0, 256, (2, height, width, 3), np.uint8)
    normalization = spec.files.normalization
    tensor = normalize(images, normalization.scale, normalization.shift)
    others = {"scale_factor": np.ones((2, 2), np.float32)} if name.startswith("PicoDet") else {}
    with (
        BACKENDS["openvino"].load(spec.files, options) as raw,
        BACKENDS["openvino"].load(float_files(name), options) as plain,
    ):
        taken = {of_input.name: of_input for of_input in raw.info.inputs}["image"]
        assert (taken.dtype, taken.shape[1:]) == (np.uint8, (height, width, 3))
        found = raw.run({"image": images, **others})
        expected = plain.run({"image": tensor, **others})
    if name.startswith("PicoDet"):
        assert_same_detections(found, expected)
    else:
        assert np.abs(found[0] - expected[0]).max() < ROUNDING
