"""Whole pipelines side by side: how many, the same results in the same order, and the memory that they take."""

import itertools
import queue
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from hpi import BackendError, ConfigError, InputError, Predictor
from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import SessionOptions
from hpi.backends.cpu import this_cpu
from hpi.opening import Opener
from hpi.selection.memory import STATUS
from hpi.selection.priors import CpuClass, Priors
from hpi.selection.ranking import Request
from hpi.selection.workers import usual_workers
from hpi.sources import MANY, read_items
from hpi.streaming import UNDER_WAY, batches, run_batches
from hpi.zoo import Zoo

from support import (
    EXAMPLE,
    HANGS_S,
    KnownPriors,
    assert_same_people,
    leave_runtimes,
    measured_row,
    quick_first,
    run_python,
    wait_until_threads_end,
)

LITE, POSE, DETECTOR = "human_keypoint_detection_lite", "MoveNet-Thunder_256x256", "PicoDet-S_person_416"


@pytest.fixture(scope="module")
def two_workers(home):
    with Predictor(LITE, backend="onnxruntime", threads=1, workers=2) as predictor:
        yield predictor


@pytest.fixture(scope="module")
def detector(home):
    with Predictor(DETECTOR, backend="onnxruntime", threads=1, workers=2) as predictor:
        yield predictor


@pytest.fixture(scope="module")
def one_worker(home):
    with Predictor(LITE, backend="onnxruntime", threads=1, workers=1) as predictor:
        yield predictor


@pytest.fixture
def shifted(image, rng):
    return [np.roll(image, int(shift), axis=1) for shift in rng.choice(600, MANY + 4, replace=False)]


# The same results, in order


def write(images, folder):
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / f"{number:03d}.png"), image)
    return str(folder)


FORMS = {
    "list": lambda images, _: images,
    "iterator": lambda images, _: iter(images),
    "folder": write,
}


@pytest.mark.parametrize(("form", "batch_size"), quick_first(itertools.product(FORMS, (4, 1))))
def test_workers_give_the_results_of_one_in_order(two_workers, one_worker, shifted, tmp_path, form, batch_size):
    source = FORMS[form](shifted, tmp_path)
    found = list(two_workers.predict(source, batch_size=batch_size))
    expected = list(one_worker.predict(shifted, batch_size=batch_size))
    assert len(found) == len(expected) == len(shifted)
    for mine, other in zip(found, expected, strict=True):
        assert np.array_equal(mine.image, other.image)
        assert_same_people([mine], [other])


@pytest.mark.full
def test_what_is_no_image_comes_in_its_place(two_workers, shifted, rng):
    places = sorted(int(place) for place in rng.choice(len(shifted), 4, replace=False))
    inputs = list(shifted)
    for place in places:
        inputs[place] = f"missing_{place}.jpg"
    events = []
    for result in two_workers.predict(inputs, batch_size=2, on_error=lambda error: events.append(str(error))):
        events.append(result.image)
    assert len(events) == len(inputs)
    for source, event in zip(inputs, events, strict=True):
        assert source in event if isinstance(source, str) else np.array_equal(source, event)
    results = two_workers.predict(inputs, batch_size=2)
    assert len([next(results) for _ in range(places[0])]) == places[0]
    with pytest.raises(InputError, match=f"missing_{places[0]}.jpg"):
        next(results)


@pytest.mark.full
def test_a_failure_of_one_worker_comes_in_its_place(two_workers, shifted, monkeypatch):
    """The other one works on; what came before is there, and no thread is left."""
    before, model = threading.active_count(), two_workers.pipelines[0].models[0]
    run, bad = type(model).run, shifted[9]

    def fails(model, images, *arguments):
        if np.array_equal(images[0], bad):
            raise BackendError("out of memory")
        return run(model, images, *arguments)

    monkeypatch.setattr(type(model), "run", fails)
    results = two_workers.predict(shifted)
    assert len([next(results) for _ in range(9)]) == 9
    with pytest.raises(BackendError, match="out of memory"):
        next(results)
    wait_until_threads_end(before)


