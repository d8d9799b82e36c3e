"""Candidates, priors, the parity gate, and the choice based on them."""

import dataclasses
import json
import math

import numpy as np
import pytest

from hpi import BackendError, ConfigError, Predictor
from hpi.backends import BACKENDS
from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import ModelFiles, SessionOptions, Variant, is_installed
from hpi.backends.cpu import ARM_LEVELS, ISA_LEVELS, Cpu, this_cpu
from hpi.backends.onnxruntime import OnnxRuntime, OnnxRuntimeSession, providers_of
from hpi.benchmarks.graphs import save_graph
from hpi.models.readers import read_model
from hpi.models.readers.reading import Hints
from hpi.selection.basis import MOST_NOISE
from hpi.selection.choice import choose
from hpi.selection.loading import references, validated
from hpi.selection.measure import Failure, Measurement, Protocol, measure
from hpi.selection.memory import STATUS, peak_memory
from hpi.selection.priors import CpuClass, GpuClass, Priors, distance, write_rows
from hpi.selection.ranking import Candidate, Request
from hpi.zoo import Zoo

from support import KnownPriors, leave_runtimes, measured_row

POSE, DETECTOR = "MoveNet-Thunder_256x256", "PicoDet-S_person_416"
HERE = CpuClass.of(this_cpu())
ELSEWHERE = HERE.model_copy(update={"vendor": "other"})
ON_CPU = {name for name, backend in BACKENDS.items() if "cpu" in backend.devices}


def row(backend="onnxruntime", milliseconds=10.0, batch=1, device=HERE, model=POSE, **fields):
    fields.setdefault("threads", getattr(device, "cores", 1) if device != HERE else 2)
    return measured_row(model, backend, milliseconds, device, batch=batch, **fields)


@pytest.fixture
def asked(options):
    """The verdicts of this run are shared: these tests are about the choice between validated candidates."""
    return Request(options)


@pytest.fixture
def fresh_asked(tmp_path):
    """A cache of its own, so that every candidate is validated again."""
    return Request(SessionOptions(ArtifactCache(tmp_path / "artifacts"), threads=2))


@pytest.fixture
def only_onnxruntime(monkeypatch):
    """To measure only this one and those that a test adds, all of them, however short the time is."""
    leave_runtimes(monkeypatch, "onnxruntime")
    monkeypatch.setattr("hpi.selection.measure.OPENING_SHARE", math.inf)


@pytest.fixture
def spec(home):
    return Zoo.default().find(POSE)


@pytest.fixture
def own(tmp_path):
    return tmp_path / "priors.json"


def chosen(choice):
    choice.session.close()
    return choice.session.info.backend


# Device classes and priors

ZEN, XEON, OLD = (
    CpuClass(vendor=vendor, isa=isa, cores=cores)
    for vendor, isa, cores in (("amd", "avx512_bf16", 2), ("intel", "avx512", 8), ("intel", "avx2", 4))
)
T4 = GpuClass(name="Tesla T4", compute_capability=7.5, cuda=11.8)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (ZEN, ZEN, 0),
        (ZEN, CpuClass(vendor="amd", isa="avx512_bf16", cores=8), 2),  # two doublings of the cores
        (ZEN, CpuClass(vendor="intel", isa="avx512_bf16", cores=2), 2),  # another vendor
        (ZEN, CpuClass(vendor="amd", isa="avx512", cores=2), 4),  # one step of the instruction set
        (ZEN, CpuClass(vendor="amd", isa="amx", cores=2), 4),
        (XEON, CpuClass(vendor="intel", isa="avx512_vnni", cores=8), 1),
        (OLD, CpuClass(vendor="intel", isa="avx2_vnni", cores=4), 1),
        (OLD, CpuClass(vendor="apple", isa="neon", cores=4), 4 + 4 + 2),  # from x86 to ARM over neither
        (CpuClass(vendor="arm", isa="neon_dotprod", cores=4), CpuClass(vendor="arm", isa="neon_i8mm", cores=4), 4),
        (ZEN, XEON, 4 + 2 + 2),
        (ZEN, OLD, 8 + 2 + 1),
        (T4, T4, 0),
        (T4, GpuClass(name="NVIDIA A10", compute_capability=8.6, cuda=12.4), pytest.approx(4 * 1.1 + 1 + 1)),
        (T4, GpuClass(name="Tesla T4", compute_capability=7.5, cuda=11.2), 0),
        (T4, XEON, float("inf")),
    ],
)
def test_the_distance_rule(a, b, expected):
    assert distance(a, b) == distance(b, a) == expected


