"""What comes out for other keypoints than COCO's 17: OpenPose's files, TRC, and all the others."""

import json

import numpy as np
import pytest

from hpi import DetectionResult, Frame, InputError, Instances
from hpi.compat.paddlex.results import paddlex_result
from hpi.instances import Skeleton
from hpi.sinks.openpose import OpenPoseSink
from hpi.sinks.stream import Kept
from hpi.sinks.trc import TrcSink
from hpi.skeletons import load_skeleton, skeleton_names

from recording import RATE
from support import require

BODY_25 = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist", "hip",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear", "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe",
    "right_heel",
)  # fmt: skip
"""OpenPose's POSE_BODY_25_BODY_PARTS, by the names of our skeletons."""
COCO_18 = tuple(name for name in BODY_25[:19] if name != "hip")


def person_of(skeleton, row=0):
    """``[K, 3]``: of each keypoint its own place and score."""
    numbers = np.arange(len(skeleton)) + 1000 * row
    return np.column_stack([numbers + 0.5, 2 * numbers + 0.25, 0.3 + numbers % 1000 / 300]).astype(np.float32)


def result_of(skeleton, index=0, ids=(4, -1), **changes):
    """Two people in a frame."""
    people = np.stack([person_of(skeleton, row) for row in range(len(ids))])
    boxes = np.concatenate([people[..., :2].min(axis=1), people[..., :2].max(axis=1)], axis=1)
    arrays = {"keypoints": people[..., :2], "keypoint_scores": people[..., 2], "boxes": boxes, "track_ids": ids}
    frame = Frame(np.zeros((48, 64, 3), np.uint8), "a.mp4", index=index, time_s=float(index / RATE), stream="a")
    return paddlex_result(
        frame, Instances(np.full(len(ids), 0.9), **arrays | changes), skeleton, ("person",), detected=True
    )


def written(sink, *results):
    for result in results:
        sink.add(result)
    sink.close()
    return sink.path


@pytest.fixture(params=skeleton_names())
def skeleton(request):
    return load_skeleton(request.param)


# OpenPose


def openpose_of(skeleton, folder):
    """The parts of the first person, as arrays, and all that is in the file."""
    path = written(OpenPoseSink(folder, "a"), result_of(skeleton)) / "a_000000000000_keypoints.json"
    person = json.loads(path.read_text())["people"][0]
    parts = {name: np.reshape(person[f"{name}_keypoints_2d"], (-1, 3)) for name in ("pose", "face")}
    return parts | {side: np.reshape(person[f"hand_{side}_keypoints_2d"], (-1, 3)) for side in ("left", "right")}


def by_name(skeleton, name):
    """A keypoint of the first person; the neck and the hip are in the middle where the skeleton has none."""
    person = person_of(skeleton)
    between = {"neck": ("left_shoulder", "right_shoulder"), "hip": ("left_hip", "right_hip")}
    names = [name] if name in skeleton.keypoints else between[name]
    rows = person[[skeleton.keypoints.index(one) for one in names]]
    return [*rows[:, :2].mean(axis=0), rows[:, 2].min()]


@pytest.mark.parametrize(("name", "order"), [("coco17", COCO_18), ("halpe26", BODY_25), ("coco_wholebody133", BODY_25)])
def test_the_body_is_in_openposes_order(tmp_path, name, order):
    skeleton = load_skeleton(name)
    found = openpose_of(skeleton, tmp_path)["pose"]
    assert found == pytest.approx(np.array([by_name(skeleton, one) for one in order]), abs=1e-4)


def test_a_whole_body_has_its_face_and_its_hands(tmp_path):
    skeleton = load_skeleton("coco_wholebody133")
    found, person = openpose_of(skeleton, tmp_path), person_of(skeleton)
    first = {name: skeleton.keypoints.index(name) for name in ("face-0", "left_hand_root", "right_hand_root")}
    assert np.array_equal(found["face"][:68], person[first["face-0"] :][:68])
    assert found["face"][68:].tolist() == [[0, 0, 0]] * 2  # the pupils, which nobody has found
    assert np.array_equal(found["left"], person[first["left_hand_root"] :][:21])
    assert np.array_equal(found["right"], person[first["right_hand_root"] :][:21])


