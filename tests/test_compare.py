"""The report that compares the runtimes: its figures, and the page in a headless Chromium."""

import dataclasses
import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from rich.progress import Progress

from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import SessionOptions, Variant
from hpi.backends.cpu import this_cpu
from hpi.benchmarks.compare.findings import Breakdown, Entrant, Findings, Pick
from hpi.benchmarks.compare.measuring import Model, compare, pick_of
from hpi.benchmarks.compare.page import page
from hpi.benchmarks.compare.starts import ColdStart, cold_start
from hpi.errors import BackendError, InputError
from hpi.selection.measure import Measurement, Protocol
from hpi.selection.parity import Verdict
from hpi.selection.priors import CpuClass, Prior, Priors, write_rows
from hpi.selection.ranking import Candidate
from hpi.zoo import Zoo

from browser import requested, set_screen, start_chromium
from support import EXAMPLE, in_browser, leave_runtimes, quick_first, run_hpi, wait_until

pytestmark = pytest.mark.long  # its slow cases run each night

POSE, DETECTOR = "MoveNet-Thunder_256x256", "PicoDet-S_person_416"
VARIANTS = {
    "onnxruntime": [Variant()],
    "openvino": [Variant(), Variant(profile="static"), Variant("bf16", "static")],
    "paddle": [Variant()],
}
BATCHES = (1, 4, 16)


def row(model, backend, variant, batch, milliseconds):
    return Prior(
        model=model,
        device=CpuClass(vendor="Intel", isa="avx2", cores=4),
        backend=backend,
        precision=variant.precision,
        profile=variant.profile,
        threads=4,
        batch=batch,
        p50_ms=milliseconds,
        p90_ms=1.1 * milliseconds,
        p99_ms=1.3 * milliseconds,
        throughput=950 * batch / milliseconds,
        memory_mb=120.5,
        deviation_px=0.01 * milliseconds if model == POSE else None,
        versions={backend: "1.0"},
        date="2026-01-31",
        source="measured",
    )


@pytest.fixture(scope="module")
def findings():
    """Figures as a run might find them, with everything that a report can have in it."""
    made = Findings()
    for model in (DETECTOR, POSE):
        candidates = [(backend, variant) for backend, variants in VARIANTS.items() for variant in variants]
        for number, (backend, variant) in enumerate(candidates):
            name, passed = f"{backend} {variant}", variant.precision == "fp32"
            verdict = Verdict(passed, "34 keypoints against onnxruntime fp32: at most 0.02 px and 0.001 in score off")
            start = ColdStart(3.2, 0.8) if passed else None
            made.entrants[model, name] = Entrant(model, name, "1.0", 4, verdict, start)
            made.rows += [row(model, backend, variant, size, (9.5 - number) * size) for size in BATCHES]
        made.picks += [Pick(model, size, "openvino fp32", 8.5 * size, "paddle fp32", 5.5 * size) for size in BATCHES]
    made.breakdowns = [
        Breakdown(asked, ("openvino fp32 static", "openvino fp32"), {"decode": 1.0, "detect": 20.0, "infer": 10.0})
        for asked in ("auto", "onnxruntime")
    ]
    made.failures = [(POSE, "paddle fp32", "<b>it</b> & failed")]
    return made


