import io
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi.errors import ModelError
from hpi.io.archives import unpack

from support import BUNDLED

MODES = {".tar": "w", ".tar.gz": "w:gz", ".tar.xz": "w:xz", ".tar.bz2": "w:bz2"}


def make(path, entries):
    """Write (name, content) pairs into an archive of the format of its suffix."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, content in entries:
                bundle.writestr(name, content)
    else:
        with tarfile.open(path, MODES["".join(path.suffixes[-2:]) if path.suffix != ".tar" else ".tar"]) as bundle:
            for name, content in entries:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                bundle.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def content_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("suffix", [*MODES, ".zip"])
@pytest.mark.parametrize("top", ["model/", "./model/", "20230831/rtmpose_onnx/model/", ""])
def test_the_folder_is_dropped(tmp_path, target, suffix, top):
    archive = make(tmp_path / f"a{suffix}", [(top + "inference.yml", b"yml"), (top + "inference.json", b"json")])
    unpack(archive, target)
    assert content_of(target) == {"inference.yml": b"yml", "inference.json": b"json"}


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
@pytest.mark.parametrize(
    "name",
    ["../evil", "model/../../evil", "/tmp/evil", "model/..", "..\\evil", "C:\\evil", "model\\..\\..\\evil"],
)
def test_paths_out_of_the_folder_are_refused(tmp_path, target, suffix, name):
    archive = make(tmp_path / f"a{suffix}", [(name, b"x")])
    before = content_of(tmp_path)
    with pytest.raises(ModelError):
        unpack(archive, target)
    assert content_of(tmp_path) == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, target, kind):
    with tarfile.open(tmp_path / "a.tar", "w") as bundle:
        member = tarfile.TarInfo("model/link")
        member.type, member.linkname = kind, "/etc/passwd"
        bundle.addfile(member)
    with pytest.raises(ModelError, match="not a plain file"):
        unpack(tmp_path / "a.tar", target)
    assert not content_of(target)


def test_a_link_in_a_zip_is_refused(tmp_path, target):
    entry = zipfile.ZipInfo("model/link")
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as bundle:
        bundle.writestr(entry, "/etc/passwd")
    with pytest.raises(ModelError, match="not a plain file"):
        unpack(tmp_path / "a.zip", target)


@pytest.mark.parametrize("suffix", [".tar.xz", ".zip"])
def test_a_decompression_bomb_is_refused(tmp_path, target, suffix, monkeypatch):
    monkeypatch.setattr("hpi.io.archives.MAX_UNPACKED_BYTES", 1 << 20)
    archive = make(tmp_path / f"a{suffix}", [("model/a", bytes(600_000)), ("model/b", bytes(600_000))])
    assert archive.stat().st_size < 10_000
    with pytest.raises(ModelError, match="more than 1 MiB"):
        unpack(archive, target)


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_the_same_file_twice_is_refused(tmp_path, target, suffix):
    with pytest.warns(UserWarning) if suffix == ".zip" else _nothing():
        archive = make(tmp_path / f"a{suffix}", [("model/a", b"1"), ("model/a", b"2")])
    with pytest.raises(ModelError, match="twice"):
        unpack(archive, target)


def _nothing():
    import contextlib

    return contextlib.nullcontext()


def test_metadata_cannot_fill_the_memory(tmp_path, target):
    """A header that is far larger than the files."""
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as bundle:
        member = tarfile.TarInfo("model/a")
        member.pax_headers = {"comment": "x" * (50 << 20)}
        bundle.addfile(member, io.BytesIO())
    assert (tmp_path / "a.tar.gz").stat().st_size < 1 << 20
    with pytest.raises(ModelError, match="belong to no file"):
        unpack(tmp_path / "a.tar.gz", target)


def test_a_thousand_files_are_refused(tmp_path, target):
    with pytest.raises(ModelError, match="100 files"):
        unpack(make(tmp_path / "a.tar", [(f"model/{index}", b"") for index in range(1000)]), target)


@pytest.mark.parametrize("name", ["model/" + "a" * 300, "model/" * 50 + "a", "model/a:b"])
def test_names_that_are_not_model_files_are_refused(tmp_path, target, name):
    with pytest.raises(ModelError):
        unpack(make(tmp_path / "a.tar", [(name, b"x")]), target)
    assert not content_of(target)


def test_a_chain_of_long_names_is_refused(tmp_path, target):
    block = tarfile.TarInfo("././@LongLink")
    block.type, block.size = tarfile.GNUTYPE_LONGNAME, 1
    (tmp_path / "a.tar").write_bytes((block.tobuf(tarfile.GNU_FORMAT) + b"a".ljust(512, b"\0")) * 3000)
    with pytest.raises(ModelError):
        unpack(tmp_path / "a.tar", target)


def test_an_encrypted_zip_is_refused(tmp_path, target):
    archive = make(tmp_path / "a.zip", [("model/a", b"secret")])
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + offset] |= 1  # the flag that says encrypted
    archive.write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        unpack(archive, target)


def test_two_folders_are_refused(tmp_path, target):
    with pytest.raises(ModelError, match="more than one folder"):
        unpack(make(tmp_path / "a.tar", [("a/one/a", b""), ("a/two/b", b"")]), target)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("suffix", [*MODES, ".zip"])
def test_a_damaged_archive_is_refused(tmp_path, target, suffix, share, rng):
    whole = make(tmp_path / f"a{suffix}", [("model/a", rng.bytes(50_000)), ("model/b", rng.bytes(50_000))])
    size = whole.stat().st_size if suffix != ".tar" else 100_000  # a plain tar ends in padding
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: int(size * share)])
    with pytest.raises(ModelError, match="damaged"):
        unpack(cut, target)


@given(data=st.binary(max_size=200))
def test_any_bytes_are_refused(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "a").write_bytes(data)
    (folder / "target").mkdir()
    with pytest.raises(ModelError, match=r"damaged|contains no files"):
        unpack(folder / "a", folder / "target")


@pytest.mark.full
@given(position=st.integers(0, 4_000_000), value=st.integers(0, 255))
def test_a_changed_byte_in_a_bundled_archive_is_noticed(position, value, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    data = bytearray((BUNDLED / "PicoDet-S_person_416_infer.tar.xz").read_bytes())
    same = data[position] == value
    data[position] = value
    (folder / "a.tar.xz").write_bytes(data)
    (folder / "target").mkdir()
    if same:
        unpack(folder / "a.tar.xz", folder / "target")
    else:
        with pytest.raises(ModelError, match="damaged"):
            unpack(folder / "a.tar.xz", folder / "target")
