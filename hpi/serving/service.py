"""From one image to its people: fetching, decoding, batching and drawing, off the event loop and within limits."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import TypeVar

import cv2

from hpi.draw import draw_people
from hpi.errors import ConfigError, InputError
from hpi.instances import Frame, Instances
from hpi.pipelines.base import Pipeline
from hpi.pipelines.steps import Step, recorded_steps
from hpi.pipelines.tracked import StreamState, TrackedPipeline, usual_tracker
from hpi.predictor import Predictor
from hpi.serving.batching import Batcher
from hpi.serving.encoded import IMAGE_LABEL
from hpi.serving.limits import Received
from hpi.serving.metrics import Clock, Metrics
from hpi.serving.settings import Settings
from hpi.serving.urls import fetch_public
from hpi.sources import Image, decode_pixels, image_size
from hpi.tracking.base import Tracking

Buffer = bytes | bytearray
T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PoseRequest:
    """A decoded image, and what to do with it.

    Attributes:
        frame: the image; of a stream with its name and the time.
        threshold: people that score above it are kept; None for the default of the service.
        tracking: how the people of the stream are followed; None of an image by itself.
        made: when, by the clock of this process, seconds.

    Example:
        >>> import numpy as np
        >>> PoseRequest(Frame(np.zeros((480, 640, 3), np.uint8)), threshold=None).frame.image.shape
        (480, 640, 3)
    """

    frame: Frame
    threshold: float | None
    tracking: Tracking | None = None
    made: float = field(default_factory=perf_counter)


@dataclass(frozen=True)
class Timed:
    """The people of an image, and the batch that it was in.

    Attributes:
        people: that were found.
        waited: how long the image waited for its batch, seconds.
        start: when the batch began, by :func:`time.perf_counter`, seconds.
        took: how long the batch took, seconds.
        size: images in the batch.
        steps: of the pipeline.

    Example:
        >>> timed = Timed(Instances([0.5], boxes=[[0, 0, 8, 8]]), waited=0.5, start=20.0, took=0.25, size=1, steps=())
        >>> len(timed.people), timed.waited + timed.took
        (1, 0.75)
    """

    people: Instances
    waited: float
    start: float
    took: float
    size: int
    steps: Sequence[Step]


class _Worker:
    """Runs batches on the pipeline of a device: images by themselves, and frames of streams."""

    def __init__(self, pipeline: Pipeline, threshold: float | None, states: dict[str | None, StreamState]) -> None:
        self._pipeline = pipeline
        self._threshold = threshold
        self._states = states
        self._tracked: dict[Tracking, TrackedPipeline] = {}

    def pipeline(self, tracking: Tracking | None) -> Pipeline:
        """The pipeline that follows people in this way; None: it follows nobody.

        Raises:
            ConfigError: it cannot.
        """
        if tracking is None:
            return self._pipeline
        if tracking not in self._tracked:
            self._tracked[tracking] = TrackedPipeline(self._pipeline, tracking, self._states)
        return self._tracked[tracking]

    def __call__(self, requests: Sequence[PoseRequest]) -> list[Timed]:
        start = perf_counter()
        found: dict[int, tuple[Instances, Sequence[Step]]] = {}
        for tracking in dict.fromkeys(one.tracking for one in requests):
            rows = [row for row, one in enumerate(requests) if one.tracking == tracking]
            thresholds = [requests[row].threshold for row in rows]
            with recorded_steps() as steps:
                people = self.pipeline(tracking).run(
                    [requests[row].frame for row in rows],
                    threshold=[self._threshold if one is None else one for one in thresholds],
                )
            found.update({row: (of_row, steps) for row, of_row in zip(rows, people, strict=True)})
        took = perf_counter() - start
        return [
            Timed(found[row][0], start - one.made, start, took, len(requests), found[row][1])
            for row, one in enumerate(requests)
        ]


class PoseService:
    """Runs the pipelines of a predictor for many callers at once.

    Attributes:
        skeleton: of the keypoints that it finds.
        usual_tracking: how the people of a stream are followed where its client does not say.
    """

    def __init__(self, predictor: Predictor, settings: Settings, metrics: Metrics) -> None:
        """Start the worker threads.

        Raises:
            ConfigError: the predictor does not find people with their keypoints by itself.
        """
        first = predictor.pipelines[0]
        if first.skeleton is None or not first.detects:
            raise ConfigError(
                f"{predictor.name} does not find people with their keypoints by itself; the service needs a pipeline, "
                "or a model that does"
            )
        self._settings = settings
        self.skeleton = first.skeleton
        self._states: dict[str | None, StreamState] = {}
        many = predictor.side_by_side()
        workers = [_Worker(pipeline, predictor.threshold, self._states) for pipeline in many]
        alone = None if many is predictor.pipelines else _Worker(first, predictor.threshold, self._states)
        self._workers = workers if alone is None else [*workers, alone]
        self._decoders = ThreadPoolExecutor(4, thread_name_prefix="hpi-decode")
        self._drawers = ThreadPoolExecutor(2, thread_name_prefix="hpi-draw")
        self._batcher: Batcher[PoseRequest, Timed] = Batcher(
            workers,
            largest=settings.max_batch,
            wait_s=settings.max_wait_ms / 1000,
            alone=alone,
            on_batch=metrics.batch_sizes.observe,
        )
        metrics.watch("hpi_queue_depth", "Images that wait for a batch.", lambda: self._batcher.depth)
        metrics.watch("hpi_streams_followed", "Streams whose people are remembered.", lambda: len(self._states))
        self.usual_tracking = Tracking(usual_tracker(first))
        try:
            self.prepare(self.usual_tracking)
        except ConfigError as error:
            logger.warning("people of streams get no ids: %s", error)
            self.usual_tracking = Tracking(None)

    async def fetch(self, url: str, into: Received, clock: Clock) -> None:
        """Fetch the content of a public URL.

        Raises:
            InputError: fetching is not allowed, the address is not public, or there is no answer in time.
            RequestError: the content is too large, or no memory is left.
        """
        if not self._settings.allow_url:
            raise InputError(
                "image: this service fetches no URLs; send the image as base64, or start the service with --allow-url"
            )
        with clock.time("fetch"):
            await fetch_public(url, into, self._settings.fetch_s)

    async def size(self, data: Buffer, label: str) -> int:
        """The size of an image once it is decoded, in bytes.

        Args:
            data: content of the image file.
            label: what errors call it.

        Raises:
            InputError: it is not an image, or has too many pixels.
        """
        width, height = await _in_thread(self._decoders, image_size, data, label, self._settings.max_pixels)
        return 3 * width * height

    async def decode(self, data: Buffer, clock: Clock) -> Image:
        """Decode an image whose :meth:`size` has been checked.

        Raises:
            InputError: it is damaged, or takes too long to decode.
        """
        with clock.time("decode"):
            started = asyncio.Event()
            loop = asyncio.get_running_loop()

            def decode() -> Image:
                loop.call_soon_threadsafe(started.set)
                return decode_pixels(data, IMAGE_LABEL)

            decoding = asyncio.ensure_future(_in_thread(self._decoders, decode))
            await started.wait()  # waiting for a free thread does not count as decoding
            try:
                return await asyncio.wait_for(decoding, self._settings.decode_s)
            except asyncio.TimeoutError as error:
                raise InputError(f"{IMAGE_LABEL}: takes longer than {self._settings.decode_s:g} s to decode") from error

    async def find(self, request: PoseRequest, clock: Clock) -> Instances:
        """Find the people of an image, in a batch with images of other callers.

        If it is cancelled, the image leaves the queue.
        """
        return await self.outcome(self.submit(request), clock)

    def submit(self, request: PoseRequest) -> Future[Timed]:
        """Queue an image for the models."""
        return self._batcher.submit(request)

    async def outcome(self, job: Future[Timed], clock: Clock) -> Instances:
        """Wait for the people of an image; if that is cancelled, the image leaves the queue."""
        timed = await asyncio.wrap_future(job)
        clock.note("queue", timed.waited, timed.start - timed.waited)
        clock.note("infer", timed.took, timed.start, steps=timed.steps, attributes={"hpi.batch_size": timed.size})
        return timed.people

    def prepare(self, tracking: Tracking) -> None:
        """Get ready to follow people in this way.

        Raises:
            ConfigError: the models, or what is installed, do not allow it.
        """
        for worker in self._workers:
            worker.pipeline(tracking)

    def end(self, stream: str) -> None:
        """Forget the people of a stream none of whose frames is in the models."""
        self._states.pop(stream, None)

    async def draw(self, image: Image, people: Instances, clock: Clock) -> str:
        """The image with the people drawn on it, as a base64 JPEG."""
        with clock.time("draw"):
            return await _in_thread(self._drawers, self._draw, image, people)

    def close(self) -> None:
        """Finish the queued work, and stop the threads."""
        self._batcher.close()
        self._decoders.shutdown()
        self._drawers.shutdown()

    def _draw(self, image: Image, people: Instances) -> str:
        picture = draw_people(image, list(people.points), self.skeleton)
        _, data = cv2.imencode(".jpg", picture)
        return base64.b64encode(data.tobytes()).decode("ascii")


async def _in_thread(pool: ThreadPoolExecutor, work: Callable[..., T], *arguments: object) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, partial(work, *arguments))
