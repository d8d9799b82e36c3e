"""Evaluation of tracking: answers known by hand, a second implementation, bad annotations, and real video."""

import json
import shutil

import cv2
import numpy as np
import pytest

from hpi import Predictor
from hpi.errors import ConfigError, InputError
from hpi.evaluation.predictions import Person
from hpi.evaluation.tracks.measures import FrameDistances, Tally, count
from hpi.evaluation.tracks.mot import MotDataset
from hpi.evaluation.tracks.mot_file import read_rows
from hpi.evaluation.tracks.posetrack import PosetrackDataset, average_precision
from hpi.evaluation.tracks.posetrack_file import KEYPOINTS
from hpi.evaluation.tracks.videos import with_identity
from hpi.instances import Instances, Skeleton
from hpi.skeletons import load_skeleton
from hpi.tracking.base import Tracking
from hpi.tracking.make import make_tracker

from support import EXAMPLE, ROOT, run_hpi

COCO = load_skeleton("coco17")
MINE = Skeleton("mine", ("left_wrist", "nose", "tail", "right_wrist"))


def frame_distances(true_ids, found_ids, pairs):
    """Those who may be the same are so near that they are."""
    distances = [[0.1 if (true, found) in pairs else 0.9 for found in found_ids] for true in true_ids]
    return FrameDistances.of(true_ids, found_ids, np.reshape(distances, (len(true_ids), len(found_ids))), 0.5)


def test_known_answers():
    """Two people, four frames. 1 is missed once, 2 goes on under another id, and somebody is found who is not there."""
    video = [
        frame_distances([1, 2], [7, 8], {(1, 7), (2, 8)}),
        frame_distances([1, 2], [8, 9], {(2, 8)}),
        frame_distances([1, 2], [7, 8], {(1, 7), (2, 8)}),
        frame_distances([1, 2], [7, 5], {(1, 7), (2, 5)}),
    ]
    tally = count(video)
    assert tally == Tally(objects=8, found=8, misses=1, false_positives=1, switches=1, identified=6)
    assert tally.mota == pytest.approx(100 * (1 - 3 / 8))
    assert tally.idf1 == pytest.approx(100 * 2 * 6 / 16)
    assert tally + count(video) == Tally(16, 16, 2, 2, 2, 12)
    assert (Tally().mota, count([]).idf1) == (None, None)


def test_the_package_trackers_counts_the_same(rng):
    evaluation = pytest.importorskip("trackers.eval")
    true_ids, found_ids, alike, video = [], [], [], []
    for frame in range(60):
        true, found = (np.flatnonzero(rng.random(6) < 0.8) for _ in range(2))
        who = np.array([1, 0, 2, 3, 4, 5]) if frame > 30 else np.arange(6)  # two of them swap their ids
        similarity = rng.uniform(0, 0.49, (len(true), len(found)))
        same = who[true][:, None] == found
        similarity[same] = rng.uniform(0.51, 1, same.sum())
        video.append(FrameDistances.of(true, found, 1 - similarity, 0.5))
        for values, value in ((true_ids, true), (found_ids, found), (alike, similarity)):
            values.append(value)
    tally = count(video)
    clear = evaluation.compute_clear_metrics(true_ids, found_ids, alike)
    identity = evaluation.compute_identity_metrics(true_ids, found_ids, alike)
    assert (tally.mota, tally.idf1) == pytest.approx((100 * clear["MOTA"], 100 * identity["IDF1"]))
    assert (tally.switches, tally.misses) == (clear["IDSW"], clear["CLR_FN"]) == (2, clear["CLR_FN"])


# MOT


def box(x, y=0):
    return (x, y, x + 50, y + 100)


def row(frame, number, x, y=0, *more):
    return ",".join(map(str, [frame, number, x, y, 50, 100, *more]))


@pytest.fixture
def mot(tmp_path):
    """Writes videos in MOT's layout, by name and lines, and reads them; every video has ten frames."""

    def read(videos, **options):
        for name, lines in videos.items():
            folder = tmp_path / "train" / name
            (folder / "gt").mkdir(parents=True, exist_ok=True)
            (folder / "img1").mkdir(exist_ok=True)
            (folder / "gt" / "gt.txt").write_text("\n".join(lines))
            (folder / "seqinfo.ini").write_text("[Sequence]\nframeRate=10\n")
            for frame in range(1, 11):
                (folder / "img1" / f"{frame:06}.jpg").touch()
        return MotDataset(tmp_path / "train", tmp_path / "train", **options)

    return read


