import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpi.kernels.boxes import box_iou
from hpi.kernels.nms import NmsSpec, batched_nms, best_first, box_similarity, multiclass_nms, oks_similarity, suppress

SPEC = NmsSpec(score_threshold=0.1, iou_threshold=0.5, per_class=1000, per_image=100)


def one_by_one(boxes, scores, spec):
    """The definition: each class by descending score, a box stays unless a kept one overlaps it."""
    rows = []
    suppresses = box_iou(boxes, boxes) > np.float32(spec.iou_threshold)
    for index, of_class in enumerate(scores):
        kept = []
        for box in np.argsort(-of_class, kind="stable"):
            suppressed = suppresses[kept, box].any()
            if of_class[box] > spec.score_threshold and not suppressed and len(kept) < spec.per_class:
                kept.append(box)
        rows += [[index, of_class[box], *boxes[box]] for box in kept]
    rows = np.array(rows, np.float32).reshape(-1, 6)
    return rows[np.argsort(-rows[:, 1], kind="stable")][: spec.per_image]


def scattered(rng, count, classes=1):
    """Boxes around a few places, and many equal scores."""
    corners = rng.integers(0, 4, (count, 2)) * 40 + rng.uniform(0, 30, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 40, (count, 2))], axis=1).astype(np.float32)
    return boxes, rng.integers(0, 20, (classes, count)).astype(np.float32) / 20


def test_the_best_of_overlapping_boxes_stays():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]], np.float32)
    rows = multiclass_nms(boxes, np.array([[0.5, 0.9, 0.2]], np.float32), SPEC)
    assert rows.dtype == np.float32
    assert rows.tolist() == [[0, pytest.approx(0.9), 1, 0, 11, 10], [0, pytest.approx(0.2), 20, 0, 30, 10]]


def test_classes_do_not_suppress_each_other():
    boxes = np.array([[0, 0, 10, 10]], np.float32)
    rows = multiclass_nms(boxes, np.array([[0.5], [0.75]], np.float32), SPEC)
    assert rows[:, :2].tolist() == [[1, 0.75], [0, 0.5]]


def test_a_score_at_the_threshold_is_too_low():
    boxes = np.array([[0, 0, 10, 10]], np.float32)
    assert multiclass_nms(boxes, np.array([[0.5]], np.float32), NmsSpec(0.5, 0.5, 10, 10)).shape == (0, 6)


@pytest.mark.parametrize(("per_class", "per_image", "rows"), [(2, 100, 6), (1000, 5, 5), (2, 5, 5)])
def test_limits_hold(per_class, per_image, rows):
    boxes = np.array([[40 * index, 0, 40 * index + 10, 10] for index in range(4)], np.float32)
    scores = np.linspace(0.2, 0.9, 12, dtype=np.float32).reshape(3, 4)
    assert len(multiclass_nms(boxes, scores, NmsSpec(0.1, 0.5, per_class, per_image))) == rows


@given(st.integers(0, 2**32 - 1), st.integers(0, 200), st.integers(1, 3), st.integers(1, 40))
def test_nms_matches_its_definition(seed, count, classes, limit):
    boxes, scores = scattered(np.random.default_rng(seed), count, classes)
    spec = NmsSpec(0.1, 0.5, 1000, limit)
    assert np.array_equal(multiclass_nms(boxes, scores, spec), one_by_one(boxes, scores, spec))


def test_a_batch_equals_its_images_one_by_one(rng):
    images = [scattered(rng, 150, 2) for _ in range(3)]
    boxes, scores = (np.stack(of_all) for of_all in zip(*images, strict=True))
    scores[1] = 0
    rows, counts = batched_nms(boxes, scores, SPEC)
    alone = [multiclass_nms(*image, SPEC) for image in zip(boxes, scores, strict=True)]
    assert counts.dtype == np.int32
    assert counts.tolist() == [len(one) for one in alone]
    assert counts[1] == 0
    assert np.array_equal(rows, np.concatenate(alone))


@given(st.integers(0, 2**32 - 1), st.integers(0, 120), st.integers(1, 3), st.integers(1, 80))
def test_only_the_best_candidates_of_an_image_are_compared(seed, count, classes, candidates):
    boxes, scores = scattered(np.random.default_rng(seed), count, classes)
    best = np.argsort(-scores.ravel(), kind="stable")[:candidates]
    only = np.zeros_like(scores)
    only.ravel()[best] = scores.ravel()[best]
    rows = multiclass_nms(boxes, scores, NmsSpec(0.1, 0.5, 1000, 100, candidates))
    assert np.array_equal(rows, one_by_one(boxes, only, SPEC))


def test_the_best_come_first_and_of_equal_ones_the_first():
    scores = np.float32([0.5, 0.9, 0.1, 0.5, 0.9])
    assert best_first(scores, 0.1).tolist() == [1, 4, 0, 3]
    assert best_first(scores, 0.1, 3).tolist() == [1, 4, 0]
    assert best_first(scores, 0.9).tolist() == []


def oks_of_two(person, other, area, sigmas):
    """As COCO defines it, for one pair."""
    terms = []
    for (x, y), (other_x, other_y), sigma in zip(person, other, sigmas, strict=True):
        squared = (float(x) - float(other_x)) ** 2 + (float(y) - float(other_y)) ** 2
        terms.append(np.exp(-squared / (2 * area * (2 * sigma) ** 2)))
    return np.mean(terms)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 90), st.integers(1, 20))
def test_people_are_suppressed_by_the_oks_of_the_better_one(seed, count, most):
    rng = np.random.default_rng(seed)
    boxes, (scores,) = scattered(rng, count)
    keypoints = (boxes[:, None, :2] + rng.uniform(0, 5, (count, 3, 2))).astype(np.float32)
    classes, sigmas = rng.integers(0, 2, count), [0.03, 0.06, 0.1]
    areas = np.prod((boxes[:, 2:] - boxes[:, :2]).astype(np.float64), axis=1)
    expected = []
    for row in np.argsort(-scores, kind="stable"):
        alike = (
            classes[better] == classes[row]
            and oks_of_two(keypoints[better], keypoints[row], areas[better], sigmas) > 0.5
            for better in expected
        )
        if scores[row] > 0.1 and not any(alike) and len(expected) < most:
            expected.append(row)
    similarity = oks_similarity(keypoints, boxes, sigmas, classes)
    assert suppress(scores, similarity, above=0.1, alike=0.5, most=most).tolist() == expected


def test_boxes_of_different_classes_are_not_alike():
    boxes = np.array([[0, 0, 10, 10]] * 3, np.float32)
    similarity = box_similarity(boxes, np.array([0, 1, 0]))
    assert suppress(np.float32([0.9, 0.8, 0.7]), similarity, above=0.1, alike=0.5, most=9).tolist() == [0, 1]
