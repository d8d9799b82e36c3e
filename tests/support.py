"""Paths and helpers that several tests share."""

from __future__ import annotations

import dataclasses
import functools
import http.server
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from hpi.backends import BACKENDS
from hpi.backends.base import ModelFiles
from hpi.instances import Instances
from hpi.kernels.boxes import box_iou
from hpi.selection.priors import CpuClass, GpuClass, Prior, Priors
from hpi.zoo import Zoo

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "basketball.png"
SHARED = Path(os.environ.get("HPI_SHARED") or ROOT.parent / "shared").resolve()
BUNDLED = ROOT / "configs" / "bundled"

BACKEND_PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "paddle": "paddle"}


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMEDRIVER = shutil.which("chromedriver")
IN_BROWSER = [
    pytest.mark.full,
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason="needs Chromium and its chromedriver"),
]
"""Marks of the tests in a browser."""


def in_browser(test: Callable[..., object]) -> Callable[..., object]:
    """Mark one test of a file as :data:`IN_BROWSER`."""
    for mark in IN_BROWSER:
        test = mark(test)
    return test


HANGS_S = 300
"""Seconds after which something that should end by itself counts as hanging, even on a busy machine."""


def quick_first(cases: Iterable[Any], count: int = 1) -> list[Any]:
    """Cases of a parametrised test, all but the first for ``--all`` only; a tuple holds several arguments."""
    first, rest = (cases := list(cases))[:count], cases[count:]
    values = (case if isinstance(case, tuple) else (case,) for case in rest)
    return [*first, *(pytest.param(*value, marks=pytest.mark.full) for value in values)]


def require(package: str) -> None:
    """Skip the test or module if a package is not installed, without importing it.

    Importing Paddle (which paddle2onnx does) sets ``OMP_NUM_THREADS``; the processes that tests start would inherit it.
    """
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed", allow_module_level=True)


def missing_backend(name: str) -> str | None:
    """Why tests of a runtime cannot run here; None if they can."""
    if importlib.util.find_spec(BACKEND_PACKAGES[name]) is None:
        return f"{name} is not installed"
    return None


