"""Stages that run side by side: order is kept, and only so many items are under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(source: Iterator[T], depth: int) -> Generator[T]:
    """The items of an iterator, which a thread of its own advances while the caller works on what came before.

    Args:
        source: only that thread touches it; what it raises is raised here, in its place.
        depth: items that are made before they are asked for.
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
        Each item with its finished future, in order; at most ``2 * threads`` are under way. When the items end with an
        error, it is raised after those that came before.
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
            if len(waiting) == 2 * threads:
                yield _finished(waiting)
        while waiting:
            yield _finished(waiting)
    if failure is not None:
        raise failure


def _finished(waiting: deque[tuple[T, Future[R]]]) -> tuple[T, Future[R]]:
    item, future = waiting.popleft()
    future.exception()  # waits
    return item, future