def found(*people):
    """``(track id, x)`` each."""
    return Instances(
        np.full(len(people), 0.9),
        np.reshape([box(x) for _, x in people], (len(people), 4)),
        track_ids=[number for number, _ in people],
    )


def test_boxes_of_a_video(mot):
    """An IoU of 0.6 is near enough, one of 0.43 is not; whoever has no track is not found."""
    dataset = mot({"a": [row(frame, 1, 0) for frame in (1, 2, 3, 4)]})
    frames = [found((5, 12.5)), found((5, 20)), found((-1, 0)), found((5, 0)), found((5, 0))]
    assert [video.times for video in dataset._videos] == [{number: (number + 1) / 10 for number in range(10)}]
    figures = dataset.measure([dict(enumerate(frames))], None)
    assert figures == {"MOTA": pytest.approx(100 * (1 - 3 / 4)), "IDF1": pytest.approx(200 * 2 / 7), "switches": 0}


def test_whoever_is_marked_to_be_ignored_does_not_count(mot):
    lines = [row(1, 1, 0, 0, 1, 1), row(1, 2, 100, 0, 0, 1), row(1, 3, 200, 0, 0, 8), row(1, 4, 300, 0, 0, 3)]
    dataset = mot({"a": lines})
    figures = dataset.measure([{0: found((1, 0), (2, 100), (3, 200), (4, 300))}], None)
    assert figures["MOTA"] == 0  # the one who is found where a car is
    assert dataset.measure([{0: found((1, 0), (2, 100), (3, 200))}], None)["MOTA"] == 100


@pytest.fixture(scope="module")
def detector():
    with Predictor("PicoDet-S_person_416", backend="onnxruntime") as predictor:
        yield predictor


@pytest.fixture(scope="module")
def poser():
    """A model with COCO's keypoints."""
    with Predictor("MoveNet-Thunder_256x256", backend="onnxruntime") as predictor:
        yield predictor


def test_people_are_followed_and_counted_by_video_and_overall(mot, tmp_path, detector):
    """In the first frame nobody has a track yet; in b, of 2 frames a second, somebody returns after 2 s as another."""
    dataset = mot({name: [row(frame, 1, 2 * frame) for frame in range(1, 11)] for name in "ab"})
    (tmp_path / "train" / "b" / "seqinfo.ini").write_text("[Sequence]\nframeRate=2\n")
    dataset = MotDataset(tmp_path / "train", tmp_path / "train")
    assert dataset.check(detector) == []
    assert len(dataset.images) == 20
    predictions = {}
    for number, image in enumerate(dataset.images):
        frame = number % 10 + 1
        gone = number >= 10 and frame in {5, 6, 7}
        predictions[image.number] = [] if gone else [Person(box(2 * frame), 0.9), Person(box(300), 0.15)]
    assert dataset.figures(predictions, detector) == {
        "MOTA": pytest.approx(100 * (1 - 7 / 20)),
        "IDF1": pytest.approx(200 * 12 / (20 + 14)),
        "switches": 1,
        "a MOTA": pytest.approx(90),
        "a IDF1": pytest.approx(200 * 9 / 19),
        "a switches": 0,
        "b MOTA": pytest.approx(40),
        "b IDF1": pytest.approx(200 * 3 / 15),
        "b switches": 1,
    }
    assert dataset.cases(predictions) == []
    assert dataset.figures({}, detector)["MOTA"] is None


def test_detections_from_a_file(mot, tmp_path):
    det = tmp_path / "det.txt"
    det.write_text("# frame, id, ...\n\n2,-1,10,20,30,40,0.7,-1,-1,-1\n")
    dataset = mot({"a": [row(1, 1, 0)]}, boxes=det)
    assert dataset.images[0].given == []
    assert [(one.box, one.score) for one in dataset.images[1].given] == [((10, 20, 40, 60), 0.7)]
    with pytest.raises(ConfigError, match="a file of detections is of one video"):
        mot({"b": [row(1, 1, 0)]}, boxes=det)


