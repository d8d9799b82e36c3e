"""Streams through one pipeline: order, bounds, errors in their place, and what came before."""

import itertools
import threading
import time
from contextlib import closing
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from hpi import Predictor, streams
from hpi.errors import BackendError, ConfigError, InputError, InputNotFoundError
from hpi.instances import Frame
from hpi.pipelines.tracked import TrackedPipeline
from hpi.sinks.lines import LinesSink, read_lines
from hpi.sources.streams import ResumedStream, Stream
from hpi.sources.video import read_frames
from hpi.streams import AHEAD, follow
from hpi.tracking.base import UNTRACKED, Tracking

import dots
from support import wait_until_threads_end


class Frames(Stream):
    """Frames in memory, one after the other or at a camera's pace."""

    rate, dropped = Fraction(10), 0

    def __init__(self, name, parts, *, live=False):
        self.name = self.path = name
        self.is_live, self.count = live, len(parts)
        self.given, self.closed = 0, threading.Event()
        self._parts = parts

    def __iter__(self):
        for index, part in enumerate(self._parts):
            if self.closed.is_set():
                return
            self.given += 1
            if isinstance(part, InputError) and index == len(self._parts) - 1:
                raise part
            yield part if isinstance(part, InputError) else Frame(part, self.path, None, index, index / 10, self.name)

    def close(self):
        self.closed.set()


def noted(used, name, run):
    """A function that notes in ``used`` that it was called."""

    def runs(*arguments):
        used.add(name)
        return run(*arguments)

    return runs


def key(result):
    return result.frame.stream, result.frame.index


def test_the_frames_of_each_stream_come_in_order(lite, image):
    streams = [Frames("left", [image] * 5), Frames("right", [image[:, ::-1].copy()] * 3)]
    results = list(lite.stream(streams, batch_size=4))
    for stream in streams:
        of_one = [result for result in results if result.frame.stream == stream.name]
        assert [result.frame.index for result in of_one] == list(range(stream.count))
        assert [result.frame.time_s for result in of_one] == [index / 10 for index in range(stream.count)]
        assert {tuple(result.track_ids) for result in of_one[1:]} == {(1, 2)}  # of the second sighting on


def test_keypoints_are_those_of_predict(lite, image):
    (alone,) = lite.predict(iter([image]))  # of many images, as those of a video
    for result in lite.stream(Frames("one", [image] * 2), tracker=None):
        np.testing.assert_array_equal(result.keypoints, alone.keypoints)


def test_frames_are_not_read_far_ahead(lite, image):
    stream, batch_size = Frames("long", [image] * 100), 2
    results = lite.stream(stream, batch_size=batch_size)
    in_models = 2 * len(lite.side_by_side()) * batch_size
    for taken in range(1, 5):
        next(results)
        time.sleep(0.02)
        assert stream.given <= taken + in_models + AHEAD + batch_size
    results.close()
    assert stream.closed.is_set()


def test_frames_that_wait_are_bounded_by_their_bytes(lite, image, monkeypatch):
    """Those in batches and those that are read ahead, however many workers and streams there are."""
    in_batches = 2 * len(lite.side_by_side()) * 2
    monkeypatch.setattr(streams, "MAX_BYTES", in_batches * image.nbytes)
    several = [Frames(name, [image] * 100) for name in "ab"]
    results = lite.stream(several, batch_size=50)
    next(results)
    time.sleep(0.02)
    assert sum(stream.given for stream in several) <= 2 * in_batches
    results.close()


