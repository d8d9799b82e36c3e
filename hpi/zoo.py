"""A model's name becomes a folder on disk: the cache, the archives in the package, or the official download."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import platformdirs
from filelock import FileLock
from pydantic import Field

from hpi.backends.artifacts import content_hash, staging_folder
from hpi.backends.file_checks import check_weights
from hpi.errors import BackendError, ConfigError, ModelError
from hpi.instances import Skeleton
from hpi.io.archives import unpack
from hpi.io.fetch import fetch, shown
from hpi.io.files import write_whole
from hpi.io.validation import Record, parse, read_yaml
from hpi.model_files import ModelSpec, Task, read_model
from hpi.skeletons import load_skeleton

logger = logging.getLogger(__name__)

MAX_DOWNLOAD_BYTES = 1 << 30
MAX_DOWNLOAD_S = 3600
SOURCES_NOTE = "sources.json"


class Accuracy(Record):
    """A figure, and who measured it: ``by`` is ``hpi`` for our own."""

    metric: str
    value: float
    dataset: str
    by: str


class Bundled(Record):
    """An archive inside the package."""

    bundled: str
    sha256: str


class HuggingFace(Record):
    """A repository on the Hugging Face Hub."""

    hugging_face: str


class Url(Record):
    """An archive at an http(s) address."""

    url: str
    sha256: str | None = None


class ModelConfig(Record):
    """One file of ``configs/models``."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    task: Task
    summary: str
    input_size: tuple[int, int]
    skeleton: str | None = None
    license: str
    accuracy: Accuracy | None = None
    sources: Annotated[list[Bundled | HuggingFace | Url], Field(min_length=1)]


class _FileNote(Record):
    """What a fetched file was like."""

    size: int
    modified_ns: int
    sha256: str

    @classmethod
    def of(cls, file: Path) -> _FileNote:
        stat = file.stat()
        return cls(size=stat.st_size, modified_ns=stat.st_mtime_ns, sha256=content_hash([file]))

    def describes(self, file: Path) -> bool:
        """Whether a file has this size and time; its content is not looked at."""
        if not file.is_file():
            return False
        stat = file.stat()
        return (stat.st_size, stat.st_mtime_ns) == (self.size, self.modified_ns)

    def has_content_of(self, file: Path) -> bool:
        """Whether a file has this content."""
        return file.is_file() and file.stat().st_size == self.size and content_hash([file]) == self.sha256


class _Note(Record):
    """What the zoo notes in each folder that it makes: where the model came from, and its files."""

    sources: list[dict[str, str | None]]
    files: dict[str, _FileNote]


