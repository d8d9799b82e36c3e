"""Transforms: from an image to the input of a network, and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpi.devices import OnHost
from hpi.instances import Instances
from hpi.transforms import CenteredLetterbox, Fit, Inverse, Letterbox, Regions, RoundedLetterbox, Stretch, TopDownAffine

HOST = OnHost({})

place = st.floats(-200, 2000, width=32)
extent = st.floats(2, 2000, width=32)


def image(rng, width, height):
    return rng.integers(0, 256, (height, width, 3), np.uint8)


@given(x=place, y=place, width=extent, height=extent, udp=st.booleans(), data=st.data())
def test_keypoints_come_back_to_where_they_were(x, y, width, height, udp, data):
    """From the image through the crop's matrix into the crop, and back."""
    from hpi.kernels.affine import crop_matrices

    size = (192, 256)
    center, scale = np.array([[x, y]], np.float32), np.array([[width, height]], np.float32)
    share = data.draw(st.lists(st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)), min_size=1, max_size=5))
    points = center[:, None] + np.array([share]) * scale[:, None]
    (matrix,) = crop_matrices(center, scale, size, udp=udp)
    in_crop = points @ matrix[:, :2].T + matrix[:, 2]
    prepared = TopDownAffine(size, udp).prepare(HOST, [np.zeros((4, 4, 3), np.uint8)], [Regions(center, scale)])
    found = Instances(np.ones(1), keypoints=in_crop, keypoint_scores=np.ones(in_crop.shape[:2]))
    back = prepared.inverse.apply(found, np.zeros(1, np.int64)).keypoints
    assert back.dtype == np.float32
    # The matrix is made from points rounded to float32, and so are the points in the crop: half a unit in the last
    # place of ~4000, over the crop's width.
    tolerance = 1e-3 * max(1.0, width / 96, height / 96, abs(x) / width, abs(y) / width)
    assert np.abs(back - points).max() < tolerance


side = st.integers(96, 512)
corner = st.floats(-100, 2000, width=32)
length = st.floats(8, 1000, width=32)


def udp_matrix(center, scale, size):
    """The reference's: between pixel centres, each side by its own factor."""
    k = (np.array(size) - 1.0) / scale
    return np.column_stack([np.diag(k), k * (scale / 2 - center)])


@given(x=corner, y=corner, width=length, height=length, crop_width=side, crop_height=side)
def test_udp_takes_a_region_to_the_crop_and_back(x, y, width, height, crop_width, crop_height):
    """By the reference's matrix into the crop; from a model's corners back to within a thousandth of a pixel."""
    from hpi.kernels.affine import crop_matrices

    size = crop_width, crop_height
    transform = TopDownAffine(size, udp=True)
    regions = transform.regions(np.array([[x, y, x + width, y + height]], np.float32), None)
    center, scale = regions.center[0].astype(np.float64), regions.scale[0].astype(np.float64)
    expected = udp_matrix(center, scale, size)
    (matrix,) = crop_matrices(regions.center, regions.scale, size, udp=True)
    assert matrix == pytest.approx(expected, rel=1e-6, abs=1e-6 * np.abs(expected).max())

    points = center + np.random.default_rng(0).uniform(-0.5, 0.5, (8, 2)) * (width, height)
    in_crop = points @ matrix[:, :2].T + matrix[:, 2]
    inverse = transform.prepare(HOST, [np.zeros((4, 4, 3), np.uint8)], [regions]).inverse
    ends = np.array([(0, 0), (crop_width - 1, crop_height - 1)])
    found = Instances([1], keypoints=[[*in_crop, *ends]], keypoint_scores=np.ones((1, 10)))
    back = inverse.apply(found, np.zeros(1, np.int64)).keypoints[0]
    reference = found.keypoints[0] / (np.array(size) - 1.0) * scale + center - scale / 2
    assert np.abs(back - reference).max() < 1e-3
    assert np.abs(back[:8] - points).max() < 1e-3
    assert np.abs(back[8:] - [center - scale / 2, center + scale / 2]).max() < 1e-3


@pytest.mark.parametrize(("width", "height"), [(640, 480), (100, 300), (31, 17), (320, 320), (5000, 10)])
def test_a_letterbox_keeps_the_aspect_ratio(rng, width, height):
    prepared = Letterbox((320, 320), fill=(1, 2, 3)).prepare(HOST, [image(rng, width, height)])
    ratio = min(320 / width, 320 / height)
    inner_height, inner_width = (max(1, int(side * ratio + 1e-9)) for side in (height, width))
    assert prepared.batch.shape == (1, 320, 320, 3)
    assert prepared.scaled.tolist() == [[inner_height, inner_width]]
    assert prepared.scale == pytest.approx(np.full((1, 2), ratio))
    padding = np.ones((320, 320), bool)
    padding[:inner_height, :inner_width] = False
    assert (prepared.batch[0][padding] == (3, 2, 1)).all()  # BGR
    corner = Instances([1.0], boxes=[[0, 0, width * ratio, height * ratio]])
    assert prepared.inverse.apply(corner, np.zeros(1, np.int64)).boxes == pytest.approx(
        np.array([[0, 0, width, height]]), rel=1e-6
    )


side = st.integers(1, 1500)
WHOLE_SIDE = st.integers(1, 20).map(lambda count: 32 * count)


