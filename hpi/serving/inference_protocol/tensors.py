"""The tensors of a request and of an answer: an image and a threshold in, people out.

Data types and layout are those of the protocol: elements in the order of the rows, little endian. An element of
``BYTES`` is its length in four bytes and its content.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.instances import Instances
from hpi.serving.inference_protocol.errors import bad_request
from hpi.serving.limits import RequestError

IMAGE, THRESHOLD = "image", "threshold"
INPUTS = (
    {"name": IMAGE, "datatype": "UINT8", "shape": [-1, -1, 3]},
    {"name": THRESHOLD, "datatype": "FP32", "shape": [1]},
)
"""The inputs, as metadata describes them; an image may be ``BYTES [1]`` too, and the threshold may be left out."""

OUTPUTS = ("boxes", "scores", "keypoints")

_LENGTH = 4
"""Bytes of the length of an element of ``BYTES``."""

_UNSUPPORTED = ("classification", "shared_memory_region")
"""Parameters of Triton's extensions that would change what is read or answered."""


def check_parameters(names: Collection[str]) -> None:
    """Check the parameters of a request or of a tensor; those that are unknown have no effect.

    Raises:
        RequestError: 400, one would change what is read or answered.

    Example:
        >>> check_parameters(["priority"])
        >>> check_parameters(["classification"])
        Traceback (most recent call last):
        hpi.serving.limits.RequestError: the parameter 'classification' is not supported
    """
    for name in _UNSUPPORTED:
        if name in names:
            raise bad_request(f"the parameter '{name}' is not supported")


def output_metadata(keypoints: int) -> tuple[dict[str, Any], ...]:
    """The outputs of a skeleton with so many keypoints, as metadata describes them.

    Example:
        >>> [one["shape"] for one in output_metadata(17)]
        [[-1, 4], [-1], [-1, 17, 3]]
    """
    shapes = ([-1, 4], [-1], [-1, keypoints, 3])
    return tuple(
        {"name": name, "datatype": "FP32", "shape": shape} for name, shape in zip(OUTPUTS, shapes, strict=True)
    )


@dataclass(frozen=True)
class InputTensor:
    """An input of a request, as its client sent it.

    Attributes:
        name: which input it is meant for.
        datatype: of its elements, in the protocol's word.
        shape: its shape.
        raw: its elements as bytes; None where they are ``values``.
        values: its elements one by one, flat or in lists of lists.

    Example:
        >>> InputTensor("threshold", "FP32", (1,), values=[0.5]).raw is None
        True
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: bytes | memoryview | None = None
    values: Sequence[Any] = ()


@dataclass(frozen=True)
class PoseInputs:
    """What a request asks for.

    Attributes:
        image: the elements of an image, or the content of an image file.
        shape: of the image, ``(H, W, 3)``, uint8 BGR; None: it is a file.
        threshold: people that score above it are kept; None for the default of the service.

    Example:
        >>> PoseInputs(bytes(12), (2, 2, 3), None).pixels.shape
        (2, 2, 3)
    """

    image: bytes | memoryview
    shape: tuple[int, int, int] | None
    threshold: float | None

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The image ``[H, W, 3]`` uint8 BGR, which shares its memory; not of a file."""
        assert self.shape is not None
        return np.frombuffer(self.image, np.uint8).reshape(self.shape)


def read_inputs(tensors: Sequence[InputTensor], max_pixels: int) -> PoseInputs:
    """Read the inputs of a request.

    Args:
        tensors: all inputs that it has.
        max_pixels: maximum size of an image, pixels.

    Raises:
        RequestError: 400, an input is missing, unknown or there twice, or its data type, shape or elements are wrong.

    Example:
        >>> image = InputTensor("image", "UINT8", (1, 2, 3), values=[0, 0, 0, 255, 255, 255])
        >>> read_inputs([image, InputTensor("threshold", "FP32", (1,), values=[0.5])], 100).threshold
        0.5
        >>> read_inputs([image, image], 100)
        Traceback (most recent call last):
        hpi.serving.limits.RequestError: inputs: 'image' is there twice
    """
    named: dict[str, InputTensor] = {}
    for tensor in tensors:
        if tensor.name not in {IMAGE, THRESHOLD}:
            raise bad_request(f"inputs: {_shown(tensor.name)} is unknown; send {IMAGE}, and {THRESHOLD} if you like")
        if tensor.name in named:
            raise bad_request(f"inputs: '{tensor.name}' is there twice")
        named[tensor.name] = tensor
    if IMAGE not in named:
        raise bad_request(f"inputs: '{IMAGE}' is missing")
    threshold = _read_threshold(named[THRESHOLD]) if THRESHOLD in named else None
    return PoseInputs(*_read_image(named[IMAGE], max_pixels), threshold)