@dataclass(frozen=True)
class Zoo:
    """The known models, and where they are kept.

    Attributes:
        home: folder of everything that the engine stores: ``models/`` and ``artifacts/``.
    """

    home: Path

    @classmethod
    def default(cls) -> Zoo:
        """The zoo in ``HPI_HOME``, or in the platform's cache folder of the user."""
        home = os.environ.get("HPI_HOME")
        return cls(Path(home).expanduser() if home else Path(platformdirs.user_cache_dir("hpi")))

    @property
    def artifacts(self) -> Path:
        """Folder of what is made from models."""
        return self.home / "artifacts"

    @property
    def own_priors(self) -> Path:
        """File of what was measured on this machine."""
        return self.home / "priors.json"

    @cached_property
    def models(self) -> dict[str, ModelConfig]:
        """Every model of ``configs/models`` by name."""
        folder = files("hpi.configs") / "models"
        configs = {}
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            with as_file(entry) as path:
                config = parse(ModelConfig, read_yaml(path), str(path))
            configs[config.name] = config
        return configs

    def add(self, path: Path) -> ModelConfig:
        """Make the model of a YAML file (the form of ``configs/models``) known to this zoo.

        Raises:
            ConfigError: the file is wrong, or it takes the name of another model.
        """
        config = parse(ModelConfig, read_yaml(path), str(path))
        if self.models.get(config.name, config) != config:
            raise ConfigError(f"{path}: {config.name!r} is the name of another model; choose one of its own")
        self.models[config.name] = config
        return config

    def skeleton_of(self, model: str) -> Skeleton | None:
        """The skeleton of a keypoint model that is known here, or None."""
        config = self.models.get(model)
        return load_skeleton(config.skeleton) if config and config.skeleton else None

    def cached(self, name: str) -> Path | None:
        """The folder of a model that needs no fetching, or None."""
        folder = self._folder(name)
        return folder if _flaw(folder, self.models[name]) is None else None

    def of_paddlex(self, name: str) -> ModelSpec | None:
        """A model that PaddleX has downloaded, from its cache, which is never written to; None where there is none."""
        try:
            home = os.environ.get("PADDLE_PDX_CACHE_HOME")
            folder = (Path(home) if home else Path.home() / ".paddlex") / "official_models" / name
            if not folder.is_dir():
                return None
            spec = self._read(folder, name)
            if spec.files.paddle is not None:
                check_weights(spec.files.paddle.params)
        except (ModelError, BackendError) as error:  # half downloaded, for instance
            logger.warning("%s in PaddleX's cache is left aside: %s", name, error)
        except (OSError, RuntimeError) as error:  # a home that may not be read, or none
            logger.debug("PaddleX's cache is left aside: %s", error)
        else:
            return spec
        return None

    def find(self, name: str, model_dir: Path | None = None) -> ModelSpec:
        """Find a model: ``model_dir`` if given, else the cache, PaddleX's, or the first of its sources that answers.

        A model of the cache that has changed since it was fetched is fetched anew, with a warning.

        Raises:
            ConfigError: the name is unknown and there is no ``model_dir``.
            ModelError: no source answered, or the folder cannot be read or is that of another model.
        """
        if model_dir is not None:
            return self._read(model_dir, name)
        if name not in self.models:
            raise ConfigError(
                f"unknown model {name!r}; known are {', '.join(self.models)}. A model of your own: give its folder as "
                "model_dir"
            )
        folder, config = self._folder(name), self.models[name]
        flaw = _flaw(folder, config)
        if flaw is not None:
            if spec := self.of_paddlex(name):
                return spec
            folder = self._obtain(config, flaw)
        return self._read(folder, name)

    def _folder(self, name: str) -> Path:
        return self.home / "models" / name

    def _read(self, folder: Path, name: str) -> ModelSpec:
        """Read a folder, which must not contradict what is known of a model with that name."""
        spec = read_model(folder, name)
        config = self.models.get(name)
        if config is None:
            return spec
        spec = replace(spec, skeleton=self.skeleton_of(name))
        width, height = spec.input_size
        if (spec.task, (height, width)) != (config.task, config.input_size):
            raise ModelError(
                f"{spec.yml}: this is a model for {spec.task} with an input of {height}x{width} (height x width), but "
                f"{name} is one for {config.task} with {'x'.join(map(str, config.input_size))}; give the folder of "
                f"{name}, or the model's own name"
            )
        return spec

    @cached_property
    def _temporary(self) -> tempfile.TemporaryDirectory[str]:
        """Stands in for a home that cannot be written; lasts as long as this zoo."""
        return tempfile.TemporaryDirectory(prefix="hpi-")

    def _obtain(self, config: ModelConfig, flaw: str) -> Path:
        """Fetch a model into the cache, or into a temporary folder where the cache cannot be written."""
        if self._folder(config.name).is_dir():
            logger.warning("%s %s; it is fetched anew", config.name, flaw)
        try:
            return self._obtain_in(self.home, config, flaw)
        except OSError as error:
            logger.warning(
                "cannot write to %s: %s. Until it can, models are fetched anew each time, into a temporary folder; "
                "make it writable or point HPI_HOME to another folder",
                self.home,
                str(error),
            )
        try:
            return self._obtain_in(Path(self._temporary.name), config, flaw)
        except OSError as error:
            raise ModelError(f"{config.name}: no temporary folder can be written: {error}") from error

    def _obtain_in(self, home: Path, config: ModelConfig, flaw: str) -> Path:
        """Fetch a model, whole or not at all; processes that want it at once wait for the first."""
        folder = home / "models" / config.name
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{config.name}.lock")):
            if _flaw(folder, config) is not None:
                with staging_folder(folder) as staging:
                    self._fetch_from_first(config, staging, flaw)
                    _write_note(staging, config)
                    if folder.is_dir():
                        shutil.rmtree(folder)
                    staging.rename(folder)
        return folder

    def _fetch_from_first(self, config: ModelConfig, staging: Path, flaw: str) -> None:
        failures = []
        for source in config.sources:
            try:
                match source:
                    case Bundled():
                        _unpack_bundled(source, staging)
                    case HuggingFace():
                        _download_repository(source, staging)
                    case Url():
                        _download_archive(source, staging)
                self._read(staging, config.name)
            except ModelError as error:
                failures.append(str(error))
                shutil.rmtree(staging)
                staging.mkdir()
            else:
                return
        raise ModelError(
            f"{config.name} {flaw} and could not be fetched. Tried: "
            f"{'; '.join(failures)}. "
            "Three ways out: connect to the network and try again; put the model's folder into the cache as "
            f"{self.home / 'models' / config.name}; or pass its folder as model_dir. "
            "Without any download: the pipeline human_keypoint_detection_lite."
        )