def test_rows_under_an_earlier_name_of_the_class_still_count(own):
    """Earlier versions called a CPU with VNNI by its other instructions, and every ARM other."""
    for isa, vendor, before in (("avx512_vnni", "intel", "avx512"), ("neon_i8mm", "other", "other")):
        device = CpuClass(vendor="intel", isa=isa, cores=2)
        priors = KnownPriors(own)
        priors.store([row(device=CpuClass(vendor=vendor, isa=before, cores=2), milliseconds=3)])
        assert [one.p50_ms for one in priors.basis(POSE, device, 2).rows] == [3]
        priors.store([row(device=device, milliseconds=4, threads=2)])
        assert [one.p50_ms for one in priors.basis(POSE, device, 2).rows] == [4]


def test_an_unknown_device_takes_the_nearest(own):
    priors = KnownPriors(own, row(device=ZEN), row(device=XEON), row(device=OLD), row(device=T4))
    for device, nearest in (
        (CpuClass(vendor="amd", isa="avx512_bf16", cores=16), ZEN),
        (CpuClass(vendor="intel", isa="avx512", cores=64), XEON),
        (CpuClass(vendor="amd", isa="avx2", cores=4), OLD),
        (CpuClass(vendor="other", isa="other", cores=4), OLD),
        (GpuClass(name="NVIDIA H100", compute_capability=9.0, cuda=12.8), T4),
    ):
        basis = priors.basis(POSE, device, getattr(device, "cores", 1))
        assert {one.device for one in basis.rows} == {nearest}
        assert str(nearest) in basis.where
    assert priors.basis("unknown", ZEN, 2) is None
    assert KnownPriors(own, row(device=ZEN)).basis(POSE, T4, 2) is None


def test_own_rows_without_memory_have_that_of_the_shipped_ones(own):
    """A later choice for least memory would otherwise go by time."""
    priors = KnownPriors(own, row("onnxruntime", 10, memory_mb=80), row("openvino", 5, memory_mb=120))
    priors.store([row("onnxruntime", 10, device=ZEN), row("openvino", 5, device=ZEN), row("paddle", 9, device=ZEN)])
    rows = priors.basis(POSE, ZEN, 2).rows
    assert {one.backend: one.memory_mb for one in rows} == {"onnxruntime": 80, "openvino": 120, "paddle": None}


def test_this_machines_rows_outrank_shipped_ones(own):
    priors = KnownPriors(own, row(milliseconds=1))
    priors.store([row(milliseconds=5), row(milliseconds=7, model=DETECTOR)])
    assert [one.p50_ms for one in priors.basis(POSE, HERE, 2).rows] == [5]
    priors.store([row(milliseconds=6)])
    assert [one.p50_ms for one in priors.basis(POSE, HERE, 2).rows] == [6]
    assert [one.p50_ms for one in priors.basis(DETECTOR, HERE, 2).rows] == [7]
    assert "this machine" in priors.basis(POSE, HERE, 2).where


@pytest.mark.parametrize(
    ("flags", "variant"),
    [
        ({}, "fp32"),
        ({"static_batch": True}, "fp32 static"),
        ({"static_batch": True, "streams": True, "mixed": False}, "fp32 static streams"),
        ({"mixed": True}, "fp32 mixed"),
    ],
)
def test_rows_of_earlier_versions_are_read(own, flags, variant):
    old = row().model_dump(mode="json")
    del old["profile"]
    own.write_text(json.dumps({"rows": [{**old, **flags}]}))
    (read,) = Priors(own).own()
    assert str(read.variant) == variant
    Priors(own).store([row(model=DETECTOR)])
    assert [set(flags) & set(one) for one in json.loads(own.read_text())["rows"]] == [set(), set()]


@pytest.mark.parametrize(
    "wrong", [{"profile": "static", "static_batch": True}, {"static_batch": "yes"}, {"stream": True}]
)
def test_unknown_fields_of_a_row_are_refused(own, wrong):
    own.write_text(json.dumps({"rows": [{**row().model_dump(mode="json", exclude={"profile"}), **wrong}]}))
    with pytest.raises(ConfigError, match=f"unknown field '{list(wrong)[-1]}'"):
        Priors(own).own()


