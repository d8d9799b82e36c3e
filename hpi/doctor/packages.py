"""The installed packages: their versions against those that are needed, and what they do to each other."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from typing import TYPE_CHECKING, Any

from hpi.backends.messages import summarize
from hpi.doctor.process import Answer, ask
from hpi.doctor.report import Check, Problem

if TYPE_CHECKING:
    from packaging.requirements import Requirement

OWN = "hpi-pose"
CORE = ""
"""Stands for an extra: what is always needed."""
FOR_DEVELOPERS = {"test", "dev", "docs"}
"""Extras for work on the project itself; that they are not installed is not reported."""
IMPORT_LIMIT_S = 120

MODULES = {
    "opencv-python": "cv2",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "paddlepaddle": "paddle",
    "cupy-cuda12x": "cupy",
    "tensorrt-cu12": "tensorrt",
}
"""The module to import, where it is not called like the package."""
REASONS = {
    "opencv-python": "OpenCV 5 rounds warpAffine differently, which moves keypoints by up to 2 px",
    "paddlepaddle": "Paddle 3.3 fails on these models under oneDNN",
    "paddle2onnx": "other versions refuse the programs of the supported Paddle",
}
"""Why a version is needed, where that is not plain."""
_CURES = {
    "libGL.so.1": "install the system library (Debian, Ubuntu: apt-get install libgl1), or replace opencv-python: "
    'pip uninstall -y opencv-python && pip install "opencv-python-headless>=4.13,<5"',
    "libgthread-2.0.so.0": "install the system library (Debian, Ubuntu: apt-get install libglib2.0-0)",
    "libgomp.so.1": "install the system library (Debian, Ubuntu: apt-get install libgomp1)",
}
"""What to do about a library that the system lacks."""


def normalized(name: str) -> str:
    """A package's name as installers compare it.

    Example:
        >>> normalized("PyYAML"), normalized("huggingface_hub")
        ('pyyaml', 'huggingface-hub')
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def module_of(package: str) -> str:
    """The module that a package is imported as.

    Example:
        >>> module_of("opencv-python"), module_of("huggingface_hub")
        ('cv2', 'huggingface_hub')
    """
    name = normalized(package)
    return MODULES.get(name, name.replace("-", "_"))


@dataclass(frozen=True)
class Package:
    """A package that is needed, and what is installed of it.

    Attributes:
        name: as it is required.
        needed: the versions that fit, such as ``">=4.13,<5"``.
        installed: the name of what is installed: itself, or another package with the same module; None if neither.
        version: of what is installed.
        fits: whether that version is one that is needed.

    Example:
        >>> package = Package("paddlepaddle", ">=3.0,<3.3", "paddlepaddle", "3.3.0", fits=False)
        >>> package.install, str(package)
        ('pip install "paddlepaddle>=3.0,<3.3"', 'paddlepaddle 3.3.0')
    """

    name: str
    needed: str
    installed: str | None
    version: str | None
    fits: bool

    def __str__(self) -> str:
        return f"{self.installed} {self.version}" if self.installed else f"{self.name} (missing)"

    @property
    def install(self) -> str:
        """The command that installs a version that fits."""
        return f'pip install "{self.installed or self.name}{self.needed}"'


