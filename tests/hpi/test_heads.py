"""Heads: outputs of a network become instances in pixels of its input."""

import numpy as np
import pytest

from hpi.heads import HEADS
from hpi.heads.boxes import BoxesHead
from hpi.heads.heatmap import HeatmapHead
from hpi.heads.simcc import SimccHead
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


def blobs(places, width, height, grid):
    """Gaussians of sigma 2 cells at places of an input, in a grid of cells that spans it from corner to corner."""
    cells = places * ((grid[0] - 1) / (width - 1), (grid[1] - 1) / (height - 1))
    y, x = np.mgrid[: grid[1], : grid[0]]
    squared = (x - cells[..., 0, None, None]) ** 2 + (y - cells[..., 1, None, None]) ** 2
    return np.exp(-squared / 8).astype(np.float32)


@pytest.mark.parametrize(("size", "grid"), [((192, 256), (48, 64)), ((288, 384), (72, 96)), ((256, 256), (64, 64))])
def test_cells_between_corners_are_at_the_pixels_that_they_were_made_from(rng, size, grid):
    places = rng.uniform(np.array(size) * 0.2, np.array(size) * 0.8, (3, 17, 2))
    head = HeatmapHead(decoder="dark_udp", align="corners")
    found, _ = head.decode([blobs(places, *size, grid)], 3, size)
    assert np.abs(found.keypoints - places).max() < 0.05


def test_corners_are_corners():
    heatmaps = np.zeros((1, 2, 64, 48), np.float32)
    heatmaps[0, 0, 0, 0] = heatmaps[0, 1, 63, 47] = 1
    found, _ = HeatmapHead(decoder="quarter", align="corners").decode([heatmaps], 1, (192, 256))
    assert found.keypoints.tolist() == [[[0, 0], [191, 255]]]


def test_a_grid_of_one_cell_is_decoded():
    found, _ = HeatmapHead(decoder="dark_udp", align="corners").decode([np.ones((1, 1, 1, 1), np.float32)], 1, (8, 8))
    assert found.keypoints.tolist() == [[[0, 0]]]


def test_a_mirrored_blob_between_corners_is_fused_without_a_shift(rng):
    size, grid, order = (192, 256), (48, 64), np.array([1, 0, 2])
    places = rng.uniform(40, 150, (2, 3, 2))
    mirrored = (places * (-1, 1) + (size[0] - 1, 0))[:, order]
    head = HeatmapHead(decoder="dark_udp", align="corners")
    outputs, back = [blobs(places, *size, grid)], [blobs(mirrored, *size, grid)]
    (fused,) = head.fuse_flip(outputs, back, order)
    assert np.abs(fused - outputs[0]).max() < 1e-5


@pytest.mark.parametrize("decoder", ["dark", "dark_udp", "quarter"])
def test_heatmaps_may_have_channels_last(rng, decoder):
    heatmaps, mirrored = rng.random((2, 2, 5, 16, 12), np.float32)
    order = np.array([0, 2, 1, 3, 4])
    first, last = HeatmapHead(decoder=decoder), HeatmapHead(decoder=decoder, layout="nhwc")
    expected, _ = first.decode(first.fuse_flip([heatmaps], [mirrored], order), 2, (48, 64))
    outputs = last.fuse_flip([heatmaps.transpose(0, 2, 3, 1)], [mirrored.transpose(0, 2, 3, 1)], order)
    assert last.keypoints_in(outputs) == 5
    found, _ = last.decode(outputs, 2, (48, 64))
    assert np.array_equal(found.points, expected.points)


def test_only_dark_is_decoded_on_a_gpu():
    heads = [HeatmapHead(), HeatmapHead(align="corners"), HeatmapHead(layout="nhwc"), SimccHead()]
    heads += [HeatmapHead(decoder=decoder) for decoder in ("dark_udp", "quarter")]
    assert [head.decodes_on_gpu for head in heads] == [True, True, False, False, False, False]


def test_an_offset_between_corners_is_refused():
    with pytest.raises(ValueError, match="offset is of align: cells"):
        HeatmapHead(align="corners", offset=0.5)