def test_tuning_again_replaces_only_what_it_measured(own):
    """Another batch, and other threads, stay."""
    priors = KnownPriors(own)
    priors.store([row(milliseconds=5), row(milliseconds=20, batch=4), row(milliseconds=8, threads=1)])
    priors.store([row(milliseconds=50, batch=16), row(milliseconds=19, batch=4)])
    assert sorted((one.batch, one.p50_ms) for one in priors.basis(POSE, HERE, 2).rows) == [(1, 5), (4, 19), (16, 50)]
    assert [one.p50_ms for one in priors.basis(POSE, HERE, 1).rows] == [8]


def test_rows_of_several_callers_are_apart(own):
    """They are taken where as many callers are asked for, and replace no others."""
    priors = KnownPriors(own, row(milliseconds=1, workers=2))
    assert priors.basis(POSE, HERE, 2) is None
    assert [one.p50_ms for one in priors.basis(POSE, HERE, 2, workers=2).rows] == [1]
    priors.store([row(milliseconds=5), row(milliseconds=8, workers=2)])
    assert [one.p50_ms for one in priors.basis(POSE, HERE, 2).rows] == [5]
    (of_two,) = priors.basis(POSE, HERE, 2, workers=2).rows
    assert (of_two.p50_ms, of_two.items_per_second) == (8, 250)


def test_priors_that_cannot_be_stored_are_one_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        KnownPriors(tmp_path / "file" / "priors.json").store([row()])


def test_an_unmeasured_batch_is_estimated_from_the_nearest(own):
    basis = KnownPriors(own, row(milliseconds=10, batch=1), row(milliseconds=24, batch=4)).basis(POSE, HERE, 2)
    assert basis.estimate("onnxruntime", Variant(), [1]).milliseconds == 10
    assert basis.estimate("onnxruntime", Variant(), [1, 4]).milliseconds == 34
    assert basis.estimate("onnxruntime", Variant(), [8]).milliseconds == 48
    assert basis.estimate("onnxruntime", Variant(), [8]).throughput == pytest.approx(8 / 0.048)
    assert basis.estimate("openvino", Variant(), [1]) is None


def test_the_shipped_rows_are_in_order(home):
    rows = Priors(home / "none").shipped
    assert {one.source for one in rows} == {"published", "measured"}
    assert {one.model for one in rows} <= set(Zoo.default().models)
    for one in rows:
        assert one.device.kind in BACKENDS[one.backend].devices
        assert (one.p90_ms or one.p50_ms) >= one.p50_ms


def test_a_damaged_file_of_priors_says_what_to_do(own):
    own.write_text("{")
    with pytest.raises(ConfigError, match="hpi tune"):
        Priors(own).basis(POSE, HERE, 2)
    write_rows(own, [row()])
    own.write_text(own.read_text().replace("p50_ms", "p51_ms"))
    with pytest.raises(ConfigError, match="did you mean 'p50_ms'"):
        Priors(own).basis(POSE, HERE, 2)


def test_this_cpu_is_of_a_known_class():
    cpu = this_cpu()
    assert cpu.isa in ISA_LEVELS + ARM_LEVELS
    assert cpu.cores >= 1
    assert Cpu("intel", "amx", 8).has_bf16
    assert not Cpu("intel", "avx512", 8).has_bf16


# The choice


def test_the_fastest_known_candidate_is_chosen(spec, asked, own):
    pytest.importorskip("openvino")
    fast = KnownPriors(own, row("onnxruntime", 10), row("openvino", 5), row("openvino", 7, profile="static"))
    choice = choose(spec, asked, fast)
    assert chosen(choice) == "openvino"
    assert "5 ms" in choice.reason or "25 ms" in choice.reason
    names = [str(ranked.candidate) for ranked in choice.ranking]
    assert names[:3] == ["openvino fp32", "openvino fp32 static", "onnxruntime fp32"]
    slow = KnownPriors(own, row("onnxruntime", 4), row("openvino", 5))
    assert chosen(choose(spec, asked, slow)) == "onnxruntime"


def test_without_measurements_the_registry_decides(spec, asked, own):
    choice = choose(spec, asked, KnownPriors(own))
    assert chosen(choice) == next(iter(BACKENDS))
    assert "no measurements" in choice.reason
    assert choice.rejected == {}


def test_the_expected_batches_decide(spec, asked, own):
    pytest.importorskip("openvino")
    priors = KnownPriors(
        own, row("onnxruntime", 5), row("openvino", 6), row("onnxruntime", 50, batch=8), row("openvino", 30, batch=8)
    )
    assert chosen(choose(spec, dataclasses.replace(asked, batches=[1]), priors)) == "onnxruntime"
    assert chosen(choose(spec, dataclasses.replace(asked, batches=[8]), priors)) == "openvino"


