"""From a stream of inputs to results in order: reading ahead, batches, several devices, inputs that cannot be used."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from queue import SimpleQueue
from typing import TypeVar

from hpi.errors import InputError
from hpi.instances import Frame, Instances
from hpi.pipelines.base import Pipeline
from hpi.regions import check_inside
from hpi.sources import Item

logger = logging.getLogger(__name__)

OnError = Callable[[InputError], None]

MAX_BYTES = 512 << 20
"""Images that are in batches at the same time take about so much at most, or each batch is a single image."""
UNDER_WAY = 2
"""Batches that each pipeline has at the same time: one that runs, and one that waits, so that it is never idle."""

T = TypeVar("T")
R = TypeVar("R")


def ahead(source: Iterator[T], depth: int) -> Generator[T]:
    """The items of an iterator, which a thread of its own advances while the caller works on what came before.

    Args:
        source: only that thread touches it; what it raises is raised here, in its place.
        depth: items that are made before they are asked for.

    Example:
        >>> list(ahead(iter("abc"), depth=2))
        ['a', 'b', 'c']
    """
    nothing = object()
    pool = ThreadPoolExecutor(1, thread_name_prefix="hpi-ahead")
    waiting: deque[Future[object]] = deque()
    try:
        while True:
            while len(waiting) <= depth:
                waiting.append(pool.submit(next, source, nothing))
            item = waiting.popleft().result()
            if item is nothing:
                return
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # one item may still be on its way, from a slow server perhaps


def side_by_side(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[tuple[T, Future[R]]]:
    """Work on items in threads while the caller goes on taking them in.

    Yields:
        Each item with its finished future, in order; for each thread at most :data:`UNDER_WAY` are under way. When the
        items end with an error, it is raised after those that came before.

    Example:
        >>> [(item, future.result()) for item, future in side_by_side(abs, [-1, -2], threads=2)]
        [(-1, 1), (-2, 2)]
    """
    failure: Exception | None = None
    source = iter(items)
    with ThreadPoolExecutor(threads, thread_name_prefix="hpi-work") as pool:
        waiting: deque[tuple[T, Future[R]]] = deque()
        while True:
            try:
                item = next(source)
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001 - raised below
                failure = error
                break
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) == UNDER_WAY * threads:
                yield _finished(waiting)
        while waiting:
            yield _finished(waiting)
    if failure is not None:
        raise failure


def _finished(waiting: deque[tuple[T, Future[R]]]) -> tuple[T, Future[R]]:
    item, future = waiting.popleft()
    future.exception()  # waits
    return item, future


@dataclass(frozen=True)
class Batch:
    """Frames that go through the models together, with the regions to look at where the caller gave them.

    Example:
        >>> import numpy as np
        >>> frame = Frame(np.zeros((480, 640, 3), np.uint8))
        >>> batch = Batch([frame], [Instances([1.0], boxes=[[10, 20, 30, 60]])])
        >>> len(batch.frames), len(batch.regions[0])
        (1, 1)
    """

    frames: list[Frame]
    regions: list[Instances] | None


@dataclass(frozen=True)
class Unusable:
    """An item of the input that is no image, and why.

    Example:
        >>> error, skipped = InputError("a.jpg: the file is empty"), []
        >>> Unusable(Item("a.jpg", error), error).report(skipped.append)
        >>> skipped
        [InputError('a.jpg: the file is empty')]
    """

    item: Item
    error: InputError

    def report(self, on_error: OnError | None) -> None:
        """Tell the caller; without ``on_error`` it is raised, or logged where it was found in a folder."""
        if on_error is not None:
            on_error(self.error)
        elif self.item.from_folder:
            logger.error("skipped: %s", self.error)
        else:
            raise self.error


def batches(
    items: Iterable[Item],
    regions: Sequence[Instances] | None,
    batch_size: int,
    check: Callable[[Frame], None] = lambda _: None,
    max_bytes: int = MAX_BYTES,
) -> Iterator[Batch | Unusable]:
    """Images in batches.

    What came before an unusable item is a batch of its own, so that nothing of it is lost.

    Args:
        items: what was read.
        regions: for each item, or None.
        batch_size: most images in a batch.
        check: raises InputError for a frame that the models cannot take.
        max_bytes: a batch of images that take as much is full.

    Example:
        >>> from hpi.sources import read_items
        >>> path = "examples/basketball.png"
        >>> parts = batches(read_items([path, path, path, "missing.jpg", path]), None, batch_size=2)
        >>> [len(part.frames) if isinstance(part, Batch) else part.item.path for part in parts]
        [2, 1, 'missing.jpg', 1]
    """
    frames: list[Frame] = []
    given: list[Instances] = []
    size = 0

    def batch() -> Batch:
        return Batch(frames, None if regions is None else given)

    for item, people in zip(items, repeat(None)) if regions is None else zip(items, regions, strict=True):
        try:
            frame = _frame(item)
            check(frame)
            if people is not None:
                check_inside(frame, people)
                given.append(people)
        except InputError as error:
            if frames:
                yield batch()
            frames, given, size = [], [], 0
            yield Unusable(item, error)
            continue
        frames.append(frame)
        size += frame.image.nbytes
        if len(frames) == batch_size or size >= max_bytes:
            yield batch()
            frames, given, size = [], [], 0
    if frames:
        yield batch()


def _frame(item: Item) -> Frame:
    if isinstance(item.image, InputError):
        raise item.image
    return Frame(item.image, item.path, item.page, item.frame, item.time_s)


def run_items(
    pipelines: Sequence[Pipeline],
    items: Generator[Item],
    regions: Sequence[Instances] | None,
    batch_size: int,
    threshold: float | None,
) -> Generator[tuple[Batch | Unusable, Callable[[], Sequence[Instances]]]]:
    """:func:`run_batches` of what was read; close it, and the items end with it.

    Args:
        pipelines: that run side by side, each on a batch of its own.
        items: what is read.
        regions: for each item, or None.
        batch_size: most images in a batch; large images make smaller batches.
        threshold: keep people that score above it; None: the detector's own.
    """
    parts = batches(items, regions, batch_size, pipelines[0].check, MAX_BYTES // (UNDER_WAY * len(pipelines)))
    running = run_batches(pipelines, parts, threshold)
    # At once, also after an error: a thread may be reading ahead. Where it advances the items, they end with it.
    with closing(running), closing(items) if len(pipelines) == 1 else nullcontext():
        yield from running


def run_batches(
    pipelines: Sequence[Pipeline], parts: Iterator[Batch | Unusable], threshold: float | None
) -> Generator[tuple[Batch | Unusable, Callable[[], Sequence[Instances]]]]:
    """Each part with what gives its results, in order. Of several pipelines, each takes the next when it is free.

    With several, another thread advances the parts.

    Example:
        >>> from hpi import Predictor
        >>> from hpi.sources import read_items
        >>> with Predictor("human_keypoint_detection_lite") as predictor:
        ...     parts = batches(read_items("examples/basketball.png"), None, batch_size=1)
        ...     [len(people) for _, results in run_batches(predictor.pipelines, parts, None) for people in results()]
        [2]
    """
    if len(pipelines) == 1:
        for part in parts:
            yield part, partial(_run, pipelines[0], part, threshold)
        return
    free: SimpleQueue[Pipeline] = SimpleQueue()
    for pipeline in pipelines:
        free.put(pipeline)

    def run(part: Batch | Unusable) -> Sequence[Instances]:
        pipeline = free.get()
        try:
            return _run(pipeline, part, threshold)
        finally:
            free.put(pipeline)

    with ThreadPoolExecutor(len(pipelines), thread_name_prefix="hpi-work") as pool:
        begun = ((part, pool.submit(run, part)) for part in parts)
        with closing(ahead(begun, UNDER_WAY * len(pipelines))) as taken:  # results do not wait for what comes slowly
            for part, future in taken:
                yield part, future.result


def _run(pipeline: Pipeline, part: Batch | Unusable, threshold: float | None) -> Sequence[Instances]:
    if isinstance(part, Unusable):
        return []
    return pipeline.run(part.frames, regions=part.regions, threshold=threshold)