def _read_image(tensor: InputTensor, max_pixels: int) -> tuple[bytes | memoryview, tuple[int, int, int] | None]:
    if tensor.datatype == "BYTES":
        if tensor.shape != (1,):
            raise _wrong(tensor, "an image file is BYTES of shape [1]")
        return _one_element(tensor), None
    if tensor.datatype != "UINT8":
        raise _wrong(tensor, "send UINT8 of shape [height, width, 3] in BGR, or BYTES of shape [1] with an image file")
    if len(tensor.shape) != 3 or tensor.shape[2] != 3 or min(tensor.shape) < 1:
        raise _wrong(tensor, "an image of UINT8 has shape [height, width, 3]")
    height, width, _ = tensor.shape
    if height * width > max_pixels:
        raise _wrong(tensor, f"an image may have {max_pixels:,} pixels")
    return _elements(tensor, "B"), (height, width, 3)


def _read_threshold(tensor: InputTensor) -> float:
    if tensor.datatype != "FP32" or tensor.shape != (1,):
        raise _wrong(tensor, "send FP32 of shape [1]")
    (value,) = np.frombuffer(_elements(tensor, "<f4"), "<f4").tolist()
    if not 0 <= value <= 1:
        raise _wrong(tensor, f"it is {value:g}; send a number from 0 to 1")
    return float(value)


def _elements(tensor: InputTensor, kind: str) -> bytes | memoryview:
    """The elements of numbers as bytes; there must be as many as the shape says."""
    expected = math.prod(tensor.shape)
    if tensor.raw is not None:
        size = expected * np.dtype(kind).itemsize
        if len(tensor.raw) != size:
            raise _wrong(tensor, f"its data has {len(tensor.raw):,} bytes, not {size:,}")
        return tensor.raw
    values = _flat(tensor)
    if len(values) != expected:
        raise _wrong(tensor, f"its data has {len(values):,} elements, not {expected:,}")
    allowed = {int} if kind == "B" else {int, float}
    if not set(map(type, values)) <= allowed:
        raise _wrong(tensor, "its data must be numbers" if float in allowed else "its data must be whole numbers")
    try:
        return bytes(values) if kind == "B" else np.array(values, kind).tobytes()
    except (ValueError, OverflowError) as error:
        raise _wrong(tensor, f"a value does not fit into {tensor.datatype}") from error


def _flat(tensor: InputTensor) -> Sequence[Any]:
    """The values one by one; lists of lists must be of the tensor's shape."""
    values = tensor.values
    for size in tensor.shape[1:]:
        kinds = set(map(type, values))
        if list not in kinds:
            break
        if kinds != {list} or set(map(len, values)) != {size}:
            raise _wrong(tensor, "its data are lists of another shape")
        values = list(chain.from_iterable(values))
    return values


def _one_element(tensor: InputTensor) -> bytes | memoryview:
    """The only element of ``BYTES``."""
    if tensor.raw is None:
        if len(tensor.values) != 1 or not isinstance(tensor.values[0], bytes):
            raise _wrong(tensor, "its data must be one element, the content of an image file")
        return tensor.values[0]
    length = int.from_bytes(tensor.raw[:_LENGTH], "little")
    if len(tensor.raw) < _LENGTH or length != len(tensor.raw) - _LENGTH:
        raise _wrong(tensor, f"its data has {len(tensor.raw):,} bytes, not the length of one element and its content")
    return tensor.raw[_LENGTH:]


def _wrong(tensor: InputTensor, message: str) -> RequestError:
    shape = ", ".join(f"{size}"[:20] for size in tensor.shape[:8])
    return bad_request(f"input '{tensor.name}', {_shown(tensor.datatype)} of shape [{shape}]: {message}")


def _shown(text: str) -> str:
    """Text of a client, so that it can stand in an answer."""
    return ascii(text[:60])


def selected(names: Sequence[str]) -> Sequence[str]:
    """The outputs that a request selects; all where it selects none.

    Raises:
        RequestError: 400, one is unknown or there twice.

    Example:
        >>> selected([]), selected(["scores"])
        (('boxes', 'scores', 'keypoints'), ['scores'])
    """
    for position, name in enumerate(names):
        if name not in OUTPUTS:
            raise bad_request(f"outputs: {_shown(name)} is unknown; there are {', '.join(OUTPUTS)}")
        if name in names[:position]:
            raise bad_request(f"outputs: '{name}' is there twice")
    return names or OUTPUTS


def output_arrays(people: Instances) -> Mapping[str, NDArray[np.float32]]:
    """The outputs for the people of an image, the highest score first; keypoints are x, y and score, in pixels.

    Example:
        >>> people = Instances([0.75], boxes=[[0, 0, 8, 8]], keypoints=[[[4, 4]]], keypoint_scores=[[0.5]])
        >>> {name: one.shape for name, one in output_arrays(people).items()}
        {'boxes': (1, 4), 'scores': (1,), 'keypoints': (1, 1, 3)}
    """
    assert people.boxes is not None  # the detector's, or derived from the keypoints
    arrays = (people.boxes, people.scores, people.points)
    return {name: np.ascontiguousarray(one, "<f4") for name, one in zip(OUTPUTS, arrays, strict=True)}
