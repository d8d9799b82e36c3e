"""The benchmarks run and write what they promise; how fast anything is, is not tested."""

import json

import pytest

from hpi.backends import BACKENDS

from support import EXAMPLE, ROOT, run_hpi

IMAGE = str(EXAMPLE)
POSE = "MoveNet-Thunder_256x256"
BRIEFLY = ("--seconds", "0.01", "--rounds", "2")


def report(stem):
    return json.loads(stem.with_suffix(".json").read_text())


def run(name, *arguments, tmp_path):
    done = run_hpi("benchmark", name, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.full
def test_pipeline_times_itself_and_the_bare_models(tmp_path):
    output = run("pipeline", IMAGE, f"{IMAGE},{IMAGE}", *BRIEFLY, "--output", "out", tmp_path=tmp_path)
    rows = report(tmp_path / "out")["rows"]["rows"]
    assert [(row["who"], row["people"]) for row in rows] == [("hpi", 2), ("bare", 2), ("hpi", 4), ("bare", 4)]
    for row in rows:
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
        assert len(row["rounds_ms"]) == 2
    stages = rows[0]["stages"]
    assert min(stages.values()) > 0
    assert stages["detect"] + stages["infer"] < sum(stages.values())
    assert "| people | decode | resize |" in (tmp_path / "out.md").read_text()
    assert (tmp_path / "out.png").stat().st_size > 10_000
    assert "basketball.png and 1 more | 4 | hpi" in output


def test_kernels_times_crop_and_decode(tmp_path):
    run("kernels", IMAGE, *BRIEFLY, "--batch", "3", "--output", "out", tmp_path=tmp_path)
    rows = report(tmp_path / "out")["rows"]
    assert [(row["kernel"], row["batch"], row["who"]) for row in rows] == [("crop", 3, "hpi"), ("decode", 3, "hpi")]


@pytest.mark.full
def test_folder_reports_rates_and_memory(tmp_path):
    pytest.importorskip("openvino")
    arguments = ("--images", "6", "--batch_size", "2", "--output", "out")
    run("folder", str(ROOT / "examples"), *BRIEFLY, *arguments, tmp_path=tmp_path)
    found = report(tmp_path / "out")["rows"]
    assert {"hpi", "detector, saturated", "keypoint model, saturated", "decoding, all cores"} == set(found["rates"])
    assert len(found["memory_mb"]) == 3
    assert (tmp_path / "out.png").is_file()


@pytest.mark.full
def test_serving_counts_right_answers_of_every_server(tmp_path):
    arguments = ("--clients", "1", "--clients", "4", "--requests", "48", "--output", "out")
    output = run("serving", IMAGE, *BRIEFLY, *arguments, tmp_path=tmp_path)
    found = report(tmp_path / "out")["rows"]
    assert [(row["clients"], row["who"]) for row in found["rows"]] == [
        (clients, who) for clients in (1, 4) for who in ("hpi", "hpi, one by one")
    ]
    for row in found["rows"]:
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["wrong"] == 0
    assert len(found["memory_mb"]) == 2
    assert (tmp_path / "out.png").is_file()
    assert (tmp_path / "out_memory.png").is_file()
    assert "4 | hpi, one by one" in output


@pytest.mark.full
def test_start_times_every_step(tmp_path):
    output = run("start", IMAGE, "--runs", "1", "--output", "out", tmp_path=tmp_path)
    found = report(tmp_path / "out")["rows"]
    assert len(found["steps_ms"][0]) == 6
    assert min(found["steps_ms"][0]) > 0
    assert "load the models" in output


@pytest.mark.full
def test_runtimes_records_priors(tmp_path):
    """Of the runtime that is asked for, in each of its ways."""
    pytest.importorskip("openvino")
    arguments = ("--batch", "1", "--seconds", "0.1", "--rounds", "1", "--record", "machine.json")
    run("runtimes", "--model", POSE, "--backend", "openvino", *arguments, tmp_path=tmp_path)
    rows = json.loads((tmp_path / "machine.json").read_text())["rows"]
    variants = BACKENDS["openvino"].variants()
    assert {(row["source"], row["batch"], row["backend"]) for row in rows} == {("measured", 1, "openvino")}
    assert {(row["precision"], row["profile"]) for row in rows} == {
        (variant.precision, variant.profile) for variant in variants
    }
    assert all(row["p99_ms"] >= row["p50_ms"] and row["throughput"] > 0 for row in rows)


def test_an_unknown_runtime_is_wrong_usage(tmp_path):
    done = run_hpi("benchmark", "runtimes", "--model", POSE, "--backend", "tflite", cwd=tmp_path)
    assert done.returncode == 2
    assert "known are auto, onnxruntime" in done.stderr


@pytest.mark.full
@pytest.mark.parametrize(
    "name", ["pipeline", *(pytest.param(name, marks=pytest.mark.full) for name in ("kernels", "folder", "start"))]
)
def test_a_missing_image_is_wrong_usage(tmp_path, name):
    done = run_hpi("benchmark", name, "none.jpg", cwd=tmp_path)
    assert done.returncode == 2
    assert "none.jpg" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_benchmark_is_wrong_usage(tmp_path):
    done = run_hpi("benchmark", "speed", cwd=tmp_path)
    assert done.returncode == 2
    assert "No such command 'speed'" in done.stderr
