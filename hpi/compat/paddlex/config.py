"""Pipeline configuration in PaddleX's YAML format."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from hpi.errors import ConfigError
from hpi.options import MAX_THREADS
from hpi.validation import Record, is_yaml, parse, read_yaml

Threads = Annotated[int, Field(ge=1, le=MAX_THREADS)]


class BackendConfig(Record):
    """PaddleX's ``backend_config``, the fields of all its backends.

    The CPU threads and the precision are honoured. The others steer what only PaddleX's own runtimes have; they are
    accepted and have no effect.
    """

    cpu_num_threads: Threads | None = None
    cpu_threads: Threads | None = None
    precision: str | None = None
    run_mode: Literal["paddle", "paddle_fp32", "mkldnn"] | None = None
    dynamic_shapes: Mapping[str, Any] | None = None
    use_dynamic_shapes: bool | None = None
    delete_pass: list[str] | None = None
    enable_new_ir: bool | None = None
    enable_cinn: bool | None = None
    mkldnn_cache_capacity: int | None = None
    trt_allow_rebuild_at_runtime: bool | None = None
    trt_cfg_setting: Mapping[str, Any] | None = None
    trt_collect_shape_range_info: bool | None = None
    trt_discard_cached_shape_range_info: bool | None = None
    trt_dynamic_shape_input_data: Mapping[str, Any] | None = None
    trt_dynamic_shapes: Mapping[str, Any] | None = None
    trt_shape_range_info_path: str | None = None
    trt_use_dynamic_shapes: bool | None = None


class HpiConfig(Record):
    """PaddleX's ``hpi_config``: ``backend`` and parts of ``backend_config`` are honoured.

    The runtime is always chosen automatically where none is named, and models are always converted where they must
    be, so the other fields have no effect; the device is the Predictor's.
    """

    backend: str | None = None
    backend_config: BackendConfig = BackendConfig()
    auto_config: bool | None = None
    auto_paddle2onnx: bool | None = None
    device_type: str | None = None
    device_id: int | None = None
    hpi_info: Mapping[str, Any] | None = None
    pdx_model_name: str | None = None

    @property
    def threads(self) -> int | None:
        """CPU threads, by either of their names."""
        return self.backend_config.cpu_num_threads or self.backend_config.cpu_threads


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

    def hpi_config_of(self, module: _Module, instead: HpiConfig) -> HpiConfig:
        """The ``hpi_config`` of a module: its own fields outrank the pipeline's, as in PaddleX.

        Args:
            module: one of this pipeline's.
            instead: takes the place of the pipeline's own, unless it is empty.
        """
        merged: dict[str, Any] = {}
        for layer in (instead if instead.model_fields_set else self.hpi_config, module.hpi_config):
            if layer is not None:
                merged = _merge(merged, layer.model_dump(exclude_unset=True))
        return HpiConfig.model_validate(merged)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Dictionaries one over the other, level by level."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


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