def test_frames_without_an_image_are_said(mot, detector):
    dataset = mot({"a": [row(1, 1, 0), row(11, 1, 0), row(12, 1, 0)]})
    assert dataset.counts == {"annotated frames without an image": 2}
    assert dataset.check(detector) == ["left out: 2 annotated frames without an image, such as a 11"]
    with pytest.raises(InputError, match=r"img1: none of the 1 annotated frames is there, such as 000011\.jpg"):
        mot({"b": [row(11, 1, 0)]})


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "has no rows"),
        (["1,1,0,0,50"], "line 1: 5 values"),
        ([row(1, 1, 0), "1,2,a,0,50,100"], "line 2: could not convert"),
        (["1;1;0;0;50;100"], "numbers with commas"),
        (["1,1,0,0,0,100"], "is no box"),
        (["1,1,nan,0,50,100"], "is no box"),
        (["1,1,0,1e9,50,100"], "is no box"),
        (["0,1,0,0,50,100"], "frames are counted from 1"),
        (["1.5,1,0,0,50,100"], "frames are counted from 1"),
        ([row(1, 1, 0), row(1, 1, 100)], "frame 1: id 1 is there more than once"),
    ],
)
def test_bad_mot_files_are_one_error(mot, lines, said):
    with pytest.raises(InputError, match=r"gt\.txt.*" + said):
        mot({"a": lines})


def test_other_bad_inputs_of_mot_are_one_error(mot, tmp_path):
    with pytest.raises(InputError, match="each needs NAME/gt/gt"):
        MotDataset(tmp_path, tmp_path)
    with pytest.raises(InputError, match=r"none\.txt: cannot be read"):
        MotDataset(tmp_path / "none.txt", tmp_path)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not a text file"):
        read_rows(tmp_path / "binary.txt")
    mot({"a": [row(1, 1, 0)]})
    with pytest.raises(InputError, match="none: cannot be read"):
        MotDataset(tmp_path / "train" / "a" / "gt" / "gt.txt", tmp_path / "none")
    for content in ("[Sequence]\nframeRate=0", "[Sequence]\nframeRate=fast", "frameRate=25"):
        (tmp_path / "train" / "a" / "seqinfo.ini").write_text(content)
        with pytest.raises(InputError, match=r"seqinfo\.ini"):
            MotDataset(tmp_path / "train", tmp_path / "train")


def test_only_people_who_were_found_can_be_followed(mot, poser, detector):
    with pytest.raises(ConfigError, match="only people who were found"):
        mot({"a": [row(1, 1, 0)]}, boxes="gt")
    with pytest.raises(ConfigError, match="'sort'"):
        mot({"a": [row(1, 1, 0)]}, tracker="sort")
    with pytest.raises(ConfigError, match="the model finds none"):
        mot({"a": [row(1, 1, 0)]}, tracker="oks").check(detector)
    assert mot({"a": [row(1, 1, 0)]}, tracker="oks").check(poser) == []


# PoseTrack

NAMES = [*KEYPOINTS[:3], "left_ear", "right_ear", *KEYPOINTS[3:]]
HEAD = [0, 0, 30, 40]  # 0.6 times 50 px: 30 px, so that 15 px are the limit


