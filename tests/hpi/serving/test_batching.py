"""Dynamic batching by itself: sizes, order, failures, cancellation, shutdown."""

import threading
import time
from concurrent.futures import CancelledError

import pytest

from hpi.serving.batching import Batcher

from support import HANGS_S, wait_until


class Worker:
    """Doubles numbers; records its batches; can be blocked, and fails on the number 13."""

    def __init__(self):
        self.batches = []
        self.free = threading.Event()
        self.free.set()

    def __call__(self, items):
        self.batches.append(list(items))
        assert self.free.wait(HANGS_S)
        if 13 in items:
            raise ValueError("thirteen")
        return [2 * item for item in items]


@pytest.fixture
def worker():
    return Worker()


def test_queued_items_run_in_order_up_to_the_largest_batch(worker):
    sizes = []
    batcher = Batcher([worker], largest=4, wait_s=0, on_batch=sizes.append)
    worker.free.clear()
    first = batcher.submit(0)
    wait_until(lambda: worker.batches, "a batch")
    others = [batcher.submit(number) for number in range(1, 7)]
    assert batcher.depth == 6
    worker.free.set()
    assert [future.result(HANGS_S) for future in (first, *others)] == [0, 2, 4, 6, 8, 10, 12]
    assert worker.batches == [[0], [1, 2, 3, 4], [5, 6]]
    assert sizes == [1, 4, 2]
    batcher.close()


def test_the_first_item_waits_for_others_up_to_the_limit(worker):
    batcher = Batcher([worker], largest=2, wait_s=10 * HANGS_S)
    futures = [batcher.submit(1), batcher.submit(2)]  # a full batch does not wait
    assert [future.result(HANGS_S) for future in futures] == [2, 4]
    batcher.close()
    assert worker.batches == [[1, 2]]
    hurried = Batcher([worker], largest=8, wait_s=0.05)
    assert hurried.submit(3).result(HANGS_S) == 6
    hurried.close()


def test_an_item_that_comes_just_as_the_time_is_over_does_not_wait_for_the_batch(worker):
    """The thread that is woken for it has stopped waiting, so no other one would be."""
    batcher = Batcher([worker], largest=8, wait_s=0.1)
    first = batcher.submit(1)
    wait_until(lambda: not batcher.depth, "a thread that waits for others")
    with batcher._changed:  # it cannot go on when its time is over
        time.sleep(0.2)
        second = batcher.submit(2)
    assert [first.result(HANGS_S), second.result(HANGS_S)] == [2, 4]
    batcher.close()
    assert worker.batches == [[1, 2]]


def test_a_batch_beside_which_nothing_runs_goes_to_the_worker_for_it(worker):
    """As soon as something else runs or waits, the batches go through the workers, until that is over."""
    alone, other = Worker(), Worker()
    batcher = Batcher([worker, other], largest=1, wait_s=0, alone=alone)
    assert [batcher.submit(number).result(HANGS_S) for number in (1, 2)] == [2, 4]
    wait_until(lambda: not batcher._taken, "the end of a batch")
    for one in (alone, worker, other):
        one.free.clear()
    first = batcher.submit(3)
    wait_until(lambda: len(alone.batches) == 3, "a batch")
    rest = [batcher.submit(number) for number in (4, 5, 6)]
    wait_until(lambda: len(worker.batches + other.batches) == 1, "a batch beside it")
    alone.free.set()
    assert first.result(HANGS_S) == 6
    wait_until(lambda: len(worker.batches + other.batches) == 2, "two batches")
    worker.free.set()
    other.free.set()
    assert [future.result(HANGS_S) for future in rest] == [8, 10, 12]
    wait_until(lambda: not batcher._taken, "the end of all batches")
    assert batcher.submit(7).result(HANGS_S) == 14
    batcher.close()
    assert alone.batches[:3] == [[1], [2], [3]]
    assert alone.batches[-1] == [7]
    assert len(alone.batches + worker.batches + other.batches) == 7


def test_a_failing_item_does_not_fail_the_others(worker):
    batcher = Batcher([worker], largest=3, wait_s=10 * HANGS_S)
    futures = {number: batcher.submit(number) for number in (1, 13, 2)}
    assert (futures[1].result(HANGS_S), futures[2].result(HANGS_S)) == (2, 4)
    with pytest.raises(ValueError, match="thirteen"):
        futures[13].result(HANGS_S)
    batcher.close()


def test_a_cancelled_item_leaves_the_queue(worker):
    batcher = Batcher([worker], largest=1, wait_s=0)
    worker.free.clear()
    running, waiting, last = (batcher.submit(number) for number in range(3))
    wait_until(lambda: worker.batches, "a batch")
    assert not running.cancel()
    assert waiting.cancel()
    worker.free.set()
    assert last.result(HANGS_S) == 4
    batcher.close()
    assert worker.batches == [[0], [2]]
    with pytest.raises(CancelledError):
        waiting.result()


def test_closing_finishes_the_queue_on_every_worker(worker):
    other = Worker()
    batcher = Batcher([worker, other], largest=2, wait_s=0)
    worker.free.clear()
    other.free.clear()
    futures = [batcher.submit(number) for number in range(9)]
    wait_until(lambda: worker.batches and other.batches, "a batch on each")
    worker.free.set()
    other.free.set()
    batcher.close()
    assert [future.result(0) for future in futures] == [2 * number for number in range(9)]