def test_results_do_not_wait_for_images_that_have_not_come(two_workers, image):
    """Such as those of a camera, or of somebody who waits for the result."""
    answered = queue.SimpleQueue()

    def asks():
        for _ in range(3):
            yield image
            answered.get(timeout=HANGS_S)

    for result in two_workers.predict(asks()):
        assert len(result.keypoints) == 2
        answered.put(result)
    assert answered.empty()


def test_closing_while_workers_run_ends_them(image):
    before = threading.active_count()
    with Predictor(POSE, backend="onnxruntime", workers=2) as predictor:
        results = predictor.predict(itertools.repeat(image))
        next(results)
    with pytest.raises(BackendError, match="closed"):
        list(results)
    wait_until_threads_end(before)


@pytest.mark.parametrize("while_opening", [False, True])
def test_nothing_is_opened_after_closing(home, image, monkeypatch, while_opening):
    """Nor stays open what a thread was opening meanwhile."""
    begun, open_side_by_side = threading.Event(), Predictor._open_side_by_side

    def opens(predictor):
        begun.set()
        return open_side_by_side(predictor)

    monkeypatch.setattr(Predictor, "_open_side_by_side", opens)
    with Predictor(POSE, backend="onnxruntime", threads=2) as predictor, ThreadPoolExecutor(1) as other:
        if while_opening:
            opening = other.submit(predictor.side_by_side)
            begun.wait()
            predictor.close()
            assert len(opening.result()) == 2
        predictor.close()
        count = len(predictor._opener.opened)
        with pytest.raises(BackendError, match="closed"):
            list(predictor.predict([image] * MANY))
        assert len(predictor._opener.opened) == count
        assert all(opened.choice.session._closed for opened in predictor._opener.opened)


# How much is under way


class Slow:
    """A pipeline that is slower than its input."""

    def __init__(self):
        self.inside, self.most = 0, 0
        self.lock = threading.Lock()

    def run(self, frames, **_):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        time.sleep(0.01)
        with self.lock:
            self.inside -= 1
        return [None] * len(frames)


@pytest.mark.full
def test_images_under_way_are_limited_in_number_and_in_bytes(detector, image, monkeypatch):
    """Each image that has been read and not been returned counts, also those of batches that wait."""
    workers, size = 2, image.nbytes
    read, taken, most = 0, 0, 0

    def items():
        nonlocal read, most
        for item in [image] * 24:
            read += 1
            most = max(most, read - taken)
            yield item

    for limit, in_batch in ((None, 4), (UNDER_WAY * workers * 3 * size, 3), (1, 1)):
        read, taken, most = 0, 0, 0
        if limit is not None:
            monkeypatch.setattr("hpi.streaming.MAX_BYTES", limit)
        monkeypatch.setattr("hpi.predictor.ahead", lambda items, depth: items)
        for _ in detector.predict(items(), batch_size=4):
            taken += 1
        assert taken == 24
        # The batches that run or wait, the one whose results are being returned, and the one that is being filled.
        assert most <= (UNDER_WAY * workers + 2) * in_batch


def test_each_worker_has_one_batch_at_a_time(image):
    pipeline = Slow()
    parts = batches(read_items([image] * 40), None, 2)
    sizes = [len(part.frames) for part, _ in run_batches([pipeline] * 3, parts, None)]
    assert sizes == [2] * 20
    assert pipeline.most == 3


PEAK = """
import sys
import cv2
from hpi import Predictor
from hpi.selection.memory import peak_mb
image, workers, *folders = sys.argv[1:]
arguments = {"objective": "throughput", "workers": int(workers), "batch_size": 4}
if folders:
    opened = Predictor.of_folders(*folders, **arguments)
else:
    opened = Predictor("human_keypoint_detection_lite", **arguments)
with opened as predictor:
    assert len(list(predictor.predict([cv2.imread(image)] * 32))) == 32
print(peak_mb())
"""


