"""Calibration of the choice at the first start, and what it changes."""

import json
import os
import threading
import time
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from hpi import BackendError, ConfigError, Predictor
from hpi.backends import BACKENDS
from hpi.backends.base import Variant
from hpi.backends.cpu import Cpu
from hpi.cli.app import app
from hpi.selection import calibration as calibration_module
from hpi.selection.basis import Basis, Estimate, Ratios
from hpi.selection.calibration import VARIABLE, Calibration, due, has_cores, is_wanted
from hpi.selection.priors import CpuClass, Priors, device_class
from hpi.selection.ranking import Request, rank
from hpi.zoo import Zoo

from support import EXAMPLE, measured_row

POSE = "MoveNet-Thunder_256x256"
UNKNOWN = Cpu("intel", "avx2", 2)
CLASS = CpuClass.of(UNKNOWN)
BUSY_S = 20.0
"""A budget that suffices on a busy machine too."""


def row(backend, milliseconds, batch=1, model=POSE, device=CLASS, **fields):
    return measured_row(model, backend, milliseconds, device, batch=batch, **fields)


@pytest.fixture
def unknown(monkeypatch):
    """A machine of a class without shipped rows."""
    monkeypatch.setattr("hpi.selection.priors.this_cpu", lambda: UNKNOWN)


@pytest.fixture
def spec(home):
    return Zoo.default().find(POSE)


@pytest.fixture
def priors(tmp_path):
    return Priors(tmp_path / "priors.json")


@pytest.fixture
def asked(options):
    return Request(options, batches=[2])


def calibration(seconds=BUSY_S):
    """Whatever else runs here."""
    return Calibration(seconds, has_cores=lambda _: True)


def basis_of(priors):
    return priors.basis(POSE, device_class("cpu"), 2)


# When it is due, and what it keeps


@pytest.mark.full
def test_a_first_start_measures_and_the_second_does_not(spec, asked, priors, unknown):
    pytest.importorskip("openvino")
    candidates = due(spec, asked, priors)
    assert {one.backend for one in candidates} == {"onnxruntime", "openvino"}  # Paddle is never near the best
    first = calibration()
    first.calibrate(spec, asked, priors)
    rows = priors.own()
    assert {(one.backend, one.variant) for one in rows} == {one.key for one in candidates}
    assert {(one.source, one.batch, one.threads) for one in rows} == {("calibrated", 2, 2)}
    assert first.left < BUSY_S
    assert "calibrated here on" in basis_of(priors).where
    assert due(spec, asked, priors) == []
    second = calibration()
    second.calibrate(spec, asked, priors)
    assert second.left == BUSY_S
    assert priors.own() == rows


def test_a_runtime_that_does_not_load_does_not_keep_the_others_from_it(spec, asked, priors, unknown, monkeypatch):
    """Nor does each start try it again."""
    pytest.importorskip("openvino")
    load = calibration_module.load

    def breaks(spec, candidate, options):
        if candidate.backend == "openvino":
            raise BackendError("broken")
        return load(spec, candidate, options)

    monkeypatch.setattr(calibration_module, "load", breaks)
    calibration().calibrate(spec, asked, priors)
    assert {one.backend for one in priors.own()} == {"onnxruntime"}
    assert due(spec, asked, priors) == []


@pytest.mark.full
def test_the_calibrated_order_is_that_of_the_measured_times(spec, asked, priors, unknown):
    pytest.importorskip("openvino")
    calibration().calibrate(spec, asked, priors)
    times = {(one.backend, one.variant): one for one in priors.own()}
    first, *rest = [one for one in rank(spec, asked, basis_of(priors)) if one.candidate.key in times]
    assert first.estimate.milliseconds == pytest.approx(times[first.candidate.key].p50_ms)
    best = min(times.values(), key=lambda one: one.p50_ms)
    by_best = Estimate(best.p50_ms, 1, None, None, None, best.uncertainty)
    assert first.estimate.ties_with(by_best)
    assert all(one.estimate for one in rest)


@pytest.mark.parametrize(
    "changes",
    [
        {"backend": "openvino"},
        {"objective": "memory"},
        {"precisions": ("bf16",)},
        {"backend_options": {"openvino": {"NUM_STREAMS": 1}}},
        {"options": {"device": "npu"}},
        {"options": {"workers": 2}},
    ],
)
def test_what_is_not_calibrated(spec, asked, priors, unknown, changes):
    of_options = changes.pop("options", {})
    request = replace(asked, options=replace(asked.options, **of_options), **changes)
    assert due(spec, request, priors) == []


