"""A model's name becomes a folder on disk: from the cache, from PaddleX's, or from the first source that works."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from hpi.backends.artifacts import NOTE, staging_folder
from hpi.backends.base import INT8
from hpi.errors import ConfigError, ModelError
from hpi.instances import Skeleton
from hpi.io.home import home_folder
from hpi.io.validation import nearest
from hpi.models.int8 import Int8Artifact
from hpi.models.readers import Hints, read_model
from hpi.models.spec import ModelSpec
from hpi.skeletons import load_skeleton
from hpi.zoo.configs import Bundled, Export, ModelConfig, packaged_configs, read_config
from hpi.zoo.download import download
from hpi.zoo.notes import problem_with, write_note
from hpi.zoo.paddlex_cache import find_in_paddlex_cache

logger = logging.getLogger(__name__)

MOST_LIKELY = 4
"""Most names that are suggested."""

_OF_ULTRALYTICS = re.compile(r"yolo(v[358]|11|12|26)[nsmlx]\d?(-[a-z0-9]+)*(\.pt)?", re.IGNORECASE)


@dataclass(frozen=True)
class Zoo:
    """The known models, and where they are kept.

    Attributes:
        home: folder of everything that the engine stores: ``models/``, ``quantized/`` and ``artifacts/``.

    Example:
        >>> zoo = Zoo(Path("/tmp/hpi"))
        >>> zoo.models["PP-TinyPose_128x96"].input_size
        (128, 96)
    """

    home: Path

    @classmethod
    def default(cls) -> Zoo:
        """The zoo in ``HPI_HOME``, or else in the user's cache folder."""
        return cls(home_folder())

    @property
    def artifacts(self) -> Path:
        """Folder of the files that are made from models, such as converted graphs."""
        return self.home / "artifacts"

    @property
    def own_priors(self) -> Path:
        """File of the measurements made on this machine."""
        return self.home / "priors.json"

    @cached_property
    def models(self) -> dict[str, ModelConfig]:
        """Every known model by name: those of the package, and those that were added."""
        return packaged_configs()

    def add(self, path: Path) -> ModelConfig:
        """Add the model of a YAML file, which looks like those in ``configs/models``.

        Raises:
            ConfigError: the file is missing or wrong, or another model has the same name.
        """
        config = read_config(path)
        if self.models.get(config.name, config) != config:
            raise ConfigError(f"{path}: {config.name!r} is the name of another model; choose a different name")
        self.models[config.name] = config
        return config

    def skeleton_of(self, model: str) -> Skeleton | None:
        """The skeleton of a keypoint model; None for a detector or an unknown model."""
        config = self.models.get(model)
        return load_skeleton(config.skeleton) if config and config.skeleton else None

    def cached(self, name: str) -> Path | None:
        """The folder of a known model in the cache; None if it would have to be downloaded."""
        folder = self._folder(name)
        return folder if problem_with(folder, self.models[name]) is None else None

    def of_paddlex(self, name: str) -> ModelSpec | None:
        """A model that PaddleX has downloaded; None if it is not there, incomplete or damaged."""
        return find_in_paddlex_cache(name, self._read)

    def place_of(self, name: str) -> str:
        """Where a known model would come from now.

        Returns:
            ``"cached"``, ``"of PaddleX"``, ``"bundled"``, ``"to download"`` or ``"to be exported"``.

        Example:
            >>> Zoo(Path("/nonexistent")).place_of("PicoDet-S_person_416")
            'bundled'
        """
        if self.cached(name):
            return "cached"
        if self.of_paddlex(name):
            return "of PaddleX"
        if self.models[name].export:
            return "to be exported"
        return "bundled" if isinstance(self.models[name].sources[0], Bundled) else "to download"

    def find(self, name: str, model_dir: Path | None = None, hints: Hints | None = None) -> ModelSpec:
        """Find a model: in ``model_dir`` if given, else in the cache, in PaddleX's, or from its first working source.

        ``hints`` say what its files do not say.

        A cached model that is damaged, or that came from other sources, is downloaded again, with a warning.

        Raises:
            ConfigError: the name is unknown and there is no ``model_dir``.
            ModelError: no source works, the model must be exported first, or the folder cannot be read or holds another
                model.
        """
        if model_dir is not None:
            return self._read(model_dir, name, hints)
        if name not in self.models:
            hint = "For a model of your own, give its folder as model_dir"
            raise ConfigError(
                why_not_fetched(name) or f"unknown model {name!r}; {suggestion(name, self.models)}. {hint}"
            )
        folder, config = self._folder(name), self.models[name]
        problem = problem_with(folder, config)
        if problem is not None:
            if spec := self.of_paddlex(name):
                return spec
            if config.export is not None:
                raise ModelError(_how_to_export(config, config.export, problem, folder))
            folder = self._obtain(config, problem)
        return self._read(folder, name, hints)

    def int8_folder(self, spec: ModelSpec) -> Path:
        """Where a model's calibration for INT8 is kept, by the content of its files; nothing there is ever pruned."""
        return self.home / "quantized" / spec.files.content[:32]

    def with_int8(self, spec: ModelSpec) -> ModelSpec:
        """A model with its calibration for INT8: beside its files, else kept here; unchanged where there is none.

        Raises:
            ModelError: it is damaged, or was made of other weights.
        """
        for folder in (spec.folder / INT8, self.int8_folder(spec)):
            if (folder / NOTE).is_file():
                return spec.with_int8(Int8Artifact.read(folder, spec.files.content))
        return spec

    def of_path(self, folder: Path, hints: Hints | None = None) -> ModelSpec:
        """Read the model of a folder or file, called as its files say, else as the folder.

        A folder may by chance have the name of a known model with another input; then that does not become the name.

        Raises:
            ModelError: the folder cannot be read, or states the name of another model.

        Example:
            >>> zoo = Zoo.default()
            >>> zoo.of_path(zoo.find("MoveNet-Thunder_256x256").folder).name
            'MoveNet-Thunder_256x256'
        """
        spec = read_model(folder, hints=hints)
        config = None if hints and hints.description else self.models.get(spec.name)
        if config is None:
            return spec
        if spec.name_is_stated or _is_of(spec, config):
            return self._as_known(spec, config)
        name = "{} of {}x{}".format(spec.name, *reversed(spec.input_size))
        return replace(spec, name=name, files=replace(spec.files, name=name))

    def _folder(self, name: str) -> Path:
        return self.home / "models" / name

    def _read(self, folder: Path, name: str, hints: Hints | None = None) -> ModelSpec:
        """Read a folder, which must agree with what is known of a model with that name."""
        config = self.models.get(name)
        given = hints or Hints()
        if config is None or given.description is not None:
            return read_model(folder, name, given)
        usual = (*given.usual, *((config.skeleton,) if config.skeleton else ()))
        spec = read_model(folder, name, Hints(given.kind or config.kind, given.skeleton, usual))
        return self._as_known(spec, config)

    def _as_known(self, spec: ModelSpec, config: ModelConfig) -> ModelSpec:
        """A model that agrees with what is known of it, with the skeleton that is known."""
        if not _is_of(spec, config):
            width, height = spec.input_size
            raise ModelError(
                f"{spec.yml}: this is a model for {spec.task} with an input of {height}x{width} (height x width), but "
                f"{config.name} is one for {config.task} with {'x'.join(map(str, config.input_size))}; give the folder "
                f"of {config.name}, or the model's own name"
            )
        return spec if spec.skeleton is not None else replace(spec, skeleton=self.skeleton_of(config.name))

    @cached_property
    def _temporary(self) -> tempfile.TemporaryDirectory[str]:
        """Stands in for a home that cannot be written; lasts as long as this zoo."""
        return tempfile.TemporaryDirectory(prefix="hpi-")

    def _obtain(self, config: ModelConfig, problem: str) -> Path:
        """Get a model into the cache, or into a temporary folder if the cache cannot be written."""
        if os.path.isdir(self._folder(config.name)):  # noqa: PTH112 - Path raises where it may not look
            logger.warning("%s %s; fetching it again", config.name, problem)
        try:
            return self._obtain_in(self.home, config, problem)
        except OSError as error:
            logger.warning(
                "cannot write to %s: %s. Models now go into a temporary folder and are fetched again each time; make "
                "it writable or point HPI_HOME to another folder",
                self.home,
                str(error),
            )
        try:
            return self._obtain_in(Path(self._temporary.name), config, problem)
        except OSError as error:
            raise ModelError(f"{config.name}: no temporary folder can be written: {error}") from error

    def _obtain_in(self, home: Path, config: ModelConfig, problem: str) -> Path:
        """Get a model whole or not at all; other processes that want it wait for the first."""
        folder = home / "models" / config.name
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{config.name}.lock")):
            if problem_with(folder, config) is not None:
                with staging_folder(folder) as staging:
                    self._download_first(config, staging, problem)
                    write_note(staging, config)
                    if folder.is_dir():
                        shutil.rmtree(folder)
                    staging.rename(folder)
        return folder

    def _download_first(self, config: ModelConfig, staging: Path, problem: str) -> None:
        """Fill a folder from the first source that works."""
        failures = []
        for source in config.sources:
            try:
                download(source, staging)
                self._read(staging, config.name)
            except ModelError as error:
                failures.append(str(error))
                shutil.rmtree(staging)
                staging.mkdir()
            else:
                return
        raise ModelError(
            f"{config.name} {problem} and could not be fetched. Tried: {'; '.join(failures)}. "
            "Three ways out: connect to the network and try again; copy the model's files into the cache as "
            f"{self._folder(config.name)}; or pass the folder of its files as model_dir. "
            "The pipeline human_keypoint_detection_lite needs no download."
        )


