import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hpi.kernels.batches import split_by_count


@given(st.lists(st.integers(0, 5), max_size=8))
def test_it_is_numpys_split(counts):
    rows = np.arange(2 * sum(counts)).reshape(-1, 2)
    expected = np.split(rows, np.cumsum(counts)[:-1]) if counts else []
    found = split_by_count(rows, counts)
    assert len(found) == len(expected) == len(counts)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.array_equal(ours, theirs)
