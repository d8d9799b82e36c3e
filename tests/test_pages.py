"""The README and the pages of ``docs`` say what works: their code is run as a reader would run it."""

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pages import PAGES, blocks, extras
from support import EXAMPLE, HANGS_S, ROOT, SHARED, free_port, require

OFFICIAL = ("PP-TinyPose_128x96", "PP-TinyPose_256x192", "PicoDet-S_pedestrian_320")
PACKAGES = ("hpi", "backends", "kernels", "configs", "benchmarks")

HAVE = {
    "the official models": SHARED.is_dir,  # PP-YOLOE with random weights: the code runs, and finds nobody
    "PaddleX": lambda: False,
    "PaddleDetection": lambda: False,
    "Docker": lambda: False,
    "a Triton server": lambda: False,  # tests/hpi/serving/test_triton_server.py runs these
    "Kubernetes": lambda: False,
    "an OpenTelemetry collector": lambda: False,  # tests/hpi/serving/test_tracing.py has one
    "Ray": lambda: False,  # the tests marked cluster run these
    "an NVIDIA GPU": lambda: False,
    "the network": lambda: False,
    "the COCO data set": lambda: False,
    "the MOT17 data set": lambda: False,
    "the PoseTrack18 data set": lambda: False,
    "a camera": lambda: False,
    "a screen": lambda: False,
    "models of your own": lambda: False,  # tests/hpi/test_files_you_have.py makes some
    "images of your own": lambda: False,  # tests/hpi/test_quantize.py runs these on shared ones
    "tritonclient": lambda: importlib.util.find_spec("tritonclient") is not None,
    "minutes": lambda: False,  # tests/test_compare.py and tests/test_benchmarks.py run such commands on less
    "a quiet machine": lambda: False,
    # tests/hpi/serving/test_clients.py runs these.
    **dict.fromkeys(["Node.js", "Java", "a C++ compiler", "Go", ".NET", "PHP"], lambda: False),
}
"""What a block may need, and whether it is here."""


def with_code(page):
    return any(any(block.steps()) for block in blocks(page))


def name_of(page):
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """What the pages start from: an image, a few more, a short video, the examples."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(EXAMPLE.parent, folder / "examples")
    image = cv2.imread(str(EXAMPLE))
    cv2.imwrite(str(folder / "people.jpg"), image)
    (folder / "images").mkdir()
    for name, one in {
        "people": image,
        "mirrored": image[:, ::-1],
        "left": image[:, :320],
        "right": image[:, 320:],
    }.items():
        cv2.imwrite(str(folder / "images" / f"{name}.jpg"), one)
    clip = cv2.VideoWriter(str(folder / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (640, 480))
    for shift in range(8):
        clip.write(np.roll(image, 4 * shift, axis=1))
    clip.release()
    return folder


@pytest.fixture(scope="session")
def paddlex_home(tmp_path_factory):
    """PaddleX's cache, with what is at hand of its models."""
    models = tmp_path_factory.mktemp("paddlex_home") / "official_models"
    models.mkdir()
    if SHARED.is_dir():
        for name in OFFICIAL:
            (models / name).symlink_to(SHARED / "models" / name)
        for archive in (SHARED / "models" / "latency_only").glob("*.tar.xz"):
            shutil.unpack_archive(archive, models, filter="data")
            name = archive.name.removesuffix("_infer.tar.xz")
            (models / f"{name}_infer").rename(models / name)
    return models.parent


@pytest.fixture(scope="session")
def pages_home(tmp_path_factory):
    """``HPI_HOME`` of the pages: some of them measure."""
    return tmp_path_factory.mktemp("pages_home")


@pytest.fixture
def world(folder, paddlex_home, pages_home, tmp_path):
    """A copy of that folder, and the environment of the commands."""
    here = tmp_path / "here"
    shutil.copytree(folder, here)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HPI_HOME": str(pages_home),
        "PADDLE_PDX_CACHE_HOME": str(paddlex_home),
        "PYTHONPATH": str(here),
        "MPLBACKEND": "agg",
    }
    return here, environment


def runs_soon(page):
    """The pages that people read first; the others take minutes together."""
    return page.name in {"README.md", "get-started.md"}


@pytest.mark.full
@pytest.mark.parametrize(
    "page",
    [page if runs_soon(page) else pytest.param(page, marks=pytest.mark.long) for page in PAGES if with_code(page)],
    ids=name_of,
)
def test_the_code_of_a_page_runs(page, world, tmp_path):
    require("openvino")
    here, environment = world
    everything = blocks(page)
    if any(block.file and block.file.startswith(tuple(f"{name}/" for name in PACKAGES)) for block in everything):
        for name in PACKAGES:
            shutil.copytree(ROOT / name, here / name, symlinks=True)
    port = free_port()
    left_out = [block for block in everything if block.needs and not HAVE[block.needs]()]
    steps = [
        step._replace(text=step.text.replace("8080", str(port)))
        for block in everything
        if block not in left_out
        for step in block.steps()
    ]
    steps.sort(key=lambda step: step.kind not in ("write", "patch"))  # a package must be whole before it is imported
    for block in left_out:
        print(f"{page}:{block.line}: not run, it needs {block.needs}")
    job = tmp_path / "steps.json"
    job.write_text(json.dumps({"page": name_of(page), "port": port, "steps": steps}))
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "run_page.py", job],
        cwd=here, env=environment, capture_output=True, text=True, timeout=2 * HANGS_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_needs_and_installs_exists(page):
    assert {block.needs for block in blocks(page) if block.needs} <= HAVE.keys()
    assert extras(page) <= set(importlib.metadata.metadata("hpi-pose").get_all("Provides-Extra"))
    assert all(block.language for block in blocks(page)), "a block without a language"
    assert not [block.file for block in blocks(page) if " " in (block.file or "")]
