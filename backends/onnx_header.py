"""What an ONNX file says of its inputs, its outputs and itself, read without its weights.

No package is needed for it, and the size of the weights does not matter: a file is a protobuf message, whose fields
have lengths and can be skipped. The numbers of the fields are those of ``onnx.proto``.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hpi.errors import ModelError

MAX_TEXT_BYTES = 1 << 20
"""Names and metadata that are longer are an error."""

_GRAPH, _METADATA = 7, 14  # of a model
_INITIALIZER, _INPUT, _OUTPUT = 5, 11, 12  # of a graph
_INITIALIZER_NAME = 8
_VARINT, _FIXED64, _MESSAGE, _FIXED32 = 0, 1, 2, 5
_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64",
    16: "bfloat16",
}  # fmt: skip

Span = tuple[int, int]
"""Where the content of a field begins and ends in the file."""


@dataclass(frozen=True)
class Value:
    """An input or an output.

    Attributes:
        name: its name.
        dtype: its type as NumPy calls it; ``""`` where it has another one or none.
        shape: its sides, None for a free one; None as a whole where the file does not say.

    Example:
        >>> str(Value("input", "float32", (None, 3, 256, 192)))
        'input float32 [N, 3, 256, 192]'
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.name} {self.dtype} of unknown shape"
        first, *others = ["N" if side is None else str(side) for side in self.shape] or [""]
        return f"{self.name} {self.dtype} [{', '.join([first, *('?' if side == 'N' else side for side in others)])}]"


@dataclass(frozen=True)
class OnnxHeader:
    """What :func:`read_header` finds.

    Attributes:
        inputs: without those that have a default.
        outputs: in their order.
        metadata: what the exporter wrote about the model.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    metadata: Mapping[str, str]


def read_header(path: Path) -> OnnxHeader:
    """Read what an ONNX file says of itself; files with weights beside it are not touched.

    Raises:
        ModelError: it is damaged, or no ONNX file.
        OSError: it cannot be read.

    Example:
        >>> from hpi.zoo import Zoo
        >>> header = read_header(Zoo.default().find("MoveNet-Thunder_256x256").files.onnx)
        >>> [str(value) for value in header.inputs], [value.shape for value in header.outputs]
        (['image float32 [N, 3, 256, 256]'], [(None, 17, 64, 64)])
    """
    with path.open("rb") as stream:
        try:
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _header(content)
        except (ValueError, IndexError) as error:  # ValueError: an empty file, or text that is not UTF-8
            raise ModelError(f"{path}: it is damaged, or no ONNX graph: {error}; fetch it again") from error


def _header(content: mmap.mmap) -> OnnxHeader:
    metadata: dict[str, str] = {}
    given: set[str] = set()
    inputs: list[Value] = []
    outputs: list[Value] = []
    for field, span in _messages(content, (0, len(content))):
        if field == _METADATA:
            entry = dict(_messages(content, span))
            metadata[_text(content, entry.get(1))] = _text(content, entry.get(2))
        for part, inner in _messages(content, span) if field == _GRAPH else ():
            if part == _INITIALIZER:
                given.add(_name(content, inner))
            elif part in (_INPUT, _OUTPUT):
                (inputs if part == _INPUT else outputs).append(_value(content, inner))
    if not outputs:
        raise ValueError("it has no outputs")
    return OnnxHeader(tuple(value for value in inputs if value.name not in given), tuple(outputs), metadata)


def _value(content: mmap.mmap, span: Span) -> Value:
    """A ``ValueInfoProto``: name 1, type 2; in that tensor 1; in that element type 1, shape 2; in that sides 1."""
    parts = dict(_messages(content, span))
    tensor = dict(_messages(content, parts[2])).get(1) if 2 in parts else None
    dtype, shape = "", None
    for field, value in _fields(content, tensor) if tensor else ():
        if field == 1 and isinstance(value, int):
            dtype = _TYPES.get(value, "")
        elif field == 2 and isinstance(value, tuple):
            shape = tuple(_side(content, side) for part, side in _messages(content, value) if part == 1)
    return Value(_text(content, parts.get(1)), dtype, shape)


def _side(content: mmap.mmap, span: Span) -> int | None:
    """A side of a shape; None of a free one, which has a name or nothing, or 0 or -1 in old exports."""
    size = dict(_fields(content, span)).get(1)
    return size if isinstance(size, int) and 0 < size < 1 << 31 else None


def _name(content: mmap.mmap, span: Span) -> str:
    """That of an initializer."""
    return next((_text(content, inner) for part, inner in _messages(content, span) if part == _INITIALIZER_NAME), "")


def _text(content: mmap.mmap, span: Span | None) -> str:
    start, end = span or (0, 0)
    if end - start > MAX_TEXT_BYTES:
        raise ValueError(f"a text in it has {end - start} bytes")
    return content[start:end].decode("utf-8")


def _messages(content: mmap.mmap, span: Span) -> Iterator[tuple[int, Span]]:
    """The fields of a message that have a length: their numbers, and where they are."""
    for field, value in _fields(content, span):
        if isinstance(value, tuple):
            yield field, value


def _fields(content: mmap.mmap, span: Span) -> Iterator[tuple[int, int | Span]]:
    """The fields of a message: their numbers, and their value or where that is."""
    at, end = span
    while at < end:
        tag, at = _varint(content, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(content, at)
            yield tag >> 3, value
            continue
        if kind == _MESSAGE:
            length, at = _varint(content, at)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"an unknown field at byte {at}")
        if at + length > end:
            raise ValueError(f"a field at byte {at} is longer than the rest")
        if kind == _MESSAGE:
            yield tag >> 3, (at, at + length)
        at += length


def _varint(content: mmap.mmap, at: int) -> tuple[int, int]:
    """A protobuf integer, and where the next field begins."""
    value = content[at]
    at += 1
    if value < 0x80:
        return value, at
    value &= 0x7F
    for shift in range(7, 70, 7):
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"no number at byte {at}")
