"""The messages of a stream over a WebSocket: options in, people out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from hpi.compat.paddlex.http_protocol import KeyPoint, Message, Person, Score, persons_of
from hpi.instances import Instances
from hpi.tracking.base import UNTRACKED

DetEvery = Annotated[int, Field(strict=True, ge=1, le=30)] | Literal["auto"]  # few, since each has its own pipeline
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class OptionsMessage(BaseModel):
    """A text message: options, before the first frame, and the time of the next frame."""

    detThreshold: Score | None = Field(default=None, description="Keep people that score above it.")  # noqa: N815
    tracker: str | None = Field(
        default=None, description="bytetrack, ocsort, oks or embedding; null: nobody is followed."
    )
    detEvery: DetEvery = Field(default=1, description="The detector runs on every N-th frame; auto: as needed.")  # noqa: N815
    smooth: str | None = Field(default=None, description="oneeuro or ema: answer with smoothed keypoints too.")
    time: Seconds | None = Field(default=None, description="When the next frame was taken, in seconds.")


class StreamPerson(Person):
    """A person of a frame."""

    trackId: int | None = Field(description="who it is; null: nobody is followed, or this person not yet")  # noqa: N815
    kptsSmoothed: list[KeyPoint] | None = Field(default=None, description="with smooth only")  # noqa: N815


class FrameAnswer(BaseModel):
    """The people of a frame."""

    frame: int = Field(description="which frame of the connection, from 0")
    time: float = Field(description="when it was taken, in seconds; without such a time when it arrived")
    dropped: int = Field(description="frames of the connection that newer ones have replaced")
    milliseconds: dict[str, float] = Field(description="time in each stage, and from arrival to answer as total")
    persons: list[StreamPerson]
    errorCode: Literal[0]  # noqa: N815


class FrameError(Message):
    """What is wrong with a message."""

    frame: int | None = Field(description="which frame of the connection; null: the message was none")


def stream_persons(people: Instances, smoothed: Instances | None) -> list[StreamPerson]:
    """The people of an answer.

    Args:
        people: as they were found, with their ids where they are followed.
        smoothed: the same people with smoothed keypoints; None: not asked for.

    Example:
        >>> nose = {"keypoints": [[[4, 4]]], "keypoint_scores": [[0.5]]}
        >>> people = Instances([0.75], boxes=[[0, 0, 8, 8]], track_ids=[7], **nose)
        >>> stream_persons(people, None)[0].trackId
        7
    """
    ids = [UNTRACKED] * len(people) if people.track_ids is None else people.track_ids.tolist()
    points = [{}] * len(people) if smoothed is None else [{"kptsSmoothed": kpts} for kpts in smoothed.points.tolist()]
    return [
        StreamPerson(**dict(person), trackId=None if one == UNTRACKED else one, **more)
        for person, one, more in zip(persons_of(people), ids, points, strict=True)
    ]
