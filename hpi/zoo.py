"""A model's name becomes a folder on disk: the cache, the archives in the package, or the official download."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from filelock import FileLock
from pydantic import Field

from hpi.archives import unpack
from hpi.backends.artifacts import content_hash, staging_folder
from hpi.errors import ConfigError, ModelError
from hpi.fetch import fetch, shown
from hpi.model_files import ModelSpec, Task, read_model
from hpi.validation import Record, parse, read_yaml

logger = logging.getLogger(__name__)

DEFAULT_SKELETON = "coco17"
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


class Skeleton(Record):
    """The joints of a body and the bones between them.

    Attributes:
        joints: names, in the order of the model's output.
        edges: bones as pairs of joint indices, by side: ``left``, ``right``, ``center``.
        visible_above: joints that score more are drawn.
    """

    joints: list[str]
    edges: dict[Literal["left", "right", "center"], list[tuple[int, int]]]
    visible_above: float

    @property
    def flip_pairs(self) -> list[tuple[int, int]]:
        """Joints that change places in a mirror image: ``left_*`` and ``right_*``."""
        place = {name: index for index, name in enumerate(self.joints)}
        return [
            (index, place[name.replace("left_", "right_", 1)])
            for name, index in place.items()
            if name.startswith("left_")
        ]


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

    def skeleton_of(self, model: str) -> Skeleton:
        """The skeleton of a keypoint model; of one that is not known here, COCO's."""
        config = self.models.get(model)
        name = (config.skeleton if config else None) or DEFAULT_SKELETON
        with as_file(files("hpi.configs") / "skeletons" / f"{name}.yaml") as path:
            return parse(Skeleton, read_yaml(path), str(path))

    def cached(self, name: str) -> Path | None:
        """The folder of a model that needs no fetching, or None."""
        folder = self.home / "models" / name
        return folder if _is_current(folder, self.models[name]) else None

    def find(self, name: str, model_dir: Path | None = None) -> ModelSpec:
        """Find a model: ``model_dir`` if given, else the cache, else the first of its sources that answers.

        Raises:
            ConfigError: the name is unknown and there is no ``model_dir``.
            ModelError: no source answered, or the folder cannot be read.
        """
        if model_dir is not None:
            return read_model(model_dir, name)
        if name not in self.models:
            raise ConfigError(
                f"unknown model {name!r}; known are {', '.join(self.models)}. A model of your own: give its folder as "
                "model_dir"
            )
        return read_model(self.cached(name) or self._obtain(self.models[name]), name)

    @cached_property
    def _temporary(self) -> tempfile.TemporaryDirectory[str]:
        """Stands in for a home that cannot be written; lasts as long as this zoo."""
        return tempfile.TemporaryDirectory(prefix="hpi-")

    def _obtain(self, config: ModelConfig) -> Path:
        """Fetch a model into the cache, or into a temporary folder where the cache cannot be written."""
        try:
            return self._obtain_in(self.home, config)
        except OSError as error:
            logger.warning(
                "cannot write to %s: %s. Until it can, models are fetched anew each time, into a temporary folder; "
                "make it writable or point HPI_HOME to another folder",
                self.home,
                str(error),
            )
        try:
            return self._obtain_in(Path(self._temporary.name), config)
        except OSError as error:
            raise ModelError(f"{config.name}: no temporary folder can be written: {error}") from error

    def _obtain_in(self, home: Path, config: ModelConfig) -> Path:
        """Fetch a model, whole or not at all; processes that want it at once wait for the first."""
        folder = home / "models" / config.name
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{config.name}.lock")):
            if not _is_current(folder, config):
                with staging_folder(folder) as staging:
                    self._fetch_from_first(config, staging)
                    (staging / SOURCES_NOTE).write_text(_sources_text(config), encoding="utf-8")
                    if folder.is_dir():
                        shutil.rmtree(folder)
                    staging.rename(folder)
        return folder

    def _fetch_from_first(self, config: ModelConfig, staging: Path) -> None:
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
                read_model(staging, config.name)
            except ModelError as error:
                failures.append(str(error))
                shutil.rmtree(staging)
                staging.mkdir()
            else:
                return
        raise ModelError(
            f"{config.name} is not in the cache ({self.home / 'models'}) and could not be fetched. Tried: "
            f"{'; '.join(failures)}. "
            "Three ways out: connect to the network and try again; put the model's folder into the cache as "
            f"{self.home / 'models' / config.name}; or pass its folder as model_dir. "
            "Without any download: the pipeline human_keypoint_detection_lite."
        )


def _is_current(folder: Path, config: ModelConfig) -> bool:
    """Whether a folder of the cache serves a model.

    One that came from other sources than the model's YAML now names does not; one that was put there by hand, without
    a note of its sources, does.
    """
    note = folder / SOURCES_NOTE
    return folder.is_dir() and (not note.is_file() or note.read_text(encoding="utf-8") == _sources_text(config))


def _sources_text(config: ModelConfig) -> str:
    return json.dumps([source.model_dump() for source in config.sources], indent=1)


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