def leave_runtimes(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Leave only these runtimes in the registry; those that a test deletes come back at its end, out of order."""
    monkeypatch.setattr(BACKENDS, "_backends", {name: BACKENDS[name] for name in BACKENDS if name in names})


def measured_row(model: str, backend: str, milliseconds: float, device: CpuClass | GpuClass, **fields: Any) -> Prior:
    """A row of measurements, in FP32 on two threads where the fields do not say otherwise."""
    usual = {"precision": "fp32", "threads": 2, "batch": 1, "versions": {}, "date": "2026-01-01", "source": "measured"}
    own = {"model": model, "backend": backend, "p50_ms": milliseconds, "device": device}
    return Prior.model_validate({**usual, **own, **fields})


class KnownPriors(Priors):
    """Priors with given shipped rows."""

    def __init__(self, own_file: Path, *shipped: Prior) -> None:
        super().__init__(own_file)
        self.__dict__["shipped"] = list(shipped)


def free_port() -> int:
    """A free port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_hpi(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return run_python("-m", "hpi", *arguments, cwd=cwd, **environment)


def run_python(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=False,
    )


LONG = bool(os.environ.get("HPI_TEST_LONG"))
"""Whether tests that can be of any length are as long as they are each night: thousands of requests and images."""

CLEAR = 0.3
"""Score above which positions of keypoints are compared, in the golden tests and in the parity gate."""
ROUNDING = 1e-4
"""Largest difference of heatmaps and scores, which are at most 1, between two FP32 implementations.

A convolution adds about 1000 products, in an order that depends on the implementation. Each sum is rounded by 2^-24 of
its value, and such errors grow with the root of their number: 2e-6. Over some 70 convolutions in a row they grow to
1.6e-5 in the same way. The rest is for activations inside a model that are several times larger than its outputs.
"""
BOX_ROUNDING = 0.01
"""The same for a coordinate in an image of 640 pixels: 1.6e-5 of 640, in pixels."""


def assert_same_keypoints(found: ArrayLike, expected: ArrayLike, cell: float = 1) -> None:
    """Assert that keypoints agree within the limits of the golden tests: 0.2 px and 0.01 in score.

    These limits hold between any FP32 implementations of models and image operations. ``warpAffine`` samples an image
    on a grid of 1/32 px, so the last bits of a box move a sample of the crop by 0.03 px; the limit is six such steps.
    One keypoint in a hundred, or one of fewer, may be a cell of its heatmap off: two cells are almost equal, and either
    may be the maximum.

    Below a score of :data:`CLEAR` a heatmap is flat, and rounding can move its maximum anywhere. There only the scores
    are compared, within five times the limit.

    Args:
        found: ``[..., 3]``, x and y in pixels of the image, score.
        expected: of the same shape.
        cell: size of a cell of the heatmaps, in pixels of the image.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    clear = expected[..., 2] > CLEAR
    distance = np.linalg.norm((found - expected)[clear, :2], axis=-1)
    assert (distance > 0.2).sum() <= max(1, len(distance) // 100), np.sort(distance)
    assert distance.max(initial=0) <= cell, np.sort(distance)
    off = np.abs(found - expected)[..., 2]
    assert off[clear].max(initial=0) <= 0.01
    assert off.max(initial=0) <= 0.05


def match_boxes(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """For each expected box ``[N, 4]``, the index of the found one; they must match one to one with IoU above 0.9."""
    assert len(found) == len(expected)
    if not len(expected):
        return np.empty(0, int)
    iou = box_iou(np.asarray(expected, np.float32), np.asarray(found, np.float32))
    partner = iou.argmax(axis=1)
    assert sorted(partner) == list(range(len(found)))
    assert iou.max(axis=1).min() > 0.9
    return partner


def assert_same_detections(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    """Assert that raw outputs of a detector agree up to rounding: rows ``[N, 6]`` of class, score and box, and counts.

    The rows of an image may be in any order, since almost equal scores may change places.
    """
    assert found[1].tolist() == expected[1].tolist()
    ends = np.cumsum(expected[1])[:-1]
    for rows, others in zip(*(np.split(outputs[0], ends) for outputs in (found, expected)), strict=True):
        off = np.abs(rows[match_boxes(rows[:, 2:], others[:, 2:])] - others)
        assert off[:, 0].max(initial=0) == 0
        assert off[:, 1].max(initial=0) < ROUNDING
        assert off[:, 2:].max(initial=0) < BOX_ROUNDING


def assert_same_people(found: Sequence[Mapping[str, Any]], expected: Sequence[Mapping[str, Any]]) -> None:
    """Assert that results of a pipeline have the same ``boxes``, in any order within an image."""
    pairs, cell = [], 1.0
    for one, other in zip(found, expected, strict=True):
        boxes = [np.array([person["coordinate"] for person in of["boxes"]]).reshape(-1, 4) for of in (one, other)]
        for person, partner in zip(other["boxes"], match_boxes(*boxes), strict=True):
            same = one["boxes"][partner]
            for name in ("det_score", "kpt_score"):
                assert abs(same[name] - person[name]) <= 0.01
            pairs.append((same["keypoints"], person["keypoints"]))
            left, top, right, bottom = person["coordinate"]
            cell = max(cell, float(max((right - left) / 24, (bottom - top) / 32)) * 1.25)  # of PP-TinyPose_128x96
    if pairs:
        assert_same_keypoints(*(np.stack(side) for side in zip(*pairs, strict=True)), cell=cell)


def assert_same_outputs(outputs: Mapping[str, np.ndarray], people: Instances) -> None:
    """Assert that the outputs of the Open Inference Protocol are these people, in their order."""
    np.testing.assert_allclose(outputs["boxes"], people.boxes, atol=0.01)
    np.testing.assert_allclose(outputs["scores"], people.scores, atol=1e-4)
    np.testing.assert_allclose(outputs["keypoints"], people.points, atol=0.2)


def float_files(name: str) -> ModelFiles:
    """A model without its normalisation, so that its sessions take the normalised float tensor."""
    return dataclasses.replace(Zoo.default().find(name).files, normalization=None)


def wait_until(holds: Callable[[], object], what: str) -> None:
    """Wait until something holds, however busy the machine is."""
    end = time.monotonic() + HANGS_S
    while not holds():
        assert time.monotonic() < end, f"still not after {HANGS_S} s: {what}"
        time.sleep(0.02)


def wait_until_threads_end(count: int) -> None:
    """Wait until at most this many threads are left."""
    wait_until(lambda: threading.active_count() <= count, f"at most {count} threads")


# Every connection beyond this machine fails at once.
NO_NETWORK = {
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "HF_ENDPOINT": "http://127.0.0.1:9",
    "no_proxy": "",
}


@contextmanager
def serve(handler: type[http.server.BaseHTTPRequestHandler] | Path) -> Iterator[str]:
    """Serve a folder, or a handler, on a free port of 127.0.0.1; yields the address."""
    if isinstance(handler, Path):
        handler = functools.partial(_QuietFiles, directory=str(handler))  # type: ignore[assignment]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)  # type: ignore[arg-type]
    thread = threading.Thread(
        target=server.serve_forever, args=(0.01,), daemon=True
    )  # seconds until it notices shutdown()
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _QuietFiles(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass
