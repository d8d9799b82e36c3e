"""How long the steps of a pipeline take, for whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import NamedTuple

_recording: ContextVar[list[Step] | None] = ContextVar("hpi_steps", default=None)


class Step(NamedTuple):
    """A step of a pipeline that has run.

    Attributes:
        name: ``"detect"`` or ``"keypoints"``.
        start: when it began, by :func:`time.perf_counter`, seconds.
        seconds: how long it took.

    Example:
        >>> Step("detect", start=20.0, seconds=0.008).name
        'detect'
    """

    name: str
    start: float
    seconds: float


@contextmanager
def recorded_steps() -> Iterator[list[Step]]:
    """The steps that pipelines run in this thread inside the ``with`` block; the list fills as they end.

    Example:
        >>> with recorded_steps() as steps, step("detect"):
        ...     pass
        >>> [one.name for one in steps]
        ['detect']
    """
    steps: list[Step] = []
    token = _recording.set(steps)
    try:
        yield steps
    finally:
        _recording.reset(token)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Time a ``with`` block as a step of a pipeline, where somebody records them.

    Example:
        >>> with step("keypoints"):
        ...     pass
    """
    start = perf_counter()
    yield
    steps = _recording.get()
    if steps is not None:
        steps.append(Step(name, start, perf_counter() - start))
