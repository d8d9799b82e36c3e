"""The messages of the protocol as JSON, with tensors as binary data after it where the request says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, StrictBool, StrictInt, StrictStr, ValidationError, model_validator
from pydantic_core import from_json, to_json

from hpi.errors import InputError
from hpi.serving.encoded import from_base64
from hpi.serving.inference_protocol.errors import bad_request
from hpi.serving.inference_protocol.tensors import InputTensor, check_parameters, selected
from hpi.serving.limits import RequestError

HEADER = "Inference-Header-Content-Length"
"""The HTTP header with the length of the JSON, where binary data follows it."""

MAX_COMMAS = 1_000_000
"""Limit of commas in the JSON of a request, which an image of 640x480 has as numbers."""

_MOST_OF = {b",": 112, b"[": 112, b":": 112, b"{": 400}
"""What a list, a dictionary and each further value and key of JSON take at most once parsed, in bytes."""
_MOST_PER_BYTE = 6
"""The same for the text itself: four where one letter of a string needs them, and what its base64 stands for."""


class _Parameters(BaseModel):
    """Parameters; those that are not listed have no effect, except that some are refused."""

    @model_validator(mode="before")
    @classmethod
    def _check(cls, given: object) -> object:
        if isinstance(given, dict):
            check_parameters(given)
        return given


class InputParameters(_Parameters):
    """Parameters of an input."""

    binary_data_size: Annotated[StrictInt, Field(ge=0, lt=1 << 63)] | None = Field(
        default=None, description="Size of its data after the JSON, in bytes; without it, the data is in `data`."
    )


class OutputParameters(_Parameters):
    """Parameters of an output that a request selects."""

    binary_data: StrictBool | None = Field(default=None, description="Whether its data comes after the JSON.")


class RequestParameters(_Parameters):
    """Parameters of a request."""

    binary_data_output: StrictBool = Field(
        default=False, description="Whether the data of outputs comes after the JSON, where an output does not say."
    )


class RequestInput(BaseModel):
    """An input of a request."""

    name: StrictStr
    datatype: StrictStr = Field(description="`image`: UINT8, or BYTES; `threshold`: FP32.")
    shape: list[Annotated[StrictInt, Field(ge=0, lt=1 << 63)]] = Field(
        max_length=8, description="`image`: height, width, 3; for BYTES, an image file, 1. `threshold`: 1."
    )
    parameters: InputParameters = InputParameters()
    data: list[Any] | None = Field(
        default=None, description="Its elements, flat or in lists of lists; an image file as base64."
    )


class RequestOutput(BaseModel):
    """An output that a request selects."""

    name: StrictStr
    parameters: OutputParameters = OutputParameters()


class InferenceRequest(BaseModel):
    """A request; other fields have no effect."""

    id: StrictStr | None = Field(default=None, max_length=1000, description="The answer has the same.")
    parameters: RequestParameters = RequestParameters()
    inputs: list[RequestInput] = Field(max_length=8)
    outputs: list[RequestOutput] = Field(
        default=[], max_length=8, description="Which outputs to answer with; by default all."
    )


class ResponseOutput(BaseModel):
    """An output of an answer."""

    name: str
    datatype: Literal["FP32"] = "FP32"
    shape: list[int]
    parameters: dict[str, int] | None = None
    data: list[float] | None = None


class InferenceResponse(BaseModel):
    """An answer."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[ResponseOutput]


class ServerMetadata(BaseModel):
    """What the server is."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """An input or output of a model; -1 is any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerLive(BaseModel):
    """Whether the server is alive."""

    live: bool


class ServerReady(BaseModel):
    """Whether the server accepts requests now."""

    ready: bool


class ModelReady(ServerReady):
    """Whether a model accepts requests now."""

    name: str


class ErrorMessage(BaseModel):
    """What is wrong."""

    error: str


def header_length(text: str | None, body: int) -> int:
    """The length of the JSON in a body.

    Args:
        text: the value of the header; None: all of the body is JSON.
        body: length of the body.

    Raises:
        RequestError: 400, it is not a number, or the body is shorter.

    Example:
        >>> header_length("12", 20), header_length(None, 20)
        (12, 20)
    """
    if text is None:
        return body
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise bad_request(f"{HEADER} is {text[:40]!r}; send the length of the JSON in bytes")
    if int(text) > body:
        raise bad_request(f"{HEADER} is {int(text):,}, but the body has {body:,} bytes")
    return int(text)


