"""What is special about OpenVINO: static batches, and a precision that is always stated."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("openvino", reason="openvino is not installed")

from hpi.backends import BACKENDS
from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import SessionOptions, Variant
from hpi.backends.cpu import Cpu
from hpi.backends.openvino import BUCKETS, split_batch
from hpi.zoo import Zoo


@pytest.fixture(scope="module")
def options(home):
    return SessionOptions(ArtifactCache(home / "artifacts"), threads=2)


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (9, [8, 1]), (31, [16, 8, 4, 2, 1]), (70, [32, 32, 4, 2])])
def test_a_batch_is_split_into_the_largest_sizes(count, sizes):
    assert split_batch(count) == sizes


@given(st.integers(1, 2000))
def test_any_batch_can_be_split(count):
    assert sum(split_batch(count)) == count
    assert set(split_batch(count)) <= set(BUCKETS)


def test_static_batches_give_the_same_answers(options, rng):
    files = Zoo.default().find("MoveNet-Thunder_256x256").files
    batch = rng.standard_normal((5, 3, 256, 256), np.float32)
    static_options = dataclasses.replace(options, variant=Variant(static_batch=True))
    with (
        BACKENDS["openvino"].load(files, options) as dynamic,
        BACKENDS["openvino"].load(files, static_options) as static,
    ):
        assert static.info.notes == ("static batches",)
        for count in (1, 3, 5):
            feeds = {"image": batch[:count]}
            assert np.abs(static.run(feeds)[0] - dynamic.run(feeds)[0]).max() < 1e-5


def test_bf16_is_offered_only_where_the_cpu_has_it(monkeypatch):
    for isa, expected in (("avx512", {"fp32"}), ("avx512_bf16", {"fp32", "bf16"}), ("amx", {"fp32", "bf16"})):
        monkeypatch.setattr("hpi.backends.openvino.this_cpu", lambda isa=isa: Cpu("intel", isa, 2))
        assert {variant.precision for variant in BACKENDS["openvino"].variants()} == expected
