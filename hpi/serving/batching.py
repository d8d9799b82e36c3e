"""Dynamic batching: what many callers hand in goes through in batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class _Job(NamedTuple, Generic[Item, Outcome]):
    item: Item
    future: Future[Outcome]


class Batcher(Generic[Item, Outcome]):
    """Worker threads that take what is there, up to a batch, and wait a little for more.

    While a worker is busy, further items queue up for its next batch, so batches grow with the load. A future that is
    cancelled before its batch begins leaves the queue. Whoever submits bounds the queue.
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
        self._queue: SimpleQueue[_Job[Item, Outcome] | None] = SimpleQueue()
        self._largest = largest
        self._wait_s = wait_s
        self._told = told
        self._threads = [Thread(target=self._serve, args=(one,), name="hpi-batch", daemon=True) for one in workers]
        for thread in self._threads:
            thread.start()

    @property
    def depth(self) -> int:
        """Items that wait for a batch."""
        return self._queue.qsize()

    def submit(self, item: Item) -> Future[Outcome]:
        """Hand in an item; the future gets its outcome, or what went wrong with it."""
        future: Future[Outcome] = Future()
        self._queue.put(_Job(item, future))
        return future

    def close(self) -> None:
        """Finish what was handed in, and end the threads."""
        self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self, worker: Callable[[list[Item]], Sequence[Outcome]]) -> None:
        while batch := self._collect():
            jobs = [job for job in batch if job.future.set_running_or_notify_cancel()]
            if jobs:
                self._told(len(jobs))
                self._run(worker, jobs)

    def _collect(self) -> list[_Job[Item, Outcome]]:
        """The next batch; nothing when it is time to end."""
        batch: list[_Job[Item, Outcome]] = []
        end = None
        while len(batch) < self._largest:
            try:
                job = self._queue.get(timeout=None if end is None else max(0.0, end - time.monotonic()))
            except Empty:
                break
            if job is None:
                self._queue.put(None)  # for the other threads, and for this one's next round
                break
            batch.append(job)
            end = end or time.monotonic() + self._wait_s
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
