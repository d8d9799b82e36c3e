"""People in arrays, and skeletons: what they check, and how they are taken apart and put together."""

import numpy as np
import pytest

from hpi.instances import Bone, Instances, Skeleton


@pytest.fixture
def people(rng):
    """Four people with everything that they can have."""
    return Instances(
        scores=rng.random(4),
        boxes=rng.random((4, 4)),
        class_ids=[0, 0, 1, 2],
        keypoints=rng.random((4, 17, 2)),
        keypoint_scores=rng.random((4, 17)),
        track_ids=[7, 3, 9, 1],
        embeddings=rng.random((4, 8)),
        interpolated=[False, True, False, False],
        boxes_derived=True,
    )


ARRAYS = {
    "scores": np.float32,
    "boxes": np.float32,
    "class_ids": np.int64,
    "keypoints": np.float32,
    "keypoint_scores": np.float32,
    "track_ids": np.int64,
    "embeddings": np.float32,
    "interpolated": np.bool_,
}


def test_arrays_get_their_types(people):
    assert {name: getattr(people, name).dtype.type for name in ARRAYS} == ARRAYS


@pytest.mark.parametrize(
    "rows",
    [
        0,
        -1,
        np.int64(2),
        slice(1, 3),
        slice(None, None, -1),
        [3, 0],
        [],
        np.array([True, False, True, False]),
        np.zeros(4, bool),
    ],
    ids=str,
)
def test_rows_are_taken_from_every_array(people, rows):
    found = people[rows]
    expected = np.arange(4)[np.asarray(rows, int) if isinstance(rows, list) else rows].reshape(-1)
    assert len(found) == len(expected)
    assert found.boxes_derived
    for name in ARRAYS:
        assert np.array_equal(getattr(found, name), getattr(people, name)[expected]), name


@pytest.mark.parametrize("rows", [4, -5, [0, 4], np.ones(3, bool)], ids=str)
def test_a_row_that_is_not_there_is_an_error(people, rows):
    with pytest.raises(IndexError):
        people[rows]


def test_iteration_gives_one_row_at_a_time(people):
    rows = list(people)
    assert [len(row) for row in rows] == [1, 1, 1, 1]
    assert [row.track_ids[0] for row in rows] == [7, 3, 9, 1]


def test_the_parts_concatenate_to_the_whole(people):
    whole = Instances.concatenate([people[:1], people[1:1], people[1:]])
    assert all(np.array_equal(getattr(whole, name), getattr(people, name)) for name in ARRAYS)


def test_parts_with_different_arrays_are_refused(people):
    with pytest.raises(ValueError, match="only some have boxes, embeddings"):
        Instances.concatenate([people, people.replaced(boxes=None, embeddings=None)])
    with pytest.raises(ValueError, match=r"use Instances\.empty"):
        Instances.concatenate([])


def test_empty_concatenates_with_what_a_model_finds():
    nobody, someone = Instances.empty(17), Instances.empty(17).replaced(boxes=None)
    assert (len(nobody), nobody.boxes.shape, nobody.keypoints.shape) == (0, (0, 4), (0, 17, 2))
    assert Instances.empty(17, boxes=False).boxes is None
    assert Instances.empty().keypoints is None
    assert len(Instances.concatenate([someone, Instances.empty(17, boxes=False)])) == 0


def test_points_are_keypoints_with_their_scores(people):
    assert people.points.shape == (4, 17, 3)
    assert np.array_equal(people.points[..., :2], people.keypoints)
    assert np.array_equal(people.points[..., 2], people.keypoint_scores)
    with pytest.raises(ValueError, match="there are no keypoints"):
        _ = people.replaced(keypoints=None, keypoint_scores=None).points


def test_a_replaced_array_is_checked_and_the_rest_stays(people):
    moved = people.replaced(keypoints=people.keypoints + 1)
    assert moved.boxes is people.boxes
    with pytest.raises(ValueError, match="boxes"):
        people.replaced(boxes=np.zeros((3, 4)))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"scores": 0.5}, r"scores: \[M\] expected, got \[\]"),
        ({"boxes": np.zeros((2, 5))}, r"boxes: \[2, 4\] expected, got \[2, 5\]"),
        ({"boxes": np.zeros(4)}, r"boxes: \[2, 4\] expected, got \[4\]"),
        ({"boxes": np.zeros((3, 4))}, r"boxes: \[2, 4\] expected, got \[3, 4\]"),
        ({"class_ids": [1]}, r"class_ids: \[2\] expected, got \[1\]"),
        ({"keypoints": np.zeros((2, 17, 3)), "keypoint_scores": np.zeros((2, 17))}, r"keypoints: \[2, K, 2\]"),
        ({"keypoints": np.zeros((2, 17, 2)), "keypoint_scores": np.zeros((2, 16))}, r"keypoint_scores: \[2, 17\]"),
        ({"keypoints": np.zeros((2, 17, 2))}, "give keypoints and keypoint_scores together"),
        ({"keypoint_scores": np.zeros((2, 17))}, "give keypoints and keypoint_scores together"),
        ({"embeddings": np.zeros(2)}, r"embeddings: \[2, D\] expected"),
        ({"interpolated": [[True], [False]]}, r"interpolated: \[2\] expected"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_an_array_of_another_shape_is_refused(arrays, said):
    with pytest.raises(ValueError, match=said):
        Instances(**{"scores": [0.9, 0.4], **arrays})


def test_repr_says_how_many_and_what_they_have(people):
    assert repr(Instances([0.5])) == "Instances(1: scores)"
    some = people.replaced(class_ids=None, track_ids=None, embeddings=None, interpolated=None)
    assert repr(some) == "Instances(4, 17 keypoints each: scores, boxes, keypoints, keypoint_scores)"


# Skeletons


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"keypoints": ()}, "must have names"),
        ({"keypoints": ("a", "b", "a")}, "each its own"),
        ({"bones": (Bone(0, 3, "left"),)}, "3 is not the index of one of its 3 keypoints"),
        ({"bones": (Bone(-1, 1, "left"),)}, "-1 is not the index"),
        ({"bones": (Bone(0, 1, "up"),)}, "no color for the bones of up"),
        ({"swaps": ((0, 3),)}, "3 is not the index"),
        ({"swaps": ((0, 1), (1, 2))}, "in two pairs of swaps"),
        ({"swaps": ((1, 1),)}, "in two pairs of swaps"),
        ({"sigmas": (0.1, 0.1)}, "2 sigmas for 3 keypoints"),
        ({"head": ("a", "z")}, "no keypoint is called z"),
    ],
    ids=str,
)
def test_a_skeleton_that_contradicts_itself_is_refused(changes, said):
    with pytest.raises(ValueError, match=f"skeleton mine: .*{said}"):
        Skeleton(**{"name": "mine", "keypoints": ("a", "b", "c"), "colors": {"left": (0, 0, 0)}, **changes})


def test_numbered_keypoints_have_no_bones():
    skeleton = Skeleton.numbered(5)
    assert skeleton.keypoints == ("0", "1", "2", "3", "4")
    assert (len(skeleton), skeleton.bones, skeleton.swaps, skeleton.sigmas) == (5, (), (), None)
    assert skeleton.mirrored.tolist() == [0, 1, 2, 3, 4]


def test_a_mirror_image_swaps_the_pairs():
    skeleton = Skeleton("mine", ("nose", "left", "tail", "right"), swaps=((3, 1),))
    assert skeleton.mirrored.tolist() == [0, 3, 2, 1]
    assert skeleton.mirrored.dtype == np.int64
