"""What a batch reads: listing, cutting into parts, the plan, its job."""

import inspect
import os
from functools import partial
from pathlib import Path

import pytest

from hpi import Predictor
from hpi.distributed.inputs import FIRST_PART, cut, list_files
from hpi.distributed.job import PART_SIZE, Job, Part
from hpi.distributed.output import Output
from hpi.distributed.plan import Plan, write_plan
from hpi.errors import ConfigError, InputError
from hpi.sources.streams import StreamOptions


@pytest.fixture
def folder(tmp_path):
    for name in ("frame_10.jpg", "frame_2.jpg", "sub/a.PNG", "sub/clip.mp4", "shard.tar", "notes.txt", ".hidden.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def listed(folder, *sources):
    return [os.path.relpath(path, folder) for path in list_files(sources)]


def test_a_folder_is_listed_in_natural_order(folder):
    assert listed(folder, str(folder)) == ["frame_2.jpg", "frame_10.jpg", "shard.tar", "sub/a.PNG", "sub/clip.mp4"]


def test_patterns_match_files_and_not_folders(folder):
    assert sorted(listed(folder, f"{folder}/**")) == [
        "frame_10.jpg", "frame_2.jpg", "notes.txt", "shard.tar", "sub/a.PNG", "sub/clip.mp4",
    ]  # fmt: skip
    (folder / "odd[1].jpg").touch()
    assert listed(folder, f"{folder}/odd[1].jpg") == ["odd[1].jpg"]


def test_a_list_has_a_file_on_each_line(folder, monkeypatch):
    monkeypatch.chdir(folder)
    content = f"sub/a.PNG\r\n\n{folder}/my file.jpg\ns3://bucket/a.jpg\n".encode() + b"not-utf8-\xff.jpg"
    (folder / "list.txt").write_bytes(content)
    assert [*list_files(["@list.txt"])] == [
        f"{folder}/sub/a.PNG", f"{folder}/my file.jpg", "s3://bucket/a.jpg",
        os.fsdecode(bytes(folder) + b"/not-utf8-\xff.jpg"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("empty", "no images"),
        ("no*.jpg", "no file matches"),
        ("@missing.txt", "No such file"),
        ("@none.txt", "no line"),
    ],
)
def test_sources_without_files_are_errors(source, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.txt").touch()
    with pytest.raises(InputError, match=reason):
        list(list_files([source]))


def test_a_list_that_is_none(tmp_path):
    (tmp_path / "image.jpg").write_bytes(b"\xff" * 100_000)
    with pytest.raises(InputError, match="is it a list"):
        list(list_files([f"@{tmp_path / 'image.jpg'}"]))


def test_a_file_that_is_missing_is_found_out_later():
    assert [*list_files(["/missing.jpg", "http://127.0.0.1:9/a.jpg?size=2"])] == [
        "/missing.jpg", "http://127.0.0.1:9/a.jpg?size=2",
    ]  # fmt: skip


def test_an_unknown_scheme_says_what_to_give():
    with pytest.raises(InputError, match="s3://bucket/folder"):
        list(list_files(["nowhere://bucket/images"]))


def test_a_server_that_cannot_be_reached_is_an_error_of_its_source():
    with pytest.raises(InputError, match=r"ftp://127.0.0.1:1/images: cannot be read: Connection refused"):
        list(list_files(["ftp://127.0.0.1:1/images"]))


def test_parts_keep_every_file_once_and_grow(rng):
    files = [
        f"/{number}.{rng.choice(['jpg', 'png', 'mp4', 'tar'], p=[0.5, 0.48, 0.01, 0.01])}" for number in range(9000)
    ]
    parts = [*cut(files, part_size=200)]
    assert sorted(file for part in parts for file in part.files) == sorted(files)
    assert [part.number for part in parts] == [*range(len(parts))]
    sizes = [len(part.files) for part in parts]
    assert all(len(part.files) == 1 for part in parts if any(file.endswith(("mp4", "tar")) for file in part.files))
    assert sizes[0] in {1, FIRST_PART} and max(sizes) == 200
    assert [*cut(iter(files), part_size=200)] == parts


def test_a_plan_keeps_any_name(tmp_path):
    odd = ("/data/" + os.fsdecode(b"\xff\xfe.jpg"), "/data/ü\n.jpg")
    write_plan(Output(str(tmp_path)), [Part(0, odd), Part(1, ("s3://bucket/shard.tar",))])
    with Plan(Output(str(tmp_path))) as plan:
        assert (plan.parts, plan.files, plan.size_of({0})) == (2, 3, 2)
        assert [*plan.without(set())] == [Part(0, odd), Part(1, ("s3://bucket/shard.tar",))]
        assert [part.number for part in plan.without({0})] == [1]


def test_a_plan_of_many_files_needs_little_memory(tmp_path):
    import tracemalloc

    names = (f"/data/{number // 1000:06d}/{'x' * 60}{number:09d}.jpg" for number in range(30_000))
    tracemalloc.start()
    write_plan(Output(str(tmp_path)), cut(names, 1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6  # the names alone are 3 MB


def job_of(*sources, **options):
    return Job(sources, "/out", partial(Predictor, "body", **options))


def test_only_what_decides_the_rows_identifies_a_job():
    first = job_of("/a", "images", threads=2, device="cpu", backend="openvino")
    second = job_of("/a", str(Path("images").absolute()), threads=1, device="gpu", precision=None)
    assert first.identity == second.identity
    for other in (
        job_of("/b"),
        job_of("/a", "images", precision="fp16"),
        Job(first.sources, "/out", first.predictor, 0.3),
    ):
        assert other.identity != first.identity
    folders = Job(("/a",), "/out", partial(Predictor.of_folders, Path("/k"), None, device="cpu"))
    assert folders.identity["models"] == {"of_folders": ["/k", None]}


def test_a_job_can_be_pickled():
    import pickle

    job = Job(("/a",), "/out", partial(Predictor, "body", device="cpu"), network=StreamOptions(allow_network=True))
    again = pickle.loads(pickle.dumps(job))
    assert again.identity == job.identity and again.network == job.network


def test_a_job_needs_a_source_and_one_place_to_run():
    with pytest.raises(ConfigError, match="no source"):
        job_of()
    with pytest.raises(ConfigError, match="empty"):
        job_of("")
    with pytest.raises(ConfigError, match="--processes are of this machine"):
        Job(("/a",), "/out", partial(Predictor, "body"), processes=2, ray="auto")


def test_the_command_has_the_usual_size_of_parts():
    from hpi.cli.commands.batch import batch

    assert inspect.signature(batch).parameters["part_size"].default == PART_SIZE