def size_once_parsed(content: bytes | bytearray) -> int:
    """How much memory JSON takes at most once it is parsed, in bytes.

    Raises:
        RequestError: 413, it has more than :data:`MAX_COMMAS` commas.

    Example:
        >>> size_once_parsed(b'{"inputs": [1, 2]}')
        844
    """
    counts = {sign: content.count(sign) for sign in _MOST_OF}
    if counts[b","] > MAX_COMMAS:
        message = f"the JSON has more than {MAX_COMMAS:,} commas; send the image as binary data, or as BYTES"
        raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
    return sum(_MOST_OF[sign] * count for sign, count in counts.items()) + _MOST_PER_BYTE * len(content)


@dataclass(frozen=True)
class Wanted:
    """What the answer to a request has.

    Attributes:
        outputs: names of its outputs, and whether their data comes after the JSON.
        id: of the request; None if it has none.

    Example:
        >>> Wanted({"scores": False}).id is None
        True
    """

    outputs: Mapping[str, bool]
    id: str | None = None


def parse_request(content: bytes | bytearray, tail: memoryview) -> tuple[Wanted, list[InputTensor]]:
    """Parse a request.

    Args:
        content: its JSON, for which there is memory: :func:`size_once_parsed`.
        tail: the binary data after it.

    Returns:
        What to answer, and the inputs; those that are binary data share the memory of the tail.

    Raises:
        RequestError: 400, it is not a request of the protocol.

    Example:
        >>> text = b'{"inputs": [{"name": "threshold", "datatype": "FP32", "shape": [1], "data": [0.5]}]}'
        >>> parse_request(text, memoryview(b""))[1]
        [InputTensor(name='threshold', datatype='FP32', shape=(1,), raw=None, values=[0.5])]
    """
    try:
        request = InferenceRequest.model_validate(from_json(content))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise bad_request(f"{'.'.join(map(str, first['loc'])) or 'the request'}: {first['msg']}") from error
    except ValueError as error:
        raise bad_request(f"the request is not JSON: {error}") from error
    sizes = [one.parameters.binary_data_size for one in request.inputs]
    if (sent := sum(size or 0 for size in sizes)) != len(tail):
        raise bad_request(
            f"the inputs have {sent:,} bytes of binary data, but {len(tail):,} come after the JSON; {HEADER} has the "
            "length of the JSON"
        )
    tensors = []
    for one, size in zip(request.inputs, sizes, strict=True):
        tensors.append(_tensor(one, None if size is None else tail[:size]))
        tail = tail[size or 0 :]
    return _wanted(request), tensors


def _wanted(request: InferenceRequest) -> Wanted:
    usual = request.parameters.binary_data_output
    own = {one.name: one.parameters.binary_data for one in request.outputs}
    names = selected([one.name for one in request.outputs])
    return Wanted({name: usual if (said := own.get(name)) is None else said for name in names}, request.id)


def _tensor(one: RequestInput, raw: memoryview | None) -> InputTensor:
    if (raw is None) == (one.data is None):
        raise bad_request(f"input {one.name[:60]!a}: give its data either in 'data' or as binary data")
    values: Sequence[Any] = one.data or ()
    if one.datatype == "BYTES" and values:
        if not all(isinstance(text, str) for text in values):
            raise bad_request(f"input {one.name[:60]!a}: elements of BYTES are base64, or binary data")
        try:
            values = [from_base64(text).data for text in values[:2]]
        except InputError as error:
            raise bad_request(str(error)) from error
    return InputTensor(one.name, one.datatype, tuple(one.shape), raw, values)


def write_response(
    name: str, version: str, wanted: Wanted, arrays: Mapping[str, NDArray[np.float32]]
) -> tuple[bytes, int | None]:
    """Write an answer.

    Args:
        name: of the model.
        version: of the model.
        wanted: what the answer has.
        arrays: all outputs.

    Returns:
        The body, and the length of the JSON in it, None where that is all.

    Example:
        >>> write_response("pose", "1", Wanted({"scores": False}), {"scores": np.array([0.5], np.float32)})[0]
        b'{"model_name":"pose","model_version":"1","outputs":[{"name":"scores","datatype":"FP32","shape":[1],"data":[0.5]}]}'
    """
    outputs = [
        ResponseOutput(
            name=output,
            shape=list(arrays[output].shape),
            parameters={"binary_data_size": arrays[output].nbytes} if is_binary else None,
            data=None if is_binary else arrays[output].ravel().tolist(),
        )
        for output, is_binary in wanted.outputs.items()
    ]
    response = InferenceResponse(model_name=name, model_version=version, id=wanted.id, outputs=outputs)
    content = to_json(response, exclude_none=True)
    tail = [arrays[output].tobytes() for output, is_binary in wanted.outputs.items() if is_binary]
    return b"".join([content, *tail]), len(content) if tail else None
