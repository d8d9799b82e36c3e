"""Who is who in a real video, beside PaddleDetection's ByteTrack; the truth was annotated by eye."""

import itertools
import json
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from hpi import Predictor
from hpi.evaluation.tracks.measures import FrameDistances, Tally, count, tracking_figures
from hpi.instances import Instances
from hpi.kernels.boxes import box_iou
from hpi.skeletons import load_skeleton
from hpi.sources.video import read_frames
from hpi.tracking.base import UNTRACKED, Tracking
from hpi.tracking.make import make_tracker

from support import ROOT, require

require("trackers")
require("motmetrics")

ANNOTATED = ROOT / "tests" / "data" / "vtest_mot.csv"
RATE = 10
COUNT = 150
"""Frames that PaddleDetection's trackers were run on."""
SAME_IOU = 0.5
"""As in all MOT benchmarks."""


@pytest.fixture(scope="module")
def truth():
    """By frame: boxes ``[N, 4]``, ids ``[N]``, and which of them count."""
    rows = np.loadtxt(ANNOTATED, delimiter=",", dtype=np.float32)
    boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)
    frames = rows[:, 0].astype(int) - 1
    return {frame: (boxes[of := frames == frame], rows[of, 1].astype(int), rows[of, 6] > 0) for frame in set(frames)}


@pytest.fixture(scope="module")
def golden(shared):
    """The detections of each frame, and what PaddleDetection's tracker made of them."""
    path = shared / "zoo" / "golden" / "mot_picodet320_bytetrack" / "vtest_first150.json"
    return json.loads(path.read_text())["frames"]


def people(detections) -> Instances:
    rows = np.array(detections, np.float32).reshape(-1, 6)
    return Instances(rows[:, 1], boxes=rows[:, 2:])


def followed(name: str, detected: Callable[[int], Instances]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Boxes and ids of those who are followed, by frame."""
    tracker = make_tracker(Tracking(name), load_skeleton("coco17"))
    tracks = {}
    for index in range(COUNT):
        found = tracker.update(detected(index), index / RATE)
        found = found[found.track_ids != UNTRACKED]
        tracks[index] = found.boxes, found.track_ids
    return tracks


def figures(truth, tracks: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> Tally:
    """MOTA, IDF1 and switches; whoever is found where somebody is to be ignored does not count."""
    frames = []
    for frame in sorted(truth.keys() & tracks.keys()):
        (true_boxes, true_ids, counts), (boxes, ids) = truth[frame], tracks[frame]
        iou = box_iou(true_boxes, np.asarray(boxes, np.float32).reshape(-1, 4))
        rows, columns = linear_sum_assignment(np.where(iou >= SAME_IOU, -iou, 0))
        ignored = columns[(iou[rows, columns] >= SAME_IOU) & ~counts[rows]]
        kept = np.setdiff1d(np.arange(len(ids)), ignored)
        distances = 1 - iou[counts][:, kept]
        frames.append(FrameDistances.of(true_ids[counts], np.asarray(ids)[kept], distances, 1 - SAME_IOU))
    found = count(frames)
    print(tracking_figures(found))
    return found


def of_paddledetection(golden):
    corners = {one["frame"]: [[x, y, x + w, y + h] for x, y, w, h in one["tlwh"]] for one in golden}
    return {one["frame"]: (corners[one["frame"]], one["ids"]) for one in golden}


def test_the_annotation_is_whole(truth):
    assert sorted(truth) == list(range(0, 200, 10))
    for boxes, ids, counts in truth.values():
        assert len(set(ids)) == len(ids) >= 3 and counts.any()
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= (768, 576)).all() and (boxes[:, :2] < boxes[:, 2:]).all()


@pytest.mark.parametrize("name", ["bytetrack", "ocsort"])
def test_identities_are_no_worse_than_paddledetections(name, truth, golden):
    theirs = figures(truth, of_paddledetection(golden))
    ours = figures(truth, followed(name, lambda frame: people(golden[frame]["detections"])))
    assert ours.idf1 >= theirs.idf1
    assert ours.switches <= theirs.switches


@pytest.mark.full
def test_identities_by_keypoints_are_no_worse_either(truth, golden, shared):
    """The keypoints are of the same detections that count, by PP-TinyPose."""
    frames = [frame.image for frame in itertools.islice(read_frames(shared / "data" / "vtest.avi"), COUNT)]
    detected = [found[found.scores > 0.5] for found in (people(one["detections"]) for one in golden)]
    name = "PP-TinyPose_128x96"
    with Predictor(name, model_dir=shared / "models" / name, backend="onnxruntime") as pose:
        results = list(pose.predict(frames, boxes=[found.boxes for found in detected]))
    with_keypoints = [
        found.replaced(keypoints=result.keypoints, keypoint_scores=result.keypoint_scores)
        for found, result in zip(detected, results, strict=True)
    ]
    theirs = figures(truth, of_paddledetection(golden))
    ours = figures(truth, followed("oks", with_keypoints.__getitem__))
    assert ours.idf1 >= theirs.idf1
    assert ours.switches <= theirs.switches