class Installed:
    """The packages of this Python.

    Example:
        >>> installed = Installed()
        >>> installed.find("numpy").installed, installed.owners("no_such_module")
        ('numpy', [])
    """

    @cached_property
    def _records(self) -> dict[str, str]:
        """The list of files of each package, as text; of one that is there twice, the first, which is imported."""
        records: dict[str, str] = {}
        for one in distributions():
            if name := one.metadata["Name"]:  # a broken one has none
                records.setdefault(normalized(name), f"\n{one.read_text('RECORD') or ''}")
        return records

    def owners(self, module: str) -> list[str]:
        """The packages that have installed a module; more than one have overwritten each other's files."""
        line = f"\n{module}/__init__.py,"
        return sorted(name for name, record in self._records.items() if line in record)

    def find(self, name: str, requirement: Requirement | None = None) -> Package:
        """What is installed of a package, or in its place."""
        needed = versions(requirement) if requirement else ""
        found = next(filter(None, map(_distribution, (name, *self.owners(module_of(name))))), None)
        if found is None:
            return Package(name, needed, None, None, fits=False)
        fits = requirement is None or requirement.specifier.contains(found.version, prereleases=True)
        return Package(name, needed, found.metadata["Name"], found.version, fits)

    def missing_files(self, name: str) -> tuple[int, int]:
        """How many of a package's own files are gone, and how many it has."""
        found = _distribution(name)
        files = [str(file) for file in (found.files if found else None) or ()]
        own = [file for file in files if not file.startswith(("..", "/")) and not file.endswith(".pyc")]
        root = str(found.locate_file("")) if found else ""
        return sum(not os.path.lexists(os.path.join(root, file)) for file in own), len(own)  # noqa: PTH118 - thousands


def versions(requirement: Requirement) -> str:
    """The versions that a requirement admits, the lower bound first.

    Example:
        >>> from packaging.requirements import Requirement
        >>> versions(Requirement("opencv-python<5,>=4.13"))
        '>=4.13,<5'
    """
    return ",".join(sorted(map(str, requirement.specifier), reverse=True))


