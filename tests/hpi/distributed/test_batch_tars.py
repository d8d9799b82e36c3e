"""Tars of images, also those that somebody has made to do harm."""

import io
import tarfile
import tracemalloc

import pytest

from hpi.distributed import tars
from hpi.distributed.tars import read_members
from hpi.errors import InputError


def tar_of(*members, kind=tarfile.PAX_FORMAT):
    """Pairs of a name, or a header, and content."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as bundle:
        for header, content in members:
            member = tarfile.TarInfo(header) if isinstance(header, str) else header
            member.size = len(content)
            bundle.addfile(member, io.BytesIO(content))
    return file.getvalue()


def read(data):
    found = [*read_members(io.BytesIO(data), "s.tar")]
    return {name: content for name, content in found if isinstance(content, bytes)}, [
        f"{content}" for _, content in found if isinstance(content, InputError)
    ]


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_images_come_in_order_and_nothing_else(kind):
    long = "a" * 90 + "/" + "b" * 60
    data = tar_of(
        ("2.jpg", b"two"), ("2.json", b"{}"), ("1.JPG", b"one"), (f"{long}.png", b"long"), ("__MACOSX/1.jpg", b"-"),
        ("._1.jpg", b"-"), ("./c.webp", b"dot"), ("../../etc/d.png", b"only a name"),
        kind=kind,
    )  # fmt: skip
    images, errors = read(data)
    assert not errors
    assert [*images.items()] == [
        ("s.tar#2.jpg", b"two"), ("s.tar#1.JPG", b"one"), (f"s.tar#{long}.png", b"long"), ("s.tar#./c.webp", b"dot"),
        ("s.tar#../../etc/d.png", b"only a name"),
    ]  # fmt: skip


def link(name, kind, target="/etc/passwd"):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE]
)
def test_links_and_devices_are_not_read(kind):
    images, errors = read(tar_of(("1.jpg", b"one"), (link("2.jpg", kind), b""), ("3.jpg", b"three")))
    assert [*images] == ["s.tar#1.jpg", "s.tar#3.jpg"]
    (error,) = errors
    assert "s.tar#2.jpg: not a plain file" in error or "damaged" in error


def test_any_cut_is_noticed(rng):
    data = tar_of(*((f"{number}.jpg", rng.bytes(int(rng.integers(1, 2000)))) for number in range(8)))
    whole, errors = read(data)
    assert len(whole) == 8 and not errors
    end = len(data.rstrip(b"\0"))
    for length in {0, 1, 511, 512, 513, *rng.integers(0, end, 60).tolist()}:
        images, errors = read(data[:length])
        assert images.items() <= whole.items()
        assert len(errors) == 1 and "truncated" in errors[0], length


def test_any_damage_is_noticed_or_harmless(rng):
    data = tar_of(*((f"{number}.jpg", rng.bytes(600)) for number in range(8)))
    for _ in range(100):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 4):
            damaged[place] = rng.integers(0, 256)
        images, errors = read(bytes(damaged))
        assert len(images) + len(errors) <= 9
        assert len(images) >= 7 or errors


def test_no_tar(rng):
    for data in (b"", b"\x89PNG\r\n", rng.bytes(5000), b"\0" * 5000):
        images, errors = read(data)
        assert not images
        assert len(errors) <= 1


def header(name, size, kind=tarfile.REGTYPE):
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


class Sparse(io.BytesIO):
    """A file of many gigabytes, all zeros after its beginning."""

    def read(self, size=-1):
        assert 0 <= size <= tars.MAX_IMAGE_BYTES, "as much is never read at once"
        return super().read(size).ljust(size, b"\0")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_header_of_gigabytes_is_not_read(kind):
    tracemalloc.start()
    found = [*read_members(Sparse(tar_of(("1.jpg", b"one"))[:1024] + header("x", 8 << 30, kind)), "s.tar")]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [name for name, _ in found] == ["s.tar#1.jpg", "s.tar"]
    assert "a header of" in str(found[1][1])
    assert peak < 4e6


def test_an_image_of_gigabytes_is_an_error_in_its_place():
    found = [*read_members(Sparse(header("big.jpg", 8 << 30)), "s.tar")]
    assert len(found) == 1 and "256 MiB" in str(found[0][1])


def test_a_chain_of_headers_ends():
    chain = (header("x", 4, tarfile.GNUTYPE_LONGNAME) + b"a.jp".ljust(512, b"\0")) * 5000
    images, errors = read(chain + header("1.jpg", 3) + b"one".ljust(512, b"\0") + bytes(1024))
    assert not images and len(errors) == 1


def test_members_that_go_back_end_the_tar():
    negative = bytearray(header("1.jpg", 0))
    negative[124:136] = b"\xff" + (-1024 & ((1 << 88) - 1)).to_bytes(11, "big")
    negative[148:156] = b" " * 8
    negative[148:156] = b"%06o\0 " % sum(negative)
    images, errors = read(bytes(negative) * 4 + bytes(1024))
    assert not images and len(errors) >= 1


def test_memory_does_not_grow_with_the_members():
    data = tar_of(*((f"{number:05d}.jpg", b"x") for number in range(1000)))
    tracemalloc.start()
    count = sum(1 for _ in read_members(io.BytesIO(data), "s.tar"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 1000 and peak < 1e5
