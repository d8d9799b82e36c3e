"""Files made from models, such as converted graphs, kept under the hash of everything they were made from."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from hpi.errors import BackendError

logger = logging.getLogger(__name__)

Build = Callable[[Path], object]

NOTE = "artifact.json"
DEFAULT_LIMIT_BYTES = 4 << 30


@dataclass(frozen=True)
class Artifact:
    """One entry of the cache.

    Attributes:
        folder: where it lies.
        kind: what it is, such as ``"onnx"``.
        key: what it was made from.
        size: bytes.
        used: time of the last use, seconds since the epoch.

    Example:
        >>> with tempfile.TemporaryDirectory() as root:
        ...     cache = ArtifactCache(Path(root))
        ...     _ = cache.get("text", {"model": "a"}, "a.txt", lambda target: target.write_text("built"))
        ...     (artifact,) = cache.entries()
        >>> artifact.kind, artifact.key
        ('text', {'model': 'a'})
    """

    folder: Path
    kind: str
    key: Mapping[str, str]
    size: int
    used: float


class ArtifactCache:
    """A folder of artifacts: ``<root>/<kind>/<hash of the key>/<file>``, each with an ``artifact.json`` for people.

    Attributes:
        root: the folder.
        limit: bytes to keep at most; after a build the least recently used artifacts are removed.

    Example:
        >>> with tempfile.TemporaryDirectory() as root:
        ...     cache = ArtifactCache(Path(root))
        ...     file = cache.get("text", {"model": "a"}, "a.txt", lambda target: target.write_text("built"))
        ...     file.read_text(), [artifact.kind for artifact in cache.entries()]
        ('built', ['text'])
    """

    def __init__(self, root: Path, limit: int = DEFAULT_LIMIT_BYTES) -> None:
        self.root = root
        self.limit = limit
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def get(self, kind: str, key: Mapping[str, str], filename: str, build: Build) -> Path:
        """Return the artifact for ``key``, building it when it is missing or damaged.

        An artifact appears complete or not at all. Processes that want the same artifact at once wait for the first.
        If the cache cannot be written, a warning is logged and the artifact is built in a temporary folder that lives
        as long as this object.

        Args:
            kind: the kind of artifact, the name of its folder.
            key: everything the content depends on.
            filename: name of the file inside the artifact.
            build: writes the file to the given path.

        Returns:
            The path of the finished file.

        Raises:
            BackendError: neither the cache nor a temporary folder can be written. What ``build`` raises passes
                through.
        """
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
        try:
            return self._get_from(self.root / kind / digest, key, filename, build)
        except OSError as error:
            if self._temporary is None:
                logger.warning(
                    "cannot write to the artifact cache %s: %s. Artifacts are built in a temporary folder and lost "
                    "afterwards; make it writable or point HPI_HOME to another folder",
                    self.root,
                    str(error),
                )
        try:
            self._temporary = self._temporary or tempfile.TemporaryDirectory(prefix="hpi-")
            return self._get_from(Path(self._temporary.name) / kind / digest, key, filename, build)
        except OSError as error:
            raise BackendError(f"{filename} cannot be built: no temporary folder can be written: {error}") from error

    def _get_from(self, folder: Path, key: Mapping[str, str], filename: str, build: Build) -> Path:
        file = folder / filename
        if _is_complete(file):
            _touch(folder)
            return file
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if not _is_complete(file):
                if folder.exists():
                    logger.warning("the artifact %s is damaged, rebuilding it", file)
                    shutil.rmtree(folder)
                _build(folder, key, filename, build)
        self._prune_except(folder)
        return file

    def entries(self) -> list[Artifact]:
        """Every artifact, complete or damaged, the least recently used first."""
        found = [_read_entry(note.parent) for note in self.root.glob(f"*/*/{NOTE}")]
        return sorted(found, key=lambda artifact: artifact.used)

    def prune(self, limit: int) -> list[Artifact]:
        """Remove the least recently used artifacts until at most ``limit`` bytes remain; returns those removed."""
        removed = []
        entries = self.entries()
        size = sum(artifact.size for artifact in entries)
        for artifact in entries:
            if size <= limit:
                break
            shutil.rmtree(artifact.folder)
            size -= artifact.size
            removed.append(artifact)
        return removed

    def discard(self, file: Path) -> None:
        """Remove an artifact that turned out to be unusable, by the path that :meth:`get` returned."""
        shutil.rmtree(file.parent, ignore_errors=True)

    def _prune_except(self, fresh: Path) -> None:
        """Enforce the limit, but never remove the artifact that was just built."""
        _touch(fresh)
        size = sum(artifact.size for artifact in self.entries() if artifact.folder == fresh)
        for artifact in self.prune(max(self.limit, size)):
            logger.info(
                "removed %s from the artifact cache, which has a limit of %d bytes", artifact.folder, self.limit
            )


def _build(folder: Path, key: Mapping[str, str], filename: str, build: Build) -> None:
    with staging_folder(folder) as staging:
        file = staging / filename
        build(file)
        note = {
            "key": dict(key),
            "file": filename,
            "size": file.stat().st_size,
            "sha256": content_hash([file]),
            "created": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        (staging / NOTE).write_text(json.dumps(note, indent=1), encoding="utf-8")
        staging.rename(folder)


@contextmanager
def staging_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder beside ``folder``, to be filled and renamed to it; leftovers are removed at the end.

    Example:
        >>> with tempfile.TemporaryDirectory() as root:
        ...     target = Path(root, "model")
        ...     with staging_folder(target) as staging:
        ...         _ = (staging / "a.txt").write_text("built")
        ...         _ = staging.rename(target)
        ...     [file.name for file in target.iterdir()], len(os.listdir(root))
        (['a.txt'], 1)
    """
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        staging.chmod(0o755)
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _is_complete(file: Path) -> bool:
    """Whether the file exists with the content that its note states."""
    return file.is_file() and _read_note(file.parent).get("sha256") == content_hash([file])


def _read_note(folder: Path) -> dict[str, Any]:
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _read_entry(folder: Path) -> Artifact:
    size = sum(file.stat().st_size for file in folder.iterdir())
    return Artifact(folder, folder.parent.name, _read_note(folder).get("key", {}), size, folder.stat().st_mtime)


def _touch(folder: Path) -> None:
    """Record the time of use; a read-only cache needs none."""
    try:
        os.utime(folder)
    except OSError:
        logger.debug("cannot record the use of %s", folder)


def content_hash(paths: Iterable[Path]) -> str:
    """SHA-256 over the contents of files, in order.

    Args:
        paths: the files.

    Returns:
        64 hexadecimal digits.

    Raises:
        OSError: a file cannot be read.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.txt")
        ...     _ = file.write_text("built")
        ...     len(content_hash([file])), content_hash([file]) == content_hash([])
        (64, False)
    """
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
