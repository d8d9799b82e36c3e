"""The skeletons of the package: as the data sets define them, and as they are drawn; and skeletons of one's own."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hpi.draw import draw_people
from hpi.errors import ConfigError, ConfigNotFoundError
from hpi.instances import Bone, Skeleton
from hpi.skeletons import load_skeleton, skeleton_names

from poses import pose

NAMES = skeleton_names()
MORE_BONES = {"coco_wholebody133", "face68", "lapa106_face"}
"""Of these, the definitions have no bones of the face."""
NOT_DRAWN = {"coco17": {(1, 2), (3, 5), (4, 6)}}
"""COCO's bones across the eyes and from the ears to the shoulders: here, head and trunk are apart."""


@pytest.fixture(params=NAMES)
def skeleton(request):
    return load_skeleton(request.param)


@pytest.fixture
def facts(shared, skeleton):
    return json.loads((shared / "skeletons" / f"{skeleton.name}.json").read_text())


def test_no_definition_is_left_out(shared):
    assert sorted(path.stem for path in (shared / "skeletons").glob("*.json")) == NAMES


def test_names_mirror_and_sigmas_are_the_definitions(skeleton, facts):
    assert list(skeleton.keypoints) == facts["joints"]
    assert skeleton.mirrored.tolist() == facts["flip_index"]
    assert list(skeleton.sigmas or ()) == facts["oks_sigmas"]


def test_bones_are_the_definitions(skeleton, facts):
    bones = {tuple(sorted((bone.start, bone.end))) for bone in skeleton.bones}
    expected = {tuple(sorted(edge)) for edge in facts["edges"]}
    assert expected - bones == NOT_DRAWN.get(skeleton.name, set())
    assert skeleton.name in MORE_BONES or bones <= expected
    assert len(bones) == len(skeleton.bones)


def test_bones_and_their_groups_are_the_same_in_a_mirror(skeleton):
    places = {frozenset((bone.start, bone.end)): bone.group for bone in skeleton.bones}
    other = {"left": "right", "right": "left"}
    mirrored = {frozenset(skeleton.mirrored[list(ends)]): other.get(group, group) for ends, group in places.items()}
    assert mirrored == places


def test_a_mirrored_pose_is_the_same_pose(skeleton):
    """The pairs of a face are where its pose is symmetrical; a hand has none, since a mirror makes it the other one."""
    if skeleton.name not in {"face68", "lapa106_face"}:
        assert skeleton.swaps or skeleton.name == "hand21"
        return
    points = pose(skeleton)
    assert np.allclose(points[skeleton.mirrored] * (-1, 1) + (1, 0), points, atol=1e-6)


# Drawing


MARGIN = 20


def person_of(skeleton, size):
    """``[K, 3]``: a pose of this size in pixels, clear in every keypoint."""
    points = MARGIN + size * pose(skeleton)
    return np.column_stack([points, np.full(len(points), 0.9)]).astype(np.float32)


def draw(skeleton, person, size):
    side = size + 2 * MARGIN
    return draw_people(np.zeros((side, side, 3), np.uint8), [person], skeleton)


def shows(picture, person, bone, color):
    """Whether a bone is to be seen between its ends: its hue, since the edges of a line are darker."""
    places = np.rint(np.linspace(person[bone.start, :2], person[bone.end, :2], 21)).astype(int)
    nearby = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    pixels = np.concatenate([picture[places[:, 1] + dy, places[:, 0] + dx] for dy, dx in nearby]).astype(float)
    bgr = np.array(color[::-1], float)
    strength = np.linalg.norm(pixels, axis=1)
    alike = pixels @ bgr > 0.995 * strength * np.linalg.norm(bgr)
    return bool((alike & (strength > 0.3 * np.linalg.norm(bgr))).any())


@pytest.mark.parametrize("size", [100, 400, 900])
def test_bones_are_drawn_in_their_colors(skeleton, size):
    """Every group is, however small; some bones lie beneath others, as in the face of a whole body."""
    person = person_of(skeleton, size)
    picture = draw(skeleton, person, size)
    seen = [bone for bone in skeleton.bones if shows(picture, person, bone, skeleton.colors[bone.group])]
    assert {bone.group for bone in seen} == set(skeleton.colors)
    assert len(seen) >= 0.8 * len(skeleton.bones)


def test_groups_that_meet_differ_in_color(skeleton):
    at = {index: set() for index in range(len(skeleton))}
    for bone in skeleton.bones:
        at[bone.start].add(bone.group)
        at[bone.end].add(bone.group)
    for groups in at.values():
        assert len({skeleton.colors[group] for group in groups}) == len(groups)


def test_fine_bones_are_thinner():
    """Those of a hand of a whole body do not run together; the others are as they were."""
    fine = load_skeleton("coco_wholebody133")
    plain, first = replace(fine, fine=()), fine.keypoints.index("face-0")
    body, rest = person_of(fine, 400), person_of(fine, 400)
    body[first:, 2] = rest[:first, 2] = 0
    assert np.array_equal(draw(fine, body, 400), draw(plain, body, 400))
    assert np.count_nonzero(draw(fine, rest, 400)) < 0.8 * np.count_nonzero(draw(plain, rest, 400))