@pytest.mark.parametrize(
    ("measured", "sizes"),
    [({}, [2, 2, 1]), ({"workers": 2}, [5]), ({"backend": "openvino"}, [5]), ({"device": ELSEWHERE}, [5])],
    ids=str,
)
def test_batches_are_split_as_measured_here(spec, asked, own, measured, sizes):
    rows = [row(**{"batch": batch, "milliseconds": time, **measured}) for batch, time in ((1, 10), (2, 12), (5, 60))]
    choice = choose(spec, dataclasses.replace(asked, backend="onnxruntime"), KnownPriors(own, *rows))
    with choice.session as session:
        assert session.split(5) == sizes


def test_a_named_runtime_is_used_or_refused(spec, asked, own, backend):
    named = dataclasses.replace(asked, backend=backend)
    assert chosen(choose(spec, named, KnownPriors(own))) == backend
    nothing = dataclasses.replace(spec, files=ModelFiles("model"))
    with pytest.raises(BackendError, match=backend):
        choose(nothing, named, KnownPriors(own))
    with pytest.raises(ConfigError, match="known are auto, onnxruntime, openvino, paddle"):
        choose(spec, dataclasses.replace(asked, backend="tflite"), KnownPriors(own))


def test_without_a_usable_runtime_all_reasons_are_given(spec, asked, own):
    with pytest.raises(BackendError) as error:
        choose(dataclasses.replace(spec, files=ModelFiles("model")), asked, KnownPriors(own))
    for name in ON_CPU:
        assert f"{name} fp32: " in str(error.value)


# Runtimes that fail, lie, are slow or missing, injected through the registry


class Fake(OnnxRuntime):
    """A runtime of its own name, never the reference, whose sessions are those of ``session``."""

    trust = None
    session = OnnxRuntimeSession

    def open(self, files, graph, options):
        return self.session(self.name, graph, options, providers_of(options.device))


class Broken(Fake):
    name = "broken"

    def open(self, files, graph, options):
        raise BackendError("it broke while loading")


class Missing(Fake):
    name = "missing"
    package = "no_such_package_anywhere"
    install = "pip install no-such-package"


class OffSession(OnnxRuntimeSession):
    def _run(self, feeds):
        heatmaps, *rest = super()._run(feeds)
        return [(heatmaps + np.roll(heatmaps, 1, axis=-1)) / 2, *rest]


class Off(Fake):
    """Its heatmaps are half a cell to the right: 2 pixels of the crop."""

    name = "off"
    session = OffSession


class NanSession(OnnxRuntimeSession):
    def _run(self, feeds):
        return [np.full_like(output, np.nan) for output in super()._run(feeds)]


class NotANumber(Fake):
    name = "nan"
    session = NanSession


class DyingSession(OnnxRuntimeSession):
    def _run(self, feeds):
        raise RuntimeError("it died at the first call")


class Dying(Fake):
    name = "dying"
    session = DyingSession


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Broken, "it broke while loading"),
        pytest.param(Off, "px and", marks=pytest.mark.full),
        pytest.param(NotANumber, "NaN or infinity", marks=pytest.mark.full),
        (Dying, "it died at the first call"),
    ],
)
def test_a_failing_runtime_is_skipped_with_the_reason(spec, fresh_asked, own, kind, said, monkeypatch, caplog):
    monkeypatch.setitem(BACKENDS, kind.name, kind())
    priors = KnownPriors(own, row(kind.name, 0.001), row("onnxruntime", 10))
    choice = choose(spec, fresh_asked, priors)
    assert chosen(choice) == "onnxruntime"
    assert said in choice.rejected[f"{kind.name} fp32"]
    assert len([record for record in caplog.records if "is skipped" in record.message]) == 1


def test_a_broken_runtime_of_many_variants_is_one_warning(spec, fresh_asked, own, monkeypatch, caplog):
    class ManyBroken(Broken):
        name = "many"

        def variants(self, device):
            return Variant(), Variant(profile="static"), Variant(profile="static streams")

    monkeypatch.setitem(BACKENDS, "many", ManyBroken())
    rows = [row("many", 0.1, profile=profile) for profile in ("", "static")]
    choice = choose(spec, fresh_asked, KnownPriors(own, *rows, row("onnxruntime", 10)))
    assert chosen(choice) == "onnxruntime"
    assert [name for name in choice.rejected if name.startswith("many")] == ["many fp32", "many fp32 static"]
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


