"""The HTTP protocol of PaddleX's service for this pipeline: its route, its requests, answers and errors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from hpi.instances import Instances

ROUTE = "/human-keypoint-detection"

KeyPoint = tuple[float, float, float]


def _no_boolean(value: object) -> object:
    """Refuse booleans, which pydantic would read as 0 and 1."""
    if isinstance(value, bool):
        raise PydanticCustomError("float_type", "Input should be a number, not true or false")
    return value


def _printable(text: str) -> str:
    """Refuse half a surrogate pair, which JSON can hold but no answer can repeat."""
    if not text.isascii() and not text.isprintable():
        raise PydanticCustomError("string_unicode", "Input should be base64 or a URL, without control characters")
    return text


Score = Annotated[float, BeforeValidator(_no_boolean), Field(ge=0, le=1, allow_inf_nan=False)]


class Options(BaseModel):
    """Options of a request."""

    detThreshold: Score | None = Field(default=None, description="Keep people that score above it.")  # noqa: N815
    visualize: bool | None = Field(
        default=None, description="Whether the answer includes a picture with the people drawn on it."
    )


class InferRequest(Options):
    """A request: an image and options."""

    image: Annotated[str, AfterValidator(_printable)] = Field(
        description="The image: its file as base64 or as a base64 data URL, or an http(s) URL if URLs are allowed."
    )


class Person(BaseModel):
    """A person; coordinates are in pixels of the image."""

    model_config = ConfigDict(allow_inf_nan=False)  # JSON cannot express them, so they would be sent as null

    bbox: tuple[float, float, float, float] = Field(description="x1, y1, x2, y2")
    kpts: list[KeyPoint] = Field(description="x, y, score of each keypoint")
    detScore: float  # noqa: N815
    kptScore: float = Field(description="mean of the keypoints' scores")  # noqa: N815


class InferResult(BaseModel):
    """The people of an image."""

    persons: list[Person]
    image: str | None = Field(default=None, description="A JPEG as base64.")


class Answer(BaseModel):
    """The answer to an image request, with its fields in PaddleX's order."""

    logId: str  # noqa: N815
    result: InferResult
    errorCode: Literal[0] = 0  # noqa: N815
    errorMsg: Literal["Success"] = "Success"  # noqa: N815


class Message(BaseModel):
    """An answer without a result: an error or a state."""

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


def persons_of(people: Instances) -> list[Person]:
    """The people of an answer.

    Example:
        >>> people = Instances([0.75], boxes=[[0, 0, 8, 8]], keypoints=[[[4, 4]]], keypoint_scores=[[0.5]])
        >>> persons_of(people)
        [Person(bbox=(0.0, 0.0, 8.0, 8.0), kpts=[(4.0, 4.0, 0.5)], detScore=0.75, kptScore=0.5)]
    """
    assert people.boxes is not None  # the detector's, or derived from the keypoints
    points = people.points
    means = points[..., 2].mean(axis=1)
    rows = zip(people.boxes.tolist(), points.tolist(), people.scores.tolist(), means.tolist(), strict=True)
    return [Person(bbox=box, kpts=kpts, detScore=score, kptScore=mean) for box, kpts, score, mean in rows]
