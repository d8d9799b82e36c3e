"""Dynamic batching: items of many callers run together."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class _Job(Generic[Item, Outcome]):
    item: Item
    future: Future[Outcome]


class Batcher(Generic[Item, Outcome]):
    """Worker threads that run queued items in batches, and wait a little for a batch to fill.

    While a worker is busy, further items queue up for its next batch, so batches grow with the load. A batch beside
    which nothing runs or waits may go to a worker that is there for such batches only. An item whose future is
    cancelled before its batch starts leaves the queue at once. The queue has no limit: callers must limit how many
    items they submit.

    Example:
        >>> batcher = Batcher([lambda batch: [2 * item for item in batch]], largest=8, wait_s=0)
        >>> futures = [batcher.submit(item) for item in (1, 2, 3)]
        >>> [future.result() for future in futures]
        [2, 4, 6]
        >>> batcher.close()
    """

    def __init__(
        self,
        workers: Sequence[Callable[[list[Item]], Sequence[Outcome]]],
        *,
        largest: int,
        wait_s: float,
        alone: Callable[[list[Item]], Sequence[Outcome]] | None = None,
        on_batch: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Start the threads.

        Args:
            workers: each is called with a batch by its own thread, and returns one outcome per item.
            largest: maximum batch size.
            wait_s: how long the first item of a batch waits for others, in seconds.
            alone: called instead of a worker, by its thread, with a batch beside which nothing runs or waits.
            on_batch: called with the size of each batch before it runs.
        """
        self._queue: deque[_Job[Item, Outcome]] = deque()
        self._changed = Condition()
        self._taken = 0
        self._closing = False
        self._largest = largest
        self._wait_s = wait_s
        self._alone = alone
        self._on_batch = on_batch
        self._threads = [Thread(target=self._serve, args=(one,), name="hpi-batch", daemon=True) for one in workers]
        for thread in self._threads:
            thread.start()

    @property
    def depth(self) -> int:
        """Number of items waiting for a batch."""
        return len(self._queue)

    def submit(self, item: Item) -> Future[Outcome]:
        """Queue an item; the future gets its outcome, or the exception that it caused."""
        job: _Job[Item, Outcome] = _Job(item, Future())
        with self._changed:
            self._queue.append(job)
            self._changed.notify()
        # Not a closure over the job: such a reference cycle would keep images in memory until it is collected.
        job.future.add_done_callback(self._leave)
        return job.future

    def close(self) -> None:
        """Finish the queued items and stop the threads."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _leave(self, future: Future[Outcome]) -> None:
        if future.cancelled():
            with self._changed:
                self._queue = deque(job for job in self._queue if job.future is not future)

    def _serve(self, worker: Callable[[list[Item]], Sequence[Outcome]]) -> None:
        while batch := self._collect():
            self._on_batch(len(batch))
            with self._changed:
                is_alone = not self._queue and self._taken == len(batch)
            self._run(self._alone if is_alone and self._alone else worker, batch)
            with self._changed:
                self._taken -= len(batch)

    def _collect(self) -> list[_Job[Item, Outcome]]:
        """The next batch; empty when it is time to stop."""
        batch: list[_Job[Item, Outcome]] = []
        end = None
        with self._changed:
            while len(batch) < self._largest:
                if self._queue:
                    job = self._queue.popleft()
                    if job.future.set_running_or_notify_cancel():
                        batch.append(job)
                        self._taken += 1
                        end = end or time.monotonic() + self._wait_s
                elif self._closing or not self._wait_for_item(None if end is None else max(0, end - time.monotonic())):
                    break
        return batch

    def _wait_for_item(self, most_s: float | None) -> bool:
        """Wait for an item; one may come just as the time is over, and then no other thread is woken for it."""
        return self._changed.wait(most_s) or bool(self._queue)

    def _run(self, worker: Callable[[list[Item]], Sequence[Outcome]], jobs: list[_Job[Item, Outcome]]) -> None:
        try:
            outcomes = worker([job.item for job in jobs])
        except Exception as error:  # noqa: BLE001 - the caller gets it
            if len(jobs) == 1:
                jobs[0].future.set_exception(error)
                return
            for job in jobs:  # a single item may be the cause, and must not fail the others
                self._run(worker, [job])
            return
        for job, outcome in zip(jobs, outcomes, strict=True):
            job.future.set_result(outcome)