def _flaw(folder: Path, config: ModelConfig) -> str | None:
    """What keeps a folder of the cache from serving a model, said of the model; None where nothing does.

    A folder that was put there by hand, without a note, serves as it is. Of files that were fetched, content is only
    compared where size and time are not those of the note: hashing all of them would cost every start, and what
    damages a file by writing to it changes its time.
    """
    if not folder.is_dir():
        return f"is not in the cache ({folder.parent})"
    try:
        note = _read_note(folder)
        if note is None:
            return None
        if note.sources != _sources(config):
            return f"is in the cache ({folder}) from other sources than it has now"
        changed = [name for name, file in note.files.items() if not file.describes(folder / name)]
        damaged = [name for name in changed if not note.files[name].has_content_of(folder / name)]
        if damaged:
            return f"is damaged in the cache ({folder}: {', '.join(damaged)})"
    except (ModelError, OSError) as error:
        return f"is damaged in the cache ({folder}: {error})"
    if changed:  # copied, for instance
        with suppress(OSError):
            _write_note(folder, config)
    return None


def _read_note(folder: Path) -> _Note | None:
    """The note of a folder of the cache; None of one that was put there by hand."""
    file = folder / SOURCES_NOTE
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{file}: not valid JSON: {error}") from error
    if isinstance(content, list):  # as it was before it also described the files
        content = {"sources": content, "files": {}}
    return parse(_Note, content, str(file), ModelError)


def _write_note(folder: Path, config: ModelConfig) -> None:
    files_there = [file for file in sorted(folder.iterdir()) if file.is_file() and file.name != SOURCES_NOTE]
    note = _Note(sources=_sources(config), files={file.name: _FileNote.of(file) for file in files_there})
    write_whole(folder / SOURCES_NOTE, note.model_dump_json(indent=1).encode())


def _sources(config: ModelConfig) -> list[dict[str, str | None]]:
    return [source.model_dump() for source in config.sources]


def _unpack_bundled(source: Bundled, target: Path) -> None:
    with as_file(files("hpi.configs") / "bundled" / source.bundled) as archive:
        if not archive.is_file():
            raise ModelError(f"{source.bundled}: missing from this installation; reinstall the package")
        _check_hash(archive, source.sha256, source.bundled)
        unpack(archive, target)


def _download_archive(source: Url, target: Path) -> None:
    # The archive lies beside the folder that it is unpacked into, on the same disk.
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".download.", delete=False) as stream:
        archive = Path(stream.name)
        try:
            url = shown(source.url)
            with _progress_bar(url) as advance:
                announced = fetch(
                    source.url,
                    stream,
                    limit=MAX_DOWNLOAD_BYTES,
                    seconds=MAX_DOWNLOAD_S,
                    error=ModelError,
                    progress=advance,
                )
            stream.close()
            if announced is None and source.sha256 is None:
                raise ModelError(f"{url}: the server does not say how large it is, so it cannot be checked")
            if source.sha256:
                _check_hash(archive, source.sha256, url)
            unpack(archive, target)
        finally:
            stream.close()
            archive.unlink()


def _download_repository(source: HuggingFace, target: Path) -> None:
    from huggingface_hub import snapshot_download

    patterns = ["inference.json", "inference.pdiparams", "inference.yml", "inference.onnx"]
    try:
        # It shows its own progress bars and checks size and hash of each file.
        snapshot_download(source.hugging_face, local_dir=target, allow_patterns=patterns)
    except Exception as error:
        summary = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ModelError(f"Hugging Face {source.hugging_face}: cannot be fetched: {summary}") from error
    shutil.rmtree(target / ".cache", ignore_errors=True)


def _check_hash(archive: Path, sha256: str, label: str) -> None:
    if content_hash([archive]) != sha256:
        raise ModelError(f"{label}: the content is not the expected one (SHA-256 differs from {sha256})")


@contextmanager
def _progress_bar(label: str) -> Iterator[Callable[[int, int | None], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label.rsplit("/", 1)[-1])
        yield lambda done, total: progress.update(task, completed=done, total=total)
