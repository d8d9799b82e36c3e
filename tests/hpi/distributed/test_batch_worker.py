"""A worker on parts, in this process."""

import os
import shutil
import tarfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from hpi.distributed.batch import run_batch
from hpi.distributed.growth import BatchSize
from hpi.distributed.job import Job, Part
from hpi.distributed.shards import IMAGES, PEOPLE
from hpi.distributed.worker import Worker
from hpi.errors import BackendError, ConfigError, InputError

from batch_rows import assert_same_rows, rows_of
from support import EXAMPLE, require

require("pyarrow")


class Lent:
    """A predictor that a worker must not close."""

    def __init__(self, predictor):
        self.__dict__.update(vars(predictor))
        self.predictor = predictor

    def __getattr__(self, name):
        return getattr(self.predictor, name)

    def side_by_side(self):
        return self.predictor.pipelines

    def close(self):
        pass


@pytest.fixture
def job(lite, tmp_path):
    def make(*sources, **options):
        return Job(tuple(map(str, sources)), str(tmp_path / "out"), partial(lambda **_: Lent(lite)), **options)

    return make


@pytest.fixture
def folder(tmp_path):
    """Pictures with people, without, damaged, and of several frames."""
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(EXAMPLE, images / "people.png")
    cv2.imwrite(str(images / "nobody.jpg"), np.full((300, 400, 3), 127, np.uint8))
    (images / "empty.jpg").touch()
    (images / "text.png").write_text("no image")
    from PIL import Image

    frames = [Image.open(EXAMPLE).resize((320, 240)), Image.new("RGB", (320, 240))]
    frames[0].save(images / "moving.gif", save_all=True, append_images=frames[1:])
    return images


def run(job, *files):
    with Worker(job) as worker:
        return worker.run(Part(0, tuple(map(str, files))))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_each_image_has_its_row(folder, job, lite, batch_size, tmp_path):
    done = run(job(folder, batch_size=batch_size), *sorted(folder.iterdir()))
    assert (done.images, done.errors, done.files) == (6, 2, 5)
    rows = rows_of(tmp_path / "out", IMAGES)
    assert [(Path(row["file"]).name, row["frame_index"], row["status"]) for row in rows] == [
        ("empty.jpg", None, "error"), ("moving.gif", 0, "ok"), ("moving.gif", 1, "ok"), ("nobody.jpg", None, "ok"),
        ("people.png", None, "ok"), ("text.png", None, "error"),
    ]  # fmt: skip
    assert [row["people"] for row in rows][3:5] == [0, 2]
    assert "the file is empty" in rows[0]["error"] and "the file is empty" in done.first_error
    assert {row["shard"] for row in rows if row["status"] == "ok"} == {"people/part-00000.parquet"}
    assert_same_rows(tmp_path / "out", lite.predict(str(folder)))


def test_a_tar_has_the_rows_of_its_images(folder, job, lite, tmp_path):
    with tarfile.open(tmp_path / "shard.tar", "w") as bundle:
        for file in sorted(folder.iterdir()):
            bundle.add(file, file.name)
    done = run(job(tmp_path / "shard.tar"), tmp_path / "shard.tar")
    assert (done.images, done.errors, done.files) == (6, 2, 1)
    found = rows_of(tmp_path / "out", PEOPLE)
    first, *_ = lite.predict(str(folder / "people.png"))
    assert [row["x1"] for row in found if row["file"].endswith("shard.tar#people.png")] == pytest.approx(
        first.boxes[:, 0]
    )


@pytest.mark.parametrize(
    ("name", "reason"), [("missing.tar", "No such file"), ("no.tar", "damaged, truncated or not a tar")]
)
def test_a_tar_that_cannot_be_read_is_a_row(job, tmp_path, name, reason):
    (tmp_path / "no.tar").write_bytes(b"no tar at all" * 100)
    done = run(job(tmp_path / name), tmp_path / name)
    assert (done.images, done.errors) == (1, 1)
    assert reason in rows_of(tmp_path / "out", IMAGES)[0]["error"]


