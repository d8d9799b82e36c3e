"""The benchmarks run and write what they promise; how fast anything is, is not tested."""

import json
import shutil
import sys

import cv2
import numpy as np
import pytest

from hpi.backends import BACKENDS
from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import ModelFiles, SessionOptions
from hpi.tracking.base import TRACKERS
from hpi.zoo import Zoo

from clips import write_video
from support import EXAMPLE, ROOT, run_hpi

pytestmark = pytest.mark.long  # its slow cases run each night

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


@pytest.mark.full
def test_kernels_times_crop_and_decode(tmp_path):
    run("kernels", IMAGE, *BRIEFLY, "--batch", "3", "--output", "out", tmp_path=tmp_path)
    rows = report(tmp_path / "out")["rows"]
    assert [(row["kernel"], row["batch"], row["who"]) for row in rows] == [("crop", 3, "hpi"), ("decode", 3, "hpi")]


@pytest.mark.full
def test_scale_fits_a_law_and_checks_it(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), cv2.resize(cv2.imread(IMAGE), (160, 120)))
    short = ("--images", "64", "--processes", "2", "--rounds", "1")
    output = run("scale", "images", *short, "--output", "out", tmp_path=tmp_path)
    runs = report(tmp_path / "out")["rows"]["runs"]
    assert {count: sum(part["images"] for part in run["parts"]) for count, [(_, run)] in runs.items()} == {
        "1": 64,
        "2": 64,
    }
    assert "Contention" in output


def test_the_page_of_scale_has_the_figures_of_the_report():
    report, page = ((ROOT / name).read_text() for name in ("benchmarks/results/scale.md", "docs/scale.md"))
    rows = [line.split(" | ")[:7] for line in report.splitlines() if line.startswith(("| 1 ", "| 2 ", "| 4 "))]
    assert len(rows) == 3
    for row in rows:
        assert " | ".join(row) + " |" in page


@pytest.mark.full
def test_batch_takes_turns_with_predict(tmp_path):
    pytest.importorskip("pyarrow")
    arguments = ("--images", "3", "--rounds", "1", "--processes", "1", "--output", "out")
    run("batch", str(EXAMPLE.parent), *arguments, tmp_path=tmp_path)
    rows = report(tmp_path / "out")["rows"]
    assert [*rows["rates"]] == ["hpi predict", "hpi batch, 1 process"]
    assert all(len(turns) == 1 for turns in rows["rates"].values())


@pytest.mark.full
def test_grouping_times_itself_beside_a_plain_loop(tmp_path):
    pytest.importorskip("scipy")
    run("grouping", *BRIEFLY, "--people", "2", "--output", "out", tmp_path=tmp_path)
    rows = report(tmp_path / "out")["rows"]
    assert [(row["what"], row["who"]) for row in rows] == [
        ("group", "hpi"), ("group", "plain loop"), ("decode", "hpi"), ("decode", "plain loop"),
    ]  # fmt: skip
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in rows)


@pytest.mark.full
def test_video_compares_fewer_runs_of_the_detector_with_frame_by_frame(tmp_path):
    av = pytest.importorskip("av")
    image = cv2.copyMakeBorder(cv2.imread(IMAGE), 60, 60, 60, 100, cv2.BORDER_CONSTANT)
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = image.shape[0], image.shape[1] - 40
        for shift in range(8):
            view = np.ascontiguousarray(image[:, 4 * shift :][:, : stream.width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="bgr24")))
        container.mux(stream.encode())
    arguments = ("--det_every", "4", "--frames", "6", "--output", "out")
    run("video", "clip.mp4", "--pipeline", "human_keypoint_detection_lite", *arguments, tmp_path=tmp_path)
    by_frame, fewer = report(tmp_path / "out")["rows"]["rows"]
    assert (by_frame["det_every"], by_frame["mean_interval"], by_frame["missed"]) == (1, 1, 0)
    assert by_frame["px_off_p99"] == by_frame["flicker"] == 0
    assert (fewer["det_every"], fewer["frames"], fewer["people"]) == (4, 6, 12)
    assert fewer["mean_interval"] > 1
    assert fewer["missed_beyond_flicker"] <= fewer["missed"] == 0


@pytest.mark.full
def test_streams_times_the_whole_way_of_a_video(tmp_path, image):
    clip = write_video(tmp_path / "clip.mp4", image, frames=6)
    run(
        "streams",
        clip.name,
        "--pipeline",
        "human_keypoint_detection_lite",
        "--frames",
        "6",
        "--rounds",
        "1",
        "--output",
        "out",
        tmp_path=tmp_path,
    )
    rows = report(tmp_path / "out")["rows"]["rows"]
    ways = ["det_every=1", "det_every=auto", "det_every=1, workers=1"]
    assert [row["who"] for row in rows] == [f"hpi, {way}" for way in ways]
    for row in rows:
        assert all(ms > 0 for ms in row["stages_ms"].values())
        assert row["of_bound"] == pytest.approx(row["frames_a_second"] / row["bound"])


