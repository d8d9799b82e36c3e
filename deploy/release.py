"""The release checklist of CONTRIBUTING.md: ``python deploy/release.py 0.2.0 --check`` on a clean checkout.

It checks what is written there, builds, and tries the wheel in an empty environment. It publishes nothing.
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape

ROOT = Path(__file__).resolve().parent.parent
CATEGORIES = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
PATCH = {"Fixed", "Security"}
UNRELEASED = "Unreleased"
README_BYTES = 9_000
WHEEL_BYTES = 20 << 20
IN_WHEEL = (
    "hpi/__init__.py",
    "hpi/py.typed",
    "hpi/backends/base.py",
    "hpi/kernels/heatmaps.py",
    "hpi/benchmarks/pipeline.py",
    "hpi/configs/pipelines/human_keypoint_detection_lite.yaml",
    "hpi/configs/bundled/PicoDet-S_person_416_infer.tar.xz",
    "hpi/configs/bundled/MoveNet-Thunder_256x256_infer.tar.xz",
)
Version = tuple[int, int, int]
Changelog = dict[str, dict[str, str]]


class ReleaseError(Exception):
    """What stands against the release, and what to do."""


class Release(NamedTuple):
    """What is checked: a version, and a folder for what is made on the way."""

    version: str
    work: Path

    @property
    def wheel(self) -> Path:
        """The wheel that was built."""
        return next((self.work / "dist").glob("*.whl"))

    @property
    def programs(self) -> Path:
        """Where the empty environment has its programs."""
        return self.work / "empty" / ("Scripts" if os.name == "nt" else "bin")


def read_version(text: str) -> Version:
    """The three numbers of a version; releases have no others."""
    found = re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", text)
    if found is None:
        raise ReleaseError(f"{text!r} is not MAJOR.MINOR.PATCH")
    major, minor, patch = map(int, found.groups())
    return major, minor, patch


def read_changelog(text: str) -> Changelog:
    """The text under each category of each version, newest first, as Keep a Changelog 1.1 has it.

    Raises:
        ReleaseError: it has another form.
    """
    if not text.startswith("# Changelog\n"):
        raise ReleaseError("CHANGELOG.md does not begin with '# Changelog'")
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    headings = [_read_heading(heading) for heading in parts[1::2]]
    if headings[:1] != [UNRELEASED]:
        raise ReleaseError(f"the first section of CHANGELOG.md is not '## {UNRELEASED}'")
    versions = [read_version(heading) for heading in headings[1:]]
    if any(newer <= older for newer, older in pairwise(versions)):
        raise ReleaseError("the versions of CHANGELOG.md are not in order, the newest first")
    return {heading: _read_section(heading, part) for heading, part in zip(headings, parts[2::2], strict=True)}


def _read_heading(heading: str) -> str:
    if heading == UNRELEASED:
        return heading
    version, _, day = heading.partition(" - ")
    try:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", day):
            raise ValueError
        date.fromisoformat(day)
    except ValueError:
        raise ReleaseError(f"CHANGELOG.md: '## {heading}' is not '## VERSION - YYYY-MM-DD'") from None
    return version


def _read_section(version: str, text: str) -> dict[str, str]:
    before, *parts = re.split(r"^### (.+)\n", text, flags=re.MULTILINE)
    names = parts[::2]
    if before.strip() or names != [category for category in CATEGORIES if category in names]:
        raise ReleaseError(
            f"CHANGELOG.md, {version}: its parts are not of {', '.join(CATEGORIES)}, each once, in this order"
        )
    section = {name: part.strip() for name, part in zip(names, parts[1::2], strict=True)}
    for name, part in section.items():
        if not part.startswith("- "):
            raise ReleaseError(f"CHANGELOG.md, {version}: '{name}' is not a list")
    return section


def _changelog() -> Changelog:
    return read_changelog((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))


def _run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """What a program prints; a ReleaseError with the end of it where it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0:
        shown = " ".join([Path(command[0]).name, *map(str, command[1:])])
        raise ReleaseError(f"'{shown}' exits with {done.returncode}:\n{done.stdout[-2000:].rstrip()}")
    return done.stdout