def person(image, track, x, **changes):
    """Somebody whose keypoints, without the ears, are labelled on a grid of 100 px."""
    keypoints = [
        [x + 100 * (place % 4), 100 * (place // 4), int("ear" not in name)] for place, name in enumerate(NAMES)
    ]
    return {
        "id": 100 * image + track,
        "image_id": image,
        "track_id": track,
        "category_id": 1,
        "bbox_head": HEAD,
        "keypoints": np.ravel(keypoints).tolist(),
    } | changes


def content(*people, frames=3, **of_images):
    images = [
        {
            "id": 1000 + frame,
            "frame_id": 1000 + frame,
            "file_name": f"images/val/000342_mpii_test/{frame:06}.jpg",
            "vid_id": "000342",
            "is_labeled": True,
            **of_images,
        }
        for frame in range(frames)
    ]
    categories = [{"id": 1, "name": "person", "keypoints": NAMES}]
    return {"images": images, "annotations": people, "categories": categories}


@pytest.fixture
def posetrack(tmp_path):
    def read(content, **options):
        for image in content["images"]:
            path = tmp_path / image["file_name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        file = tmp_path / "video.json"
        file.write_text(json.dumps(content))
        return PosetrackDataset(file, tmp_path, **options)

    return read


def pose(of, score=0.9, names=MINE.keypoints, **moved):
    """The keypoints of somebody as a model finds them, some moved to the right by so many pixels; ``[K, 3]``."""
    true = dict(zip(NAMES, np.reshape(of["keypoints"], (-1, 3))[:, :2], strict=True))
    places = [np.add(true.get(name, (-500, -500)), (moved.get(name, 0), 0)) for name in names]
    return np.column_stack([places, np.full(len(names), score)])


def poses(*people):
    """``(track id, [K, 3])`` each."""
    points = np.reshape([points for _, points in people], (len(people), len(MINE), 3))
    return Instances(
        np.full(len(people), 0.9),
        keypoints=points[..., :2],
        keypoint_scores=points[..., 2],
        track_ids=[number for number, _ in people],
    )


def test_keypoints_of_a_video(posetrack):
    """Three keypoints of two people in three frames. In the last frame they swap their ids.

    The left wrist of one is 16 px off in one frame: missed, and found where nothing is.
    """
    one, other = ([person(1000 + frame, track, 1000 * track) for frame in range(3)] for track in (0, 1))
    dataset = posetrack(content(*one, *other))
    frames = [
        poses((7, pose(one[0])), (8, pose(other[0]))),
        poses((7, pose(one[1], left_wrist=16, right_wrist=15)), (8, pose(other[1]))),
        poses((8, pose(one[2])), (7, pose(other[2]))),
    ]
    figures = dataset.measure([dict(enumerate(frames))], MINE)
    assert figures["switches"] == 2 * 3
    good, wrist = 100 * (1 - 2 / 6), 100 * (1 - 4 / 6)
    assert figures["MOTA"] == pytest.approx((2 * good + wrist) / 3)
    assert (figures["MOTA Head"], figures["MOTA Wrist"]) == pytest.approx((good, (good + wrist) / 2))
    assert figures["MOTA Knee"] is None
    # Each person is under one id in two of three frames; the wrist that is off, once less.
    assert figures["IDF1"] == pytest.approx((2 * 200 * 4 / 12 + 200 * 3 / 12) / 3)
    # All score alike, so the wrong one is the third of six: precisions of 1, 1, and 5/6 three times.
    left = 100 * (2 + 3 * 5 / 6) / 6
    assert (figures["AP Head"], figures["AP Wrist"]) == pytest.approx((100, (100 + left) / 2))
    assert figures["AP"] == pytest.approx((2 * 100 + left) / 3)


def test_whom_people_belong_to(posetrack):
    """Somebody found twice counts once, and the better one is that person; who is nowhere is a false positive."""
    true = person(1000, 0, 0)
    dataset = posetrack(content(true, frames=1))
    worse = pose(true, 0.95, left_wrist=50)
    nowhere = pose(person(1000, 1, 5000), 0.3)
    figures = dataset.measure([{0: poses((1, worse), (2, pose(true)), (3, nowhere))}], MINE)
    assert figures["AP Head"] == pytest.approx(50)  # the nose of the other one scores more
    assert figures["MOTA Head"] == pytest.approx(100 * (1 - 2))
    assert dataset.measure([{0: poses()}], MINE)["AP"] == 0
    assert dataset.measure([{0: poses()}], MINE)["MOTA"] == 0
    assert dataset.measure([{}], MINE)["AP"] is None


def test_what_is_drawn_counts_as_found(posetrack):
    """Keypoints of low scores and people without a track are left out of MOTA, but not of AP."""
    true = person(1000, 0, 0)
    dataset = posetrack(content(true, frames=1))
    for found in (poses((1, pose(true, score=0.19))), poses((-1, pose(true)))):
        figures = dataset.measure([{0: found}], MINE)
        assert (figures["MOTA"], figures["AP"]) == (0, 100)


def test_regions_to_ignore(posetrack):
    true, crowd = person(1000, 0, 0), person(1000, 1, 2000)
    region = {"ignore_regions_x": [1500, 3000, 3000, 1500], "ignore_regions_y": [-600, -600, 600, 600]}
    found = poses((1, pose(true)), (2, pose(crowd)), (3, pose(crowd)))
    assert posetrack(content(true, frames=1, **region)).measure([{0: found}], MINE)["MOTA"] == 100
    figures = posetrack(content(true, crowd, frames=1, **region)).measure([{0: found}], MINE)
    assert (figures["MOTA"], figures["AP"]) == (100, 100)
    assert posetrack(content(true, frames=1)).measure([{0: found}], MINE)["MOTA"] == -100


@pytest.mark.full
def test_posetracks_own_evaluation_says_the_same(posetrack):
    """Of random people, once computed by poseval, which leaves the last frame of a video out of MOTA."""
    given = json.loads((ROOT / "tests" / "data" / "posetrack.json").read_text())
    dataset, skeleton = posetrack(given["truth"]), Skeleton("all", KEYPOINTS, visible_above=-1)
    frames = []
    for people in given["found"]:
        points = np.array([one["keypoints"] for one in people])
        ids = [one["track_id"] for one in people]
        scores = np.ones(len(ids))
        frames.append(Instances(scores, keypoints=points[..., :2], keypoint_scores=points[..., 2], track_ids=ids))
    numbers = [list(video.times) for video in dataset._videos]
    whole = dataset.measure([{number: frames[number] for number in of_video} for of_video in numbers], skeleton)
    cut = dataset.measure([{number: frames[number] for number in of_video[:-1]} for of_video in numbers], skeleton)
    for what, value in given["poseval"].items():
        assert (cut if "MOTA" in what else whole)[what] == pytest.approx(value), what


def test_average_precision():
    """As the area below the envelope of the curve: 1 up to a recall of 0.25, then 3/4 up to 0.75."""
    assert average_precision([0.9, 0.8, 0.7, 0.6], [True, False, True, True], total=4) == pytest.approx(
        100 * (0.25 + 0.5 * 0.75)
    )
    assert average_precision([], [], total=3) == 0
    assert average_precision([0.5], [False], total=0) is None


def test_people_of_posetrack_are_followed(posetrack, poser):
    """In the first frame nobody has a track yet. Frames that are not annotated are looked at, too."""
    people = [person(1000 + frame, 0, 2 * frame) for frame in range(4)]
    dataset = posetrack(content(*people[:2], *people[3:], frames=4), tracker="oks")
    assert dataset.check(poser) == []
    predictions = {
        number: [Person(box(0), 0.9, keypoints=pose(one, names=COCO.keypoints).astype(np.float32))]
        for number, one in enumerate(people)
    }
    figures = dataset.figures(predictions, poser)
    assert (figures["MOTA"], figures["AP"], figures["switches"]) == (pytest.approx(100 * 2 / 3), 100, 0)


def test_what_is_left_out_of_posetrack(posetrack, poser):
    headless = person(1000, 1, 500, bbox_head=[])
    dataset = posetrack(content(person(1000, 0, 0), headless))
    assert dataset.counts == {"labelled people without a head box": 1}
    assert dataset.check(poser) == [
        "left out: 1 labelled people without a head box, such as that of track 1 in image id 1000"
    ]


def changed(**changes):
    return lambda content: content | changes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed(images=[]), "images"),
        (changed(annotations=[]), "nobody there has keypoints"),
        (changed(categories=[{"keypoints": list(COCO.keypoints)}]), "head_bottom is not among them"),
        (changed(annotations=[person(7, 0, 0)]), "image id 7: there is no such image"),
        (changed(annotations=[person(1000, 0, 0), person(1000, 0, 9)]), "image id 1000: a track_id is there more"),
        (changed(annotations=[person(1000, 0, 0, keypoints=[1, 2, 3])]), "keypoints need 51 numbers"),
        (changed(annotations=[person(1000, 0, 0, track_id=None)]), "track_id"),
        (lambda content: content | {"images": content["images"][:1] * 2}, "an id or a file_name is there more"),
        (
            lambda content: content | {"images": [one | {"file_name": "a/1.jpg"} for one in content["images"]]},
            "file_name is",
        ),
        (
            lambda content: content | {"images": [content["images"][0] | {"ignore_regions_x": [[1]]}]},
            "not of one length",
        ),
        (lambda content: content | {"images": [content["images"][0] | {"file_name": "../a.jpg"}]}, "leads out"),
    ],
)
def test_bad_posetrack_files_are_one_error(posetrack, tmp_path, change, said):
    posetrack(good := content(person(1000, 0, 0)))
    file = tmp_path / "video.json"
    file.write_text(json.dumps(change(good)))
    with pytest.raises(InputError, match=said):
        PosetrackDataset(file, tmp_path)


