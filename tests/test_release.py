"""The release checklist finds what stands against a release, in a copy of the repository with planted faults."""

import os
import re
import shutil
import subprocess

import pytest
from test_packaging import other_packages

from support import ROOT, quick_first, run_python

pytestmark = pytest.mark.long  # its slow cases run each night

VERSION = "0.2.0"
NEXT = f"## Unreleased\n\n## {VERSION} - 2030-02-28\n"


def git(folder, *arguments):
    identity = ("-c", "user.name=Someone", "-c", "user.email=someone@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def edit(file, pattern, replacement):
    text, count = re.subn(pattern, replacement, file.read_text(), flags=re.MULTILINE)
    assert count >= 1, f"{file} has no {pattern}"
    file.write_text(text)


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """The project as a repository of its own, ready to be released."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs Git, and the files that it knows here")
    copy = tmp_path_factory.mktemp("ready")
    files = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, files):
        if os.path.lexists(ROOT / name):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    edit(copy / "pyproject.toml", '^version = ".*"', f'version = "{VERSION}"')
    edit(copy / "CHANGELOG.md", "^## Unreleased\n", NEXT)
    git(copy, "init", "-q")
    commit(copy)
    return copy


@pytest.fixture
def checkout(ready, tmp_path):
    """A clone of it, to plant a fault in."""
    git(tmp_path, "clone", "-q", str(ready), "checkout")
    return tmp_path / "checkout"


def commit(checkout):
    git(checkout, "add", "-A")
    git(checkout, "commit", "-qm", "Ready")


def check(checkout, *arguments, version=VERSION, **environment):
    return run_python("deploy/release.py", version, "--check", *arguments, cwd=checkout, **environment)


def faults(checkout, **keywords):
    """The lines of what fails, of the steps that need no build."""
    done = check(checkout, "--no-build", **keywords)
    found = [line for line in done.stdout.splitlines() if line.startswith("✗")]
    assert done.returncode == (1 if found else 0), done.stderr
    assert done.stdout.count("✓") + len(found) == 6
    return found


def test_a_release_that_is_ready_passes_and_changes_nothing(checkout):
    before = {path for path in checkout.rglob("*") if ".git" not in path.parts}
    assert faults(checkout) == []
    assert {path for path in checkout.rglob("*") if ".git" not in path.parts} == before
    assert git(checkout, "status", "--porcelain") == ""


def set_version(version):
    def plant(checkout):
        edit(checkout / "pyproject.toml", f'^version = "{VERSION}"', f'version = "{version}"')

    return plant


def in_changelog(pattern, replacement):
    def plant(checkout):
        edit(checkout / "CHANGELOG.md", pattern, replacement)

    return plant


def long_readme(checkout):
    (checkout / "README.md").write_text("x" * 9001)


def name_that_is_due(checkout):
    edit(checkout / "hpi" / "deprecation.py", r'"0\.4\.0"\)', f'"{VERSION}")')


PLANTED = {
    "wrong version": (set_version("0.1.0"), "pyproject.toml has 0.1.0"),
    "no section": (in_changelog(f"^## {VERSION}.*\n", ""), "there is no '## 0.2.0 - YYYY-MM-DD'"),
    "no date": (in_changelog(f"^## {VERSION} - .*", f"## {VERSION}"), "is not '## VERSION - YYYY-MM-DD'"),
    "no such day": (in_changelog("2030-02-28", "2030-02-30"), "is not '## VERSION - YYYY-MM-DD'"),
    "still unreleased": (in_changelog("^## Unreleased\n", "## Unreleased\n\n### Fixed\n\n- It.\n"), "something stands"),
    "unknown part": (in_changelog("^### Changed", "### Improved"), "its parts are not of Added, Changed"),
    "parts out of order": (in_changelog("^### Removed", "### Added"), "its parts are not of Added, Changed"),
    "versions out of order": (in_changelog(r"^## 0\.1\.0", "## 0.3.0"), "not in order"),
    "a version left out": (in_changelog(r"^## 0\.1\.0", "## 0.0.7"), "0.2.0 does not follow 0.0.7"),
    "long README": (long_readme, "9001 bytes"),
    "name that is due": (name_that_is_due, "remove Predictor.detector"),
}


@pytest.mark.parametrize("name", quick_first(PLANTED))
def test_a_planted_fault_is_found(checkout, name):
    plant, message = PLANTED[name]
    plant(checkout)
    commit(checkout)
    found = faults(checkout)
    assert found
    assert any(message in line for line in found), found


@pytest.mark.full
def test_a_patch_version_must_not_bring_features(checkout):
    edit(checkout / "pyproject.toml", f'^version = "{VERSION}"', 'version = "0.1.1"')
    edit(checkout / "CHANGELOG.md", f"^## {VERSION}", "## 0.1.1")
    commit(checkout)
    (found,) = faults(checkout, version="0.1.1")
    assert "a patch version only fixes bugs, but the changelog has Added" in found


@pytest.mark.parametrize("version", quick_first(["0.2", "v0.2.0", "0.2.0rc1", "0.02.0", "1.0.0.0", "latest", ""]))
def test_what_is_no_version_is_refused(checkout, version):
    assert any("is not MAJOR.MINOR.PATCH" in line for line in faults(checkout, version=version))


@pytest.mark.parametrize("name", quick_first(["new.py", "README.md"]))
def test_a_dirty_tree_is_refused(checkout, name):
    with (checkout / name).open("a") as file:
        file.write("\n")
    (found,) = faults(checkout)
    assert "commit or remove" in found


@pytest.mark.full
def test_a_tag_that_exists_is_refused(checkout):
    git(checkout, "tag", f"v{VERSION}")
    (found,) = faults(checkout)
    assert f"the tag v{VERSION} exists" in found


@pytest.fixture
def offline(tmp_path):
    """What lets the empty environment of the checklist have the packages of this one, without the package index."""
    folder = other_packages(tmp_path / "others")
    return {"PYTHONPATH": str(folder), "PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1"}


@pytest.mark.full
def test_everything_is_built_and_tried(checkout, offline):
    for package in ("build", "twine"):
        pytest.importorskip(package)
    done = check(checkout, **offline)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("✓") == 13
    assert not (checkout / "dist").exists()
    assert git(checkout, "status", "--porcelain", "--ignored") == ""


@pytest.mark.full
@pytest.mark.parametrize(
    ("file", "pattern", "replacement", "message"),
    [
        ("setup.py", r'^ *"bundled/\*\.tar\.xz",\n', "", "it lacks hpi/configs/bundled/MoveNet"),
        ("setup.py", '^        "hpi",\n', '        "hpi",\n        "tests",\n', "it has tests/"),
        ("pyproject.toml", '^readme = "README.md"\n', "", "exits with 1"),
        ("hpi/cli/app.py", "hpi-pose {installed", "hpi {installed", "it says 'hpi 0.2.0'"),
        ("hpi/predictor.py", "^class Predictor", "class Nothing", "exits with 1"),
    ],
)
def test_a_fault_of_what_is_built_is_found(checkout, offline, file, pattern, replacement, message):
    for package in ("build", "twine"):
        pytest.importorskip(package)
    edit(checkout / file, pattern, replacement)
    commit(checkout)
    done = check(checkout, **offline)
    assert done.returncode == 1
    assert done.stdout.count("✗") == 1
    assert message in done.stdout