def why_not_fetched(name: str) -> str | None:
    """Why a model whose name others know has none here, and what to do; None of any other name.

    Example:
        >>> why_not_fetched("yolo11n-pose").partition(":")[0]
        "no model is called 'yolo11n-pose'"
        >>> why_not_fetched("yolox-m_humanart") is None
        True
    """
    if "://" in name:
        return f"{name}: this is an address; download it, and give the path of the file"
    if not _OF_ULTRALYTICS.fullmatch(name):
        return None
    stem = name.removesuffix(".pt")
    return (
        f"no model is called {name!r}: Ultralytics' models have the licence AGPL-3.0, so they are neither shipped nor "
        f"fetched. Where that suits you, make a file with their package, yolo export model={stem}.pt format=onnx, and "
        f"give its path: ./{stem}.onnx"
    )


def suggestion(name: str, known: Iterable[str]) -> str:
    """What to tell somebody whose name is not a known one.

    Example:
        >>> suggestion("rtmw", ["rtmo-m", "rtmw-l", "rtmw-m"])
        'did you mean rtmw-l or rtmw-m? hpi models lists all names'
    """
    known, start = sorted(known, key=len), name.casefold()
    likely = [one for one in known if start and one.casefold().startswith(start)][:MOST_LIKELY]
    if not likely and (near := nearest(name, known)):
        likely = [near]
    return (f"did you mean {' or '.join(likely)}? " if likely else "") + "hpi models lists all names"


def _is_of(spec: ModelSpec, config: ModelConfig) -> bool:
    """Whether what is known of a model holds for the files of a folder."""
    return (spec.task, spec.input_size[::-1]) == (config.task, config.input_size)


def _how_to_export(config: ModelConfig, export: Export, problem: str, folder: Path) -> str:
    return (
        f"{config.name} {problem}, and is not published ready to run: {export.weights} is the checkpoint of a training "
        f"that must be exported. In a checkout of PaddleDetection run: {export.command} (it downloads the checkpoint). "
        f"Then give the folder {export.folder} that it writes as model_dir, or copy that folder to {folder}"
    )