@settings(max_examples=30)
@given(width=side, height=side, into=st.tuples(WHOLE_SIDE, WHOLE_SIDE), data=st.data())
def test_places_come_back_through_each_letterbox(width, height, into, data):
    """There by the formulas of mmdeploy, Ultralytics and mmpose, and back by the transforms."""
    share = data.draw(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5))
    points = np.array(share) * (width, height)
    ratio = min(into[0] / width, into[1] / height)
    rounded = [max(round(of * ratio), 1) for of in (width, height)]
    begin = [round((side - of) / 2 - 0.1) for side, of in zip(into, rounded, strict=True)]
    middle = np.round(np.array([width, height]) / 2)
    half_up = np.maximum(np.floor(np.array([width, height]) * ratio + 0.5), 1)
    there = {
        Letterbox(into): points * ratio,
        RoundedLetterbox(into): points * (half_up / (width, height)),
        CenteredLetterbox(into): points * ratio + begin,
        Fit(into): (points - middle) * ratio + np.array(into) / 2,
    }
    for transform, in_input in there.items():
        prepared = transform.prepare(HOST, [np.zeros((height, width, 3), np.uint8)])
        assert prepared.batch.shape == (1, into[1], into[0], 3)
        found = Instances(np.ones(1), keypoints=in_input[None], keypoint_scores=np.ones((1, len(points))))
        back = prepared.inverse.apply(found, np.zeros(1, np.int64)).keypoints[0]
        # Places are float32, in the input and in the image.
        rounding = np.spacing(np.float32(max(into))) / ratio + np.spacing(np.float32(max(width, height)))
        assert np.abs(back - points).max() < max(1e-3, rounding)


@settings(max_examples=30)
@given(width=side, height=side, into=st.tuples(WHOLE_SIDE, WHOLE_SIDE))
def test_the_middle_of_a_letterbox_is_where_ultralytics_has_it(width, height, into):
    ratio = min(into[0] / width, into[1] / height)
    inside = [max(round(of * ratio), 1) for of in (width, height)]
    left, top = (round((side - of) / 2 - 0.1) for side, of in zip(into, inside, strict=True))
    white = np.full((height, width, 3), 255, np.uint8)
    prepared = CenteredLetterbox(into, fill=(114, 114, 114)).prepare(HOST, [white])
    expected = np.full((into[1], into[0]), 114)
    expected[top : top + inside[1], left : left + inside[0]] = 255
    assert np.array_equal(prepared.batch[0, ..., 0], expected)
    assert prepared.scaled.tolist() == [inside[::-1]]


@pytest.mark.parametrize(("width", "height"), [(640, 480), (101, 333), (64, 64)])
def test_an_image_that_is_fitted_is_in_the_middle(rng, width, height):
    """A white image in black: the rest has the colour, and the middle of the image is in the middle."""
    picture = np.zeros((height, width, 3), np.uint8)
    middle = np.round(np.array([width, height]) / 2).astype(int)
    picture[middle[1] - 8 : middle[1] + 9, middle[0] - 8 : middle[0] + 9] = 255
    prepared = Fit((128, 96), fill=(1, 2, 3)).prepare(HOST, [picture])
    ratio = min(128 / width, 96 / height)
    inner_width, inner_height = width * ratio, height * ratio
    seen = prepared.batch[0]
    y, x = np.nonzero(seen[..., 0] > 127)
    assert abs(x.mean() - 64) < 0.5
    assert abs(y.mean() - 48) < 0.5
    outside = np.ones((96, 128), bool)
    left, top = 64 - middle[0] * ratio, 48 - middle[1] * ratio
    outside[max(int(top) - 1, 0) : int(top + inner_height) + 2, max(int(left) - 1, 0) : int(left + inner_width) + 2] = (
        False
    )
    assert (seen[outside] == (3, 2, 1)).all()
    assert prepared.scaled.tolist() == [pytest.approx([inner_height, inner_width])]


def test_an_image_of_the_input_s_size_is_left_as_it_is(rng):
    original = image(rng, 64, 32)
    for transform in (Letterbox((64, 32)), CenteredLetterbox((64, 32)), Fit((64, 32)), Stretch((64, 32))):
        prepared = transform.prepare(HOST, [original])
        assert np.array_equal(prepared.batch[0], original)
        assert prepared.inverse.factor.tolist() == [[1, 1]]


def test_a_stretch_scales_each_side_by_its_own(rng):
    prepared = Stretch((50, 40)).prepare(HOST, [image(rng, 100, 200), image(rng, 25, 40)])
    assert prepared.inverse.factor.tolist() == [[2, 5], [0.5, 1]]
    assert prepared.scale.tolist() == [[0.2, 0.5], [1, 2]]
    assert prepared.scaled.tolist() == [[40, 50], [40, 50]]


def test_an_inverse_moves_each_instance_by_its_own_item():
    inverse = Inverse(np.array([[1.0, 2.0], [10.0, 10.0]]), np.array([[0.0, 0.0], [5.0, 7.0]]))
    found = Instances([1, 1], boxes=[[1, 1, 2, 2]] * 2, keypoints=[[[1, 1]]] * 2, keypoint_scores=[[1], [1]])
    moved = inverse.apply(found, np.array([1, 0]))
    assert moved.boxes.tolist() == [[15, 17, 25, 27], [1, 2, 2, 4]]
    assert moved.keypoints.tolist() == [[[15, 17]], [[1, 2]]]