def test_other_errors_of_posetrack(posetrack, tmp_path, detector):
    with pytest.raises(ConfigError, match="measured by keypoints such as nose"):
        posetrack(content(person(1000, 0, 0))).check(detector)
    with pytest.raises(ConfigError, match="by a detector or by the model itself"):
        posetrack(content(person(1000, 0, 0)), boxes=tmp_path / "boxes.json")
    with pytest.raises(InputError, match=r"has no \.json file"):
        PosetrackDataset(tmp_path / "images", tmp_path)
    shutil.copy(tmp_path / "video.json", tmp_path / "again.json")
    with pytest.raises(InputError, match="images/val/000342_mpii_test: the frames of this video are in several files"):
        PosetrackDataset(tmp_path, tmp_path)


# The command


@pytest.fixture
def panned(tmp_path):
    """A video of six frames, in the folders of PoseTrack and of MOT: what a camera sees that pans over an image."""
    image = cv2.imread(str(EXAMPLE))
    folder = tmp_path / "images" / "val" / "000342_mpii_test"
    folder.mkdir(parents=True)
    for frame in range(6):
        cv2.imwrite(str(folder / f"{frame:06}.jpg"), image[:, 6 * frame : 6 * frame + 1200])
    (tmp_path / "mot" / "pan").mkdir(parents=True)
    shutil.copytree(folder, tmp_path / "mot" / "pan" / "img1")
    return folder