def test_a_face_alone_has_no_body(tmp_path):
    skeleton = load_skeleton("face68")
    found = openpose_of(skeleton, tmp_path)
    assert {name: len(points) for name, points in found.items()} == {"pose": 0, "face": 70, "left": 0, "right": 0}
    assert np.array_equal(found["face"][:68], person_of(skeleton))


@pytest.mark.parametrize("name", ["ap10k17", "crowdpose14", "mpii16"])
def test_a_body_that_openpose_does_not_have_keeps_its_order(tmp_path, name):
    skeleton = load_skeleton(name)
    assert np.array_equal(openpose_of(skeleton, tmp_path)["pose"], person_of(skeleton))


@pytest.mark.parametrize("name", ["hand21", "lapa106_face"])
def test_what_has_no_place_is_an_error(tmp_path, name):
    with pytest.raises(InputError, match=rf"no place for the \d+ keypoints of {name}; choose another format"):
        OpenPoseSink(tmp_path, "a").add(result_of(load_skeleton(name)))


def test_a_skeleton_of_ones_own_says_where_its_keypoints_belong(tmp_path):
    """Such as a model of left hands, or keypoints with familiar names in another order."""
    path = tmp_path / "mine.yaml"
    path.write_text("{keypoints: [tip, nose, tail], openpose: {hand_left: [2, [], [0, 1]]}}")
    found = openpose_of(load_skeleton(str(path)), tmp_path / "out")
    assert found["left"] == pytest.approx(np.array([[2.5, 4.25, 0.3 + 2 / 300], [0, 0, 0], [1, 1.25, 0.3]]))
    assert not len(found["pose"])


def test_a_frame_without_people_has_none(tmp_path):
    skeleton = load_skeleton("coco_wholebody133")
    result = result_of(skeleton)
    result.instances = Instances.empty(len(skeleton))
    path = written(OpenPoseSink(tmp_path, "a"), result)
    assert json.loads((path / "a_000000000000_keypoints.json").read_text()) == {"version": 1.3, "people": []}


# TRC: read by what the format's description says


def read_trc(path):
    """The header, the markers' names, and ``[rows, 2 + 3 * markers]`` with NaN for what is blank."""
    text = path.read_text()
    assert text.endswith("\n")
    title, fields, values, names, axes, nothing, *rows = text.split("\n")[:-1]
    assert title.split("\t")[:3] == ["PathFileType", "4", "(X/Y/Z)"]
    assert title.split("\t")[3].strip() == path.name
    header = dict(zip(fields.split("\t"), values.split("\t"), strict=True))
    count = int(header["NumMarkers"])
    words = names.split("\t")
    assert words[:2] == ["Frame#", "Time"]
    assert not any(words[3::3] + words[4::3])
    assert axes.split("\t") == ["", "", *(f"{axis}{number}" for number in range(1, count + 1) for axis in "XYZ")]
    assert nothing == ""
    assert len(rows) == int(header["NumFrames"]) == int(header["OrigNumFrames"])
    cells = [row.split("\t") for row in rows]
    assert {len(row) for row in cells} == {2 + 3 * count}
    return header, words[2 : 2 + 3 * count : 3], np.array([[float(cell or "nan") for cell in row] for row in cells])