def vectors(places, size, ratio=2):
    """SimCC vectors whose largest bins are at places ``[N, K, 2]`` of an input, in whole bins."""
    return [
        (np.arange(int(side * ratio)) == places[..., axis, None] * ratio).astype(np.float32)
        for axis, side in enumerate(size)
    ]


@pytest.mark.parametrize("keypoints", [17, 21, 26, 106, 133])
@pytest.mark.parametrize(
    ("size", "ratio"), [((192, 256), 2), ((288, 384), 2), ((256, 256), 2), ((10, 6), 3), ((7, 1), 1)]
)
def test_simcc_keypoints_are_where_they_were_planted(rng, keypoints, size, ratio):
    places = np.stack([rng.integers(0, side * ratio, (3, keypoints)) / ratio for side in size], axis=-1)
    found, items = SimccHead(split_ratio=ratio).decode(vectors(places, size, ratio), 3, size)
    assert np.abs(found.keypoints - places).max() < 1e-4
    assert (found.keypoint_scores == 1).all()
    assert items.tolist() == [0, 1, 2]


def test_simcc_keypoints_without_a_positive_maximum_are_just_outside():
    """As in mmpose, whose -1 is divided by the split ratio, too."""
    places = np.full((1, 3, 2), 5.0)
    along_x, along_y = vectors(places, (192, 256))
    along_x[0, 0] -= 2
    along_y[0, 1] = 0
    found, _ = SimccHead().decode([along_x, along_y], 1, (192, 256))
    assert found.keypoints.tolist() == [[[-0.5, -0.5], [-0.5, -0.5], [5, 5]]]
    assert found.keypoint_scores.tolist() == [[-1, 0, 1]]
    by_mean, _ = SimccHead(score="mean").decode([along_x, along_y], 1, (192, 256))
    assert by_mean.keypoint_scores.tolist() == [[0, 0.5, 1]]
    assert by_mean.keypoints[0, 1].tolist() == [5, 0]


def test_a_mirrored_person_is_fused_with_left_and_right_exchanged(rng):
    size, order = (192, 256), np.array([0, 2, 1, 4, 3])
    places = np.stack([rng.integers(0, side, (2, 5)) for side in size], axis=-1).astype(np.float64)
    outputs = vectors(places, size)
    # What the network gives for the mirrored input if its bins are mirrored with it.
    mirrored = [outputs[0][:, order, ::-1], outputs[1][:, order]]
    fused = SimccHead().fuse_flip(outputs, mirrored, order)
    assert all(np.array_equal(one, other) for one, other in zip(fused, outputs, strict=True))
    (along_x, along_y) = SimccHead().fuse_flip(outputs, [np.zeros_like(one) for one in outputs], order)
    assert along_x.max() == along_y.max() == 0.5


@pytest.mark.parametrize(
    ("along_x", "along_y"),
    [
        (np.zeros((1, 17, 8), np.float32), np.zeros((1, 16, 8), np.float32)),
        (np.zeros((1, 17, 8), np.float32), np.zeros((2, 17, 8), np.float32)),
        (np.zeros((1, 17, 8), np.float64), np.zeros((1, 17, 8), np.float32)),
        (np.zeros((1, 17, 8), np.float32), np.zeros((1, 17, 8), np.float16)),
        (np.zeros((1, 17, 8, 1), np.float32), np.zeros((1, 17, 8, 1), np.float32)),
        (np.zeros((1, 17), np.float32), np.zeros((1, 17), np.float32)),
    ],
)
def test_what_is_not_simcc_vectors_is_refused(along_x, along_y):
    with pytest.raises(ValueError, match="is not SimCC vectors along x and y"):
        SimccHead().keypoints_in([along_x, along_y])


@pytest.mark.parametrize("bins", [(512, 384), (384, 384), (192, 256), (0, 512)])
def test_vectors_that_do_not_fit_the_input_are_refused(bins):
    outputs = [np.zeros((1, 17, length), np.float32) for length in bins]
    with pytest.raises(ValueError, match="192x256 pixels, where split_ratio 2 makes 384 along x and 512 along y"):
        SimccHead().decode(outputs, 1, (192, 256))


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
