"""Checks of a model's files that need no runtime.

Runtimes diagnose damaged files poorly: ONNX Runtime reports a Git LFS pointer as "Protobuf parsing failed", and Paddle
and paddle2onnx accept truncated weights silently.
"""

from __future__ import annotations

import io
import mmap
import os
import re
import struct
from math import prod
from pathlib import Path
from typing import IO

from hpi.backends.base import EXTERNAL_SUFFIXES
from hpi.errors import BackendError

_HEAD_BYTES = 512
_ARCHIVES = {b"PK\x03\x04": "zip", b"\x1f\x8b": "gzip", b"\xfd7zXZ\0": "xz", b"BZh": "bzip2"}
_PAGE = re.compile(rb"\s*<(!doctype html|html|\?xml)", re.IGNORECASE)
_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/")

# A weight in a .pdiparams: version, LoD levels (none), version, length of the description, description, data.
_WEIGHT_HEADER = struct.Struct("<IQIi")
_MOST_DESCRIPTION_BYTES = 256
_TYPE, _DIMENSION = 1 << 3, 2 << 3
"""Protobuf tags of the integers in a description."""
_WEIGHT_BYTES = {0: 1, 1: 2, 2: 4, 3: 8, 4: 2, 5: 4, 6: 8, 20: 1, 21: 1, 22: 2, 23: 8, 24: 16, 32: 1, 33: 1}
"""Bytes per number by Paddle's type code: bool, int16, int32, int64, fp16, fp32, fp64, uint8, int8, bf16,
complex64, complex128, and two of fp8."""


def problem_with(file: Path) -> str | None:
    """Why a file cannot be what its name says, in a few words and with what to do; None if nothing is wrong.

    Reads the first bytes, of protobuf also the lengths of the fields, and of JSON the end.

    Args:
        file: any file of a model. External weights of an ONNX graph may begin with anything and are hardly checked.

    Raises:
        OSError: it cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "model.onnx")
        ...     _ = file.write_text("version https://git-lfs.github.com/spec/v1")
        ...     problem_with(file)
        'it is a Git LFS pointer instead of the file itself; run: git lfs pull'
    """
    with file.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        head = stream.read(_HEAD_BYTES)
        if problem := _other_text(head) or (_other_format(head) if file.suffix not in EXTERNAL_SUFFIXES else None):
            return problem
        if file.suffix in {".onnx", ".pdmodel"}:
            return _problem_with_protobuf(stream, size)
        if file.suffix == ".json":
            stream.seek(max(0, size - _HEAD_BYTES))
            if not (head.lstrip().startswith(b"{") and stream.read().rstrip().endswith(b"}")):
                return f"its {size} bytes are no JSON object: it is truncated or damaged; fetch it again"
    return None


def _other_text(head: bytes) -> str | None:
    """What was saved instead of the file, by its first bytes."""
    if not head:
        return "it is empty; fetch it again"
    if _POINTER.match(head):
        return "it is a Git LFS pointer instead of the file itself; run: git lfs pull"
    if _PAGE.match(head):
        return "it is a web page, perhaps for logging in; download the file itself"
    return None


def _other_format(head: bytes) -> str | None:
    if not any(head):
        return "it holds zeros, as after an interrupted download; fetch it again"
    kind = next((kind for magic, kind in _ARCHIVES.items() if head.startswith(magic)), None)
    if kind or head[257:262] == b"ustar":
        return f"it is an archive ({kind or 'tar'}); unpack it"
    return None


def _problem_with_protobuf(stream: IO[bytes], size: int) -> str | None:
    """Whether the fields of a message add up to the file."""
    end = 0
    while end < size:
        stream.seek(end)
        tag = _varint(stream)
        kind = None if tag is None or tag < 8 else tag & 7
        if kind == 2:
            length = _varint(stream)
            end = size + 1 if length is None else stream.tell() + length
        elif kind in {0, 1, 5}:
            if kind == 0:
                _varint(stream)
            end = stream.tell() + {0: 0, 1: 8, 5: 4}[kind]
        else:
            return "it is damaged, or not a model of this format; fetch it again"
    return f"it is truncated: it has {size} bytes and needs {end}; fetch it again" if end > size else None


def _varint(stream: IO[bytes]) -> int | None:
    """The next protobuf integer; None at the end of the file, or where there is none."""
    value = 0
    for shift in range(0, 64, 7):
        byte = stream.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    return None


def check_weights(file: Path) -> None:
    """Check that a ``.pdiparams`` file is complete.

    Raises:
        BackendError: it is not; the message says what is wrong and what to do.
    """
    try:
        problem = problem_with_weights(file)
    except OSError as error:
        problem = f"it cannot be read: {error.strerror or error}"
    if problem:
        raise BackendError(f"{file}: {problem}")


def problem_with_weights(file: Path) -> str | None:
    """Why a ``.pdiparams`` file is not complete, as :func:`problem_with`; reads the headers of all weights.

    Raises:
        OSError: it cannot be read.
    """
    if problem := problem_with(file):
        return problem
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        size, start, count = len(content), 0, 0
        while start < size:
            end = _end_of_weight(content, start)
            if end is None:
                return f"it is damaged at byte {start}, where a weight should begin; fetch it again"
            start, count = end, count + 1
    if start > size:
        return f"it is truncated: it has {size} bytes and needs {start} for its first {count} weights; fetch it again"
    return None


def _end_of_weight(content: mmap.mmap, start: int) -> int | None:
    """The end of the weight that starts at a byte, perhaps beyond the content; None if none starts there."""
    described = start + _WEIGHT_HEADER.size
    if described > len(content):
        return described
    header: tuple[int, int, int, int] = _WEIGHT_HEADER.unpack_from(content, start)
    *versions, length = header
    if any(versions) or not 0 < length <= _MOST_DESCRIPTION_BYTES:
        return None
    if described + length > len(content):
        return described + length
    description = io.BytesIO(content[described : described + length])
    numbers: dict[int, list[int]] = {_TYPE: [], _DIMENSION: []}
    while (tag := _varint(description)) in numbers:
        number = _varint(description)
        if number is None or number >= 1 << 40:
            return None
        numbers[tag].append(number)
    if tag is not None or len(numbers[_TYPE]) != 1 or numbers[_TYPE][0] not in _WEIGHT_BYTES:
        return None
    return described + length + _WEIGHT_BYTES[numbers[_TYPE][0]] * prod(numbers[_DIMENSION])
