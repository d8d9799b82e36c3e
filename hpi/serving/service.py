"""One photo in, its people out: decoding, batching and drawing, off the event loop and within limits."""

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
class Photo:
    """A decoded photo and what is wanted of it."""

    image: Image
    threshold: float | None


@dataclass(frozen=True)
class Timed:
    """What was found in a photo, when its batch began and how long it took, seconds."""

    found: Instances
    began: float
    seconds: float


class PoseService:
    """The pipeline of a predictor for many callers at once."""

    def __init__(self, predictor: Predictor, settings: Settings, metrics: Metrics) -> None:
        """Start the worker threads.

        Raises:
            ConfigError: the predictor is a single model.
        """
        skeleton = predictor.pipelines[0].skeleton
        if len(predictor.pipelines[0].models) == 1 or skeleton is None:
            raise ConfigError(f"{predictor.name} is a single model; the service needs a pipeline")
        self._settings = settings
        self._skeleton = skeleton
        self._decoders = ThreadPoolExecutor(4, thread_name_prefix="hpi-decode")
        self._drawers = ThreadPoolExecutor(2, thread_name_prefix="hpi-draw")
        self._batcher: Batcher[Photo, Timed] = Batcher(
            [partial(_run, pipeline, predictor.threshold) for pipeline in predictor.pipelines],
            largest=settings.max_batch,
            wait_s=settings.max_wait_ms / 1000,
            on_batch=metrics.batch_sizes.observe,
        )
        metrics.watch("hpi_queue_depth", "Photos that wait for a batch.", lambda: self._batcher.depth)

    async def fetch(self, url: str, into: Received, clock: Clock) -> None:
        """Fetch the content of a URL of the internet.

        Raises:
            InputError: not allowed here, not a public address, too large, or no answer.
        """
        if not self._settings.allow_url:
            raise InputError(
                "image: this service fetches no URLs; send the photo itself as base64, or start it with --allow-url"
            )
        with clock.time("fetch"):
            await fetch_public(url, into, self._settings.fetch_s)

    async def size(self, data: Buffer, label: str) -> int:
        """Bytes that a photo takes when it is decoded; ``label`` is what an error calls it.

        Raises:
            InputError: not a photo, or too large.
        """
        width, height = await _in_thread(self._decoders, image_size, data, label, self._settings.max_pixels)
        return 3 * width * height

    async def decode(self, data: Buffer, clock: Clock) -> Image:
        """A photo from the content of its file, of which :meth:`size` was asked.

        Raises:
            InputError: damaged, or too slow to decode.
        """
        with clock.time("decode"):
            begun = asyncio.Event()
            loop = asyncio.get_running_loop()

            def decode() -> Image:
                loop.call_soon_threadsafe(begun.set)
                return decode_pixels(data, IMAGE_LABEL)

            decoding = asyncio.ensure_future(_in_thread(self._decoders, decode))
            await begun.wait()  # for a thread; that is not the photo's fault
            try:
                return await asyncio.wait_for(decoding, self._settings.decode_s)
            except asyncio.TimeoutError as error:
                raise InputError(f"{IMAGE_LABEL}: takes longer than {self._settings.decode_s:g} s to decode") from error

    async def find(self, photo: Photo, clock: Clock) -> Instances:
        """The people of a photo, which goes through the models together with others.

        Cancelled, it leaves the queue.
        """
        submitted = perf_counter()
        timed = await asyncio.wrap_future(self._batcher.submit(photo))
        clock.note("queue", timed.began - submitted)
        clock.note("infer", timed.seconds)
        return timed.found

    async def draw(self, image: Image, found: Instances, clock: Clock) -> str:
        """The photo with the people drawn on it, as a base64 JPEG."""
        with clock.time("draw"):
            return await _in_thread(self._drawers, self._draw, image, found)

    def close(self) -> None:
        """Finish what was begun."""
        self._batcher.close()
        self._decoders.shutdown()
        self._drawers.shutdown()

    def _draw(self, image: Image, found: Instances) -> str:
        picture = draw_people(image, list(found.points), self._skeleton)
        _, data = cv2.imencode(".jpg", picture)
        return base64.b64encode(data.tobytes()).decode("ascii")


async def _in_thread(pool: ThreadPoolExecutor, work: Callable[..., T], *arguments: object) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, partial(work, *arguments))


def _run(pipeline: Pipeline, default: float | None, photos: Sequence[Photo]) -> list[Timed]:
    began = perf_counter()
    thresholds = [default if photo.threshold is None else photo.threshold for photo in photos]
    found = pipeline.run([Frame(photo.image) for photo in photos], threshold=thresholds)
    seconds = perf_counter() - began
    return [Timed(of_photo, began, seconds) for of_photo in found]
