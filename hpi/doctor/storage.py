"""The cache folder: where it is, how large, and whether it can be written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hpi.doctor.report import Check, Problem
from hpi.errors import ConfigError
from hpi.io.home import VARIABLE, home_folder

MIN_FREE = 1 << 29
"""Bytes of free disk to warn below: the largest model has 210 MB, and its converted copy as many."""


def check_cache() -> Check:
    """The cache folder. Nothing is left in it, and a missing one is not created."""
    try:
        folder = home_folder()
    except ConfigError as error:
        return Check("cache", "unknown", (Problem(str(error), f"set {VARIABLE} anew, or unset it", blocks=True),))
    origin = VARIABLE if os.environ.get(VARIABLE) else "default"
    problem = why_not_writable(folder)
    size = folder_size(folder)
    free = _free(folder)
    facts = {
        "folder": str(folder),
        "origin": origin,
        "exists": os.path.isdir(folder),  # noqa: PTH112 - Path raises where it may not look
        "writable": problem is None,
        "bytes": size,
        "free_bytes": free,
    }
    found = f"{folder} ({origin})\n{_shown(size)} in use, {_shown(free)} free on the disk"
    return Check("cache", found, tuple(_problems(folder, problem, free)), facts=facts)


def _free(folder: Path) -> int | None:
    """Free bytes where the folder is, or would be; a link may lead nowhere."""
    try:
        return shutil.disk_usage(next(one for one in (folder, *folder.parents) if os.path.exists(one))).free  # noqa: PTH110
    except (OSError, StopIteration):
        return None


def _problems(folder: Path, problem: str | None, free: int | None) -> Iterator[Problem]:
    cure = f"make {folder} writable, or point {VARIABLE} to another folder"
    if problem and not _has_temporary_folder():
        yield Problem(f"neither the cache nor a temporary folder can be written: {problem}", cure, blocks=True)
    elif problem:
        text = "so models, and what is made of them, go into a temporary folder and are made again at each start"
        yield Problem(f"the cache cannot be written ({problem}), {text}", cure)
    elif free is not None and free < MIN_FREE:
        yield Problem(f"the disk of {folder} is almost full", f"free some, or point {VARIABLE} to another disk")


def _has_temporary_folder() -> bool:
    try:
        with tempfile.TemporaryFile():
            return True
    except OSError:
        return False


def why_not_writable(folder: Path) -> str | None:
    """Why the cache cannot be kept in a folder; None if it can, also where it is still to be created.

    Example:
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     why_not_writable(Path(parent) / "new"), sorted(os.listdir(parent))
        (None, [])
        >>> why_not_writable(Path(__file__)).endswith("is not a folder")
        True
    """
    try:
        for place in (folder, folder / "models", folder / "artifacts"):
            target = _existing(place)
            if not os.path.isdir(target):  # noqa: PTH112
                return f"{target} is not a folder"
            if target != place:
                if not os.access(target, os.W_OK | os.X_OK):
                    return f"no permission to write in {target}"
                continue
            with tempfile.TemporaryFile(dir=target):
                pass
    except OSError as error:
        return f"{folder}: {error.strerror or error}"
    return None


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next((one for one in (folder, *folder.parents) if os.path.lexists(one)), Path())


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder; what cannot be read, or is gone meanwhile, counts as nothing.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.bin").write_bytes(bytes(1000))
        ...     folder_size(Path(folder))
        1000
    """
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(parent, name).lstat().st_size
            except OSError:
                continue
    return total


def _shown(size: int | None) -> str:
    if size is None:
        return "unknown"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
