"""Heads: outputs of a network become instances in pixels of its input."""

import numpy as np
import pytest

from hpi.heads import HEADS
from hpi.heads.boxes import BoxesHead
from hpi.heads.heatmap import HeatmapHead
from hpi.skeletons import load_skeleton

GOLDEN = {"coco_256x192": "coco17", "coco_384x288": "coco17", "mpii_256x256": "mpii16"}
"""What PaddleDetection's own postprocessing makes of heatmaps with hard cases."""


@pytest.fixture(params=GOLDEN)
def golden(request, shared):
    file = shared / "zoo" / "golden" / "topdown_postprocess" / f"{request.param}.npz"
    return np.load(file), load_skeleton(GOLDEN[request.param])


@pytest.mark.parametrize("decoder", ["dark", "quarter"])
def test_heatmaps_decode_as_in_the_reference(golden, decoder):
    expected, _ = golden
    height, width = expected["heatmap"].shape[2:]
    found, items = HeatmapHead(decoder=decoder).decode([expected["heatmap"]], 3, (4 * width, 4 * height))
    assert items.tolist() == [0, 1, 2]
    # The reference maps cells to the image that the crop was made of: the crop's width becomes the image's.
    image_height, image_width = expected["im_shape"].T[:, :, None]
    scale = image_width / (4 * width)
    x = image_width / 2 + (found.keypoints[..., 0] - 2 * width) * scale
    y = image_height / 2 + (found.keypoints[..., 1] - 2 * height) * scale
    reference = expected[f"keypoints_{decoder}"]
    assert np.array_equal(found.keypoint_scores, reference[..., 2])
    known = np.isfinite(reference).all(axis=-1)  # a map without a positive value: the reference divides by zero
    # It rounds the centre of the image, half a pixel at most.
    middle = np.abs(np.round(np.stack([image_width, image_height]) / 2) - np.stack([image_width, image_height]) / 2)
    assert np.abs(x - reference[..., 0])[known].max() < 1e-2 + middle[0].max()
    assert np.abs(y - reference[..., 1])[known].max() < 1e-2 + middle[1].max()


def test_flipped_heatmaps_are_fused_as_in_the_reference(golden):
    expected, skeleton = golden
    outputs, mirrored = [expected["heatmap"]], [expected["flipped_output"]]
    (shifted,) = HeatmapHead().fuse_flip(outputs, mirrored, skeleton.mirrored)
    (plain,) = HeatmapHead(offset=0.5).fuse_flip(outputs, mirrored, skeleton.mirrored)
    assert np.abs(shifted - expected["fused_shifted"]).max() < 1e-6
    assert np.abs(plain - expected["fused_plain"]).max() < 1e-6


@pytest.mark.parametrize(
    "heatmaps", [np.zeros((1, 17, 64), np.float32), np.zeros((1, 17, 64, 48)), np.zeros((1, 17, 64, 48), np.int64)]
)
def test_what_is_not_heatmaps_is_refused(heatmaps):
    with pytest.raises(ValueError, match="is not heatmaps"):
        HeatmapHead().decode([heatmaps], 1, (192, 256))


def test_boxes_belong_to_the_images_that_their_counts_say():
    rows = np.array([[0, 0.9, 1, 2, 3, 4], [-1, 0, 0, 0, 0, 0], [2, 0.5, 5, 6, 7, 8]], np.float32)
    found, items = BoxesHead().decode([rows, np.array([0, 2, 1])], 3, (320, 320))
    assert items.tolist() == [1, 2]
    assert found.class_ids.tolist() == [0, 2]
    assert found.boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


@pytest.mark.parametrize("counts", [[3, 0], [2], [-1, 4, 0], [1, 1, 1], [1.0, 1.0, 1.0]])
def test_boxes_whose_counts_do_not_fit_are_refused(counts):
    rows = np.zeros((2, 6), np.float32)
    with pytest.raises(ValueError, match="are not boxes"):
        BoxesHead().decode([rows, np.array(counts)], 3, (320, 320))


def test_every_head_has_the_type_that_it_is_known_by():
    assert {name: head().type for name, head in HEADS.items()} == {name: name for name in HEADS}
