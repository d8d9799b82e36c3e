"""What is special about OpenVINO: static batches, and a precision that is always explicit."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("openvino", reason="openvino is not installed")

from hpi.backends import BACKENDS
from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import MAX_BATCH, SessionOptions, Variant
from hpi.backends.cpu import Cpu
from hpi.backends.openvino import BUCKETS, split_batch
from hpi.errors import BackendError

from support import ROUNDING, assert_same_detections, float_files, quick_first

POSE, DETECTOR = "MoveNet-Thunder_256x256", "PicoDet-S_person_416"
SPLIT = [Variant(profile="static streams"), Variant(profile="static")]


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (9, [8, 1]), (31, [16, 8, 4, 2, 1]), (70, [32, 32, 4, 2])])
def test_a_batch_is_split_into_the_largest_sizes(count, sizes):
    assert split_batch(count) == sizes


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (2, [1, 1]), (3, [1, 1, 1]), (9, [4, 4, 1]), (16, [8, 8]), (31, [8, 8, 8, 4, 2, 1])]
)
def test_two_streams_halve_the_parts(count, sizes):
    assert split_batch(count, 2) == sizes


@given(st.integers(1, 2000), st.integers(1, 64))
def test_any_batch_can_be_split(count, streams):
    assert sum(split_batch(count, streams)) == count
    assert set(split_batch(count, streams)) <= set(BUCKETS)


def test_batch_sizes_go_up_to_the_largest_batch():
    assert BUCKETS == (32, 16, 8, 4, 2, 1)
    assert BUCKETS[0] == MAX_BATCH


@pytest.mark.full
@pytest.mark.parametrize(("profile", "items"), [("", 1), ("static streams", 2)])
def test_a_trial_has_an_item_for_each_of_two_streams(options, profile, items):
    with BACKENDS["openvino"].load(
        float_files(POSE), dataclasses.replace(options, variant=Variant(profile=profile))
    ) as session:
        assert session.trial_items == items


@pytest.mark.full
@pytest.mark.parametrize("variant", quick_first(SPLIT), ids=str)
def test_split_batches_give_the_same_answers(options, rng, variant):
    files = float_files(POSE)
    batch = rng.standard_normal((5, 3, 256, 256), np.float32)
    with (
        BACKENDS["openvino"].load(files, options) as whole,
        BACKENDS["openvino"].load(files, dataclasses.replace(options, variant=variant)) as split,
    ):
        assert split.info.variant == variant
        for count in (1, 3, 5):
            feeds = {"image": batch[:count]}
            assert np.abs(split.run(feeds)[0] - whole.run(feeds)[0]).max() < ROUNDING


@pytest.mark.full
def test_detector_runs_its_images_in_parallel(options, rng):
    files = float_files(DETECTOR)
    variant = Variant(profile="static streams")
    feeds = {"image": rng.random((7, 3, 416, 416), np.float32), "scale_factor": np.ones((7, 2), np.float32)}
    with (
        BACKENDS["openvino"].load(files, options) as one_by_one,
        BACKENDS["openvino"].load(files, dataclasses.replace(options, variant=variant)) as side_by_side,
    ):
        assert_same_detections(side_by_side.run(feeds), one_by_one.run(feeds))


def compiled(options):
    """The compiled models that are kept."""
    return [entry for entry in options.artifacts.entries() if entry.kind == "openvino"]


@pytest.mark.full
def test_compiled_model_is_kept(tmp_path, home, monkeypatch, caplog, rng):
    """The second session imports it; an incompatible one is compiled again, with a warning."""
    files = float_files(POSE)
    options = SessionOptions(ArtifactCache(tmp_path), variant=Variant(profile="static"), threads=2)
    feeds = {"image": rng.standard_normal((1, 3, 256, 256), np.float32)}
    with BACKENDS["openvino"].load(files, options) as session:
        expected = session.run(feeds)[0]
    (entry,) = compiled(options)
    assert (entry.key["batch"], entry.key["INFERENCE_PRECISION_HINT"]) == ("1", "f32")

    def refuse(*_):
        raise AssertionError("compiled again")

    with monkeypatch.context() as patch:
        patch.setattr("hpi.backends.openvino.with_batch", refuse)
        with BACKENDS["openvino"].load(files, options) as session:
            assert np.abs(session.run(feeds)[0] - expected).max() < ROUNDING
    options.artifacts.discard(entry.folder / "model.blob")
    options.artifacts.get("openvino", entry.key, "model.blob", lambda target: target.write_bytes(b"not a blob"))
    with BACKENDS["openvino"].load(files, options) as session:
        assert np.abs(session.run(feeds)[0] - expected).max() < ROUNDING
    assert "incompatible compiled model" in caplog.text
    BACKENDS["openvino"].load(files, options).close()  # is kept again
    with monkeypatch.context() as patch:
        patch.setattr("hpi.backends.openvino.with_batch", refuse)
        BACKENDS["openvino"].load(files, options).close()


@pytest.mark.full
def test_bad_blob_in_a_read_only_cache_is_not_fatal(tmp_path, home, monkeypatch, rng):
    files = float_files(POSE)
    options = SessionOptions(ArtifactCache(tmp_path), threads=2)
    feeds = {"image": rng.standard_normal((1, 3, 256, 256), np.float32)}
    BACKENDS["openvino"].load(files, options).close()
    (entry,) = compiled(options)
    options.artifacts.discard(entry.folder / "model.blob")
    options.artifacts.get("openvino", entry.key, "model.blob", lambda target: target.write_bytes(b"not a blob"))
    monkeypatch.setattr(ArtifactCache, "discard", lambda *_: None)
    for _ in range(2):
        with BACKENDS["openvino"].load(files, options) as session:
            assert np.isfinite(session.run(feeds)[0]).all()


def test_session_runs_without_any_writable_disk(home, monkeypatch, rng, caplog):
    def full(*_):
        raise BackendError("no temporary folder can be written: no space left on device")

    monkeypatch.setattr(ArtifactCache, "get", full)
    options = SessionOptions(ArtifactCache(home / "nowhere"), threads=2)
    with BACKENDS["openvino"].load(float_files(POSE), options) as session:
        assert session.run({"image": np.zeros((1, 3, 256, 256), np.float32)})[0].shape == (1, 17, 64, 64)
    assert "no space left" in caplog.text


@pytest.mark.full
@pytest.mark.parametrize("variant", quick_first(SPLIT), ids=str)
def test_split_session_is_thread_safe(options, rng, variant):
    batches = [rng.standard_normal((count, 3, 256, 256), np.float32) for count in (1, 3, 2, 5)]
    with BACKENDS["openvino"].load(float_files(POSE), dataclasses.replace(options, variant=variant)) as session:
        expected = [session.run({"image": batch})[0] for batch in batches]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda batch: session.run({"image": batch})[0], batches * 3))
    for ours, theirs in zip(found, expected * 3, strict=True):
        assert np.abs(ours - theirs).max() < ROUNDING


@pytest.mark.full
def test_failing_part_fails_the_batch_not_the_session(options, rng, monkeypatch):
    variant = Variant(profile="static streams")
    feeds = {"image": rng.standard_normal((8, 3, 256, 256), np.float32)}
    with BACKENDS["openvino"].load(float_files(POSE), dataclasses.replace(options, variant=variant)) as session:
        expected = session.run(feeds)[0]
        calls = []

        def failing(compiled, request):
            calls.append(request)
            request.wait()
            if len(calls) == 1:
                raise RuntimeError("this part failed")
            return compiled.outputs_of(request)

        with monkeypatch.context() as patch:
            patch.setattr("hpi.backends.openvino._finish", failing)
            with pytest.raises(BackendError, match="this part failed"):
                session.run(feeds)
        assert np.abs(session.run(feeds)[0] - expected).max() < ROUNDING
    with pytest.raises(BackendError, match="closed"):
        session.run(feeds)


def test_bf16_is_offered_only_where_the_cpu_has_it(monkeypatch):
    for isa, offered in (("avx512", False), ("avx512_bf16", True), ("amx", True)):
        monkeypatch.setattr("hpi.backends.openvino.this_cpu", lambda isa=isa: Cpu("intel", isa, 2))
        assert ("bf16" in {variant.precision for variant in BACKENDS["openvino"].variants()}) == offered
