"""Files made from models (converted graphs), kept under the hash of what they were made from."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from hpi.errors import BackendError


@dataclass(frozen=True)
class ArtifactCache:
    """A folder of artifacts: ``<root>/<kind>/<key>/<file>`` beside a ``key.json`` that says what it is."""

    root: Path

    def get(self, kind: str, key: Mapping[str, str], filename: str, build: Callable[[Path], None]) -> Path:
        """Return the artifact for ``key``, building it when it is not there.

        It is built in a folder of its own and appears whole or not at all; processes that want the same artifact
        at once wait for the first.

        Args:
            kind: the kind of artifact, the name of its folder.
            key: everything that the content depends on.
            filename: name of the file inside the artifact.
            build: writes the file to the path that it is given.

        Returns:
            The path of the finished file.

        Raises:
            BackendError: the folder cannot be written. What ``build`` raises passes through.
        """
        text = json.dumps(key, sort_keys=True, indent=2)
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        folder = self.root / kind / digest
        if (folder / filename).is_file():
            return folder / filename
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_name(f".{digest}.lock")):
                if not (folder / filename).is_file():
                    self._build(folder, text, filename, build)
        except OSError as error:
            raise BackendError(
                f"cannot write to the artifact cache {self.root}: {error}; make it writable or point HPI_HOME to "
                "another folder"
            ) from error
        return folder / filename

    @staticmethod
    def _build(folder: Path, key: str, filename: str, build: Callable[[Path], None]) -> None:
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            build(staging / filename)
            (staging / "key.json").write_text(key, encoding="utf-8")
            staging.chmod(0o755)
            staging.rename(folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def content_hash(paths: Iterable[Path]) -> str:
    """SHA-256 over the contents of files, in order."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