def test_trc_has_the_keypoints_of_a_person(tmp_path, skeleton):
    results = [result_of(skeleton, index, ids=ids) for index, ids in [(0, (-1, 7)), (2, (-1, 7)), (3, (12, -1))]]
    folder = written(TrcSink(tmp_path, "a clip", rate=RATE), *results)
    assert sorted(file.name for file in folder.iterdir()) == ["a clip_person12.trc", "a clip_person7.trc"]
    header, names, rows = read_trc(folder / "a clip_person7.trc")
    assert (header["DataRate"], header["CameraRate"], header["OrigDataRate"]) == ("25", "25", "25")
    assert (header["Units"], header["OrigDataStartFrame"]) == ("px", "0")
    assert names == list(skeleton.keypoints)
    assert rows[:, :2] == pytest.approx(np.array([[0, 0], [1, 1 / 25], [2, 2 / 25]]))
    points = rows[:, 2:].reshape(3, -1, 3)
    assert np.array_equal(points[0, :, :2].astype(np.float32), person_of(skeleton, 1)[:, :2])
    assert np.array_equal(points[0], points[2])
    assert np.isnan(points[1, :, :2]).all()  # not found in between
    assert not points[..., 2].any()
    assert read_trc(folder / "a clip_person12.trc")[0]["OrigDataStartFrame"] == "3"


def test_what_was_not_found_is_blank(tmp_path):
    """The last keypoint too: a row that ends with blanks has too few columns for OpenSim."""
    skeleton = load_skeleton("halpe26")
    scores = np.ones((1, 26))
    scores[0, [3, 25]] = skeleton.visible_above
    places = result_of(skeleton, ids=(4,)).keypoints.copy()
    places[0, 8] = np.nan
    result = result_of(skeleton, ids=(4,), keypoints=places, keypoint_scores=scores)
    path = written(TrcSink(tmp_path, "a", rate=RATE), result) / "a_person4.trc"
    points = read_trc(path)[2][0, 2:].reshape(26, 3)
    assert np.flatnonzero(np.isnan(points[:, 0])).tolist() == [3, 8, 25]
    assert np.array_equal(np.isnan(points[:, 0]), np.isnan(points[:, 1]))
    assert path.read_text().endswith("\t\t\t0\n")


def test_a_rate_that_nobody_states_is_the_mean(tmp_path):
    skeleton = load_skeleton("hand21")
    folder = written(TrcSink(tmp_path, "a"), *(result_of(skeleton, index) for index in (0, 1, 5)))
    assert read_trc(folder / "a_person4.trc")[0]["DataRate"] == "25"


def test_trc_has_smoothed_keypoints_where_they_are_asked_for(tmp_path):
    result = result_of(load_skeleton("mpii16"))
    result.smoothed = result.instances.replaced(keypoints=result.keypoints + 1)
    for smoothed in (False, True):
        path = written(TrcSink(tmp_path, f"{smoothed}", smoothed=smoothed), result) / f"{smoothed}_person4.trc"
        assert read_trc(path)[2][0, 2] == result.keypoints[0, 0, 0] + smoothed


def test_names_do_not_break_columns(tmp_path):
    """A file of that name too."""
    skeleton = Skeleton("odd", ("left\teye", "X\neye"))
    path = written(TrcSink(tmp_path, "a\tb"), result_of(skeleton)) / "a\tb_person4.trc"
    title, _, numbers, names, *_ = path.read_text().split("\n")
    assert title.split("\t")[3].strip() == "a b_person4.trc"
    assert numbers.split("\t")[3] == "2"
    assert [name for name in names.split("\t") if name] == ["Frame#", "Time", "left eye", "X eye"]


def test_a_trc_file_is_right_after_every_frame(tmp_path):
    """So a kill leaves a right one."""
    skeleton = load_skeleton("coco_wholebody133")
    sink = TrcSink(tmp_path, "a", rate=RATE)
    for index in range(11):
        sink.add(result_of(skeleton, index))
        assert read_trc(tmp_path / "a_person4.trc")[2][:, 0].tolist() == list(range(index + 1))


def test_a_gap_that_had_begun_goes_on(tmp_path):
    """One that was known to end when the run was interrupted, and is cut."""
    skeleton = load_skeleton("coco17")
    frames = [result_of(skeleton, index, ids=(4 if index in {0, 1, 5} else -1,)) for index in range(6)]
    whole = written(TrcSink(tmp_path / "whole", "a"), *frames) / "a_person4.trc"
    path = written(TrcSink(tmp_path / "a", "a"), *frames)
    written(TrcSink(path, "a", kept=Kept(3, 3)), *frames[3:])
    assert (path / "a_person4.trc").read_bytes() == whole.read_bytes()
    TrcSink(path, "a", kept=Kept(3, 3))
    assert len(read_trc(path / "a_person4.trc")[2]) == 2