def test_a_measured_class_is_not_calibrated(spec, asked, priors, unknown):
    priors.store([row("onnxruntime", 5), row("openvino", 4)])
    assert due(spec, asked, priors) == []
    assert "measured on this machine" in basis_of(priors).where


def test_measurements_outrank_a_calibration(priors, unknown):
    priors.store([row("onnxruntime", 5, source="calibrated"), row("openvino", 4, source="calibrated")])
    priors.store([row("onnxruntime", 3, batch=4), row("openvino", 9, batch=4)])
    basis = basis_of(priors)
    assert basis.here
    assert {one.source for one in basis.rows} == {"measured"}


def test_a_short_time_is_not_exceeded_by_another_candidate(spec, asked, priors, unknown):
    """The first one shows how long others take to load; none fits. That is kept, so that the next start is free."""
    Calibration(1e-3, has_cores=lambda _: True).calibrate(spec, asked, priors)
    assert len(priors.own()) == 1
    assert due(spec, asked, priors) == []
    without = basis_of(Priors(priors.own_file.with_name("none.json")))
    assert rank(spec, asked, basis_of(priors)) == rank(spec, asked, without)  # there was nothing to compare


def test_what_another_model_has_left_decides_nothing(spec, asked, priors, unknown):
    """Then the next start, which has all of the time for this model, does it."""
    spent = calibration()
    spent.left = 1e-3
    spent.calibrate(spec, asked, priors)
    assert priors.own() == []
    assert due(spec, asked, priors)


@pytest.mark.full
def test_other_programs_keep_it_from_counting(spec, asked, priors, unknown):
    Calibration(BUSY_S, has_cores=lambda _: False).calibrate(spec, asked, priors)
    assert priors.own() == []
    shares = iter([True])  # they begin after the first look
    Calibration(BUSY_S, has_cores=lambda _: next(shares, False)).calibrate(spec, asked, priors)
    assert priors.own() == []


def test_programs_that_use_the_cores_are_noticed():
    """More threads than cores, each of which wants all of one, get only their share."""
    assert not has_cores(4 * (os.cpu_count() or 1))