def write_truth(folder, out):
    """What the pipeline finds and follows, as annotations in both formats."""
    lines, people = [], []
    with Predictor("human_keypoint_detection_lite") as predictor:
        tracker = make_tracker(Tracking("oks"), predictor.pipelines[0].skeleton)
        for number, result in enumerate(predictor.predict(str(folder), threshold=0.1)):
            for one in with_identity(tracker.update(result.instances, number / 25)):
                x1, y1, x2, y2 = one.boxes[0]
                lines.append(f"{number},{one.track_ids[0]},{x1},{y1},{x2 - x1},{y2 - y1},1,1,1")
                points = dict(zip(COCO.keypoints, one.points[0].tolist(), strict=True))
                keypoints = [points.get(name, (0, 0, 0)) for name in NAMES]
                labelled = [[x, y, int(score > COCO.visible_above)] for x, y, score in keypoints]
                people.append(person(1000 + number, int(one.track_ids[0]), 0, keypoints=np.ravel(labelled).tolist()))
    (out / "mot" / "pan" / "gt").mkdir()
    (out / "mot" / "pan" / "gt" / "gt.txt").write_text("\n".join(line for line in lines if not line.startswith("0,")))
    (out / "video.json").write_text(json.dumps(content(*people, frames=6)))


@pytest.mark.full
def test_the_command_measures_what_the_pipeline_finds(panned, tmp_path):
    """Measured against what it found itself, it is right; another tracker takes the predictions that are there."""
    write_truth(panned, tmp_path)
    command = ["evaluate", "--output", "report", "--batch_size", "2", "--images"]
    posetrack = [*command, ".", "--dataset", "posetrack", "--annotations", "video.json"]
    done = run_hpi(*posetrack, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (figures,) = (row["figures"] for row in json.loads((tmp_path / "report" / "posetrack.json").read_text())["rows"])
    assert (figures["MOTA"], figures["IDF1"], figures["switches"]) == (100, 100, 0)
    assert 50 < figures["AP"] <= 100
    assert "followed by oks" in (tmp_path / "report" / "posetrack.md").read_text()
    again = run_hpi(*posetrack, "--tracker", "bytetrack", cwd=tmp_path)
    assert "6 of 6 images are done already" in again.stderr
    assert "followed by bytetrack" in (tmp_path / "report" / "posetrack.md").read_text()
    done = run_hpi(*command, "mot", "--dataset", "mot", "--annotations", "mot", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "MOTA" in done.stdout
    wrong = run_hpi(
        *command, "mot", "--dataset", "coco", "--annotations", "video.json", "--tracker", "oks", cwd=tmp_path
    )
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "--tracker needs --dataset posetrack or mot" in wrong.stderr
