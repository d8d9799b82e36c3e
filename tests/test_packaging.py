"""The wheel holds one import package with everything in it, and works away from the checkout."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from support import EXAMPLE, ROOT, run_hpi, run_python

pytestmark = pytest.mark.long  # its slow cases run each night

ROOMS = ("backends", "kernels", "configs", "benchmarks")


def copy_of_checkout(folder):
    ignore = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "tests", "output")
    return shutil.copytree(ROOT, folder / "checkout", ignore=ignore, symlinks=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source = copy_of_checkout(tmp_path_factory.mktemp("source"))
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


def other_packages(folder):
    """A folder with links to all that is installed here but hpi, which would be found before an editable install."""
    folder.mkdir()
    for place in (Path(path) for path in sys.path if path.endswith("site-packages")):
        for package in place.iterdir():
            is_own = package.name.startswith(("hpi", "__editable__")) or package.suffix == ".pth"
            if not is_own and not (folder / package.name).exists():
                (folder / package.name).symlink_to(package)
    return folder


WHERE = """
import importlib.util, hpi
for room in sys.argv[1:]:
    module = __import__(f"hpi.{room}").__dict__[room]
    assert os.path.realpath(module.__file__).endswith(f"/{room}/__init__.py"), module
for name in ("hpi.hpi", "hpi.tests", "hpi.setup"):
    assert importlib.util.find_spec(name) is None, name
print(os.path.realpath(hpi.__file__))
"""


def where_hpi_is(python, folder):
    command = [python, "-c", f"import os, sys{WHERE}", *ROOMS]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_checkout_works_from_its_root():
    assert where_hpi_is(sys.executable, ROOT) == str(ROOT / "hpi" / "__init__.py")


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a checkout has the links")
def test_each_room_is_linked_into_the_package():
    links = {path.name: path.readlink().as_posix() for path in (ROOT / "hpi").iterdir() if path.is_symlink()}
    assert links == {room: f"../{room}" for room in ROOMS}


@pytest.mark.full
@pytest.mark.parametrize(
    ("how", "links"),
    [
        ("normal", True),
        ("editable", True),
        ("editable strict", True),
        ("editable compat", True),
        ("normal", False),
        ("editable", False),
    ],
)
def test_every_kind_of_install_finds_the_rooms(tmp_path, how, links):
    """Where a checkout has lost its links, a Python in its root needs an editable install."""
    checkout = copy_of_checkout(tmp_path)
    if not links:
        for room in ROOMS:
            (checkout / "hpi" / room).unlink()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    base = str(tmp_path / "venv")
    site = Path(sysconfig.get_path("purelib", vars={"base": base, "platbase": base}))
    (site / "others.pth").write_text(str(other_packages(tmp_path / "others")))
    kind, _, mode = how.partition(" ")
    arguments = ["-e", checkout] if kind == "editable" else [checkout]
    settings = ["--config-settings", f"editable_mode={mode}"] if mode else []
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--ignore-installed", *settings, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = where_hpi_is(python, tmp_path)
    assert found.startswith(str((checkout if kind == "editable" else tmp_path / "venv").resolve()))
    if links or kind == "editable":
        assert where_hpi_is(python, checkout) == str((checkout / "hpi" / "__init__.py").resolve())