class OffWhenFullSession(OnnxRuntimeSession):
    def _run(self, feeds):
        heatmaps, *rest = super()._run(feeds)
        return [(heatmaps + np.roll(heatmaps, 1, axis=-1)) / 2 if len(heatmaps) == 32 else heatmaps, *rest]


class OffWhenFull(Fake):
    """Right for few people, half a cell off for a full batch."""

    name = "full"
    session = OffWhenFullSession


@pytest.mark.full
def test_the_gate_notices_deviations_of_the_largest_batch(spec, fresh_asked, monkeypatch):
    monkeypatch.setitem(BACKENDS, "full", OffWhenFull())
    with BACKENDS["full"].load(spec.files, fresh_asked.options) as session:
        verdict = validated(spec, session, Candidate("full", Variant()), fresh_asked.options)
    assert not verdict.passed
    assert verdict.pixels > 1.5


def test_a_missing_runtime_is_listed_with_its_installation(spec, asked, own, monkeypatch, caplog):
    monkeypatch.setitem(BACKENDS, Missing.name, Missing())
    choice = choose(spec, asked, KnownPriors(own, row(Missing.name, 0.001), row("onnxruntime", 10)))
    assert chosen(choice) == "onnxruntime"
    assert choice.rejected == {}
    assert caplog.records == []
    (missing,) = [one for one in choice.ranking if one.candidate.backend == Missing.name]
    assert "pip install no-such-package" in missing.unavailable


@pytest.mark.full
def test_the_gate_reports_the_deviation(spec, fresh_asked, monkeypatch):
    """Half a cell is 2 of the 256 pixels."""
    monkeypatch.setitem(BACKENDS, "off", Off())
    with BACKENDS["off"].load(spec.files, fresh_asked.options) as session:
        verdict = validated(spec, session, Candidate("off", Variant()), fresh_asked.options)
    assert not verdict.passed
    pixels = float(verdict.summary.split("at most ")[1].split(" px")[0])
    assert 1.5 < pixels < 4


@pytest.mark.full
def test_a_verdict_is_kept(spec, fresh_asked, own, monkeypatch):
    pytest.importorskip("openvino")
    priors = KnownPriors(own, row("openvino", 1))
    assert chosen(choose(spec, fresh_asked, priors)) == "openvino"
    (entry,) = [one for one in fresh_asked.options.artifacts.entries() if one.kind == "parity"]
    assert entry.key["candidate"] == "openvino fp32"

    def fail(*_):
        raise AssertionError("validated again")

    monkeypatch.setattr("hpi.selection.loading.validate", fail)
    assert chosen(choose(spec, fresh_asked, priors)) == "openvino"


@pytest.mark.full
def test_a_slow_runtime_is_not_measured_to_the_end(spec, fresh_asked, only_onnxruntime, monkeypatch):
    """It does twenty times the work, so it is about as much slower on any machine."""
    calls = []

    class SlowSession(OnnxRuntimeSession):
        def _run(self, feeds):
            calls.append(len(feeds["image"]))
            for _ in range(19 if calls[-1] == 2 else 0):
                super()._run(feeds)
            return super()._run(feeds)

    class Slow(Fake):
        name = "slow"
        session = SlowSession

    monkeypatch.setitem(BACKENDS, "slow", Slow())
    measured = measure(spec, fresh_asked.options, Protocol([2], 0.1, rounds=3))
    assert {str(one.candidate) for one in measured} == {"onnxruntime fp32", "slow fp32"}
    assert calls.count(2) == 2  # to warm up, and in the first round


@pytest.mark.full
def test_bf16_is_refused_for_the_pose_model(spec, fresh_asked, own):
    """If the CPU supports it, OpenVINO's own default moves keypoints by several pixels: the gate must notice that."""
    pytest.importorskip("openvino")
    if not this_cpu().has_bf16:
        pytest.skip("this CPU has no bf16 instructions")
    priors = KnownPriors(
        own, row("openvino", 1, precision="bf16"), row("openvino", 2, precision="bf16", profile="static")
    )
    choice = choose(spec, dataclasses.replace(fresh_asked, precisions=("fp32", "bf16")), priors)
    assert choice.session.info.precision == "fp32"
    choice.session.close()
    assert "px" in choice.rejected["openvino bf16"]
    with pytest.raises(BackendError, match="reference's results"):
        choose(spec, dataclasses.replace(fresh_asked, precisions=("bf16",)), priors)
    only_fp32 = choose(spec, fresh_asked, priors)
    assert chosen(only_fp32) == "onnxruntime"
    assert "bf16" not in str(only_fp32.ranking)


