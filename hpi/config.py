"""Pipeline configuration in PaddleX's YAML format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from hpi.errors import ConfigError
from hpi.validation import Record, is_yaml, parse, read_yaml

_DEVICE = re.compile(r"(cpu|(gpu|cuda|npu|xpu|mlu|dcu|gcu)(:\d+(,\d+)*)?)")


class HpiConfig(BaseModel):
    """PaddleX's ``hpi_config``: ``backend`` is honoured; what only its plugin has is accepted and has no effect."""

    model_config = ConfigDict(frozen=True, extra="allow")
    backend: str | None = None


class _Module(Record):
    """Fields that both modules share. Those of PaddleX's engines are accepted and have no effect."""

    module_name: str | None = None
    model_name: str
    model_dir: str | None = None
    use_hpip: bool | None = None
    hpi_config: HpiConfig | None = None
    engine: str | None = None
    engine_config: Mapping[str, Any] | None = None


class DetectionModule(_Module):
    """The detector. ``batch_size`` counts images."""

    batch_size: Annotated[int, Field(ge=1)] = 1
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    img_size: None = None


class KeypointModule(_Module):
    """The keypoint model. ``batch_size`` has no effect: all people of a batch of images go together."""

    batch_size: Annotated[int, Field(ge=1)] = 1
    flip: bool | None = None
    use_udp: bool | None = None


class SubModules(Record):
    """The modules of the human keypoint pipeline."""

    ObjectDetection: DetectionModule
    KeypointDetection: KeypointModule


class PipelineConfig(Record):
    """A pipeline file. ``Serving`` and PaddleX's engine fields are read by others."""

    pipeline_name: str
    modules: SubModules = Field(alias="SubModules")
    use_hpip: bool | None = None
    hpi_config: HpiConfig | None = None
    engine: str | None = None
    engine_config: Mapping[str, Any] | None = None
    Serving: Mapping[str, Any] | None = None

    def hpi_config_of(self, module: _Module) -> HpiConfig:
        """The ``hpi_config`` of a module; its own fields outrank the pipeline's, as in PaddleX."""
        layers = (layer.model_dump(exclude_unset=True) for layer in (self.hpi_config, module.hpi_config) if layer)
        return HpiConfig.model_validate({key: value for layer in layers for key, value in layer.items()})


def pipeline_names() -> list[str]:
    """Pipelines that come with the package."""
    folder = files("hpi.configs") / "pipelines"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def pipeline_text(name: str) -> str:
    """The YAML of a pipeline that comes with the package.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in pipeline_names():
        raise ConfigError(f"unknown pipeline {name!r}; known are {', '.join(pipeline_names())}")
    return (files("hpi.configs") / "pipelines" / f"{name}.yaml").read_text(encoding="utf-8")


def read_pipeline(source: str | Path | Mapping[str, Any]) -> PipelineConfig:
    """Read a pipeline by name, from a YAML file, or from the content of one.

    Raises:
        ConfigError: no such file or name, or its content is wrong; the message names file and field.
    """
    if isinstance(source, Mapping):
        return parse(PipelineConfig, source, "config")
    if is_yaml(source):
        return parse(PipelineConfig, read_yaml(Path(source)), str(source))
    pipeline_text(str(source))
    with as_file(files("hpi.configs") / "pipelines" / f"{source}.yaml") as path:
        return parse(PipelineConfig, read_yaml(path), str(path))


def check_device(device: str) -> str:
    """Check a device string of PaddleX: ``cpu``, ``gpu``, ``gpu:0``, ``gpu:0,1`` and the like.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        raise ConfigError(f"device {device!r}: give cpu, gpu, or gpu:0 and the like")
    return device