def test_nothing_is_opened_where_the_result_cannot_be_kept(spec, asked, tmp_path, unknown, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("hpi.selection.calibration.load", None)  # would fail
    calibration().calibrate(spec, asked, Priors(tmp_path / "file" / "priors.json"))


def test_two_processes_do_not_calibrate_twice(spec, asked, priors, unknown):
    """The second waits for the first, and finds what it has kept."""
    second = calibration()
    other = threading.Thread(target=second.calibrate, args=(spec, asked, Priors(priors.own_file)))
    with priors.locked():
        other.start()
        time.sleep(0.2)
        priors.store([row("onnxruntime", 5, source="calibrated"), row("openvino", 4, source="calibrated")])
    other.join()
    assert second.left == BUSY_S
    assert len(priors.own()) == 2


# What it changes


def test_a_calibration_corrects_the_rows():
    """What was not measured here is as much slower as its runtime is, and batches change as they do elsewhere."""
    rows = (
        row("onnxruntime", 10),
        row("onnxruntime", 30, batch=4),
        row("openvino", 8),
        row("openvino", 24, batch=4),
        row("openvino", 12, profile="static"),
    )
    here = (row("onnxruntime", 20, source="calibrated"), row("openvino", 40, source="calibrated"))
    basis = Basis(rows, "", here=False, calibrated=here)
    assert basis.estimate("onnxruntime", Variant(), [4]).milliseconds == pytest.approx(60)
    assert basis.estimate("openvino", Variant(), [1, 4]).milliseconds == pytest.approx(40 + 120)
    assert basis.estimate("openvino", Variant(profile="static"), [1]).milliseconds == pytest.approx(60)
    assert basis.estimate("onnxruntime", Variant(), [4]).throughput == pytest.approx(4000 / 60)
    assert basis.estimate("onnxruntime", Variant(), [1]).p99_ms is None
    assert basis.estimate("paddle", Variant(), [1]) is None


def test_models_without_rows_go_by_the_others(spec, asked, tmp_path):
    """Not by the order of the registry."""
    pytest.importorskip("openvino")
    rows = [row("onnxruntime", 20, model="a"), row("openvino", 10, model="a"), row("onnxruntime", 30, model="b")]
    ratios = Ratios.from_rows([*rows, row("openvino", 24, model="b"), row("paddle", 5, model="alone")])
    assert ratios.of(("onnxruntime", Variant()), 2) == pytest.approx((2 * 1.25) ** 0.5)
    assert ratios.of(("paddle", Variant()), 2) is None
    ranking = rank(spec, asked, Basis((), "no measurements", here=False, ratios=ratios))
    assert [str(one.candidate) for one in ranking[:2]] == ["openvino fp32", "onnxruntime fp32"]


def test_the_order_of_other_models_is_better_than_the_registrys(home):
    """Each shipped model in turn, as if it had no rows."""
    shipped = [one for one in Priors(home / "none").shipped if one.source == "measured" and one.precision == "fp32"]
    regrets = {"others": [], "registry": []}
    for model in {one.model for one in shipped}:
        ratios = Ratios.from_rows(one for one in shipped if one.model != model)
        for batch in {one.batch for one in shipped if one.model == model}:
            times = {
                (one.backend, one.variant): one.p50_ms for one in shipped if (one.model, one.batch) == (model, batch)
            }
            best = min(times.values())
            regrets["others"].append(times[min(times, key=lambda key: ratios.of_all(key, [batch]))] / best)
            regrets["registry"].append(times[next(iter(BACKENDS)), Variant()] / best)
    mean = {name: sum(found) / len(found) for name, found in regrets.items()}
    assert mean["others"] < mean["registry"]


def test_a_lone_published_figure_ranks_nothing(priors):
    """PaddleX publishes OpenVINO's time of PP-TinyPose only: that does not make it the fastest."""
    cpu = CpuClass(vendor="intel", isa="avx512_vnni", cores=8)
    basis = priors.basis("PP-TinyPose_128x96", cpu, 8)
    assert {one.source for one in basis.rows} == {"measured"}
    assert {one.source for one in priors.basis("PP-YOLOE-S_human", cpu, 8).rows} == {"published"}


@pytest.mark.parametrize(
    ("fast", "slow", "spread", "first"),
    [
        (10, 10.3, 0, "onnxruntime"),
        (10, 10.8, 0, "openvino"),
        (10, 10.8, 0.06, "onnxruntime"),
        (10, 12, 0.5, "openvino"),
    ],
)
def test_what_the_measurements_do_not_tell_apart_goes_by_trust(spec, asked, fast, slow, spread, first):
    """The more trusted one, unless it is slower by more than both times are uncertain."""
    pytest.importorskip("openvino")
    rows = (row("openvino", fast, batch=2, spread=spread), row("onnxruntime", slow, batch=2, spread=spread))
    ranking = rank(spec, asked, Basis(rows, "", here=True))
    assert ranking[0].candidate.backend == first


# Who asks for it


def test_who_calibrates(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert [is_wanted(None), is_wanted(None, default=False), is_wanted(True, default=False)] == [True, False, True]
    monkeypatch.setenv(VARIABLE, "0")
    assert [is_wanted(None), is_wanted(True)] == [False, True]
    monkeypatch.setenv(VARIABLE, "1")
    assert [is_wanted(None, default=False), is_wanted(False)] == [True, False]
    monkeypatch.setenv(VARIABLE, "no")
    with pytest.raises(ConfigError, match="HPI_CALIBRATE is 'no': set it to 0 or to 1"):
        Predictor(POSE)


@pytest.mark.full
def test_a_predictor_calibrates_by_default(tmp_path, monkeypatch, unknown):
    pytest.importorskip("openvino")
    monkeypatch.setattr("hpi.opening.Calibration", calibration)
    monkeypatch.setenv("HPI_HOME", str(tmp_path))
    with Predictor(POSE, calibrate=False):
        pass
    assert not (tmp_path / "priors.json").exists()
    with Predictor(POSE, calibrate=True) as predictor:
        (model,) = predictor.describe()["models"]
    assert "calibrated here on" in model["reason"]
    assert {one["source"] for one in json.loads((tmp_path / "priors.json").read_text())["rows"]} == {"calibrated"}


@pytest.mark.full
def test_one_image_is_not_calibrated_unless_asked_for(tmp_path, monkeypatch, unknown):
    pytest.importorskip("openvino")
    monkeypatch.setattr("hpi.opening.Calibration", calibration)
    monkeypatch.setenv("HPI_HOME", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    command, image = ["predict", "--model", POSE, "--device", "cpu"], str(EXAMPLE)
    for inputs, calibrated in (([image], False), ([image, "--calibrate"], True), ([image, image], True)):
        (tmp_path / "priors.json").unlink(missing_ok=True)
        assert CliRunner().invoke(app, [*command, *inputs]).exit_code == 0
        assert (tmp_path / "priors.json").exists() == calibrated
