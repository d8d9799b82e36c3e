"""Pipelines whose frames belong to streams: ids, frames without the detector, a state for each stream."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest

from hpi import Frame, Predictor
from hpi.errors import ConfigError, InputError
from hpi.pipelines.single import SingleModel
from hpi.pipelines.tracked import TrackedPipeline
from hpi.sources.video import read_frames
from hpi.tracking.base import TRACKERS, Tracking

import dots
from support import EXAMPLE, assert_same_keypoints, quick_first, require

require("trackers")

RATE = 10
LITE = "human_keypoint_detection_lite"
BOTH = quick_first(["lite", "fast"])
"""Fixtures with a pipeline."""

GENERAL_TRACKERS = [name for name in TRACKERS if name != "embedding"]
"""Those that need no detector with embeddings."""


@pytest.fixture(scope="module")
def lite(home):
    with Predictor(LITE, device="cpu") as predictor:
        yield predictor


@pytest.fixture(scope="module")
def fast(home, shared):
    folders = (shared / "models" / name for name in ("PP-TinyPose_128x96", "PicoDet-S_pedestrian_320"))
    with Predictor.of_folders(*folders, device="cpu") as predictor:
        yield predictor


@pytest.fixture(scope="module")
def vtest(shared):
    """The beginning of a video of pedestrians."""
    return [frame.image for frame in itertools.islice(read_frames(shared / "data" / "vtest.avi"), 16)]


def pan(count, pixels=3):
    """A camera that moves along the example image; its two people stay in view."""
    image = cv2.copyMakeBorder(cv2.imread(str(EXAMPLE)), 60, 60, 60, 60 + pixels * count, cv2.BORDER_CONSTANT)
    width = image.shape[1] - pixels * count
    return [np.ascontiguousarray(image[:, pixels * index :][:, :width]) for index in range(count)]


def frames_of(images, stream="a"):
    return [Frame(image, index=index, time_s=index / RATE, stream=stream) for index, image in enumerate(images)]


def one_by_one(pipeline, frames):
    return [people for frame in frames for people in pipeline.run([frame])]


def assert_equal(found, expected):
    """Assert that each array of the people of each frame is the same to the bit."""
    for one, other in zip(found, expected, strict=True):
        assert vars(one).keys() == vars(other).keys()
        for name, array in vars(other).items():
            np.testing.assert_array_equal(getattr(one, name), array, err_msg=name)


@pytest.mark.full
@pytest.mark.parametrize("name", BOTH)
def test_with_everything_off_frames_are_as_predicted(name, request, vtest):
    predictor = request.getfixturevalue(name)
    pipeline = TrackedPipeline(predictor.pipelines[0], Tracking(tracker=None, det_every=1))
    found = one_by_one(pipeline, frames_of(vtest[:3]))
    assert_equal(found, [result.instances for image in vtest[:3] for result in predictor.predict(image)])


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("tracker", quick_first(GENERAL_TRACKERS))
def test_everyone_found_is_tracked_with_the_same_keypoints(name, tracker, request, vtest):
    """There may be more people: those who score low, but go on with a track."""
    predictor = request.getfixturevalue(name)
    pipeline = TrackedPipeline(predictor.pipelines[0], Tracking(tracker))
    found = pipeline.run(frames_of(vtest[:6]))
    for people, image in zip(found, vtest, strict=False):
        (plain,) = predictor.predict(image)
        there = [np.flatnonzero((people.boxes == box).all(axis=1)).item() for box in plain.boxes]
        assert people.scores[there].tolist() == plain.scores.tolist()
        assert_same_keypoints(people[there].points, plain.instances.points)
    assert (found[-1].track_ids > 0).sum() >= 3


@pytest.mark.full
def test_people_keep_their_ids_and_keypoints_while_boxes_are_carried(lite):
    frames = frames_of(pan(8))
    pipeline, detected, found = TrackedPipeline(lite.pipelines[0], Tracking(det_every=4)), [], []
    for frame in frames:
        found += pipeline.run([frame])
        detected.append(pipeline.states["a"].carrier.detected)
    assert detected == [True, False, False, False] * 2
    assert {tuple(people.track_ids) for people in found[1:]} == {(1, 2)}
    everywhere = lite.pipelines[0].run(frames)
    for people, plain in zip(found, everywhere, strict=True):
        clear = plain.keypoint_scores > 0.3
        off = np.linalg.norm(people.keypoints - plain.keypoints, axis=-1)[clear]
        assert np.median(off) < 0.02 * (plain.boxes[:, 3] - plain.boxes[:, 1]).min()


@pytest.mark.full
@pytest.mark.parametrize("det_every", [1, "auto"])
def test_streams_side_by_side_are_as_each_alone(det_every, fast, vtest):
    one, other = frames_of(vtest[:8], "one"), frames_of(vtest[8:], "other")
    tracking = Tracking(det_every=det_every)
    alone = [one_by_one(TrackedPipeline(fast.pipelines[0], tracking), frames) for frames in (one, other)]

    turns = TrackedPipeline(fast.pipelines[0], tracking)
    in_turn = [turns.run([frame])[0] for pair in zip(one, other, strict=True) for frame in pair]
    assert_equal(in_turn[::2], alone[0])
    assert_equal(in_turn[1::2], alone[1])

    # In one call sums are rounded otherwise, as batches are of other sizes.
    mixed = [frame for start in (0, 4) for stream in (one, other) for frame in stream[start : start + 4]]
    together = TrackedPipeline(fast.pipelines[0], tracking)
    found = [people for start in (0, 8) for people in together.run(mixed[start : start + 8])]
    for frame, people in zip(mixed, found, strict=True):
        expected = alone[frame.stream == "other"][frame.index]
        assert people.track_ids.tolist() == expected.track_ids.tolist()
        assert_same_keypoints(people.points, expected.points)


@pytest.mark.full
def test_devices_share_the_states_of_streams_in_different_threads(fast, vtest):
    """Each frame of a stream is run by the other of two pipelines, and two streams at once."""
    tracking, streams = Tracking(det_every="auto"), [frames_of(vtest[:8], name) for name in ("one", "other")]
    alone = one_by_one(TrackedPipeline(fast.pipelines[0], tracking), streams[0])
    first = TrackedPipeline(fast.pipelines[0], tracking)
    pipelines = itertools.cycle([first, TrackedPipeline(fast.pipelines[0], tracking, states=first.states)])

    def run(frames):
        return [people for frame in frames for people in next(pipelines).run([frame])]

    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(run, streams):
            assert_equal(found, alone)


@pytest.mark.full
@pytest.mark.parametrize(("tracker", "det_every"), [("oks", 1), ("bytetrack", 1), ("bytetrack", 2)])
def test_frames_that_were_started_run_in_any_thread(lite, tracker, det_every):
    """The later ones wait where they need those before."""
    tracking, frames = Tracking(tracker, det_every), frames_of(pan(4))
    expected = one_by_one(TrackedPipeline(lite.pipelines[0], tracking), frames)
    pipeline = TrackedPipeline(lite.pipelines[0], tracking)
    started = [pipeline.start([frame]) for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        later = [pool.submit(job) for job in reversed(started[1:])]
        found = [*started[0](), *(people for future in reversed(later) for people in future.result())]
    assert_equal(found, expected)


def test_a_frame_that_fails_does_not_hold_up_the_next(lite):
    first, second = frames_of(pan(2))
    pipeline = TrackedPipeline(lite.pipelines[0], Tracking(det_every=2))
    failing, following = pipeline.start([replace(first, image=None)]), pipeline.start([second])
    with pytest.raises(AttributeError):
        failing()
    assert len(following()[0]) == 2


@pytest.mark.full
@pytest.mark.parametrize("callers", [2, 5])
def test_people_of_an_image_are_shared_by_callers(fast, vtest, callers):
    """Also where there are fewer people than callers; keypoints differ only by the rounding of other batches."""
    nobody = np.zeros_like(vtest[0])
    frames = [Frame(image) for image in (vtest[0], nobody, vtest[8])]
    pipeline = fast.pipelines[0]
    for some in (frames[:1], frames[1:2], frames):
        shared = pipeline.split_by(callers).run(some)
        for found, expected in zip(shared, pipeline.run(some), strict=True):
            np.testing.assert_array_equal(found.boxes, expected.boxes)
            assert_same_keypoints(found.points, expected.points)


@pytest.mark.full
def test_a_stream_that_ends_begins_anew(lite):
    pipeline, frames = TrackedPipeline(lite.pipelines[0], Tracking()), frames_of(pan(3))
    first = one_by_one(pipeline, frames)
    pipeline.run(frames_of(pan(2), "b"))
    pipeline.end("a")
    pipeline.end("never there")
    assert pipeline.states.keys() == {"b"}
    assert_equal(one_by_one(pipeline, frames), first)


def test_frames_without_people(lite):
    images = pan(6)
    images[2] = images[3] = np.zeros_like(images[0])
    for det_every in (1, 3):
        pipeline = TrackedPipeline(lite.pipelines[0], Tracking(det_every=det_every))
        found = one_by_one(pipeline, frames_of(np.zeros((2, 64, 64, 3), np.uint8)) + frames_of(images)[2:])
        assert found[0].keypoints.shape == (0, 17, 2)
        assert len(found[-1]) == 2
    assert pipeline.run([]) == []


def test_a_stream_may_change_its_size(lite):
    images = pan(4)
    images[2:] = [cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for image in images[2:]]
    pipeline = TrackedPipeline(lite.pipelines[0], Tracking(det_every=9))
    found = one_by_one(pipeline, frames_of(images))
    assert_same_keypoints(found[2].points, lite.pipelines[0].run([Frame(images[2])])[0].points)
    assert len(found[3]) == len(found[1]) == 2
    assert set(found[3].track_ids.tolist()) & {1, 2} == set()  # who is who is not known across sizes


def test_people_of_the_caller_are_followed(lite):
    frames = frames_of(pan(3))
    given = lite.pipelines[0].run(frames)
    found = TrackedPipeline(lite.pipelines[0], Tracking()).run(frames, regions=given)
    for people, of_caller in zip(found, given, strict=True):
        assert people.boxes.tolist() == of_caller.boxes.tolist()
    assert found[-1].track_ids.tolist() == [1, 2]


@pytest.mark.parametrize("tracker", ["oks", "bytetrack"])
def test_bottom_up_models_are_followed(tracker, rng, tmp_path):
    require("scipy")
    size = (128, 64)
    everyone = dots.people(rng, 3, (64, 48), seen=1)
    moved = [everyone + np.float32([index, 0, 0]) for index in range(6)]
    with Predictor("dots", model_dir=dots.save(tmp_path / "dots"), device="cpu") as predictor:
        pipeline = TrackedPipeline(predictor.pipelines[0], Tracking(tracker))
        found = pipeline.run(frames_of([dots.paint(people, size) for people in moved]))
    ids = []
    for people, truth in zip(found, moved, strict=True):
        nearest = [np.abs(people.keypoints - person[:, :2]).mean(axis=(1, 2)).argmin() for person in truth]
        ids.append(people.track_ids[nearest].tolist())
    assert sorted(ids[1]) == [1, 2, 3]
    assert ids[1:] == [ids[1]] * 5


def test_what_cannot_be_followed_is_refused(lite, tmp_path):
    with pytest.raises(InputError, match=r"clip\.mp4: .*give it a time_s"):
        TrackedPipeline(lite.pipelines[0], Tracking()).run([Frame(pan(1)[0], path="clip.mp4")])
    with pytest.raises(ConfigError, match="put a detector before it"):
        TrackedPipeline(SingleModel(lite.pipelines[0].models[1]), Tracking())
    dotted = Predictor("dots", model_dir=dots.save(tmp_path / "dots"), device="cpu")
    with dotted, pytest.raises(ConfigError, match=r"det_every: .*give 1"):
        TrackedPipeline(dotted.pipelines[0], Tracking(det_every="auto"))
