"""Requests and answers, as PaddleX's service for this pipeline has them."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from hpi.tasks.detection import Detections

SUCCESS = "Success"

KeyPoint = tuple[float, float, float]
Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class InferRequest(BaseModel):
    """A photo and what is wanted of it."""

    image: str = Field(description="The photo: an image file as base64, or an http(s) URL where these are allowed.")
    detThreshold: Score | None = Field(None, description="Keep people that score above it.")  # noqa: N815
    visualize: bool | None = Field(None, description="Whether the answer holds a picture with the people drawn on it.")


class PhotoQuery(BaseModel):
    """What is wanted of a photo that is the body itself."""

    detThreshold: Score | None = None  # noqa: N815
    visualize: bool = False


class Person(BaseModel):
    """A person; coordinates are pixels of the photo."""

    bbox: tuple[float, float, float, float] = Field(description="x1, y1, x2, y2")
    kpts: list[KeyPoint] = Field(description="x, y, score of each joint")
    detScore: float  # noqa: N815
    kptScore: float = Field(description="mean of the joints' scores")  # noqa: N815


class InferResult(BaseModel):
    """The people of a photo."""

    persons: list[Person]
    image: str | None = Field(None, description="A JPEG as base64.")


class Answer(BaseModel):
    """An answer to a request."""

    logId: str  # noqa: N815
    errorCode: int = 0  # noqa: N815
    errorMsg: str = SUCCESS  # noqa: N815
    result: InferResult | None = None

    def content(self) -> bytes:
        """As JSON, without fields that have no value."""
        return self.model_dump_json(exclude_none=True).encode()


def persons_of(found: tuple[Detections, NDArray[np.float32]]) -> list[Person]:
    """People as they are answered."""
    people, joints = found
    means = joints[..., 2].mean(axis=1)
    rows = zip(people.boxes.tolist(), joints.tolist(), people.scores.tolist(), means.tolist(), strict=True)
    return [Person(bbox=box, kpts=points, detScore=score, kptScore=mean) for box, points, score, mean in rows]
