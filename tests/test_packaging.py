"""The wheel holds one import package with everything in it, and works away from the checkout."""

import shutil
import subprocess
import sys
import zipfile

import pytest

from support import EXAMPLE, ROOT, run_hpi, run_python


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source = tmp_path_factory.mktemp("source") / "checkout"
    ignore = shutil.ignore_patterns(".git", "build", "*.egg-info", "__pycache__", "tests", ".venv", "output")
    shutil.copytree(ROOT, source, ignore=ignore)
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        source,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("hpi_pose-*.whl")
    return path


def test_the_wheel_is_one_import_package(wheel):
    with zipfile.ZipFile(wheel) as bundle:
        names = bundle.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"hpi"}
    for part in (
        "backends/base.py",
        "kernels/heatmaps.py",
        "configs/__init__.py",
        "evaluation/coco/dataset.py",
        "py.typed",
    ):
        assert f"hpi/{part}" in names
    data = [path for path in (ROOT / "configs").rglob("*") if path.suffix in {".yaml", ".xz"}]
    assert data
    for path in data:
        assert f"hpi/configs/{path.relative_to(ROOT / 'configs').as_posix()}" in names
    for name in ("LICENSE", "NOTICE"):
        assert any(entry.endswith(f".dist-info/licenses/{name}") for entry in names)


@pytest.mark.full
def test_the_installed_wheel_works(wheel, tmp_path):
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", site, wheel]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    environment = {"PYTHONPATH": str(site), "HPI_HOME": str(tmp_path / "home")}
    where = run_python(
        "-c",
        "import hpi, hpi.kernels; print(hpi.__file__, hpi.kernels.__file__)",
        cwd=tmp_path,
        **environment,
    )
    assert all(path.startswith(str(site)) for path in where.stdout.split()), where
    for data in (
        "kernels/cuda/images.cu",
        "kernels/cuda/heatmaps.cu",
        "serving/page/index.html",
        "serving/page/page.js",
    ):
        assert (site / "hpi" / data).is_file()
    done = run_hpi("predict", EXAMPLE, cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert "2 people" in done.stdout


def test_the_checkout_works_without_being_installed(tmp_path):
    """A Python started in the root of the checkout finds the rooms that lie beside hpi/."""
    done = run_python("-c", "import hpi, hpi.kernels; print(hpi.__file__, hpi.kernels.__file__)", cwd=ROOT)
    assert done.stdout.split() == [str(ROOT / "hpi" / "__init__.py"), str(ROOT / "kernels" / "__init__.py")]
