"""Heads of detectors and one-stage models: planted values, and slow plain readings of the same outputs."""

import numpy as np
import pytest

from hpi.heads import HEADS
from hpi.heads.dets import DetsHead
from hpi.heads.multipose import MultiposeHead
from hpi.heads.rtmdet import RtmdetHead
from hpi.heads.rtmo import RtmoHead
from hpi.heads.yolo26_boxes import Yolo26BoxesHead
from hpi.heads.yolo26_pose import Yolo26PoseHead
from hpi.heads.yolo_boxes import YoloBoxesHead
from hpi.heads.yolo_pose import YoloPoseHead
from hpi.heads.yolox import YoloxHead
from hpi.skeletons import load_skeleton

SIZE = (64, 96)
CELLS = 8 * 12 + 4 * 6 + 2 * 3
"""Of the strides 8, 16 and 32 in an input of that size."""
KEEP_ALL = {"score_threshold": 0.0, "iou_threshold": 1.0, "most": 10_000, "candidates": 100_000}


def zeros(*shape):
    return np.zeros(shape, np.float32)


def by_score(found):
    return found[np.argsort(-found.scores, kind="stable")]


# Raw outputs against a plain reading


def test_yolox_is_read_cell_by_cell(rng):
    rows = rng.normal(0, 1, (2, CELLS, 7)).astype(np.float32)
    rows[..., 4:] = rng.uniform(0.1, 1, (2, CELLS, 3))
    expected = []
    for item in range(2):
        place = 0
        for stride in (8, 16, 32):
            for y in range(SIZE[1] // stride):
                for x in range(SIZE[0] // stride):
                    dx, dy, log_w, log_h, objectness, *classes = rows[item, place].tolist()
                    place += 1
                    cx, cy, w, h = (dx + x) * stride, (dy + y) * stride, np.exp(log_w) * stride, np.exp(log_h) * stride
                    for index, score in enumerate(classes):
                        box = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
                        expected.append([item, index, objectness * score, *box])
    found, items = YoloxHead(**KEEP_ALL).decode([rows], 2, SIZE)
    read = np.column_stack([items, found.class_ids, found.scores, found.boxes])
    expected = np.array(expected)
    order = [np.lexsort((one[:, 3], one[:, 2], one[:, 1], one[:, 0])) for one in (read, expected)]
    np.testing.assert_allclose(read[order[0]], expected[order[1]], rtol=1e-4, atol=1e-3)


def test_rtmdet_is_read_cell_by_cell(rng):
    levels = [rng.normal(0, 2, (1, 96 // stride, 64 // stride, 6)).astype(np.float32) for stride in (8, 16, 32)]
    expected = []
    for level, stride in zip(levels, (8, 16, 32), strict=True):
        for y, x in np.ndindex(level.shape[1:3]):
            *logits, left, top, right, bottom = level[0, y, x].tolist()
            box = [x * stride - left, y * stride - top, x * stride + right, y * stride + bottom]
            expected += [[index, 1 / (1 + np.exp(-logit)), *box] for index, logit in enumerate(logits)]
    found, items = RtmdetHead(**KEEP_ALL).decode(levels[::-1], 1, SIZE)
    expected = np.array(expected)
    expected = expected[np.argsort(-expected[:, 1], kind="stable")]
    assert items.tolist() == [0] * len(expected)
    np.testing.assert_allclose(found.scores, expected[:, 1], atol=1e-6)
    order = [np.lexsort((one[:, 0], one[:, 1])) for one in (found.boxes, expected[:, 2:])]
    np.testing.assert_allclose(found.boxes[order[0]], expected[order[1], 2:], atol=1e-4)


@pytest.mark.parametrize("suppress", [{"suppress": "box"}, {"suppress": "oks", "sigmas": (0.06,) * 5}])
def test_yolo_pose_is_read_column_by_column(rng, suppress):
    columns = rng.uniform(5, 60, (2, 4 + 2 + 3 * 5, CELLS)).astype(np.float32)
    columns[:, 4:6] = rng.uniform(0.01, 1, (2, 2, CELLS))
    head = YoloPoseHead(classes=2, keypoints=5, **suppress, **KEEP_ALL)
    found, items = head.decode([columns], 2, SIZE)
    assert items.tolist() == [0] * CELLS + [1] * CELLS
    for item in range(2):
        expected = sorted(columns[item].T.tolist(), key=lambda row: -max(row[4:6]))
        for person, row in zip(found[items == item], expected, strict=True):
            cx, cy, w, h, first, second, *points = row
            assert person.scores[0] == np.float32(max(first, second))
            assert person.class_ids[0] == int(second > first)
            np.testing.assert_allclose(person.boxes[0], [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], atol=1e-4)
            np.testing.assert_allclose(person.points[0].ravel(), points, atol=1e-4)


# Planted values


@pytest.mark.parametrize("classes", [1, 3])
def test_rtmdet_with_classes_and_distances_in_outputs_of_their_own(rng, classes):
    """As mmdeploy's SDK takes them."""
    sizes = [(96 // stride, 64 // stride) for stride in (8, 16, 32)]
    levels = [rng.normal(0, 2, (2, *size, classes + 4)).astype(np.float32) for size in sizes]
    split = [level.transpose(0, 3, 1, 2) for level in levels]
    outputs = [level[:, :classes] for level in split] + [level[:, classes:] for level in split]
    found, items = RtmdetHead(**KEEP_ALL).decode(outputs, 2, SIZE)
    expected, of_expected = RtmdetHead(**KEEP_ALL).decode(levels, 2, SIZE)
    assert np.array_equal(items, of_expected)
    assert np.array_equal(found.boxes, expected.boxes) and np.array_equal(found.class_ids, expected.class_ids)


@pytest.mark.parametrize("kind", ["yolo_boxes", "yolo_pose", "yolox", "rtmdet"])
def test_suppression_compares_so_many_candidates_at_most(monkeypatch, kind):
    """Where a network says yes everywhere."""
    compared = []
    monkeypatch.setattr("hpi.kernels.nms.box_iou", lambda a, b: compared.append(len(b)) or np.zeros((len(a), len(b))))
    side = 640
    cells = sum((side // stride) ** 2 for stride in (8, 16, 32))
    outputs = {
        "yolo_boxes": [np.full((1, 5, cells), 0.9, np.float32)],
        "yolo_pose": [np.full((1, 56, cells), 0.9, np.float32)],
        "yolox": [np.full((1, cells, 6), 0.9, np.float32)],
        "rtmdet": [np.full((1, side // stride, side // stride, 5), 9, np.float32) for stride in (8, 16, 32)],
    }
    found, _ = HEADS[kind](candidates=130, most=10_000).decode(outputs[kind], 1, (side, side))
    assert len(found) == 130
    assert sum(compared) <= 2 * 130


# What OKS needs to know


def test_oks_takes_the_sigmas_of_the_skeleton():
    skeleton = load_skeleton("coco17")
    assert YoloPoseHead(suppress="oks").of_skeleton(skeleton).sigmas == skeleton.sigmas
    own = YoloPoseHead(suppress="oks", sigmas=(0.1,) * 17)
    assert own.of_skeleton(skeleton) is own
    by_box = YoloPoseHead()
    assert by_box.of_skeleton(None) is by_box


@pytest.mark.parametrize(
    ("skeleton", "message"),
    [(None, "nothing names its skeleton"), (load_skeleton("lapa106_face"), "the skeleton lapa106_face has none")],
)
def test_oks_without_sigmas_is_an_error_that_says_what_to_give(skeleton, message):
    with pytest.raises(ValueError, match=f"suppress: oks needs the sigmas .*{message}; give sigmas, .* suppress: box"):
        YoloPoseHead(suppress="oks").of_skeleton(skeleton)


def test_yolo_boxes_of_a_class_suppress_each_other_only():
    columns = zeros(1, 4 + 3, CELLS)
    columns[0, :4, :4] = np.array([30, 40, 20, 20])[:, None]
    columns[0, 4:, 0] = 0.2, 0.9, 0.1
    columns[0, 4:, 1] = 0.0, 0.8, 0.0  # the same box of the same class
    columns[0, 4:, 2] = 0.7, 0.1, 0.0  # of another one
    columns[0, 4:, 3] = 0.0, 0.0, 0.04  # not above the threshold
    found, items = YoloBoxesHead(classes=3).decode([columns], 1, SIZE)
    assert items.tolist() == [0, 0]
    assert found.class_ids.tolist() == [1, 0]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])
    assert found.boxes.tolist() == [[20, 30, 40, 50]] * 2


def test_people_with_one_box_but_other_keypoints_are_two_by_oks():
    columns = zeros(1, 5 + 6, CELLS)
    columns[0, :4, :3] = np.array([30, 40, 20, 20])[:, None]
    columns[0, 4, :3] = 0.9, 0.8, 0.7
    columns[0, 5:, :2] = np.array([22, 32, 0.9, 24, 34, 0.8])[:, None]
    columns[0, 5:, 2] = 38, 48, 0.9, 36, 46, 0.8
    by_box, _ = YoloPoseHead().decode([columns], 1, SIZE)
    by_oks, _ = YoloPoseHead(suppress="oks", sigmas=(0.05, 0.05)).decode([columns], 1, SIZE)
    assert by_box.scores.tolist() == pytest.approx([0.9])
    assert by_oks.scores.tolist() == pytest.approx([0.9, 0.7])
    assert by_oks.keypoints[1].tolist() == [[38, 48], [36, 46]]


def test_keypoints_without_scores_have_that_of_their_person():
    columns = zeros(1, 5 + 4, CELLS)
    columns[0, :, 7] = 30, 40, 20, 20, 0.75, 1, 2, 3, 4
    found, _ = YoloPoseHead(dimensions=2).decode([columns], 1, SIZE)
    assert found.points.tolist() == [[[1, 2, 0.75], [3, 4, 0.75]]]


def test_yolo26_rows_keep_their_class():
    rows = zeros(2, 3, 6 + 3)
    rows[1, 1] = 1, 2, 30, 40, 0.75, 5, 7, 8, 0.5
    found, items = Yolo26PoseHead().decode([rows], 2, SIZE)
    assert (items.tolist(), found.class_ids.tolist()) == ([1], [5])
    assert found.points.tolist() == [[[7, 8, 0.5]]]
    assert found.boxes.tolist() == [[1, 2, 30, 40]]
    boxes, items = Yolo26BoxesHead().decode([rows[..., :6]], 2, SIZE)
    assert (items.tolist(), boxes.class_ids.tolist(), boxes.scores.tolist()) == ([1], [5], [0.75])


def test_dets_without_labels_are_of_one_class():
    dets = zeros(2, 2, 5)
    dets[0, 1] = 1, 2, 3, 4, 0.5
    dets[1, 0] = 5, 6, 7, 8, 0.25
    found, items = DetsHead().decode([dets], 2, SIZE)
    assert (items.tolist(), found.class_ids.tolist()) == ([0, 1], [0, 0])
    labelled, _ = DetsHead().decode([dets, np.array([[3, 4], [5, 6]])], 2, SIZE)
    assert labelled.class_ids.tolist() == [4, 5]
    assert found.boxes.tolist() == labelled.boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_padding_of_rtmo_is_nobody():
    dets, keypoints = zeros(2, 3, 5), zeros(2, 3, 4, 3)
    dets[1, 2] = 1, 2, 30, 40, 0.5
    keypoints[1, 2, 1] = 9, 8, 0.25
    found, items = RtmoHead().decode([dets, keypoints], 2, SIZE)
    assert items.tolist() == [1]
    assert found.points[0].tolist() == [[0, 0, 0], [9, 8, 0.25], [0, 0, 0], [0, 0, 0]]


def test_rtmo_does_not_suppress_what_its_graph_has_kept():
    dets, keypoints = zeros(1, 2, 5), zeros(1, 2, 17, 3)
    dets[:] = 1, 2, 30, 40, 0.5
    assert len(RtmoHead().decode([dets, keypoints], 1, SIZE)[0]) == 2


def test_multipose_is_in_fractions_of_the_input():
    rows = zeros(1, 6, 3 * 2 + 5)
    rows[0, 3] = 0.5, 0.25, 0.9, 1, 1, 0.1, 0.25, 0, 0.75, 0.5, 0.6
    found, _ = MultiposeHead().decode([rows], 1, SIZE)
    np.testing.assert_allclose(found.points, [[[16, 48, 0.9], [64, 96, 0.1]]])
    np.testing.assert_allclose(found.boxes, [[0, 24, 32, 72]])
    assert found.scores.tolist() == pytest.approx([0.6])


# Empty and broken outputs

EMPTY = {
    "dets": [zeros(2, 0, 5)],
    "rtmdet": [np.full((2, 96 // stride, 64 // stride, 5), -9, np.float32) for stride in (8, 16, 32)],
    "yolox": [zeros(2, CELLS, 6)],
    "yolo_boxes": [zeros(2, 5, CELLS)],
    "yolo_pose": [zeros(2, 5 + 51, CELLS)],
    "yolo26_boxes": [zeros(2, 300, 6)],
    "yolo26_pose": [zeros(2, 300, 6 + 51)],
    "rtmo": [zeros(2, 0, 5), zeros(2, 0, 17, 3)],
    "multipose": [zeros(2, 6, 56)],
}
SCORE_AT = {
    "dets": (0, 0, 4), "rtmdet": (0, 0, 0, 0), "yolox": (0, 0, 4), "yolo_boxes": (0, 4, 0), "yolo_pose": (0, 4, 0),
    "yolo26_boxes": (0, 0, 4), "yolo26_pose": (0, 0, 4), "rtmo": (0, 0, 4), "multipose": (0, 0, 55),
}  # fmt: skip


def with_a_row(outputs):
    return [zeros(2, 1, *output.shape[2:]) if output.shape[1] == 0 else output.copy() for output in outputs]


@pytest.mark.parametrize("kind", EMPTY)
def test_nobody_has_arrays_of_no_rows(kind):
    found, items = HEADS[kind]().decode(EMPTY[kind], 2, SIZE)
    assert len(found) == len(items) == 0
    assert found.boxes.shape == (0, 4)
    if HEADS[kind]().finds_keypoints:
        assert found.keypoints.shape == (0, 17, 2)
        assert HEADS[kind]().keypoints_in(EMPTY[kind]) == 17
    else:
        assert found.class_ids.shape == (0,)


@pytest.mark.parametrize("kind", EMPTY)
def test_nan_is_kept_for_the_model_to_report(kind):
    outputs = with_a_row(EMPTY[kind])
    outputs[0][SCORE_AT[kind]] = np.nan
    found, items = HEADS[kind]().decode(outputs, 2, SIZE)
    assert items.tolist() == [0]
    assert not np.isfinite(found.scores).any()


@pytest.mark.parametrize("kind", EMPTY)
@pytest.mark.parametrize("change", ["dtype", "dimensions", "count"])
def test_what_a_head_cannot_read_is_said(kind, change):
    outputs, count = with_a_row(EMPTY[kind]), 2
    if change == "dtype":
        outputs[0] = outputs[0].astype(np.float64)
    elif change == "dimensions":
        outputs[0] = outputs[0][0]
    else:
        count = 3
    with pytest.raises(ValueError, match=r"float(32|64) \(.*, is not .*\[.*\].* in float32"):
        HEADS[kind]().decode(outputs, count, SIZE)


@pytest.mark.parametrize(
    ("head", "outputs", "message"),
    [
        (DetsHead(), [zeros(1, 3, 6)], r"boxes and scores \[1, M, 5\]"),
        (DetsHead(), [zeros(1, 3, 5), zeros(1, 3)], r"classes \[N, M\] as whole numbers"),
        (DetsHead(), [zeros(1, 3, 5), np.zeros((1, 4), np.int64)], r"classes \[N, M\] as whole numbers"),
        (RtmdetHead(), [zeros(1, 12, 8, 5), zeros(1, 6, 4, 5), zeros(1, 3, 2, 4)], "three levels"),
        (RtmdetHead(), [zeros(1, 12, 8, 5), zeros(1, 6, 4, 5), zeros(1, 3, 3, 5)], "64x96 pixels"),
        (RtmdetHead(), [zeros(), zeros(), zeros()], "three levels"),
        (RtmdetHead(), [zeros(1, 5, 12, 8), zeros(1, 5, 6, 4), zeros(1, 5, 3, 2)], "three levels"),
        (YoloxHead(), [zeros(1, CELLS + 1, 6)], rf"\[1, {CELLS}, 5 \+ classes\] of 64x96 pixels"),
        (YoloxHead(), [zeros(1, CELLS, 5)], "there is no class"),
        (YoloBoxesHead(), [zeros(1, CELLS, 84)], r"\[1, 4 \+ classes, candidates\] of fewer classes"),
        (YoloBoxesHead(), [zeros(1, 4, CELLS)], "fewer classes"),
        (YoloBoxesHead(classes=80), [zeros(1, 5, CELLS)], r"\[1, 4 \+ 80, candidates\]"),
        (YoloPoseHead(), [zeros(1, 6, CELLS)], "1 values for keypoints"),
        (YoloPoseHead(keypoints=17), [zeros(1, 5 + 21 * 3, CELLS)], "3 each of 17 keypoints"),
        (YoloPoseHead(classes=2, keypoints=17), [zeros(1, 56, CELLS)], r"4 \+ 2 \+ 3 x 17, candidates"),
        (YoloPoseHead(sigmas=(0.1,)), [zeros(1, 56, CELLS)], "17 keypoints, but sigmas are 1"),
        (YoloPoseHead(suppress="oks"), [zeros(1, 56, CELLS)], "17 keypoints, but sigmas are 0"),
        (RtmdetHead(), [zeros(1, 1, 12, 8)] * 3 + [zeros(1, 5, 12, 8)] * 3, "distances .N, 4, height, width. of one"),
        (Yolo26BoxesHead(), [zeros(1, 300, 57)], r"\[1, M, 6\]"),
        (Yolo26PoseHead(), [zeros(1, 300, 6)], "0 values for keypoints"),
        (Yolo26PoseHead(keypoints=21), [zeros(1, 300, 57)], r"\[N, M, 6 \+ 3 x 21\]"),
        (RtmoHead(), [zeros(1, 3, 5), zeros(1, 4, 17, 3)], r"of the second, keypoints \[1, 3, keypoints, 3\]"),
        (MultiposeHead(), [zeros(1, 6, 55)], r"3 x keypoints \+ 5"),
    ],
)  # fmt: skip
def test_wrong_shapes_are_named(head, outputs, message):
    with pytest.raises(ValueError, match=message):
        head.decode(outputs, 1, SIZE)
