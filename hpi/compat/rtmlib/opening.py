"""From rtmlib's arguments to a :class:`hpi.Predictor`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from os import PathLike, fspath
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from hpi.errors import ConfigError
from hpi.io.validation import parse
from hpi.models.description import Description
from hpi.models.readers import Hints, read
from hpi.options import AUTO
from hpi.predictor import Predictor
from hpi.zoo import Bundled, HuggingFace, ModelConfig, Url, Zoo

logger = logging.getLogger(__name__)

ModelSource = str | PathLike[str]
"""The path of an ONNX file or a folder, a name of the registry, or an address that rtmlib has for such a model."""
Size = tuple[int, int]
Channels = tuple[float, float, float]
Changes = Mapping[str, Any]


def open_model(
    source: ModelSource,
    kind: str,
    skeleton: str,
    change: Callable[[Description], Changes],
    *,
    backend: str | None,
    device: str,
    options: Mapping[str, Any],
) -> Predictor:
    """Open a model, described as its files say, with changes.

    Args:
        source: where it is.
        kind: what an ONNX file is that does not say it, one of the names of ``Predictor(kind=)``.
        skeleton: what it finds where there are several sets of so many keypoints.
        change: from the model's description to other fields of it. None in a section leaves a field as it is.
        backend: rtmlib's name of a runtime.
        device: rtmlib's name of a device.
        options: further ones of :class:`hpi.Predictor`.

    Raises:
        HpiError: as of :class:`hpi.Predictor`.
    """
    path, name = _files(source)
    description = read(path, name, Hints(kind, usual=(skeleton,))).description
    if description is None:
        raise ConfigError(f"{path}: this is not an ONNX model of the kind {kind}; open it with hpi.Predictor")
    content = {"name": name, **description.written}
    for field, value in change(description).items():
        if isinstance(value, Mapping):
            given = {name: one for name, one in value.items() if one is not None}
            content[field] = {**content.get(field, {}), **given}
        else:
            content[field] = value
    changed = parse(Description, content, str(path))
    return Predictor(path, description=changed, backend=_runtime(backend), device=_device(device), **options)


def _files(source: ModelSource) -> tuple[Path, str | None]:
    """The files of a model, and its name where it is one of the registry."""
    path = Path(source)
    if path.exists():
        return path, None
    zoo = Zoo.default()
    name = _registered(fspath(source), zoo.models)
    return zoo.find(name).folder, name


def _registered(source: str, models: Mapping[str, ModelConfig]) -> str:
    """The name that the registry has for a model, also by its address."""
    if source in models:
        return source
    if "://" not in source:
        raise ConfigError(f"{source}: there is no such file, and no model of the registry has this name")
    for name, config in models.items():
        if any(_is_at(one, source) for one in config.sources):
            return name
    raise ConfigError(f"{source}: no model of the registry has this address; download it and give the file's path")


def _is_at(source: Bundled | HuggingFace | Url, address: str) -> bool:
    """Whether an address means the file of a source; a file of OpenMMLab has the same name on every server."""
    match source:
        case Url():
            return _file_name(source.url) == _file_name(address)
        case HuggingFace(file=str(file)):
            return f"/{source.hugging_face}/" in address and urlsplit(address).path.endswith(f"/{file}")
    return False


def _file_name(address: str) -> str:
    return PurePosixPath(urlsplit(address).path).name


def _runtime(backend: str | None) -> str:
    if backend == "opencv":
        logger.warning(
            "backend='opencv' has no effect: OpenCV's runtime is not used here, but the fastest of the others"
        )
        return AUTO
    return backend or AUTO


def _device(device: str) -> str:
    """``cpu``, ``cuda`` and ``cuda:1`` mean the same here."""
    if device in {"mps", "rocm", "npu"}:
        logger.warning("device=%r has no effect: no runtime here uses it; the CPU is used", device)
        return "cpu"
    return device
