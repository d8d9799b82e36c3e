"""Stages side by side: order, bounds, errors in their place."""

import threading
import time

import pytest

from hpi.streaming import ahead, side_by_side

from support import wait_until_threads_end


def test_items_come_in_order_and_not_too_far_ahead():
    made = []

    def source():
        for index in range(20):
            made.append(index)
            yield index

    taken = []
    for item in ahead(source(), depth=3):
        taken.append(item)
        time.sleep(0.002)
        assert len(made) <= len(taken) + 3 + 1
    assert taken == list(range(20))


def test_another_thread_works_ahead():
    names = set()

    def source():
        for index in range(3):
            names.add(threading.current_thread().name)
            yield index

    assert list(ahead(source(), depth=1)) == [0, 1, 2]
    assert threading.current_thread().name not in names


def test_an_error_of_the_source_is_raised_in_order():
    def source():
        yield 1
        raise ValueError("broken")

    items = ahead(source(), depth=2)
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_leaving_early_ends_the_thread():
    before = threading.active_count()
    items = ahead(iter(range(1000)), depth=2)
    assert next(items) == 0
    items.close()
    wait_until_threads_end(before)


def test_work_side_by_side_keeps_the_order_and_each_error():
    def work(item):
        time.sleep(0.01 * (item % 3))
        if item == 4:
            raise ValueError("four")
        return item * item

    taken = []
    for item, future in side_by_side(work, range(10), threads=3):
        taken.append(item)
        if item == 4:
            assert isinstance(future.exception(), ValueError)
        else:
            assert future.result() == item * item
    assert taken == list(range(10))


def test_the_number_of_items_in_progress_is_limited():
    taken_in, finished = [], []

    def items():
        for index in range(30):
            taken_in.append(index)
            assert len(taken_in) - len(finished) <= 4 + 1
            yield index

    for item, _ in side_by_side(lambda item: item, items(), threads=2):
        finished.append(item)
    assert finished == list(range(30))


def test_items_before_an_error_of_the_source_are_finished():
    def items():
        yield 1
        yield 2
        raise ValueError("broken")

    taken = []
    with pytest.raises(ValueError, match="broken"):
        for item, future in side_by_side(lambda item: item * 10, items(), threads=4):
            taken.append((item, future.result()))
    assert taken == [(1, 10), (2, 20)]


@pytest.mark.parametrize("leave", ["error", "close"])
def test_prediction_stops_reading_when_it_is_closed_early(lite, image, leave, monkeypatch):
    before = threading.active_count()
    results = lite.predict([image] * 50)
    next(results)
    if leave == "close":
        results.close()
    else:
        monkeypatch.setattr(lite.side_by_side()[0].models[0], "run", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            list(results)
    wait_until_threads_end(before)