def check_version(release: Release) -> None:
    """pyproject.toml has the version."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^version = "(.*)"$', text, re.MULTILINE)
    if found is None or found[1] != release.version:
        raise ReleaseError(f'pyproject.toml has {found[1] if found else "none"}; set version = "{release.version}"')


def check_changelog(release: Release) -> None:
    """The changelog has a dated section for it, and nothing unreleased."""
    changelog = _changelog()
    if not changelog.get(release.version):
        raise ReleaseError(f"there is no '## {release.version} - YYYY-MM-DD' with something in it")
    if changelog[UNRELEASED]:
        raise ReleaseError(f"something stands under '## {UNRELEASED}'; move it into the section of the version")


def check_step(release: Release) -> None:
    """The version is the next one after the last release, as semantic versioning has it."""
    new, changelog = read_version(release.version), _changelog()
    older = [version for name in changelog if name != UNRELEASED and (version := read_version(name)) < new]
    if not older:
        return
    last = major, minor, patch = max(older)
    if new not in {(major, minor, patch + 1), (major, minor + 1, 0), (major + 1, 0, 0)}:
        raise ReleaseError(f"{release.version} does not follow {'.'.join(map(str, last))}")
    more = [name for name in changelog.get(release.version, {}) if name not in PATCH]
    if new[:2] == last[:2] and more:
        raise ReleaseError(f"a patch version only fixes bugs, but the changelog has {', '.join(more)}")


def check_deprecated(release: Release) -> None:
    """No deprecated name is past its time."""
    table = runpy.run_path(str(ROOT / "hpi" / "deprecation.py"))["DEPRECATED"]
    due = [name for name, one in table.items() if read_version(one.removed_in) <= read_version(release.version)]
    if due:
        raise ReleaseError(f"remove {', '.join(due)}, and say so under 'Removed'")


def check_readme(_: Release) -> None:
    """The README is short."""
    if (size := (ROOT / "README.md").stat().st_size) > README_BYTES:
        raise ReleaseError(f"README.md has {size} bytes, {README_BYTES} are the most; move something to docs/")


def check_tree(release: Release) -> None:
    """Everything is committed, and the tag is free."""
    if changed := _run("git", "status", "--porcelain"):
        raise ReleaseError(f"commit or remove:\n{changed.rstrip()}")
    if _run("git", "tag", "--list", f"v{release.version}"):
        raise ReleaseError(f"the tag v{release.version} exists")


def build(release: Release) -> None:
    """Sdist and wheel can be built from what is committed."""
    _run("git", "archive", "--output", release.work / "source.tar", "HEAD")
    with tarfile.open(release.work / "source.tar") as bundle:
        bundle.extractall(release.work / "source", filter="data")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", release.work / "dist", release.work / "source")


def check_metadata(release: Release) -> None:
    """Twine finds no fault with them."""
    _run(sys.executable, "-m", "twine", "check", "--strict", *sorted((release.work / "dist").iterdir()))


def check_wheel(release: Release) -> None:
    """The wheel holds the package and no more."""
    with zipfile.ZipFile(release.wheel) as bundle:
        names = [name for name in bundle.namelist() if ".dist-info/" not in name]
    if lacking := set(IN_WHEEL) - set(names):
        raise ReleaseError(f"it lacks {', '.join(sorted(lacking))}")
    if foreign := [name for name in names if not name.startswith("hpi/") or name.startswith("hpi/tests/")]:
        raise ReleaseError(f"it has {', '.join(foreign[:5])}")
    if (size := release.wheel.stat().st_size) > WHEEL_BYTES:
        raise ReleaseError(f"it has {size} bytes, {WHEEL_BYTES} are the most")


def check_install(release: Release) -> None:
    """It can be installed into an empty environment."""
    venv.create(release.work / "empty", with_pip=True)
    _run(release.programs / "python", "-m", "pip", "install", release.wheel, cwd=release.work)


def _run_hpi(release: Release, *arguments: str | Path) -> str:
    return _run(release.programs / "hpi", *arguments, cwd=release.work, HPI_HOME=str(release.work / "home"))


def check_installed_version(release: Release) -> None:
    """``hpi --version`` says the version."""
    if (said := _run_hpi(release, "--version").strip()) != f"hpi-pose {release.version}":
        raise ReleaseError(f"it says {said!r}")


def check_doctor(release: Release) -> None:
    """``hpi doctor`` finds no fault."""
    _run_hpi(release, "doctor")


def check_predict(release: Release) -> None:
    """``hpi predict`` finds the people of the example."""
    shutil.copy(ROOT / "examples" / "basketball.png", release.work)
    if "2 people" not in _run_hpi(release, "predict", "basketball.png", "--save_path", "output"):
        raise ReleaseError("it does not find the two people of examples/basketball.png")
    if not (release.work / "output" / "basketball_res.png").is_file():
        raise ReleaseError("it saves no picture")


Step = Callable[[Release], None]
SOURCES: tuple[Step, ...] = (
    check_version, check_changelog, check_step, check_deprecated, check_readme, check_tree,
)  # fmt: skip
"""Each by itself: all faults are shown."""
BUILT: tuple[Step, ...] = (
    build, check_metadata, check_wheel, check_install, check_installed_version, check_doctor, check_predict,
)  # fmt: skip
"""Each needs the one before: the first fault ends it."""


def passes(step: Step, release: Release, console: Console) -> bool:
    """Do one step, and say how it went."""
    name = escape((step.__doc__ or "").replace("``", "'").rstrip("."))
    try:
        with console.status(name):
            step(release)
    except ReleaseError as fault:
        console.print(f"[red]✗[/] {name}: {escape(str(fault))}", highlight=False, soft_wrap=True)
        return False
    console.print(f"[green]✓[/] {name}", highlight=False, soft_wrap=True)
    return True


def main(
    version: Annotated[str, typer.Argument(help="The version to release, such as 0.2.0.")],
    check: Annotated[bool, typer.Option("--check", help="Keep nothing; else the files go to dist/.")] = False,
    build_it: Annotated[bool, typer.Option("--build/--no-build", help="Build, install and try the wheel.")] = True,
) -> None:
    """Go through the release checklist; exit with 1 at a fault."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="hpi-release-") as folder:
        release = Release(version, Path(folder))
        sources = [passes(step, release, console) for step in SOURCES]
        if not all(sources) or (build_it and not all(passes(step, release, console) for step in BUILT)):
            raise typer.Exit(1)
        if build_it and not check:
            shutil.copytree(release.work / "dist", ROOT / "dist", dirs_exist_ok=True)


if __name__ == "__main__":
    typer.run(main)
