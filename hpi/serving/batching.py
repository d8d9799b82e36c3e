"""Dynamic batching: what many callers hand in goes through in batches."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class _Job(NamedTuple, Generic[Item, Outcome]):
    item: Item
    future: Future[Outcome]


class Batcher(Generic[Item, Outcome]):
    """Worker threads that take what is there, up to a batch, and wait a little for more.

    While a worker is busy, further items queue up for its next batch, so batches grow with the load. An item whose
    future is cancelled before its batch begins leaves the queue at once. Whoever submits bounds the queue.
    """

    def __init__(
        self,
        workers: Sequence[Callable[[list[Item]], Sequence[Outcome]]],
        *,
        largest: int,
        wait_s: float,
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Start the threads.

        Args:
            workers: each is called by a thread of its own with a batch, and returns an outcome for each item.
            largest: most items of a batch.
            wait_s: how long the first item of a batch waits for others, seconds.
            told: called with the size of each batch.
        """
        self._queue: deque[_Job[Item, Outcome]] = deque()
        self._changed = Condition()
        self._closing = False
        self._largest = largest
        self._wait_s = wait_s
        self._told = told
        self._threads = [Thread(target=self._serve, args=(one,), name="hpi-batch", daemon=True) for one in workers]
        for thread in self._threads:
            thread.start()

    @property
    def depth(self) -> int:
        """Items that wait for a batch."""
        return len(self._queue)

    def submit(self, item: Item) -> Future[Outcome]:
        """Hand in an item; the future gets its outcome, or what went wrong with it."""
        job: _Job[Item, Outcome] = _Job(item, Future())
        with self._changed:
            self._queue.append(job)
            self._changed.notify()
        # It must not hold the job: such a cycle would keep photos until it is collected.
        job.future.add_done_callback(self._leave)
        return job.future

    def close(self) -> None:
        """Finish what was handed in, and end the threads."""
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
            self._told(len(batch))
            self._run(worker, batch)

    def _collect(self) -> list[_Job[Item, Outcome]]:
        """The next batch; nothing when it is time to end."""
        batch: list[_Job[Item, Outcome]] = []
        end = None
        with self._changed:
            while len(batch) < self._largest:
                if self._queue:
                    job = self._queue.popleft()
                    if job.future.set_running_or_notify_cancel():
                        batch.append(job)
                        end = end or time.monotonic() + self._wait_s
                elif self._closing or not self._changed.wait(None if end is None else max(0, end - time.monotonic())):
                    break
        return batch

    def _run(self, worker: Callable[[list[Item]], Sequence[Outcome]], jobs: list[_Job[Item, Outcome]]) -> None:
        try:
            outcomes = worker([job.item for job in jobs])
        except Exception as error:  # noqa: BLE001 - the caller gets it
            if len(jobs) == 1:
                jobs[0].future.set_exception(error)
                return
            for job in jobs:  # one of them may be at fault; the others shall not suffer
                self._run(worker, [job])
            return
        for job, outcome in zip(jobs, outcomes, strict=True):
            job.future.set_result(outcome)