@pytest.mark.long
@pytest.mark.full
@pytest.mark.skipif(not STATUS.is_file(), reason="only Linux tells how much memory a process has had")
@pytest.mark.parametrize("pipeline", ["lite", "PicoDet-320 and PP-TinyPose"])
def test_two_workers_take_little_more_memory_than_one(pipeline, request, home, tmp_path):
    """They share the weights; each has its own images and activations."""
    folders = ()
    if pipeline != "lite":
        models = request.getfixturevalue("shared") / "models"
        folders = (models / "PP-TinyPose_128x96", models / "PicoDet-S_pedestrian_320")
    peaks = {}
    for workers in (1, 1, 2, 2):  # the first of each converts, compiles and validates the models
        done = run_python("-c", PEAK, EXAMPLE, str(workers), *folders, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        peaks[workers] = float(done.stdout)
    assert peaks[2] <= 1.6 * peaks[1]


# How many, and when


def rows(workers, milliseconds, model, device=None, batch=8):
    device = device or CpuClass.of(this_cpu())
    return measured_row(model, "onnxruntime", milliseconds, device, threads=4 // workers, workers=workers, batch=batch)


def asked_of(*names, threads=4, **fields):
    zoo = Zoo.default()
    options = SessionOptions(ArtifactCache(zoo.artifacts), threads=threads)
    return [(zoo.find(name), Request(options, **fields)) for name in names]


@pytest.mark.parametrize(
    ("milliseconds", "workers"),
    [
        ({1: None, 4: None}, 4),  # nothing is measured
        ({1: 10, 4: None}, 4),
        ({1: None, 4: 10}, 4),
        ({1: 10, 4: 39}, 4),  # four callers share 39 ms
        ({1: 10, 4: 41}, 1),
    ],
)
def test_measurements_decide_how_many_workers_there_are(home, tmp_path, milliseconds, workers):
    priors = KnownPriors(tmp_path / "own.json")
    priors.store(rows(count, value, DETECTOR) for count, value in milliseconds.items() if value is not None)
    assert usual_workers(asked_of(DETECTOR), priors) == workers


def test_the_whole_pipeline_decides(home, tmp_path):
    """A keypoint model that is much faster on workers outweighs a detector that is a little slower."""
    priors = KnownPriors(tmp_path / "own.json")
    priors.store([rows(1, 10, DETECTOR), rows(4, 44, DETECTOR), rows(1, 10, POSE), rows(4, 20, POSE)])
    assert usual_workers(asked_of(DETECTOR), priors) == 1
    assert usual_workers(asked_of(DETECTOR, POSE), priors) == 4


def test_one_thread_or_a_runtime_for_one_caller_is_one_worker(home, tmp_path):
    priors = Priors(tmp_path / "own.json")
    assert usual_workers(asked_of(DETECTOR, threads=1), priors) == 1
    assert usual_workers(asked_of(DETECTOR, backend="paddle"), priors) == 1


CHOSEN = {
    "nothing": ({}, (1, 2), (2, 1)),
    "latency": ({"objective": "latency"}, (1, 2), (1, 2)),
    "throughput": ({"objective": "throughput"}, (2, 1), (2, 1)),
    "memory": ({"objective": "memory"}, (1, 2), (1, 2)),
    "one worker": ({"workers": 1}, (1, 2), (1, 2)),
    "workers": ({"workers": 2}, (2, 1), (2, 1)),
    "workers, each with threads": ({"workers": 2, "threads": 2}, (2, 2), (2, 2)),
    "threads that are shared": ({"threads": 3, "objective": "throughput"}, (3, 1), (3, 1)),
    "one thread": ({"threads": 1}, (1, 1), (1, 1)),
    "workers outrank the objective": ({"workers": 2, "objective": "latency"}, (2, 1), (2, 1)),
}


@pytest.mark.parametrize("case", quick_first(CHOSEN, 3))
def test_what_is_asked_for_decides_the_arrangement(case, home, monkeypatch):
    """Workers and threads of images that come one at a time, and of many."""
    arguments, alone, many = CHOSEN[case]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with Predictor(POSE, backend="onnxruntime", device="cpu", **arguments) as predictor:
        found = []
        for pipelines in (predictor.pipelines, predictor.side_by_side()):
            info = pipelines[0].models[0].session.info
            assert len(pipelines) == info.workers
            found.append((info.workers, info.threads))
        assert found == [alone, many]
        described = predictor.describe()
        assert [model["workers"] for model in described["models"]] == [alone[0]]
        assert [model["workers"] for model in described["side_by_side"]] == ([many[0]] if many != alone else [])


@pytest.mark.full
def test_few_images_open_nothing_more(home, image):
    with Predictor(POSE, backend="onnxruntime", threads=2) as predictor:
        list(predictor.predict([image] * (MANY - 1)))
        assert predictor.describe()["side_by_side"] == []
        list(predictor.predict([image] * MANY))
        assert [model["workers"] for model in predictor.describe()["side_by_side"]] == [2]


def test_a_model_is_read_once_to_be_opened(home, monkeypatch):
    """Its YAML takes a good part of a start."""
    found, find = [], Zoo.find
    monkeypatch.setattr(Zoo, "find", lambda zoo, name, *rest: found.append(name) or find(zoo, name, *rest))
    with Predictor(LITE, backend="onnxruntime", device="cpu", threads=1):
        assert found == [DETECTOR, POSE]


def test_workers_are_for_the_cpu(home, monkeypatch):
    monkeypatch.setattr("hpi.opening.gpu_count", lambda: 1)
    for device in ("gpu:0", "gpu:0,1", "npu", None):
        with pytest.raises(ConfigError, match="workers is 2: pipelines run side by side only on the CPU, not on"):
            Predictor(POSE, device=device, workers=2)


@pytest.mark.full
def test_paddle_says_why_it_takes_no_workers(home):
    pytest.importorskip("paddle")
    with pytest.raises(BackendError, match="several threads of a process at the same time: give workers=1"):
        Predictor(POSE, backend="paddle", workers=2)
    with Predictor(POSE, backend="paddle", objective="throughput") as predictor:
        assert len(predictor.side_by_side()) == 1


@pytest.mark.parametrize("workers", [0, -1, 1.5, True, "two", 2000])
def test_a_wrong_number_of_workers_says_what_to_give(workers):
    with pytest.raises(ConfigError, match="give a whole number from 1 to 1024, or None"):
        Predictor(POSE, workers=workers)


def test_models_that_do_not_run_on_workers_run_one_at_a_time(home, image, monkeypatch):
    """Such as a model that only Paddle can read, which shows when it is converted."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    open_one = Opener._open

    def fails_on_workers(opener, source, device, workers, *task):
        if workers > 1:
            raise BackendError("cannot be converted")
        return open_one(opener, source, device, workers, *task)

    monkeypatch.setattr(Opener, "_open", fails_on_workers)
    with Predictor(POSE, backend="onnxruntime") as predictor:
        assert len(list(predictor.predict([image] * MANY))) == MANY
        assert len(predictor.side_by_side()) == 1


def test_models_whose_files_are_gone_run_one_at_a_time(home, image, tmp_path, monkeypatch, caplog):
    """They are loaded, and need no files."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    folder = shutil.copytree(Zoo.default().find(POSE).folder, tmp_path / "mine")
    with Predictor(POSE, model_dir=folder, backend="onnxruntime", device="cpu") as predictor:
        shutil.rmtree(folder)
        assert len(list(predictor.predict([image] * MANY))) == MANY
        assert predictor.side_by_side() == predictor.pipelines
    assert f"{POSE}: many images go through the models one at a time" in caplog.text


@pytest.mark.full
def test_tuning_measures_both_arrangements(home, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    measured = []
    monkeypatch.setattr(Priors, "store", lambda _, fresh: measured.extend(fresh))
    leave_runtimes(monkeypatch, "onnxruntime")
    with Predictor(POSE, device="cpu") as predictor:
        predictor.tune(seconds=0.1)
        assert {(row.workers, row.threads) for row in measured} == {(1, 2), (2, 1)}
        measured.clear()
    with Predictor(POSE, device="cpu", objective="latency") as predictor:
        predictor.tune(seconds=0.1)
        assert {(row.workers, row.threads) for row in measured} == {(1, 2)}
