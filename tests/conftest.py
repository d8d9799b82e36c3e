"""Fixtures. Every run has its own cache, so that no test depends on earlier runs."""

from __future__ import annotations

import functools
import importlib.util
import os
import secrets
import tarfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import settings

from hpi import Predictor
from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import SessionOptions
from hpi.io.archives import unpack

from support import BACKEND_PACKAGES, BUNDLED, EXAMPLE, SHARED, free_port, missing_backend

# No time limits: the tests also run on busy machines. A failure prints how to reproduce it.
settings.register_profile("hpi", deadline=None, print_blob=True)
settings.load_profile("hpi")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--all``, which also runs the tests marked ``full``."""
    parser.addoption("--all", action="store_true", help="also run the tests that take long (marker: full)")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out slow tests, unless ``--all`` is given.

    Paddle is slow to import: of its tests only the golden ones are quick enough.
    """
    for item in items:
        if "paddle" in _parameters(item) and item.path.name != "test_golden.py":
            item.add_marker("full")
    if config.getoption("--all"):
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    items[:] = [item for item in items if not item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=left_out)


def _parameters(item: pytest.Item) -> Collection[object]:
    call = getattr(item, "callspec", None)
    return [value for value in call.params.values() if isinstance(value, str)] if call else ()


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """``HPI_HOME``, shared by the tests of one run; PaddleX's cache is empty. Nothing is calibrated unasked."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPI_HOME", str(folder))
        patch.setenv("HPI_CALIBRATE", "0")
        patch.setenv("PADDLE_PDX_CACHE_HOME", str(tmp_path_factory.mktemp("paddlex")))
        yield folder


@pytest.fixture(autouse=True)
def no_measurements_in_common() -> Iterator[None]:
    """A test that measures does so in a home of its own: the choices of other tests would depend on its rows."""
    file = Path(os.environ["HPI_HOME"]) / "priors.json"
    yield
    left = file.exists()
    file.unlink(missing_ok=True)
    assert not left, f"this test left measurements in {file}: give it an HPI_HOME of its own"


@pytest.fixture(name="free_port")
def a_free_port() -> int:
    """A free port of 127.0.0.1."""
    return free_port()


@pytest.fixture
def rng() -> np.random.Generator:
    """New random numbers each time; a failed test prints the seed, which can be set with HPI_TEST_SEED."""
    seed = int(os.environ.get("HPI_TEST_SEED") or secrets.randbits(32))
    print(f"HPI_TEST_SEED={seed}")
    return np.random.default_rng(seed)


@pytest.fixture(scope="module", params=BACKEND_PACKAGES)
def backend(request: pytest.FixtureRequest) -> str:
    """Each installed runtime."""
    if reason := missing_backend(request.param):
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture(scope="session")
def options(home: Path) -> SessionOptions:
    """Session options: two threads, and the artifact cache of this run."""
    return SessionOptions(ArtifactCache(home / "artifacts"), threads=2)


@pytest.fixture(scope="module")
def paddle_model_backend(backend: str) -> str:
    """Each runtime that can run a Paddle model, directly or converted."""
    if backend != "paddle" and importlib.util.find_spec("paddle2onnx") is None:
        pytest.skip("paddle2onnx, which converts the model, is not installed (it has no wheel for Python 3.13)")
    return backend


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real models, images and expected results beside the project."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the real models and images in {SHARED}; set HPI_SHARED to use another folder")
    return SHARED


@pytest.fixture(scope="session")
def exported(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from the name of a model of PaddleDetection to its folder, as ``tools/export_model.py`` writes it.

    Weights are random. Models that are not at hand themselves are another one's program with other files.
    """
    random, home = shared / "zoo" / "random", tmp_path_factory.mktemp("exported")

    @functools.cache
    def folder(name: str) -> Path:
        target = home / name
        target.mkdir()
        if (archive := random / f"{name}.tar.xz").is_file():
            unpack(archive, target)
        elif (variant := random / "variants" / name).is_dir():
            for file in (*variant.iterdir(), folder("hrnet_w32_256x192") / "model.pdiparams"):
                (target / file.name).symlink_to(file)
        else:
            for file in folder(name.removeprefix("dark_")).glob("model.*"):
                (target / file.name).symlink_to(file)
            (target / "infer_cfg.yml").symlink_to(random / "yml" / f"{name}.infer_cfg.yml")
        return target

    return folder


@pytest.fixture(scope="session")
def my_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled detector as an archive without a model name, as a model of the user's own."""
    folder = tmp_path_factory.mktemp("archive") / "my-detector_infer"
    folder.mkdir()
    unpack(BUNDLED / "PicoDet-S_person_416_infer.tar.xz", folder)
    yml = yaml.safe_load((folder / "inference.yml").read_text())
    del yml["Global"]
    (folder / "inference.yml").write_text(yaml.safe_dump(yml))
    served = tmp_path_factory.mktemp("served") / "my-detector_infer.tar"
    with tarfile.open(served, "w") as bundle:
        bundle.add(folder, folder.name)
    return served


@pytest.fixture(scope="session")
def lite(home: Path) -> Iterator[Predictor]:
    """The bundled pipeline on the default runtime."""
    with Predictor("human_keypoint_detection_lite") as predictor:
        yield predictor


@pytest.fixture(scope="session")
def image() -> np.ndarray:
    """The example image, ``[480, 640, 3]`` uint8 BGR."""
    import cv2

    return np.asarray(cv2.imread(str(EXAMPLE)))