@pytest.mark.full
@pytest.mark.parametrize(("live", "count", "workers"), [(True, 2, 1), (True, 3, 3), (False, 2, 3)])
def test_streams_do_not_leave_cores_idle(image, tmp_path, monkeypatch, live, count, workers):
    """Of a live stream one frame is in the models at a time: with fewer streams than workers all threads are on it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    used = set()
    with Predictor("dots", model_dir=dots.save(tmp_path / "dots"), device="cpu") as predictor:
        for pipelines in (predictor.pipelines, predictor.side_by_side()):
            model = pipelines[0].models[0]
            monkeypatch.setattr(model, "run", noted(used, model.session.info.workers, model.run))
        list(predictor.stream([Frames(str(one), [image[:64, :128]], live=live) for one in range(count)], tracker=None))
    assert used == {workers}


@pytest.mark.full
def test_leaving_early_ends_the_threads(lite, image):
    before = threading.active_count()
    results = lite.stream([Frames("a", [image] * 50), Frames("b", [image] * 50)])
    next(results)
    results.close()
    wait_until_threads_end(before)


@pytest.mark.full
def test_leaving_while_frames_are_taken_ends_the_threads(image, tmp_path):
    """At whatever moment: with a model that takes no time there is always one."""

    class Slow(Frames):
        def close(self):
            time.sleep(0.001)
            super().close()

    with Predictor("dots", model_dir=dots.save(tmp_path / "dots"), device="cpu", workers=3) as predictor:
        list(predictor.stream(Frames("a", [image]), tracker=None))
        before = threading.active_count()
        for taken in range(1, 20):
            several = [Slow(name, [image[:64, :128]] * 50) for name in "abcd"]
            results = predictor.stream(several, tracker=None)
            for _ in range(taken):
                next(results)
            results.close()
            assert all(stream.closed.is_set() for stream in several)
        wait_until_threads_end(before)


def test_a_stream_that_reads_on_ends_too(lite, image):
    class Endless(Frames):
        def close(self):
            pass

    before = threading.active_count()
    results = lite.stream(Endless("a", [image] * 50))
    next(results)
    results.close()
    wait_until_threads_end(before)


@pytest.fixture(scope="module")
def pedestrians(shared):
    return [frame.image for frame in itertools.islice(read_frames(shared / "data" / "vtest.avi"), 24)]


@pytest.fixture(scope="module")
def by_workers(shared):
    """The same models for one and for several frames at the same time."""
    folders = (shared / "models" / name for name in ("PP-TinyPose_128x96", "PicoDet-S_pedestrian_320"))
    keypoint_model, detector = folders
    arguments = {"device": "cpu", "backend": "onnxruntime", "threads": 1}
    opened = [Predictor.of_folders(keypoint_model, detector, workers=workers, **arguments) for workers in (1, 3)]
    yield opened
    for predictor in opened:
        predictor.close()


@pytest.mark.full
@pytest.mark.parametrize(("tracker", "det_every"), [("oks", 1), ("bytetrack", 1), ("bytetrack", "auto"), (None, 1)])
def test_workers_change_nothing(by_workers, pedestrians, tracker, det_every):
    """Also where frames of two streams take turns, of which one ends before the other."""
    found = []
    for predictor in by_workers:
        several = [Frames("long", pedestrians), Frames("short", pedestrians[12:])]
        results = list(predictor.stream(several, tracker=tracker, det_every=det_every))
        found.append({key(result): result.instances for result in results})
        for stream in several:
            of_one = [result.frame.index for result in results if result.frame.stream == stream.name]
            assert of_one == list(range(stream.count))
    one, several_at_once = found
    assert one.keys() == several_at_once.keys()
    for frame, people in one.items():
        for name, array in vars(people).items():
            np.testing.assert_array_equal(getattr(several_at_once[frame], name), array, err_msg=f"{frame} {name}")


def test_a_failure_of_the_models_comes_in_its_place(lite, image):
    class Failing(TrackedPipeline):
        def check(self, frame):
            if frame.index == 3:
                raise BackendError("out of memory")

    before = threading.active_count()
    results = follow(Failing(lite.pipelines[0], Tracking()), [Frames("a", [image] * 20)], batch_size=1, workers=2)
    assert [next(results).frame.index for _ in range(3)] == [0, 1, 2]
    with pytest.raises(BackendError, match="out of memory"):
        next(results)
    wait_until_threads_end(before)


def test_a_live_frame_does_not_wait_for_a_batch(lite, image):
    class Slow(Frames):
        def __iter__(self):
            frames = super().__iter__()
            yield next(frames)
            assert taken.wait(60)
            yield from frames

    taken = threading.Event()
    results = lite.stream(Slow("camera", [image] * 2, live=True), batch_size=8)
    assert next(results).frame.index == 0
    taken.set()
    assert next(results).frame.index == 1


def test_the_next_live_frame_is_read_when_the_models_are_free(lite, image):
    """One that was read before would be old by then, and newer ones be dropped for it."""
    camera = Frames("camera", [image] * 3, live=True)
    results = lite.stream(camera)
    for given in (1, 2, 3):
        next(results)
        time.sleep(0.02)
        assert camera.given == given


def test_cameras_go_side_by_side_with_one_frame_each(lite, image):
    cameras = [Frames(name, [image] * 20, live=True) for name in "ab"]
    results = lite.stream(cameras)
    for taken in range(1, 7):
        next(results)
        time.sleep(0.02)
        # A frame that was yielded holds its camera until the next one is asked for.
        assert sum(camera.given for camera in cameras) <= taken + 1
    results.close()


def test_errors_come_in_their_place_and_the_other_stream_goes_on(lite, image):
    damaged = Frames("damaged", [image, InputError("a damaged frame"), image, InputError("cut off")])
    errors = []
    results = list(lite.stream([damaged, Frames("whole", [image] * 4)], on_error=errors.append))
    assert [str(error) for error in errors] == ["a damaged frame", "cut off"]
    assert sorted(map(key, results)) == [("damaged", 0), ("damaged", 2), *(("whole", index) for index in range(4))]


def test_without_on_error_it_is_raised(lite, image):
    results = lite.stream(Frames("damaged", [image, InputError("cut off")]))
    before = threading.active_count()
    assert key(next(results)) == ("damaged", 0)
    with pytest.raises(InputError, match="cut off") as held:
        next(results)
    wait_until_threads_end(before)
    del held


@pytest.mark.full
def test_what_came_before_keeps_its_ids(lite, image):
    """As if the stream had never stopped."""
    frames = [np.roll(image, 3 * index, axis=1) for index in range(8)]
    whole = list(lite.stream(Frames("clip", frames), smooth="oneeuro", fill_gaps=2))
    earlier = [(result.frame.time_s, result.instances) for result in whole[:5]]
    rest = ResumedStream(Frames("clip", frames), 5)
    assert rest.count == 3
    gone_on = list(lite.stream(rest, smooth="oneeuro", fill_gaps=2, earlier={"clip": earlier}))
    assert [key(result) for result in gone_on] == [key(result) for result in whole[5:]]
    for found, expected in zip(gone_on, whole[5:], strict=True):
        np.testing.assert_array_equal(found.track_ids, expected.track_ids)
        np.testing.assert_array_equal(found.smoothed.keypoints, expected.smoothed.keypoints)


@pytest.mark.full
def test_a_file_of_results_goes_on_after_frames_with_nobody(lite, image, tmp_path):
    """Such a frame has no keypoints in the file, and nobody there has a class."""
    frames = [np.roll(image, 3 * index, axis=1) for index in range(8)]
    for index in (0, 4):
        frames[index] = np.zeros_like(image)
    arguments = {"smooth": "oneeuro", "fill_gaps": 3}
    whole = list(lite.stream(Frames("clip", frames), **arguments))
    assert whole[4].instances.interpolated.any()
    for stopped in (1, 4, 6):
        file = tmp_path / f"{stopped}.jsonl"
        with closing(LinesSink(file)) as sink:
            for result in whole[:stopped]:
                sink.add(result)
        earlier = {"clip": [(time_s, people) for _, time_s, people in read_lines(file)]}
        gone_on = list(lite.stream(ResumedStream(Frames("clip", frames), stopped), earlier=earlier, **arguments))
        for found, expected in zip(gone_on, whole[stopped:], strict=True):
            assert found.json == expected.json
            np.testing.assert_array_equal(found.smoothed.keypoints, expected.smoothed.keypoints)


def test_only_keypoints_that_are_drawn_are_smoothed(lite, image):
    class Strict(TrackedPipeline):
        @property
        def skeleton(self):
            return replace(super().skeleton, visible_above=0.75)

    frames = [np.roll(image, 3 * index, axis=1) for index in range(4)]
    pipeline = Strict(lite.pipelines[0], Tracking("bytetrack"))
    *_, last = follow(pipeline, [Frames("clip", frames)], batch_size=2, threshold=0.5, smooth="ema")
    is_drawn = last.people.keypoint_scores > 0.75
    is_moved = (last.smoothed.keypoints != last.people.keypoints).any(axis=-1)
    assert is_drawn.any()
    assert not is_drawn.all()
    np.testing.assert_array_equal(is_moved, is_drawn)


def test_a_live_stream_cannot_go_on(image):
    with pytest.raises(InputError, match="live"):
        ResumedStream(Frames("camera", [image], live=True), 3)


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ({"tracker": "deepsort"}, "tracker"),
        ({"det_every": 0}, "det_every"),
        ({"smooth": "kalman"}, "smooth"),
        ({"fill_gaps": -1}, "fill_gaps"),
        ({"fill_gaps": 101}, "fill_gaps"),
        ({"max_lost_s": 0}, "max_lost_s"),
        ({"batch_size": 0}, "batch_size"),
        ({"threshold": 1.5}, "threshold"),
        ({"tracker": None, "fill_gaps": 1}, "fill_gaps"),
    ],
)
def test_wrong_arguments_are_refused_at_once(lite, image, arguments, fragment):
    stream = Frames("clip", [image])
    with pytest.raises((ConfigError, InputError), match=fragment):
        lite.stream(stream, **arguments)
    assert not stream.given


def test_two_streams_of_one_name_are_refused(lite, image):
    with pytest.raises(InputError, match="several streams have the name clip"):
        lite.stream([Frames("clip", [image]), Frames("clip", [image])])


@pytest.mark.parametrize("source", [None, b"clip.mp4", 1.5, [None]])
def test_what_is_no_source_is_refused_at_once(lite, source):
    with pytest.raises(InputError, match="give a video"):
        lite.stream(source)


def test_a_missing_file_is_refused_at_once(lite):
    with pytest.raises(InputNotFoundError, match=r"missing\.mp4"):
        lite.stream("missing.mp4")


def test_a_model_of_one_person_needs_no_tracker(image):
    with Predictor("MoveNet-Thunder_256x256") as predictor:
        (alone,) = predictor.predict(iter([image]))  # of many images, as those of a video
        (result,) = predictor.stream(Frames("clip", [image]))
    np.testing.assert_array_equal(result.keypoints, alone.keypoints)
    assert result.track_ids.tolist() == [UNTRACKED]