# Objectives and limits


@pytest.mark.full
def test_the_objective_decides(spec, asked, own):
    pytest.importorskip("openvino")
    priors = KnownPriors(
        own,
        row("onnxruntime", 5, memory_mb=90),
        row("openvino", 6, memory_mb=150),
        row("onnxruntime", 50, batch=16, throughput=320, memory_mb=300),
        row("openvino", 60, batch=16, throughput=330, memory_mb=200),
        row("openvino", 9, profile="static"),
        row("openvino", 40, batch=16, profile="static"),
    )
    for objective, first, reason in (
        ("latency", "onnxruntime fp32", "25 ms"),
        ("throughput", "openvino fp32 static", "400 a second"),
        ("memory", "onnxruntime fp32", "90 MB"),
    ):
        choice = choose(spec, dataclasses.replace(asked, objective=objective), priors)
        choice.session.close()
        assert str(choice.ranking[0].candidate) == first
        assert reason in choice.reason
    with pytest.raises(ConfigError, match="known are auto, latency, throughput, memory"):
        choose(spec, dataclasses.replace(asked, objective="speed"), priors)


def test_a_p99_limit_needs_a_measured_p99(spec, asked, own):
    pytest.importorskip("openvino")
    priors = KnownPriors(own, row("onnxruntime", 5, p99_ms=30), row("openvino", 6, p99_ms=8))
    limited = dataclasses.replace(asked, batches=[1], max_p99_ms=10)
    choice = choose(spec, limited, priors)
    assert chosen(choice) == "openvino"
    reasons = {str(one.candidate): one.unavailable for one in choice.ranking}
    assert "30 ms is above the 10 ms" in reasons["onnxruntime fp32"]
    assert "not known here" in reasons["paddle fp32"]
    assert "hpi tune" in reasons["openvino fp32 static"]
    with pytest.raises(BackendError, match="p99 of 8 ms is above the 7 ms"):
        choose(spec, dataclasses.replace(limited, max_p99_ms=7), priors)


@pytest.mark.full
def test_the_deviation_can_be_limited(spec, asked, own):
    """OpenVINO is off by some 1e-5 px, the reference by nothing; asking for a runtime does not lift the limit."""
    pytest.importorskip("openvino")
    limited = dataclasses.replace(asked, max_deviation_px=1e-9)
    choice = choose(spec, limited, KnownPriors(own, row("openvino", 1), row("onnxruntime", 2)))
    assert chosen(choice) == "onnxruntime"
    assert "exceeds the allowed 1e-09 px" in choice.rejected["openvino fp32"]
    with pytest.raises(BackendError, match="exceeds the allowed 1e-09 px"):
        choose(spec, dataclasses.replace(limited, backend="openvino"), KnownPriors(own))
    generous = dataclasses.replace(asked, max_deviation_px=0.1)
    assert chosen(choose(spec, generous, KnownPriors(own, row("openvino", 1)))) == "openvino"


def test_a_p99_of_another_machine_or_batch_does_not_count(spec, asked, own):
    """Neither what a bigger machine took, nor another batch scaled, is a measurement of this one."""
    other = HERE.model_copy(update={"cores": 64})
    for known in (row(p99_ms=1, device=other, threads=64), row(p99_ms=1, batch=2)):
        limited = dataclasses.replace(asked, batches=[1], max_p99_ms=1000)
        with pytest.raises(BackendError, match="not known here"):
            choose(spec, limited, KnownPriors(own, known))


def test_a_p99_of_one_caller_does_not_count_for_several(spec, asked, own):
    """Who share the cores, so that each run takes longer."""
    known = KnownPriors(own, row(p99_ms=1, batch=1))
    of_two = dataclasses.replace(asked, batches=[1]).on_workers(2)
    choice = choose(spec, of_two, known)
    assert chosen(choice) == "onnxruntime"
    assert "10 ms" in choice.reason
    with pytest.raises(BackendError, match="not known here"):
        choose(spec, dataclasses.replace(of_two, max_p99_ms=1000), known)


def test_the_reference_serves_several_callers_too(spec, options):
    """It runs for one of them, on which all are alike."""
    assert references(spec.files, dataclasses.replace(options, workers=2)) == references(spec.files, options)