@pytest.fixture(scope="module")
def html(findings, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "compare.html"
    path.write_text(page("How it was measured.", findings), encoding="utf-8")
    return path


def test_the_page_loads_nothing_else(html):
    text = html.read_text(encoding="utf-8")
    assert "&lt;b&gt;it&lt;/b&gt; &amp; failed" in text
    assert text.count("<svg") == 4  # two of the keypoint model, one of the detector, whose deviation is not known
    assert not re.search(r'\ssrc=|@import|url\((?!#)|<link rel="stylesheet"', text)
    assert not re.search(r"#0\d0405|#0[123]0[123]0[123]", text)  # the plots' stand-ins for the page's colours


@pytest.fixture(scope="module")
def driver():
    driver = start_chromium()
    yield driver
    driver.quit()


@pytest.fixture
def open_page(driver, html):
    """Opens the report; the console stays empty, and nothing else is fetched."""

    def opened(width=1280, scheme="light"):
        set_screen(driver, width, scheme=scheme)
        driver.get_log("performance")
        driver.get(html.as_uri())
        return driver

    yield opened
    assert driver.get_log("browser") == []
    asked = requested(driver)
    assert {address for address in asked if not address.startswith("data:")} == {html.as_uri()}


@in_browser
def test_every_section_is_there(open_page):
    driver = open_page()
    expected = ["What auto takes", DETECTOR, POSE, "Stages of the pipeline", "Not measured", "Machine and method"]
    assert [heading.text for heading in driver.find_elements("css selector", "h2")] == expected
    links = driver.find_elements("css selector", "nav a")
    assert [link.text for link in links] == expected
    for link in links:
        assert driver.find_elements("css selector", link.get_attribute("hash"))
    marked = [line.text for line in driver.find_elements("css selector", "tr.auto")]
    assert len(marked) == 2 * len(BATCHES)
    assert all(line.startswith("openvino fp32 auto") for line in marked)
    ids = driver.execute_script("return [...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(ids) == len(set(ids))


@in_browser
def test_tables_are_sorted_by_their_headings(open_page):
    table = open_page().find_element("css selector", "#model-1 table")
    headings = table.find_elements("css selector", "th button")

    def after_click(number):
        headings[number].click()
        return [cell.text for cell in table.find_elements("css selector", f"tbody td:nth-child({number + 1})")]

    times = [float(text) for text in after_click(2)]
    assert times == sorted(times)
    times = [float(text) for text in after_click(2)]
    assert times == sorted(times, reverse=True)
    runtimes = [text.split()[0] for text in after_click(0)]
    assert runtimes == sorted(runtimes)


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_narrow_screens(open_page, scheme):
    driver = open_page(400, scheme)
    # Not innerWidth: a mobile browser enlarges it for content that is too wide.
    assert driver.execute_script("return document.documentElement.scrollWidth") == 400
    ink, paper = driver.execute_script(
        "const style = (selector) => getComputedStyle(document.querySelector(selector));"
        "return [style('figure svg text').fill, style('body').backgroundColor]"
    )
    assert (sum(levels(ink)) > sum(levels(paper))) == (scheme == "dark")


def levels(colour):
    """The numbers of ``rgb(1, 2, 3)``."""
    return [int(level) for level in re.findall(r"\d+", colour)]


@pytest.fixture
def movenet(home):
    """A bundled model as the benchmark takes it."""
    zoo = Zoo.default()
    options = SessionOptions(ArtifactCache(home / "artifacts"), threads=2)
    return Model(zoo.find(POSE), options, Priors(zoo.own_priors))


@pytest.mark.full
def test_a_start_is_timed_in_a_fresh_process(movenet):
    start = cold_start(movenet.spec, Candidate("onnxruntime", Variant()), movenet.options)
    assert min(start.empty, start.warm) > 0.01  # seconds: a runtime is imported and a model is loaded
    with pytest.raises(BackendError):
        cold_start(movenet.spec, Candidate("tensorrt", Variant()), movenet.options)


def test_regret_is_that_of_the_choice_by_the_priors(movenet, tmp_path):
    """The priors say OpenVINO, this run says ONNX Runtime; what the gate refuses is not the best."""
    device = CpuClass.of(this_cpu())

    def measured(backend, milliseconds, passed=True):
        verdict = Verdict(passed, "", 0.0)
        times = np.full(9, float(milliseconds))
        return Measurement(Candidate(backend, Variant()), 4, times, verdict, "1", device, 2, None)

    own = tmp_path / "own.json"
    write_rows(own, [measured("openvino", 1).row(POSE), measured("onnxruntime", 2).row(POSE)])
    model = dataclasses.replace(movenet, priors=Priors(own))
    pick = pick_of(
        model, 4, [measured("onnxruntime", 10), measured("openvino", 15), measured("paddle", 5, passed=False)]
    )
    assert (pick.auto, pick.best) == ("openvino fp32", "onnxruntime fp32")
    assert pick.regret == pytest.approx(1.5)
    assert pick_of(model, 8, [measured("onnxruntime", 10)]) is None


@pytest.fixture
def two_runtimes(monkeypatch):
    """The one that has a single way of running a model, and the one that has several."""
    pytest.importorskip("openvino")
    leave_runtimes(monkeypatch, "onnxruntime", "openvino")


BRIEFLY = {"precisions": ("fp32",), "complete": True, "rounds": 1}


@pytest.mark.full
def test_a_model_that_cannot_be_evaluated_ends_nothing(movenet, two_runtimes):
    def evaluate(predictor):
        raise InputError("a.jpg: not an image")

    found = Findings()
    with Progress(disable=True) as progress:
        compare(movenet, Protocol([1], 0.1, **BRIEFLY), found, progress, evaluate)
    assert {reason for _, _, reason in found.failures if "AP" in reason} == {"AP: a.jpg: not an image"}
    assert found.picks


@pytest.mark.full
def test_a_runtime_is_evaluated_once_in_each_precision(movenet, two_runtimes):
    """The evaluator gets a model once for each runtime and precision."""
    asked = []

    def evaluate(predictor):
        asked.append(predictor.backend)
        return 50.0 + len(asked)

    found = Findings()
    with Progress(disable=True) as progress:
        compare(movenet, Protocol([1, 2], 0.1, **BRIEFLY), found, progress, evaluate)
    assert sorted(asked) == ["onnxruntime", "openvino"]
    for (model, name), entrant in found.entrants.items():
        assert model == POSE
        assert entrant.ap == 51.0 + asked.index(name.split()[0])
        assert entrant.start is not None
    assert [pick.batch for pick in found.picks] == [1, 2]
    assert all(pick.regret >= 1 for pick in found.picks)
    assert "AP, %" in page("", found)


@pytest.fixture
def annotated(tmp_path, lite):
    """The example image, annotated with what the bundled pipeline finds in it."""
    (result,) = lite.predict(str(EXAMPLE))
    people = []
    for number, person in enumerate(result["boxes"], 1):
        x1, y1, x2, y2 = map(float, person["coordinate"])
        points = [value for x, y, _ in person["keypoints"] for value in (float(x), float(y), 2.0)]
        size = (x2 - x1, y2 - y1)
        people.append(
            {
                "id": number,
                "image_id": 1,
                "category_id": 1,
                "bbox": [x1, y1, *size],
                "area": size[0] * size[1],
                "num_keypoints": len(person["keypoints"]),
                "keypoints": points,
            }
        )
    image = {"id": 1, "file_name": EXAMPLE.name, "width": 640, "height": 480}
    content = {"images": [image], "annotations": people, "categories": [{"id": 1, "name": "person"}]}
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    return path


COMMAND = (
    "benchmark", "compare", "--model", POSE, "--backend", "onnxruntime", "--batch", "1", "--rounds", "1",
    "--seconds", "0.1", "--output", "out",
)  # fmt: skip


@pytest.mark.full
def test_the_command_writes_the_report(tmp_path, annotated):
    pytest.importorskip("pycocotools")
    dataset = ("--annotations", annotated, "--images", EXAMPLE.parent)
    done = run_hpi(*COMMAND, *dataset, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert report["auto"][0]["regret"] >= 1
    assert {measured["batch"] for measured in report["rows"]} == {1}
    assert all(candidate["start"]["warm"] > 0 and candidate["ap"] > 99 for candidate in report["candidates"])
    assert [stages["asked"] for stages in report["stages"]] == ["auto", "onnxruntime"]
    assert min(report["stages"][0]["stages"].values()) > 0
    assert "Regret of auto" in done.stdout
    assert "Stages, ms" in (tmp_path / "out.md").read_text()
    assert POSE in (tmp_path / "out.html").read_text()


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="interrupts by a signal")
def test_an_interrupted_run_keeps_what_it_has(tmp_path):
    command = [sys.executable, "-m", "hpi", *COMMAND]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: (tmp_path / "out.html").exists() or process.poll() is not None, "the page")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert "Traceback" not in said
    assert json.loads((tmp_path / "out.json").read_text())["rows"]["rows"]


@pytest.mark.full
@pytest.mark.parametrize("option", quick_first(["--photo", "--annotations"], 1))
def test_a_missing_file_is_one_line(tmp_path, option):
    done = run_hpi("benchmark", "compare", option, "none.jpg", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
