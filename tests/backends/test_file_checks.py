import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from hpi.backends.file_checks import check_weights, problem_with, problem_with_weights
from hpi.errors import BackendError
from hpi.zoo import Zoo

NAMES = ("model.onnx", "model.pdmodel", "inference.json", "inference.pdiparams", "inference.yml")


def tar(content):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as bundle:
        member = tarfile.TarInfo("model/inference.yml")
        member.size = len(content)
        bundle.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def zipped(content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as bundle:
        bundle.writestr("model/inference.yml", content)
    return stream.getvalue()


STAND_INS = {
    "empty": b"",
    "git lfs pull": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n",
    "web page": b"\n<!DOCTYPE HTML><html><head><title>Sign in</title></head></html>",
    "tar": tar(b"Preprocess: []"),
    "zip": zipped(b"Preprocess: []"),
    "gzip": gzip.compress(b"content"),
    "xz": lzma.compress(b"content"),
    "bzip2": bz2.compress(b"content"),
    "zeros": bytes(5000),
}


@pytest.fixture(scope="module")
def files(home):
    """The real files of both bundled models."""
    return [file for name in Zoo.default().models for file in folder_files(name)]


def folder_files(name):
    folder = Zoo.default().cached(name) or (Zoo.default().find(name).folder if name in BUNDLED else None)
    return [file for file in folder.iterdir() if file.name in {*NAMES, "inference.onnx"}] if folder else []


BUNDLED = {"MoveNet-Thunder_256x256", "PicoDet-S_person_416"}


def test_real_files_have_no_problem(files):
    assert {file.suffix for file in files} == {".json", ".onnx", ".pdiparams", ".yml"}
    assert not any(problem_with(file) for file in files)
    assert not any(problem_with_weights(file) for file in files if file.suffix == ".pdiparams")


@pytest.mark.full
def test_no_real_model_has_a_problem(shared, tmp_path):
    """Every real model at hand: Paddle 2 and 3, ONNX, up to 200 MB of weights."""
    checked = set()
    for archive in [*(shared / "models" / "latency_only").iterdir(), *(shared / "zoo" / "random").glob("*.tar.xz")]:
        folder = tmp_path / archive.name
        folder.mkdir()
        with tarfile.open(archive) as bundle:
            bundle.extractall(folder, filter="data")
    for root in (tmp_path, shared / "models", shared / "zoo" / "real"):
        for file in root.rglob("*"):
            if file.suffix in {".json", ".onnx", ".pdiparams", ".pdmodel", ".yml"}:
                assert problem_with(file) is None, file
                checked.add(file.suffix)
            if file.suffix == ".pdiparams":
                assert problem_with_weights(file) is None, file
    assert len(checked) == 5


@pytest.mark.parametrize("said", STAND_INS)
@pytest.mark.parametrize("name", NAMES)
def test_file_that_replaced_the_model_is_named(tmp_path, name, said):
    (tmp_path / name).write_bytes(STAND_INS[said])
    assert said in problem_with(tmp_path / name)


def test_external_weights_are_checked_for_text_only(tmp_path):
    file = tmp_path / "model.onnx_data"
    for content in (bytes(5000), gzip.compress(b"x"), b"BZh" * 100):
        file.write_bytes(content)
        assert problem_with(file) is None
    file.write_bytes(STAND_INS["git lfs pull"])
    assert "git lfs pull" in problem_with(file)


@pytest.mark.parametrize("suffix", [".onnx", ".json"])
def test_truncated_files_are_detected(files, tmp_path, rng, suffix):
    content = next(file for file in files if file.suffix == suffix).read_bytes()
    cut = tmp_path / f"inference{suffix}"
    # Of a graph the last 20 bytes are fields of their own, each of which may be left out.
    for length in (*rng.integers(200, len(content) - 20, 20), len(content) - 21):
        cut.write_bytes(content[:length])
        problem = problem_with(cut)
        if suffix == ".json" and content[:length].rstrip().endswith(b"}"):  # at the end of an inner object
            continue
        assert "truncated" in problem
        assert str(length) in problem


def test_truncated_weights_are_detected(files, tmp_path, rng):
    content = next(file for file in files if file.suffix == ".pdiparams").read_bytes()
    cut = tmp_path / "inference.pdiparams"
    for length in (17, *rng.integers(17, len(content), 20), len(content) - 1):
        cut.write_bytes(content[:length])
        problem = problem_with_weights(cut)
        if problem is None:  # between two weights
            continue
        assert str(length) in problem
        with pytest.raises(BackendError, match="truncated"):
            check_weights(cut)


@pytest.mark.parametrize(
    "content",
    [
        b"weights" * 100,
        struct.pack("<IQIi", 0, 0, 0, 0) + b"\x08\x05",
        struct.pack("<IQIi", 0, 0, 0, -1) + bytes(10),
        struct.pack("<IQIi", 0, 0, 0, 4) + b"\x08\x63\x10\x02" + bytes(8),  # a type that does not exist
        struct.pack("<IQIi", 0, 0, 0, 2) + b"\x10\x02" + bytes(8),  # no type
        struct.pack("<IQIi", 0, 1, 0, 4) + b"\x08\x05\x10\x02" + bytes(8),  # levels of detail
        struct.pack("<IQIi", 0, 0, 0, 13) + b"\x08\x05\x10" + b"\xff" * 9 + b"\x01" + bytes(8),  # a negative size
    ],
)
def test_other_bytes_count_as_damaged_weights(tmp_path, content):
    (tmp_path / "a.pdiparams").write_bytes(content)
    assert "damaged at byte 0" in problem_with_weights(tmp_path / "a.pdiparams")


def test_weights_of_every_type_are_read(tmp_path):
    """Written as Paddle does: a header, the description, the numbers."""
    types = {0: "bool", 1: "int16", 2: "int32", 3: "int64", 4: "float16", 5: "float32", 6: "float64", 20: "uint8"}
    content = b""
    for number, dtype in types.items():
        description = bytes([8, number, 16, 2, 16, 3])
        content += struct.pack("<IQIi", 0, 0, 0, len(description)) + description + np.ones((2, 3), dtype).tobytes()
    scalar = struct.pack("<IQIi", 0, 0, 0, 2) + b"\x08\x05" + np.float32(1).tobytes()
    (tmp_path / "a.pdiparams").write_bytes(content + scalar)
    assert problem_with_weights(tmp_path / "a.pdiparams") is None


def test_noise_raises_nothing(tmp_path, rng):
    for name in NAMES:
        for size in (1, 10, 1000):
            (tmp_path / name).write_bytes(rng.bytes(size))
            problem_with(tmp_path / name)
            problem_with_weights(tmp_path / name)
