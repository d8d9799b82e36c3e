"""From one image to its people: fetching, decoding, batching and drawing, off the event loop and within limits."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TypeVar

import cv2

from hpi.draw import draw_people
from hpi.errors import ConfigError, InputError
from hpi.instances import Frame, Instances
from hpi.pipelines.base import Pipeline
from hpi.predictor import Predictor
from hpi.serving.batching import Batcher
from hpi.serving.encoded import IMAGE_LABEL
from hpi.serving.limits import Received
from hpi.serving.metrics import Clock, Metrics
from hpi.serving.settings import Settings
from hpi.serving.urls import fetch_public
from hpi.sources import Image, decode_pixels, image_size

Buffer = bytes | bytearray
T = TypeVar("T")


@dataclass(frozen=True)
class PoseRequest:
    """A decoded image, and the score above which people are kept; None for the default of the service.

    Example:
        >>> import numpy as np
        >>> PoseRequest(np.zeros((480, 640, 3), np.uint8), threshold=None).image.shape
        (480, 640, 3)
    """

    image: Image
    threshold: float | None


@dataclass(frozen=True)
class Timed:
    """The people of an image, with the start and the duration of its batch, in seconds.

    Example:
        >>> timed = Timed(Instances([0.5], boxes=[[0, 0, 8, 8]]), start=1.5, seconds=0.25)
        >>> len(timed.people), timed.start + timed.seconds
        (1, 1.75)
    """

    people: Instances
    start: float
    seconds: float


class PoseService:
    """Runs the pipelines of a predictor for many callers at once."""

    def __init__(self, predictor: Predictor, settings: Settings, metrics: Metrics) -> None:
        """Start the worker threads.

        Raises:
            ConfigError: the predictor is a single model.
        """
        skeleton = predictor.pipelines[0].skeleton
        if skeleton is None or not predictor.pipelines[0].detects:
            raise ConfigError(f"{predictor.name} is a single model; the service needs a pipeline")
        self._settings = settings
        self._skeleton = skeleton
        self._decoders = ThreadPoolExecutor(4, thread_name_prefix="hpi-decode")
        self._drawers = ThreadPoolExecutor(2, thread_name_prefix="hpi-draw")
        self._batcher: Batcher[PoseRequest, Timed] = Batcher(
            [partial(_run, pipeline, predictor.threshold) for pipeline in predictor.pipelines],
            largest=settings.max_batch,
            wait_s=settings.max_wait_ms / 1000,
            on_batch=metrics.batch_sizes.observe,
        )
        metrics.watch("hpi_queue_depth", "Images that wait for a batch.", lambda: self._batcher.depth)

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
        submitted = perf_counter()
        timed = await asyncio.wrap_future(self._batcher.submit(request))
        clock.note("queue", timed.start - submitted)
        clock.note("infer", timed.seconds)
        return timed.people

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
        picture = draw_people(image, list(people.points), self._skeleton)
        _, data = cv2.imencode(".jpg", picture)
        return base64.b64encode(data.tobytes()).decode("ascii")


async def _in_thread(pool: ThreadPoolExecutor, work: Callable[..., T], *arguments: object) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, partial(work, *arguments))


def _run(pipeline: Pipeline, default: float | None, requests: Sequence[PoseRequest]) -> list[Timed]:
    start = perf_counter()
    thresholds = [default if one.threshold is None else one.threshold for one in requests]
    results = pipeline.run([Frame(one.image) for one in requests], threshold=thresholds)
    seconds = perf_counter() - start
    return [Timed(people, start, seconds) for people in results]