@pytest.mark.parametrize("size", [24, 400])
def test_keypoints_of_low_score_are_not_drawn(skeleton, size):
    """Nor are its bones: the picture is that of the others alone."""
    person = person_of(skeleton, size)
    index = max(bone.end for bone in skeleton.bones)
    person[index, 2] = skeleton.visible_above
    moved = person.copy()
    moved[index, :2] = 5
    assert np.array_equal(draw(skeleton, person, size), draw(skeleton, moved, size))
    x, y = np.rint(person[index, :2]).astype(int)
    if all(np.linalg.norm(person[:, :2] - person[index, :2], axis=1)[np.arange(len(person)) != index] > 12):
        assert not draw(skeleton, person, size)[y - 1 : y + 2, x - 1 : x + 2].any()
    person[index, 2] = skeleton.visible_above + 0.01
    assert draw(skeleton, person, size)[y - 1 : y + 2, x - 1 : x + 2].any()


@pytest.mark.parametrize("more", [-1, 1])
def test_another_number_of_keypoints_is_drawn_as_dots(skeleton, more):
    places = np.arange(len(skeleton) + more)
    person = np.column_stack([30 + 70 * (places % 12), 30 + 70 * (places // 12), places + 1]).astype(np.float32)
    picture = draw(skeleton, person, 900)
    assert (np.ptp(picture.reshape(-1, 3).astype(int), axis=1) == 0).all()  # white on black: no bone, no color
    assert all(picture[y, x].min() > 200 for x, y in person[:, :2].astype(int))


def test_keypoints_that_are_not_finite_are_not_drawn(skeleton):
    person = person_of(skeleton, 400)
    person[::2, :2] = np.nan
    person[1::2, :2] = 1e30
    assert not draw(skeleton, person, 400).any()


def test_a_person_without_extent_is_drawn(skeleton):
    person = np.full((len(skeleton), 3), 30, np.float32)
    assert draw(skeleton, person, 40).any()


# Skeletons of one's own


OWN = """
keypoints: [tip, "left wing", "right wing"]
bones: {wings: [[0, 1], [0, 2]]}
colors: {wings: [1, 2, 3]}
fine: [wings]
swaps: [[1, 2]]
sigmas: [0.1, 0.2, 0.2]
head: [tip, left wing]
visible_above: 0.5
openpose: {face: [0, [], [1, 2]]}
coco: {keypoints: [0, 1], foot_kpts: [1, 3]}
"""


def test_a_skeleton_is_read_from_a_file(tmp_path):
    path = tmp_path / "kite.yaml"
    path.write_text(OWN)
    assert load_skeleton(str(path)) == Skeleton(
        name="kite",
        keypoints=("tip", "left wing", "right wing"),
        bones=(Bone(0, 1, "wings"), Bone(0, 2, "wings")),
        colors={"wings": (1, 2, 3)},
        fine=("wings",),
        swaps=((1, 2),),
        sigmas=(0.1, 0.2, 0.2),
        head=("tip", "left wing"),
        visible_above=0.5,
        openpose={"face": ((0,), (), (1, 2))},
        coco={"keypoints": (0, 1), "foot_kpts": (1, 3)},
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[0, 2]", "[0, 3]", "3 is not the index of one of its 3 keypoints"),
        ("[0, 2]", "[0, -1]", "greater than or equal to 0"),
        ("[0, 2]", "[0]", "bones.wings.1"),
        ("[1, 2, 3]", "[1, 2, 256]", "colors.wings.2"),
        ("colors", "colours", "did you mean 'colors'"),
        ("sigmas: [0.1", "sigmas: [0", "sigmas.0"),
        ("sigmas: [0.1", "sigmas: [.nan", "sigmas.0"),
        ("sigmas: [0.1, ", "sigmas: [", "2 sigmas for 3 keypoints"),
        ("[tip, left wing]", "[tip, crown]", "no keypoint is called crown"),
        ("visible_above: 0.5", "visible_above: 2", "visible_above"),
        ("foot_kpts: [1, 3]", "foot_kpts: [0, 3]", "coco: its fields must have the 3 keypoints in their order"),
        ("foot_kpts", "feet", "coco.feet"),
        ("fine: [wings]", "fine: [wing]", "fine: no bones are called wing"),
        ("{face:", "{feet:", "openpose.feet"),
        ("[], [1, 2]]", "[], [1, 3]]", "3 is not the index of one of its 3 keypoints"),
        ('"left wing", ', "", "index of one of its 2 keypoints"),
        ('[tip, "left wing", "right wing"]', "[]", "keypoints"),
        (OWN, "[1, 2]", "mapping|dictionary"),
        (OWN, "keypoints: [", "not valid YAML"),
    ],
)
def test_a_wrong_file_is_refused_by_name_and_field(tmp_path, old, new, said):
    assert old in OWN
    path = tmp_path / "kite.yaml"
    path.write_text(OWN.replace(old, new))
    with pytest.raises(ConfigError, match=f"(?s)kite.yaml: .*({said})"):
        load_skeleton(str(path))


def test_the_error_for_an_unknown_skeleton_suggests_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown skeleton 'coco71'; did you mean 'coco17'\?"):
        load_skeleton("coco71")
    with pytest.raises(ConfigError, match=r"known are ap10k17, coco17.* give the path of its YAML file"):
        load_skeleton("../../etc/passwd")
    with pytest.raises(ConfigNotFoundError, match=r"kite\.yaml"):
        load_skeleton(str(tmp_path / "kite.yaml"))
