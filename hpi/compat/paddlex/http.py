"""The HTTP protocol of PaddleX's service for this pipeline: its route, its requests, answers and errors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from hpi.tasks.detection import Detections

ROUTE = "/human-keypoint-detection"

KeyPoint = tuple[float, float, float]


def _no_truth(value: object) -> object:
    """True is 1.0 to pydantic."""
    if isinstance(value, bool):
        raise PydanticCustomError("float_type", "Input should be a number, not true or false")
    return value


def _whole(text: str) -> str:
    """JSON can hold half of a surrogate pair, which no answer could repeat."""
    if not text.isascii() and not text.isprintable():
        raise PydanticCustomError("string_unicode", "Input should be base64 or a URL, without control characters")
    return text


Score = Annotated[float, BeforeValidator(_no_truth), Field(ge=0, le=1, allow_inf_nan=False)]


class Options(BaseModel):
    """What is wanted of an image."""

    detThreshold: Score | None = Field(default=None, description="Keep people that score above it.")  # noqa: N815
    visualize: bool | None = Field(
        default=None, description="Whether the answer holds a picture with the people drawn on it."
    )


class InferRequest(Options):
    """An image and what is wanted of it."""

    image: Annotated[str, AfterValidator(_whole)] = Field(
        description="The image: its file as base64 or as a base64 data URL, or an http(s) URL where these are allowed."
    )


class Person(BaseModel):
    """A person; coordinates are pixels of the photo."""

    model_config = ConfigDict(allow_inf_nan=False)  # JSON has no way to say them, so they would go out as null

    bbox: tuple[float, float, float, float] = Field(description="x1, y1, x2, y2")
    kpts: list[KeyPoint] = Field(description="x, y, score of each joint")
    detScore: float  # noqa: N815
    kptScore: float = Field(description="mean of the joints' scores")  # noqa: N815


class InferResult(BaseModel):
    """The people of a photo."""

    persons: list[Person]
    image: str | None = Field(default=None, description="A JPEG as base64.")


class Answer(BaseModel):
    """An answer to a request that has a result; the order of fields is PaddleX's."""

    logId: str  # noqa: N815
    result: InferResult
    errorCode: Literal[0] = 0  # noqa: N815
    errorMsg: Literal["Success"] = "Success"  # noqa: N815


class Message(BaseModel):
    """An answer that has none: an error, or a state."""

    logId: str  # noqa: N815
    errorCode: int = Field(default=0, description="The HTTP status of an error, or 0.")  # noqa: N815
    errorMsg: str  # noqa: N815


def field_errors(problems: Sequence[tuple[str, str, str]]) -> str:
    """The ``errorMsg`` of a request with wrong fields, which is a JSON list in a string.

    Args:
        problems: for each wrong field the kind of error, the field and what is wrong.

    Example:
        >>> field_errors([("missing", "body.image", "Field required")])
        '[{"type": "missing", "loc": "body.image", "msg": "Field required"}]'
    """
    return json.dumps([{"type": kind, "loc": field, "msg": message} for kind, field, message in problems])


def persons_of(found: tuple[Detections, NDArray[np.float32]]) -> list[Person]:
    """People as they are answered."""
    people, joints = found
    means = joints[..., 2].mean(axis=1)
    rows = zip(people.boxes.tolist(), joints.tolist(), people.scores.tolist(), means.tolist(), strict=True)
    return [Person(bbox=box, kpts=points, detScore=score, kptScore=mean) for box, points, score, mean in rows]
