"""Detecting truncated media files, by the lengths that their outermost parts declare."""

from __future__ import annotations

from pathlib import Path

_BOXES = {
    b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"mfra", b"free", b"skip", b"wide", b"pnot", b"sidx", b"ssix", b"emsg",
    b"prft", b"meta", b"udta", b"uuid",
}  # fmt: skip
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_EBML_HEADER, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_LONGEST_HEAD = 24


def missing_bytes(path: Path) -> int | None:
    """How many bytes are missing at the end of a file: its last part declares more bytes than are left.

    ISO media files (MP4, MOV, 3GP), Matroska, WebM, AVI and ASF are chains of parts that start with their length.

    Returns:
        The number of bytes, or None for other formats and for parts of unknown length, as in a recorded live stream.

    Raises:
        OSError: the file cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     video = Path(folder) / "match.mp4"
        ...     _ = video.write_bytes((100).to_bytes(4, "big") + b"mdat" + bytes(22))
        ...     missing_bytes(video)
        70
    """
    size = path.stat().st_size
    position = 0
    with path.open("rb") as stream:
        while position < size:
            stream.seek(position)
            head = stream.read(_LONGEST_HEAD)
            length = next((found for read in (_box, _riff, _ebml, _asf) if (found := read(head)) is not None), None)
            if length == 0:
                return None
            if length is None:
                break  # other content follows, or a head is truncated
            position += length
    return max(0, position - size) if position else None


# Each returns the length of a part from its head: 0 if it is not stated, None if the head is of another kind.


def _box(head: bytes) -> int | None:
    """A box of an ISO base media file."""
    length = int.from_bytes(head[:4], "big")
    if length == 1:
        length = int.from_bytes(head[8:16], "big")
    return length if head[4:8] in _BOXES and (length == 0 or length >= 8) else None


def _riff(head: bytes) -> int | None:
    """A list of an AVI file; a file has one for each gigabyte."""
    length = int.from_bytes(head[4:8], "little")
    if head[:4] != b"RIFF" or head[8:11] != b"AVI":
        return None
    return 8 + length + length % 2 if length else 0


def _ebml(head: bytes) -> int | None:
    """The header or the segment of a Matroska file: the leading zero bits encode how many bytes the length has."""
    if head[:4] not in {_EBML_HEADER, _SEGMENT} or len(head) < 12 or not head[4]:
        return None
    width = 9 - head[4].bit_length()
    unknown = (1 << 7 * width) - 1
    length = int.from_bytes(head[4 : 4 + width], "big") & unknown
    return 4 + width + length if length != unknown else 0


def _asf(head: bytes) -> int | None:
    """The header or the data of an ASF file."""
    length = int.from_bytes(head[16:24], "little")
    return length if head[:16] in {_ASF_HEADER, _ASF_DATA} and (length == 0 or length >= 24) else None
