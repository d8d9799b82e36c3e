"""The protobuf messages of the protocol, in a descriptor pool of their own.

Other packages, such as ``tritonclient``, have messages of the same names in the pool that a process shares, where a
name may stand for one message only. The descriptors are those of ``open_inference_grpc.proto``. After a change of it,
make them anew in this folder::

    python -m grpc_tools.protoc -I. --descriptor_set_out=open_inference_grpc.binpb open_inference_grpc.proto
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError

from hpi.serving.inference_protocol.errors import bad_request

SERVICE = "inference.GRPCInferenceService"

MAX_FIELDS = 1000
"""Limit of the fields of a message, with those of the messages in it; a packed list of numbers is one."""
MAX_PACKED = 4 << 20
"""Limit of the lists of numbers in a message, in bytes."""

_PER_FIELD = 512
"""What a field takes at most once parsed, besides its content, in bytes."""
_PER_PACKED = 32
"""What a byte of a list of numbers takes at most once parsed, in bytes."""
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
"""Wire types, which say how long the content of a field is."""
_LONGEST_VARINT = 10
_DAMAGED = "the message is damaged"


def _read_pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    content = (files(__package__) / "open_inference_grpc.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(content).file:
        pool.Add(file)
    return pool


POOL = _read_pool()
"""The descriptors of the protocol."""


def message(name: str) -> Any:
    """The class of a message.

    Example:
        >>> message("ServerLiveResponse")(live=True).live
        True
    """
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"inference.{name}"))


def parse(name: str, content: bytes) -> Any:
    """Parse a message for which there is memory: :func:`size_once_parsed`.

    Raises:
        RequestError: 400, it is damaged.

    Example:
        >>> parse("ModelReadyRequest", message("ModelReadyRequest")(name="pose").SerializeToString()).name
        'pose'
        >>> parse("ModelReadyRequest", b"pose")
        Traceback (most recent call last):
        hpi.serving.limits.RequestError: not a ModelReadyRequest of the protocol
    """
    try:
        return message(name).FromString(content)
    except DecodeError as error:
        raise bad_request(f"not a {name} of the protocol") from error


def size_once_parsed(name: str, content: bytes) -> int:
    """How much memory a message takes at most once it is parsed, in bytes.

    Some bytes of a message may stand for many times their size, so it is looked through first.

    Raises:
        RequestError: 400, it is damaged, or has more than :data:`MAX_FIELDS` fields or :data:`MAX_PACKED` of numbers.

    Example:
        >>> size_once_parsed("ModelReadyRequest", message("ModelReadyRequest")(name="pose").SerializeToString())
        516
    """
    return _Walk(content).size(message(name).DESCRIPTOR, 0, len(content))


class _Walk:
    """Looks through a message in the wire format of protobuf."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._fields = 0
        self._packed = 0

    def size(self, kind: Descriptor, start: int, end: int) -> int:
        """The size of the part of the content that is a message of a kind."""
        size, position = 0, start
        while position < end:
            self._fields += 1
            if self._fields > MAX_FIELDS:
                raise bad_request(f"the message has more than {MAX_FIELDS} fields; send tensors as raw contents")
            tag, position = self._varint(position, end)
            field, wire_type = kind.fields_by_number.get(tag >> 3), tag & 7
            length, position = self._length(wire_type, position, end)
            size += _PER_FIELD + self._content_size(field, wire_type, position, length)
            position += length
        return size

    def _content_size(self, field: Any, wire_type: int, start: int, length: int) -> int:
        if wire_type != _LENGTH or field is None or field.type in {field.TYPE_BYTES, field.TYPE_STRING}:
            return length
        if field.message_type is not None:
            return self.size(field.message_type, start, start + length)
        self._packed += length
        if self._packed > MAX_PACKED:
            raise bad_request(
                f"the message has more than {MAX_PACKED >> 20} MiB of numbers; send tensors as raw contents"
            )
        return _PER_PACKED * length

    def _length(self, wire_type: int, position: int, end: int) -> tuple[int, int]:
        """The length of a field's content, and where that begins."""
        if wire_type == _VARINT:
            return self._varint(position, end)[1] - position, position
        if wire_type == _LENGTH:
            length, position = self._varint(position, end)
        elif wire_type in {_FIXED32, _FIXED64}:
            length = 4 if wire_type == _FIXED32 else 8
        else:
            raise bad_request(_DAMAGED)
        if length > end - position:
            raise bad_request(_DAMAGED)
        return length, position

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        """A number, and where it ends."""
        value = 0
        for place, byte in enumerate(self._content[position : min(end, position + _LONGEST_VARINT)]):
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return value, position + place + 1
        raise bad_request(_DAMAGED)