def test_names_that_are_no_text_can_be_written(job, tmp_path):
    odd = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    shutil.copy(EXAMPLE, odd)
    assert run(job(tmp_path), os.fsdecode(odd)).people == 2
    assert rows_of(tmp_path / "out", IMAGES)[0]["file"].endswith(r"\udcff\udcfe.png")


def test_an_image_without_people_still_has_a_table_with_all_columns(folder, job, tmp_path):
    run(job(folder), folder / "nobody.jpg")
    import pyarrow.parquet

    schema = pyarrow.parquet.read_schema(tmp_path / "out" / "people" / "part-00000.parquet")
    assert schema.names[:11] == [
        "file", "page", "frame_index", "time_s", "track_id", "score", "x1", "y1", "x2", "y2", "nose_x",
    ]  # fmt: skip
    assert len(schema.names) == 10 + 17 * 3


def test_a_part_that_fails_leaves_nothing(folder, job, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise BackendError("out of memory")

    with Worker(job(folder, batch_size=1)) as worker:
        monkeypatch.setattr("hpi.distributed.worker.run_items", fail)
        with pytest.raises(BackendError, match="memory"):
            worker.run(Part(0, (str(folder / "people.png"),)))
    assert not [file for file in (tmp_path / "out").rglob("*") if file.is_file()]


def test_a_part_that_fails_is_reported_but_not_what_fails_for_all_parts(folder, job, tmp_path, monkeypatch):
    errors = [RuntimeError("a runtime failed"), ConfigError("wrong"), InputError("the disk is full")]
    part = Part(7, (str(folder / "people.png"),))

    def fail(*_, **__):
        raise errors.pop(0)

    with Worker(job(folder, batch_size=1)) as worker:
        monkeypatch.setattr("hpi.distributed.worker.run_items", fail)
        failed = worker.attempt(part)
        assert (failed.number, failed.files, failed.failure) == (7, 1, "RuntimeError: a runtime failed")
        for kind in (ConfigError, InputError):
            with pytest.raises(kind):
                worker.attempt(part)


def test_a_batch_that_is_too_large_is_done_again(folder, job, monkeypatch):
    from hpi.distributed import worker as module

    real = module.run_items

    def run_items(pipelines, items, regions, batch_size, threshold):
        if batch_size > 1:
            items.close()
            raise BackendError("out of memory")
        return real(pipelines, items, regions, batch_size, threshold)

    monkeypatch.setattr(module, "run_items", run_items)
    with Worker(job(folder)) as worker:
        worker._batch.ran(100, seconds=5)
        assert worker._batch.now == 2
        assert worker.run(Part(0, (str(folder / "people.png"),))).people == 2
        assert worker._batch.now == 1


def test_batches_grow_while_it_pays():
    def sizes(*rates):
        batch = BatchSize()
        seen = [batch.now]
        for rate in rates:
            batch.ran(int(3 * rate), seconds=3)
            seen.append(batch.now)
        return seen

    assert sizes(100, 200, 400, 800, 1600, 3200, 6400) == [1, 2, 4, 8, 16, 32, 32, 32]
    assert sizes(100, 101, 500) == [1, 2, 1, 1]
    assert sizes(100, 150, 120, 500) == [1, 2, 4, 2, 2]
    short = BatchSize()
    for _ in range(20):
        short.ran(1, seconds=0.09)
    assert short.now == 1, "too little to compare"
    fixed = BatchSize(8)
    fixed.ran(1000, seconds=100)
    assert fixed.now == 8


def test_batches_stop_growing_where_memory_ends(monkeypatch):
    from hpi.distributed import growth

    peaks = iter([1000.0, 1400.0])
    monkeypatch.setattr(growth, "peak_mb", lambda: next(peaks))
    monkeypatch.setattr(growth, "available_mb", lambda: 3000.0)
    batch = BatchSize()
    for rate in (100, 200, 400):
        batch.ran(rate * 3, seconds=3)
    assert batch.now == 2


def test_an_output_of_another_batch_is_left_alone(folder, job, tmp_path, monkeypatch):
    done = []

    def run_parts(job, parts):
        with Worker(job) as worker:
            for part in parts:
                done.append(part.number)
                yield worker.run(part)

    monkeypatch.setattr("hpi.distributed.local.run_parts", run_parts)
    summary = run_batch(job(folder))
    assert (summary.images, summary.people, summary.errors, summary.parts, summary.done_before) == (6, 4, 2, 1, 0)
    assert run_batch(job(folder)).done_before == 1
    assert done == [0]
    with pytest.raises(ConfigError, match=r"sources was .*threshold was None, and is 0.7"):
        run_batch(job(folder / "people.png", threshold=0.7))
    (tmp_path / "out" / "job.json").write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        run_batch(job(folder))


@pytest.mark.parametrize(
    ("given", "threads", "device", "expected"),
    [
        ({}, 3, None, {"threads": 3}),
        ({"threads": 2, "device": "cpu"}, 8, None, {}),
        ({"workers": 2, "threads": None}, 5, None, {"threads": 2}),
        ({"device": "gpu:0,1"}, 4, "gpu:1", {"threads": 4, "device": "gpu:1"}),
    ],
)
def test_a_worker_takes_its_share(lite, tmp_path, given, threads, device, expected):
    seen = {}

    def open_models(**arguments):
        seen.update(arguments)
        return Lent(lite)

    Worker(Job(("/a",), str(tmp_path), partial(open_models, **given)), threads=threads, device=device)
    assert seen == {**given, **expected, "objective": "throughput", "calibrate": False}


def test_two_runs_do_not_write_at_the_same_time(folder, job, tmp_path):
    from filelock import FileLock

    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"), pytest.raises(InputError, match="another hpi batch"):
        run_batch(job(folder))


def test_a_source_without_files_leaves_no_plan(job, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no images"):
        run_batch(job(tmp_path / "none"))
    assert [file.name for file in (tmp_path / "out").iterdir()] == [".lock"]


def test_files_of_others_are_left_alone(folder, job, tmp_path):
    """As where the pictures are in ``images`` of the output: ``hpi batch images --output .``."""
    (tmp_path / "out").mkdir()
    folder.rename(tmp_path / "out" / "images")
    (tmp_path / "out" / "images" / ".mine.part").touch()
    before = sorted((tmp_path / "out").rglob("*"))
    with pytest.raises(ConfigError, match="images: has other files; give another --output"):
        run_batch(job(tmp_path / "out" / "images"))
    assert sorted((tmp_path / "out").rglob("*")) == sorted([*before, tmp_path / "out" / ".lock"])


def test_a_misspelt_source_leaves_no_plan(job, tmp_path):
    with pytest.raises(InputError, match="misspelt: no such file or folder"):
        run_batch(job(tmp_path / "misspelt"))
    assert [file.name for file in (tmp_path / "out").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("plan.parquet", b"PAR1", (ConfigError, "plan.parquet: is damaged")),
        ("images/part-00000.parquet", b"PAR1", (InputError, "part-00000.parquet.*")),
        ("job.json", b"[]", (ConfigError, "another batch")),
        ("job.json", b"[1]", (ConfigError, "job.json: is damaged")),
    ],
)
def test_damaged_files_of_an_output_are_named(folder, job, tmp_path, monkeypatch, name, content, expected):
    def run_parts(job, parts):
        with Worker(job) as worker:
            yield from map(worker.run, parts)

    monkeypatch.setattr("hpi.distributed.local.run_parts", run_parts)
    run_batch(job(folder / "people.png"))
    (tmp_path / "out" / name).write_bytes(content)
    error, reason = expected
    with pytest.raises(error, match=reason):
        run_batch(job(folder / "people.png"))