@pytest.mark.parametrize("arguments", [{"max_p99_ms": 0}, {"max_deviation_px": float("nan")}, {"max_p99_ms": "fast"}])
def test_limits_are_numbers_above_zero(arguments):
    with pytest.raises(ConfigError, match="give a number above 0"):
        Predictor(POSE, **arguments)


@pytest.mark.full
def test_a_runtime_that_dies_after_its_verdict_is_replaced_once(spec, fresh_asked, own, monkeypatch, caplog):
    """It was validated; in the next process it dies at its first call."""

    class Fickle(Fake):
        name = "fickle"

    monkeypatch.setitem(BACKENDS, "fickle", Fickle())
    priors = KnownPriors(own, row("fickle", 0.001), row("onnxruntime", 10))
    first = choose(spec, fresh_asked, priors)
    first.session.close()
    assert "0.001 ms" in first.reason or "0.005 ms" in first.reason
    assert caplog.records == []
    Fickle.session = DyingSession
    choice = choose(spec, fresh_asked, priors)
    assert chosen(choice) == "onnxruntime"
    assert "it died at the first call" in choice.rejected["fickle fp32"]
    assert len(caplog.records) == 1
    named = choose(spec, dataclasses.replace(fresh_asked, backend="fickle"), priors)
    with named.session as session, pytest.raises(BackendError, match="it died at the first call"):
        session.run({"image": np.zeros((1, 3, 256, 256), np.float32)})


# Measuring, tuning, explaining


def test_several_callers_run_at_the_same_time(spec, asked, only_onnxruntime):
    """Then their batches overlap: together they take longer than the turns last."""
    callers = dataclasses.replace(asked.options, threads=1, workers=2)
    (measured,) = measure(spec, callers, Protocol([2], 0.5, rounds=2, complete=True))
    row = measured.row(POSE)
    assert (row.workers, row.threads) == (2, 1)
    assert measured.times.sum() > 1000 * 0.5
    assert row.throughput == pytest.approx(2 * 2 * 1000 / measured.times.mean(), rel=1e-3)


@pytest.mark.full
def test_every_candidate_can_be_measured(spec, asked):
    """Also one that the gate refuses, as bf16 on a CPU that has it."""
    results = []
    measured = measure(spec, asked.options, Protocol([1, 2], 0.1, complete=True, rounds=1), results.append)
    assert results == measured
    assert {(str(one.candidate), one.batch) for one in measured} == {
        (f"{name} {variant}", batch)
        for name in ON_CPU
        if is_installed(BACKENDS[name].package)
        for variant in BACKENDS[name].variants("cpu")
        for batch in (1, 2)
        if BACKENDS[name].unavailable(spec.files, dataclasses.replace(asked.options, variant=variant)) is None
    }
    for one in measured:
        assert one.row(POSE).p99_ms >= one.row(POSE).p50_ms > 0
        assert one.verdict.passed or one.candidate.variant.precision == "bf16"


@pytest.mark.full
def test_measurements_exclude_what_the_gate_refuses(spec, fresh_asked, only_onnxruntime, monkeypatch):
    monkeypatch.setitem(BACKENDS, "off", Off())
    results = []
    measured = measure(spec, fresh_asked.options, Protocol([1], 0.1, rounds=1), results.append)
    assert [(str(one.candidate), one.batch) for one in measured] == [("onnxruntime fp32", 1)]
    assert [one for one in results if isinstance(one, Measurement)] == measured
    (refused,) = [one for one in results if isinstance(one, Failure)]
    assert (str(refused.candidate), "px" in refused.reason) == ("off fp32", True)


@pytest.mark.full
def test_a_failure_at_one_batch_does_not_end_the_measurements(spec, fresh_asked, only_onnxruntime, monkeypatch):
    class FailsAtTwoSession(OnnxRuntimeSession):
        def _run(self, feeds):
            if len(feeds["image"]) == 2:
                raise RuntimeError("out of memory")
            return super()._run(feeds)

    class FailsAtTwo(Fake):
        name = "two"
        session = FailsAtTwoSession

    monkeypatch.setitem(BACKENDS, "two", FailsAtTwo())
    results = []
    measured = measure(spec, fresh_asked.options, Protocol([1, 2, 4], 0.1, complete=True, rounds=1), results.append)
    found = {(one.candidate.backend, one.batch) for one in measured}
    assert found == {("onnxruntime", 1), ("onnxruntime", 2), ("onnxruntime", 4), ("two", 1), ("two", 4)}
    (failure,) = [one for one in results if isinstance(one, Failure)]
    assert "batch 2" in failure.reason and "out of memory" in failure.reason


