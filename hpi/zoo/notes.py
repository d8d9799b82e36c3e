"""The note beside each downloaded model: where it came from and what its files were, to notice damage."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpi.backends.artifacts import content_hash
from hpi.errors import ModelError
from hpi.io.files import write_whole
from hpi.io.validation import Record, parse
from hpi.zoo.configs import ModelConfig

NOTE = "sources.json"


class _FileNote(Record):
    """Size (bytes), time and hash of a downloaded file."""

    size: int
    modified_ns: int
    sha256: str

    @classmethod
    def of(cls, file: Path) -> _FileNote:
        stat = file.stat()
        return cls(size=stat.st_size, modified_ns=stat.st_mtime_ns, sha256=content_hash([file]))

    def describes(self, file: Path) -> bool:
        """Whether a file has this size and time; its content is not read."""
        if not file.is_file():
            return False
        stat = file.stat()
        return (stat.st_size, stat.st_mtime_ns) == (self.size, self.modified_ns)

    def has_content_of(self, file: Path) -> bool:
        """Whether a file has this content."""
        return file.is_file() and file.stat().st_size == self.size and content_hash([file]) == self.sha256


class _Note(Record):
    """The content of a note."""

    sources: list[dict[str, Any]]
    files: dict[str, _FileNote]

    def is_of(self, config: ModelConfig) -> bool:
        """Whether the sources are those of a model; an earlier version also noted fields without a value."""
        stated = [{name: value for name, value in source.items() if value is not None} for source in self.sources]
        return stated == _sources(config)


def write_note(folder: Path, config: ModelConfig) -> None:
    """Write the note of a model's folder.

    Raises:
        OSError: the folder cannot be read or written.

    Example:
        >>> import tempfile
        >>> from hpi.zoo.configs import packaged_configs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_note(Path(folder), packaged_configs()["PicoDet-S_person_416"])
        ...     [file.name for file in Path(folder).iterdir()]
        ['sources.json']
    """
    described = [file for file in sorted(folder.iterdir()) if file.is_file() and file.name != NOTE]
    note = _Note(sources=_sources(config), files={file.name: _FileNote.of(file) for file in described})
    write_whole(folder / NOTE, note.model_dump_json(indent=1).encode())


def problem_with(folder: Path, config: ModelConfig) -> str | None:
    """Why a folder of the cache cannot be used for a model, as the end of a sentence; None if it can.

    A folder without a note was put there by hand, and is used as it is. Otherwise, a file is hashed only if its size
    or time differs from the note: hashing all of them would slow down every start, and writing to a file changes its
    time.

    Example:
        >>> import tempfile
        >>> from hpi.zoo.configs import packaged_configs
        >>> config = packaged_configs()["PicoDet-S_person_416"]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "inference.yml").write_text("mode: paddle")
        ...     write_note(Path(folder), config)
        ...     before = problem_with(Path(folder), config)
        ...     _ = (Path(folder) / "inference.yml").write_text("mode: other")
        ...     before, problem_with(Path(folder), config).startswith("is damaged in the cache")
        (None, True)
    """
    try:
        if not folder.is_dir():
            return f"is not in the cache ({folder.parent})"
        note = _read_note(folder)
        if note is None:
            return None
        if not note.is_of(config):
            return f"is in the cache ({folder}), but was downloaded from sources other than those configured now"
        changed = [name for name, file in note.files.items() if not file.describes(folder / name)]
        damaged = [name for name in changed if not note.files[name].has_content_of(folder / name)]
        if damaged:
            return f"is damaged in the cache ({folder}: {', '.join(damaged)})"
    except (ModelError, OSError) as error:
        return f"is damaged in the cache ({folder}: {error})"
    if changed:  # the same content at another time: copied, for instance
        with suppress(OSError):
            write_note(folder, config)
    return None


def _read_note(folder: Path) -> _Note | None:
    """The note of a folder; None if it has none."""
    file = folder / NOTE
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{file}: not valid JSON: {error}") from error
    if isinstance(content, list):  # the earlier format, without the files
        content = {"sources": content, "files": {}}
    return parse(_Note, content, str(file), ModelError)


def _sources(config: ModelConfig) -> list[dict[str, Any]]:
    return [source.model_dump(mode="json", exclude_defaults=True) for source in config.sources]
