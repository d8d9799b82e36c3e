"""Which sizes a batch is run in, by measured times."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi.backends import BACKENDS
from hpi.backends.base import MAX_BATCH, Variant
from hpi.backends.openvino import MEASURED_BUCKETS
from hpi.backends.splits import LEAST_GAIN, MOST_PADDING, BatchTimes

from support import ROUNDING, float_files, quick_first, require

POSE = "MoveNet-Thunder_256x256"
SMALL = {1: 2.6, 2: 3.9, 4: 6.3, 8: 10.0, 16: 19.0}
"""Milliseconds of PP-TinyPose_128x96: a call costs more than an item."""
LARGE = {1: 8.1, 4: 30.8, 16: 153.0}
"""Of PP-TinyPose_256x192: from 4 items on the caches overflow."""

sizes_of_runtimes = st.sampled_from(
    [range(1, MAX_BATCH + 1), (1, 2, 4, 8, 16, 32), (1, 2, 3, 4, 6, 8, 12, 16, 24, 32), (1, 2, 3, 4, 8, 16)]
)
times = st.floats(0.1, 1000)


@given(st.integers(1, 100), sizes_of_runtimes, times, st.dictionaries(st.integers(2, MAX_BATCH), times))
def test_a_split_covers_the_batch_in_allowed_sizes_and_less_time(count, sizes, of_one, others):
    """Whatever was measured, even times that no machine would take."""
    measured = {1: of_one, **others}
    known, usual = BatchTimes(measured), [1] * count
    split = known.faster_split(count, usual, sizes)
    if split is None:
        return
    assert set(split) <= {size for size in sizes if size <= max(measured)}
    padding = sum(split) - count
    assert 0 <= padding <= MOST_PADDING * max(split)
    assert split == sorted(split, reverse=True)
    time, time_before = (sum(map(known.of, one)) for one in (split, usual))
    assert time <= (1 - LEAST_GAIN) * time_before * (1 + 1e-9)


@given(st.integers(1, 40), st.floats(0.1, 100), st.floats(0, 100))
def test_a_batch_stays_whole_where_only_calls_cost(count, item, call):
    """No split can be faster then; and nothing is larger than what was measured."""
    known = BatchTimes({size: call + item * size for size in (1, 2, 40)})
    assert known.faster_split(count, [count], range(1, 41)) is None


@pytest.mark.parametrize(
    ("measured", "count", "usual", "split"),
    [
        (SMALL, 3, [2, 1], [3]),
        (SMALL, 7, [4, 2, 1], [8]),
        (SMALL, 9, [8, 1], None),
        (SMALL, 11, [8, 2, 1], [12]),
        (LARGE, 9, [9], [4, 4, 1]),
        (LARGE, 16, [16], [4, 4, 4, 4]),
        (LARGE, 4, [4], None),
        ({4: 29.6, 16: 59.5}, 3, [2, 1], None),
    ],
)
def test_splits_by_measured_times(measured, count, usual, split):
    assert BatchTimes(measured).faster_split(count, usual, [1, 2, 3, 4, 6, 8, 12, 16]) == split


@pytest.mark.full
@pytest.mark.parametrize(
    ("backend", "profile", "sizes"),
    quick_first([("openvino", "static streams", [3, 3]), ("openvino", "static", [6]), ("onnxruntime", "", [2, 2, 1])]),
)
def test_split_and_padded_batches_give_the_same_answers(options, rng, backend, profile, sizes):
    require(backend)
    batch = rng.standard_normal((5, 3, 256, 256), np.float32)
    with BACKENDS[backend].load(
        float_files(POSE), dataclasses.replace(options, variant=Variant(profile=profile))
    ) as session:
        expected = session.run({"image": batch})
        session.plan_by({1: 10.0, 2: 12.0, 5: 60.0} if profile == "" else {1: 10.0, 2: 19.0, 4: 19.5, 8: 20.0})
        assert session.split(5) == sizes
        found = session.run({"image": batch})
    assert [len(output) for output in found] == [len(output) for output in expected]
    assert np.abs(found[0] - expected[0]).max() < ROUNDING


@pytest.mark.full
@pytest.mark.parametrize("streams", [1, 2, 4])
def test_streams_get_equal_parts_and_none_is_empty(options, streams):
    """Any times: those of a machine on which a large call costs as little as a small one."""
    require("openvino")
    profile = "static streams" if streams > 1 else "static"
    with BACKENDS["openvino"].load(
        float_files(POSE), dataclasses.replace(options, threads=streams, variant=Variant(profile=profile))
    ) as session:
        session.plan_by({streams: 10.0, 16: 11.0})
        for count in range(1, 41):
            sizes = session.split(count)
            assert sum(sizes) >= count > sum(sizes[:-1])
            assert set(sizes) <= set(MEASURED_BUCKETS)