@pytest.mark.full
def test_candidates_beyond_the_budget_are_left_out(spec, asked, own):
    """Only the first candidate is loaded, the best by what is known, and measured at the first batch."""
    results = []
    basis = KnownPriors(own, row("onnxruntime", 1)).basis(POSE, HERE, 2)
    measured = measure(spec, asked.options, Protocol([1, 2], 1e-6), results.append, basis)
    assert [(str(one.candidate), one.batch) for one in measured] == [("onnxruntime fp32", 1)]
    left_out = [one for one in results if isinstance(one, Failure)]
    assert all("larger budget" in one.reason for one in left_out)


@pytest.mark.full
def test_recording_keeps_what_the_gate_refuses(spec, fresh_asked, only_onnxruntime, monkeypatch):
    monkeypatch.setitem(BACKENDS, "off", Off())
    rows = [one.row(POSE) for one in measure(spec, fresh_asked.options, Protocol([1], 0.1, complete=True, rounds=1))]
    assert {one.backend: one.deviation_px > 1 for one in rows} == {"onnxruntime": False, "off": True}


@pytest.mark.full
def test_the_memory_of_a_candidate(spec, asked):
    """Measured in a process of its own: at least that of the weights; a larger batch needs no less."""
    if not STATUS.is_file():
        pytest.skip(f"this system has no {STATUS}")
    peaks = peak_memory(spec, Candidate("onnxruntime", Variant()), asked.options, [1, 8])
    assert spec.files.onnx.stat().st_size / 1e6 < peaks[1] <= peaks[8]
    nothing = dataclasses.replace(spec, files=dataclasses.replace(spec.files, onnx=spec.folder / "missing.onnx"))
    with pytest.raises(BackendError, match="cannot be measured"):
        peak_memory(nothing, Candidate("onnxruntime", Variant()), asked.options, [1])


@pytest.mark.full
def test_the_memory_of_one_file_among_several(tmp_path, asked):
    """Whose keypoints may be of two kinds, so that only the caller knows which."""
    if not STATUS.is_file():
        pytest.skip(f"this system has no {STATUS}")
    for name in ("one.onnx", "two.onnx"):
        save_graph("simcc", tmp_path / name)
    spec = read_model(tmp_path / "one.onnx", hints=Hints(skeleton="coco17"))
    assert peak_memory(spec, Candidate("onnxruntime", Variant()), asked.options, [1])[1] > 0


@pytest.mark.full
def test_tuning_decides_the_next_choice(tmp_path, only_onnxruntime, monkeypatch):
    """Between two that are as fast as each other, so either may be the best."""

    class Twin(Fake):
        name = "twin"

    monkeypatch.setitem(BACKENDS, "twin", Twin())
    monkeypatch.setenv("HPI_HOME", str(tmp_path))
    with Predictor(POSE, batches=[1]) as predictor:
        rows = predictor.tune(0.1)
    assert {one.backend for one in rows} == {"onnxruntime", "twin"}
    of = {one.backend: one for one in rows if one.workers == 1}
    noise = min(math.hypot(*(one.uncertainty for one in of.values())), MOST_NOISE)
    best = "twin" if of["twin"].p50_ms * (1 + noise) < of["onnxruntime"].p50_ms else "onnxruntime"  # ties go by trust
    with Predictor(POSE, batches=[1]) as predictor:
        (model,) = predictor.describe()["models"]
    assert (model["backend"], "measured on this machine" in model["reason"]) == (best, True)
    assert model["ranking"][0]["milliseconds"] == pytest.approx(of[best].p50_ms)


def test_workers_are_chosen_for_what_each_of_them_runs(home):
    """An image with few people where images go one by one, many people where they go together."""
    times = []
    for batch_size in (1, 8):
        with Predictor(POSE, backend="onnxruntime", workers=2, threads=1, batch_size=batch_size) as predictor:
            (model,) = predictor.describe()["models"]
            times.append(model["ranking"][0]["milliseconds"])
    assert times[0] < times[1]


def test_the_description_is_plain_data(home):
    with Predictor("human_keypoint_detection_lite") as predictor:
        description = predictor.describe()
    assert json.loads(json.dumps(description)) == description
    for model in description["models"]:
        assert {one["candidate"].split()[0] for one in model["ranking"]} == ON_CPU