@pytest.mark.parametrize("cut", [0, 3])
def test_trc_goes_on_after_the_kept_frames(tmp_path, cut):
    """People of later frames alone are gone, and a row that a kill has cut."""
    skeleton = load_skeleton("halpe26")
    frames = [result_of(skeleton, index, ids=(4, 5) if index < 3 else (4, 9)) for index in range(8)]
    whole = written(TrcSink(tmp_path / "whole", "a", rate=RATE), *frames)
    path = written(TrcSink(tmp_path / "a", "a", rate=RATE), *frames[:5])
    if cut:
        with (path / "a_person4.trc").open("r+b") as file:
            file.truncate((path / "a_person4.trc").stat().st_size - cut)
    written(TrcSink(path, "a", rate=RATE, kept=Kept(4, 4)), *frames[4:])
    assert {file.name: file.read_bytes() for file in path.iterdir()} == {
        file.name: file.read_bytes() for file in whole.iterdir()
    }
    assert written(TrcSink(path, "a", kept=Kept(3, 3))) == path
    assert {file.name for file in path.iterdir()} == {"a_person4.trc", "a_person5.trc"}
    assert len(read_trc(path / "a_person4.trc")[2]) == 3
    TrcSink(path, "a")
    assert not list(path.iterdir())


def test_trc_goes_on_with_the_same_markers_only(tmp_path):
    path = written(TrcSink(tmp_path, "a"), result_of(load_skeleton("coco17")))
    sink = TrcSink(path, "a", kept=Kept(1, 1))
    with pytest.raises(InputError, match=r"a_person4\.trc: has other markers: resume with the same model"):
        sink.add(result_of(load_skeleton("hand21"), 1))


def test_a_damaged_trc_file_is_not_gone_on_with(tmp_path):
    path = written(TrcSink(tmp_path, "a"), result_of(load_skeleton("coco17"))) / "a_person4.trc"
    path.write_text(path.read_text() + "nonsense\n")
    with pytest.raises(InputError, match=r"a_person4\.trc: is damaged; start anew"):
        TrcSink(tmp_path, "a", kept=Kept(9, 9))


def test_trc_says_what_is_missing(tmp_path):
    skeleton, sink = load_skeleton("coco17"), TrcSink(tmp_path, "a")
    with pytest.raises(InputError, match="choose a tracker, or another format"):
        sink.add(result_of(skeleton, track_ids=None))
    frame = Frame(np.zeros((8, 8, 3), np.uint8), index=0, time_s=0)
    with pytest.raises(InputError, match="a detector finds no keypoints"):
        sink.add(DetectionResult(frame, Instances.empty(), ()))
    assert not list(tmp_path.iterdir())


@pytest.mark.full
def test_trc_is_what_pandas_and_numpy_read(tmp_path):
    """As Pose2Sim and Sports2D do: a table from the line of the axes on, and numbers after five lines."""
    require("pandas")
    import pandas

    skeleton = load_skeleton("halpe26")
    frames = [result_of(skeleton, index) for index in range(4)]
    frames[1].instances.keypoint_scores[0, 25] = 0
    path = written(TrcSink(tmp_path, "a", rate=RATE), *frames) / "a_person4.trc"
    table = pandas.read_csv(path, sep="\t", skiprows=4)
    numbers = np.genfromtxt(path, skip_header=5, delimiter="\t")
    assert table.columns[2:].tolist() == [f"{axis}{number}" for number in range(1, 27) for axis in "XYZ"]
    assert np.array_equal(table.to_numpy(), numbers, equal_nan=True)
    assert np.array_equal(numbers, read_trc(path)[2], equal_nan=True)
    assert np.isnan(numbers).sum() == 2
