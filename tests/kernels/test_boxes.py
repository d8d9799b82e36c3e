import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi.kernels.boxes import box_iou, boxes_to_center_scale, clip_boxes, has_area, whole_image_center_scale

side = st.floats(0.5, 3000, width=32)
corner = st.floats(-500, 3000, width=32)


def array(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_clip_keeps_boxes_inside_the_image():
    boxes = array([-5, -5, 10, 10], [90, 40, 120, 60], [0, 0, 100, 50])
    assert clip_boxes(boxes, 100, 50).tolist() == [[0, 0, 10, 10], [90, 40, 100, 50], [0, 0, 100, 50]]


def test_boxes_without_area_are_recognised():
    assert has_area(array([0, 0, 1, 1], [5, 5, 5, 9], [5, 5, 4, 9], [0, 0, 9, 0])).tolist() == [
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([0, 0, 10, 10], 1),
        ([5, 0, 15, 10], 1 / 3),
        ([10, 0, 20, 10], 0),
        ([2, 2, 4, 4], 0.04),
        ([20, 20, 20, 20], 0),
    ],
)
def test_iou(other, expected):
    assert box_iou(array([0, 0, 10, 10]), array(other))[0, 0] == pytest.approx(expected)


def test_iou_of_two_empty_boxes_is_zero():
    assert box_iou(array([3, 3, 3, 3]), array([3, 3, 3, 3]))[0, 0] == 0


@pytest.mark.parametrize(
    ("box", "scale"),
    [
        ([0, 0, 30, 80], [60 * 1.25, 80 * 1.25]),  # tall: the width grows
        ([0, 0, 90, 80], [90 * 1.25, 120 * 1.25]),  # wide: the height grows
        ([0, 0, 60, 80], [60 * 1.25, 80 * 1.25]),  # already 3:4
    ],
)
def test_the_region_has_the_aspect_of_the_model_and_is_padded(box, scale):
    center, found = boxes_to_center_scale(array(box), 0.75, 1.25)
    assert center.tolist() == [[box[2] / 2, box[3] / 2]]
    assert found[0].tolist() == pytest.approx(scale)


@given(x=corner, y=corner, width=side, height=side, aspect=st.floats(0.3, 3), padding=st.floats(1, 2))
def test_the_region_covers_the_box(x, y, width, height, aspect, padding):
    box = array([x, y, x + width, y + height])
    center, scale = boxes_to_center_scale(box, aspect, padding)
    assert center.dtype == scale.dtype == np.float32
    assert scale[0, 0] == pytest.approx(scale[0, 1] * aspect, rel=1e-5)
    real_width, real_height = box[0, 2:] - box[0, :2]
    assert scale[0, 0] >= real_width * padding * (1 - 1e-5)
    assert scale[0, 1] >= real_height * padding * (1 - 1e-5)


def test_without_a_box_the_region_is_the_image():
    center, scale = whole_image_center_scale(359, 423)
    assert center.tolist() == [[179.5, 211.5]]
    assert scale.tolist() == [[359, 423]]
