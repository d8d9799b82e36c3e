"""A batch from S3 to S3, against moto's server."""

import os
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace

import pytest

from hpi.distributed.inputs import list_files
from hpi.distributed.output import Output
from hpi.distributed.reading import read_images
from hpi.distributed.shards import IMAGES
from hpi.errors import InputError

from batch_rows import assert_same_rows, rows_of, shared_pictures
from support import EXAMPLE, HANGS_S, wait_until

pytest.importorskip("moto.server")
pytest.importorskip("s3fs")
pytestmark = [pytest.mark.cluster, pytest.mark.full]


@pytest.fixture(scope="module")
def s3():
    """A file system whose server is moto, for this process and those it starts."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        files = s3fs.S3FileSystem(use_listings_cache=False)
        files.mkdir("images")
        files.mkdir("results")
        yield files
        s3fs.S3FileSystem.clear_instance_cache()
        server.stop()


@pytest.fixture(scope="module")
def pictures(s3, shared):
    """36 pictures, an empty one, and a tar; returns the pictures' places."""
    files = shared_pictures(shared)
    for file in files:
        s3.put_file(str(file), f"images/pictures/{file.parent.parent.name}/{file.name}")
    s3.touch("images/pictures/empty.jpg")
    s3.touch("images/pictures/notes.txt")
    s3.touch("images/pictures/.hidden.jpg")
    return {f"s3://images/pictures/{file.parent.parent.name}/{file.name}": file for file in files}


def test_listing(s3, pictures):
    assert {*list_files(["s3://images/pictures"])} == {*pictures, "s3://images/pictures/empty.jpg"}
    assert [*list_files(["s3://images/pictures/emp*"])] == ["s3://images/pictures/empty.jpg"]
    s3.pipe_file("images/list.txt", b"s3://images/pictures/empty.jpg\n/a.jpg\n")
    assert [*list_files(["@s3://images/list.txt"])] == ["s3://images/pictures/empty.jpg", "/a.jpg"]
    for source in ("s3://images/nothing*", "@s3://images/none.txt"):
        with pytest.raises(InputError, match=r"no file matches|No such file"):
            list(list_files([source]))


def test_what_cannot_be_read_is_an_error_in_its_place(pictures):
    first = next(iter(pictures))
    urls = ["s3://images/missing.jpg", first, "s3://nowhere/a.jpg", "s3://images/pictures/empty.jpg"]
    found = [*read_images(urls)]
    assert [isinstance(item.image, InputError) for item in found] == [True, False, True, True]
    assert [item.path for item in found] == urls


def test_files_appear_whole(s3):
    output = Output("s3://results/whole")
    with output.written("a/b.txt") as path:
        path.write_bytes(b"text")
    with pytest.raises(RuntimeError, match="stop"), output.written("a/c.txt") as path:
        path.write_bytes(b"half")
        raise RuntimeError("stop")
    assert output.names("a") == ["b.txt"] and output.exists("a/b.txt") and not output.exists("a/c.txt")
    assert output.names("none") == []
    with pytest.raises(InputError, match="s3://missing-bucket"), Output("s3://missing-bucket/x").written("a") as path:
        path.touch()


def test_a_killed_batch_goes_on(s3, pictures, lite, tmp_path, rng):
    with tarfile.open(tmp_path / "shard.tar", "w") as bundle:
        bundle.add(EXAMPLE, "basketball.png")
    s3.put_file(str(tmp_path / "shard.tar"), "images/shard.tar")
    command = [sys.executable, "-m", "hpi", "batch", "s3://images/pictures", "s3://images/shard.tar"]
    command += ["--output", "s3://results/poses", "--part_size", "4", "--processes", "1"]
    output, parts = Output("s3://results/poses"), int(rng.integers(1, 8))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(output.names("images")) >= parts, f"{parts} parts")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=HANGS_S)
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS_S, check=False)
    assert done.returncode == 1, "an image is empty"
    assert "38 images" in done.stdout and "parts by earlier runs" in done.stdout, done.stderr
    images = rows_of("s3://results/poses", IMAGES)
    assert [row["file"] for row in images if row["status"] == "error"] == ["s3://images/pictures/empty.jpg"]
    places = {str(file): url for url, file in pictures.items()}
    results = [*lite.predict([*map(str, pictures.values()), str(EXAMPLE)])]
    for result in results:
        place = places.get(result.path, "s3://images/shard.tar#basketball.png")
        result.frame = replace(result.frame, path=place)
    assert_same_rows("s3://results/poses", results)