@pytest.mark.full
def test_tracking_times_each_tracker(tmp_path):
    pytest.importorskip("trackers")
    run("tracking", *BRIEFLY, "--people", "2", "--output", "out", tmp_path=tmp_path)
    rows = report(tmp_path / "out")["rows"]
    assert [row["tracker"] for row in rows] == list(TRACKERS)
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in rows)


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
def test_versions_takes_turns_with_another_installation(tmp_path):
    """Here with this one again, in processes and with caches of its own."""
    pytest.importorskip("openvino")
    (tmp_path / "images").mkdir()
    shutil.copy(IMAGE, tmp_path / "images")
    arguments = ("--folder", "images", "--pipeline", "human_keypoint_detection_lite", "--output", "out")
    run("versions", IMAGE, "--before", sys.executable, *BRIEFLY, *arguments, tmp_path=tmp_path)
    found = report(tmp_path / "out")["rows"]
    cases = {}
    for row in found["rows"]:
        cases.setdefault(row["case"], []).append(row["who"])
        assert len(row["rounds_ms"]) == 2
        assert min(row["rounds_ms"]) > 0
        assert row["people"] == (0 if row["case"].startswith("PicoDet-S_person_416 on") else 2)
        if row["who"] == "now":
            assert row["times_now"] == [1, 1]
    assert len(cases) == 2 + 2 + 3 + 1  # detectors, images, folder, service
    for case, entrants in cases.items():
        assert entrants[:2] == ["now", "before"]
        assert [who.startswith("by hand") for who in entrants[2:]] == [True] * (2 if ", folder," in case else 0)
    assert found["versions"]["now"] == found["versions"]["before"]
    assert found["versions"]["now"]["hpi-pose"]
    assert "those who waited used at most" in (tmp_path / "out.md").read_text()


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
    backend, files = BACKENDS["openvino"], Zoo.default().find(POSE).files
    able = [
        variant
        for variant in backend.variants()
        if backend.unavailable(files, SessionOptions(ArtifactCache(tmp_path), variant=variant)) is None
    ]
    assert {(row["source"], row["batch"], row["backend"]) for row in rows} == {("measured", 1, "openvino")}
    assert {(row["precision"], row["profile"]) for row in rows} == {
        (variant.precision, variant.profile) for variant in able
    }
    assert all(row["p99_ms"] >= row["p50_ms"] and row["throughput"] > 0 for row in rows)


@pytest.mark.full
def test_why_no_runtime_can_be_measured_is_said_in_whole_lines(tmp_path):
    done = run_hpi("benchmark", "runtimes", "--model", POSE, "--backend", "tensorrt", cwd=tmp_path, COLUMNS="60")
    assert done.returncode == 1
    first, *reasons = done.stderr.splitlines()
    assert first == f"error: {POSE}: nothing to measure: no runtime can run it here:"
    unavailable = BACKENDS["tensorrt"].unavailable(ModelFiles(POSE), SessionOptions(ArtifactCache(tmp_path)))
    assert f"  tensorrt fp32: {unavailable}" in reasons
    assert all(line.startswith("  tensorrt ") and line.endswith(f": {unavailable}") for line in reasons)


@pytest.mark.full
def test_why_a_runtime_cannot_load_a_model_is_said_in_whole_lines(tmp_path):
    for file in Zoo.default().find(POSE).folder.glob("inference.[oy]*"):
        content = file.read_bytes()
        (tmp_path / file.name).write_bytes(content.replace(b"\x04Conv", b"\x04None"))  # nodes of no kind
    arguments = ("--model", f"{POSE}={tmp_path}", "--backend", "onnxruntime")
    done = run_hpi("benchmark", "runtimes", *arguments, cwd=tmp_path, COLUMNS="60")
    assert done.returncode == 1
    reason = f"onnxruntime fp32: onnxruntime cannot load {tmp_path / 'inference.onnx'}: "
    for said, start in ((done.stdout, f"{POSE}, {reason}"), (done.stderr, f"  {reason}")):
        (line,) = (line for line in said.splitlines() if line.startswith(start))
        assert "No Op registered for None" in line


@pytest.mark.full
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


@pytest.mark.full
def test_a_wrong_benchmark_is_wrong_usage(tmp_path):
    done = run_hpi("benchmark", "speed", cwd=tmp_path)
    assert done.returncode == 2
    assert "No such command 'speed'" in done.stderr