def _distribution(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def requirements() -> dict[str, list[Requirement]]:
    """What the package needs on this machine: under :data:`CORE` always, under the name of an extra with that.

    Raises:
        PackageNotFoundError: the package runs from a folder without being installed.

    Example:
        >>> [one.name for one in requirements()["openvino"]]
        ['openvino', 'onnx']
    """
    from packaging.requirements import Requirement

    own = distribution(OWN)
    lines = [Requirement(line) for line in own.requires or ()]

    def needed(one: Requirement, extra: str) -> bool:
        return one.marker is None or one.marker.evaluate({"extra": extra})

    always = [one for one in lines if needed(one, CORE)]
    by_extra = {
        extra: [one for one in lines if one not in always and one.name != OWN and needed(one, extra)]
        for extra in own.metadata.get_all("Provides-Extra") or ()
    }
    return {CORE: always, **{extra: needs for extra, needs in by_extra.items() if needs}}


def check_packages(installed: Installed) -> Check:
    """The needed packages: there, whole, of a version that fits, and importable. An extra is in use if its first is."""
    try:
        needs = requirements()
    except PackageNotFoundError:
        problem = Problem(f"{OWN} runs from a folder, so its needs are unknown", "install it: pip install -e .")
        return Check("packages", f"{OWN} is not installed", (problem,))
    found = {extra: [installed.find(one.name, one) for one in group] for extra, group in needs.items()}
    core = found.pop(CORE)
    used = {extra: group for extra, group in found.items() if group[0].installed}
    absent = [extra for extra in found if extra not in used and extra not in FOR_DEVELOPERS]
    imported = _import_all([module_of(one.name) for one in core if one.installed])
    problems = [
        *_python_problems(),
        *_problems_of([installed.find(OWN)], installed, {}),
        *_problems_of(core, installed, imported),
        *(
            problem
            for extra, group in used.items()
            if extra not in FOR_DEVELOPERS
            for problem in _problems_of([one for one in group if one.installed], installed, {}, blocks=False)
        ),
    ]
    lines = [
        ", ".join(map(str, core)),
        *(f"[{extra}] {', '.join(map(str, group))}" for extra, group in used.items() if extra not in FOR_DEVELOPERS),
    ]
    if absent:
        lines.append(f"not installed: {', '.join(f'[{extra}]' for extra in absent)}")
    facts = {
        "needed": [_facts(one, imported) for one in core],
        "extras": {extra: [_facts(one, imported) for one in group] for extra, group in found.items()},
    }
    return Check("packages", "\n".join(lines), tuple(problems), facts=facts)


def _facts(package: Package, imported: Mapping[str, Any]) -> dict[str, Any]:
    found = imported.get(module_of(package.name), {})
    return {
        "name": package.name,
        "needed": package.needed,
        "installed": package.installed,
        "version": package.version,
        "fits": package.fits,
        "error": found.get("error"),
    }


def _python_problems() -> Iterable[Problem]:
    from packaging.specifiers import SpecifierSet

    needed, version = distribution(OWN).metadata["Requires-Python"], platform.python_version()
    if needed and not SpecifierSet(needed).contains(version, prereleases=True):
        yield Problem(f"Python {version} is not supported, only {needed}", "use another Python", blocks=True)


def _import_all(modules: list[str]) -> dict[str, Any]:
    """What each module said when it was imported; one that crashes or hangs does not keep the others from it."""
    found: dict[str, Any] = {}
    left = modules
    while left:
        answer = ask("imports", *left, limit_s=IMPORT_LIMIT_S)
        found |= answer.facts
        guilty = answer.facts.get("importing")
        if answer.failure is None or guilty not in left:
            return found | _not_tried(answer, [module for module in left if module not in found])
        found[guilty] = {"error": answer.failure, "file": None}
        left = left[left.index(guilty) + 1 :]
    return found


def _not_tried(answer: Answer, modules: list[str]) -> dict[str, Any]:
    return {module: {"error": f"not tried: {answer.failure}", "file": None} for module in modules}


def _problems_of(
    packages: list[Package], installed: Installed, imported: Mapping[str, Any], *, blocks: bool = True
) -> Iterable[Problem]:
    """At most one problem of each package, the one to mend first."""
    broken = {
        normalized(one.name)
        for one in packages
        if one.installed is None or (imported.get(module_of(one.name)) or {}).get("error")
    }
    for package in packages:
        if package.installed is None:
            yield Problem(f"{package.name} is missing", package.install, blocks)
            continue
        gone, count = installed.missing_files(package.installed)
        error = (imported.get(module_of(package.name)) or {}).get("error")
        reinstall = f'pip install --force-reinstall --no-deps "{package.installed}{package.needed}"'
        if gone:
            text = f"{package.installed}: {gone} of its {count} files are gone, perhaps with a package that was removed"
            yield Problem(text, reinstall, blocks)
        elif error and not _needs_any(package.installed, broken):
            cure = next((cure for library, cure in _CURES.items() if library in error), reinstall)
            yield Problem(f"{package.installed} cannot be imported: {summarize(error)}", cure, blocks)
        elif not package.fits:
            reason = REASONS.get(normalized(package.name))
            text = f"{package} is installed, but {package.needed} is needed" + (f": {reason}" if reason else "")
            yield Problem(text, package.install, blocks)


def _needs_any(name: str, broken: set[str]) -> bool:
    """Whether a package needs one of those that are broken, and so fails for its sake."""
    needed = (re.match(r"[\w.-]+", line) for line in distribution(name).requires or () if "extra ==" not in line)
    return any(normalized(one[0]) in broken for one in needed if one)


def check_conflicts(installed: Installed) -> Check:
    """Packages that have overwritten each other's files, such as onnxruntime beside onnxruntime-gpu."""
    try:
        names = {one.name: one for group in requirements().values() for one in group}
    except PackageNotFoundError:
        names = {}
    shared = {name: owners for name in names if len(owners := installed.owners(module_of(name))) > 1}
    problems = tuple(
        Problem(
            f"{' and '.join(owners)} are both installed and have overwritten each other's files in {module_of(name)}/",
            f'pip uninstall -y {" ".join(owners)} && pip install "{_kept(name, owners)}{versions(names[name])}"',
            blocks=True,
        )
        for name, owners in shared.items()
    )
    found = "\n".join(f"{' and '.join(owners)}" for owners in shared.values()) or "none"
    return Check("conflicts", found, problems, facts={"shared": list(shared.values())})


def _kept(name: str, owners: list[str]) -> str:
    """The one to keep: that for GPUs, which also runs on the CPU, or else the one that is required."""
    return next((owner for owner in owners if owner.endswith("-gpu")), name)
