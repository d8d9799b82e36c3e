"""Pipeline configuration in PaddleX's YAML format."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.resources import files
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, Field

from hpi.compat.paddlex.pairs import paired
from hpi.errors import ConfigError, ConfigNotFoundError
from hpi.io.validation import Record, is_yaml, nearest, parse, read_yaml
from hpi.models.readers import Hints
from hpi.options import AUTO, MAX_BATCH_SIZE, MAX_THREADS, Options
from hpi.transforms import Crop
from hpi.zoo import Zoo, suggestion

logger = logging.getLogger(__name__)

Threads = Annotated[int, Field(ge=1, le=MAX_THREADS)]
BatchSize = Annotated[int, Field(ge=1, le=MAX_BATCH_SIZE)]

_ENGINES = {"hpi": AUTO, "flexible": AUTO, "paddle_static": "paddle"}
"""PaddleX's engines whose names differ from those of the backends."""


class NoEffect:
    """Marks a field of PaddleX that is accepted without effect; ``why`` completes the log message.

    Example:
        >>> BackendConfig.model_fields["run_mode"].metadata[-1].why
        "it configures PaddleX's own runtimes"
    """

    def __init__(self, why: str) -> None:
        self.why = why


_OWN_RUNTIMES = NoEffect("it configures PaddleX's own runtimes")
_CHOSEN = NoEffect("the runtime is chosen automatically, and models are converted if necessary")
_ONE_DEVICE = NoEffect("all models of a pipeline run on the pipeline's device")
_IGNORED = {"device": _ONE_DEVICE.why, "genai_config": "it is for PaddleX's language models"}
"""Valid fields of PaddleX's pipelines and modules that do not exist here."""


def _folder(value: object) -> object:
    """A model's folder as text; None for an empty string."""
    return (str(value) if isinstance(value, PathLike) else value) or None


class BackendConfig(Record):
    """PaddleX's ``backend_config``: fields of all its backends, of which CPU threads and precision have an effect.

    Attributes:
        max_ap_loss: not PaddleX's: most points of AP that a detector in INT8 may lose with the precision ``auto``.

    Example:
        >>> BackendConfig(cpu_num_threads=2).cpu_num_threads
        2
    """

    cpu_num_threads: Threads | None = None
    cpu_threads: Threads | None = None
    precision: str | None = None
    max_ap_loss: float | None = None
    run_mode: Annotated[Literal["paddle", "paddle_fp32", "mkldnn"] | None, _OWN_RUNTIMES] = None
    dynamic_shapes: Annotated[Mapping[str, Any] | None, _OWN_RUNTIMES] = None
    use_dynamic_shapes: Annotated[bool | None, _OWN_RUNTIMES] = None
    delete_pass: Annotated[list[str] | None, _OWN_RUNTIMES] = None
    enable_new_ir: Annotated[bool | None, _OWN_RUNTIMES] = None
    enable_cinn: Annotated[bool | None, _OWN_RUNTIMES] = None
    mkldnn_cache_capacity: Annotated[int | None, _OWN_RUNTIMES] = None
    trt_allow_rebuild_at_runtime: Annotated[bool | None, _OWN_RUNTIMES] = None
    trt_cfg_setting: Annotated[Mapping[str, Any] | None, _OWN_RUNTIMES] = None
    trt_collect_shape_range_info: Annotated[bool | None, _OWN_RUNTIMES] = None
    trt_discard_cached_shape_range_info: Annotated[bool | None, _OWN_RUNTIMES] = None
    trt_dynamic_shape_input_data: Annotated[Mapping[str, Any] | None, _OWN_RUNTIMES] = None
    trt_dynamic_shapes: Annotated[Mapping[str, Any] | None, _OWN_RUNTIMES] = None
    trt_shape_range_info_path: Annotated[str | None, _OWN_RUNTIMES] = None
    trt_use_dynamic_shapes: Annotated[bool | None, _OWN_RUNTIMES] = None


class HpiConfig(Record):
    """PaddleX's ``hpi_config``, of which ``backend`` and parts of ``backend_config`` have an effect.

    Example:
        >>> options = HpiConfig(backend="openvino", backend_config={"cpu_num_threads": 2}).options
        >>> options.backend, options.threads
        ('openvino', 2)
    """

    backend: str | None = None
    backend_config: BackendConfig = BackendConfig()
    auto_config: Annotated[bool | None, _CHOSEN] = None
    auto_paddle2onnx: Annotated[bool | None, _CHOSEN] = None
    device_type: Annotated[str | None, _ONE_DEVICE] = None
    device_id: Annotated[int | None, _ONE_DEVICE] = None
    hpi_info: Annotated[Mapping[str, Any] | None, _CHOSEN] = None
    pdx_model_name: Annotated[str | None, _CHOSEN] = None

    @property
    def options(self) -> Options:
        """The options that it sets."""
        settings = self.backend_config
        return Options(
            backend=self.backend,
            precision=settings.precision,
            max_ap_loss=settings.max_ap_loss,
            threads=settings.cpu_num_threads or settings.cpu_threads,
        )


class _Level(Record):
    """Fields that a pipeline and its modules share."""

    use_hpip: bool | None = None
    hpi_config: HpiConfig | None = None
    engine: str | None = None
    engine_config: Annotated[Mapping[str, Any] | None, _OWN_RUNTIMES] = None


class _Module(_Level):
    """Fields that both modules share; ``kind``: what the model in ``model_dir`` is, where its files do not say it."""

    module_name: str | None = None
    model_name: str
    model_dir: Annotated[str | None, BeforeValidator(_folder)] = None
    kind: str | None = None


class DetectionModule(_Module):
    """The detector.

    Attributes:
        batch_size: how many images go through the detector together.
        threshold: lowest score of the people that are kept, 0 to 1.
        classes: labels that count as people, or their indices; by default those of :data:`hpi.pipelines.PEOPLE`.

    Example:
        >>> DetectionModule(model_name="PicoDet-S_person_416", threshold=0.6).threshold
        0.6
    """

    batch_size: BatchSize | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    classes: Annotated[list[str | int], Field(min_length=1)] | None = None
    img_size: None = None


class KeypointModule(_Module):
    """The keypoint model. ``batch_size`` has no effect: all people of a batch of images go through it together.

    Attributes:
        skeleton: its keypoints, where the files in ``model_dir`` do not say them.
        flip: average with the mirrored crop.
        use_udp: crop by the UDP convention.
        crop: how people are cut out.

    Example:
        >>> KeypointModule(model_name="PP-TinyPose_128x96", model_dir="").model_dir is None
        True
    """

    skeleton: str | None = None
    batch_size: BatchSize | None = None
    flip: bool | None = None
    use_udp: bool | None = None
    crop: Crop | None = None
    use_dark: bool | None = None


class SubModules(Record):
    """The modules of the human keypoint pipeline.

    Example:
        >>> SubModules(
        ...     ObjectDetection={"model_name": "PicoDet-S_person_416"},
        ...     KeypointDetection={"model_name": "PP-TinyPose_128x96"},
        ... ).KeypointDetection.model_name
        'PP-TinyPose_128x96'
    """

    ObjectDetection: DetectionModule
    KeypointDetection: KeypointModule


class PipelineConfig(_Level):
    """The YAML of a pipeline. The service reads ``Serving``.

    Example:
        >>> modules = {name: {"model_name": "mine"} for name in ("ObjectDetection", "KeypointDetection")}
        >>> PipelineConfig(pipeline_name="my_pipeline", SubModules=modules).modules.ObjectDetection.model_name
        'mine'
    """

    pipeline_name: str
    modules: SubModules = Field(alias="SubModules")
    Serving: Mapping[str, Any] | None = None


def options_of(level: _Level) -> Options:
    """The options that a pipeline, or one of its modules, sets.

    Example:
        >>> options = options_of(DetectionModule(model_name="PicoDet-S_person_416", engine="openvino", batch_size=4))
        >>> options.backend, options.batch_size, options.threshold
        ('openvino', 4, None)
    """
    configured = (level.hpi_config or HpiConfig()).options
    named = None if level.engine is None else backend_of(level.engine)
    own = {name: getattr(level, name, None) for name in ("flip", "use_udp", "crop", "use_dark", "threshold", "classes")}
    batch_size = level.batch_size if isinstance(level, DetectionModule) else None
    return Options(
        backend=configured.backend or named,
        precision=configured.precision,
        max_ap_loss=configured.max_ap_loss,
        threads=configured.threads,
        batch_size=batch_size,
        **own,
    )


def backend_of(engine: str) -> str:
    """The backend that one of PaddleX's engines corresponds to.

    Example:
        >>> backend_of("hpi"), backend_of("onnxruntime")
        ('auto', 'onnxruntime')
    """
    return _ENGINES.get(engine, engine)


def pipeline_names() -> list[str]:
    """The names of the pipelines of the package.

    Example:
        >>> [name for name in pipeline_names() if name.startswith("human")]
        ['human_keypoint_detection', 'human_keypoint_detection_lite']
        >>> [name for name in pipeline_names() if name.startswith("hand")]
        ['hand', 'hand-light']
    """
    folder = files("hpi.configs") / "pipelines"
    return sorted([*(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml")), *paired()])


def pipeline_text(name: str) -> str:
    """The YAML of a pipeline of the package.

    Raises:
        ConfigError: the name is unknown.

    Example:
        >>> pipeline_text("human_keypoint_detection_lite").splitlines()[0]
        'pipeline_name: human_keypoint_detection_lite'
    """
    if name not in pipeline_names():
        raise ConfigError(f"unknown pipeline {name!r}; {suggestion(name, pipeline_names())}")
    if name in (by_name := paired()):
        return yaml.safe_dump(by_name[name], sort_keys=False)
    return (files("hpi.configs") / "pipelines" / f"{name}.yaml").read_text(encoding="utf-8")


def read_pipeline(source: str | Path | Mapping[str, Any]) -> PipelineConfig:
    """Read a pipeline by name, from a YAML file, or from its content.

    A relative ``model_dir`` in a file is looked up beside the file, then in the current folder.

    Args:
        source: name, path or content.

    Raises:
        ConfigError: no such file or name, or its content is wrong; the message names file and field.

    Example:
        >>> read_pipeline("human_keypoint_detection_lite").modules.ObjectDetection.model_name
        'PicoDet-S_person_416'
    """
    content, where = _content(source)
    pipeline = parse(PipelineConfig, content, where)
    _log_no_effect(pipeline, where)
    return pipeline


def pipeline_of_folders(
    detector: str | PathLike[str],
    keypoint_model: str | PathLike[str],
    of_detector: Hints | None = None,
    of_keypoint_model: Hints | None = None,
) -> dict[str, Any]:
    """The content of a pipeline's YAML for two model folders, whose models have the names that the folders state.

    Args:
        detector: the folder of the detector.
        keypoint_model: that of the keypoint model.
        of_detector: what its files do not say.
        of_keypoint_model: likewise.

    Raises:
        ModelError: a folder cannot be read.

    Example:
        >>> from hpi.zoo import Zoo
        >>> names = ("PicoDet-S_person_416", "MoveNet-Thunder_256x256")
        >>> content = pipeline_of_folders(*(Zoo.default().find(name).folder for name in names))
        >>> content["pipeline_name"]
        'PicoDet-S_person_416 + MoveNet-Thunder_256x256'
    """
    zoo = Zoo.default()
    found = _module(zoo, detector, of_detector or Hints())
    estimator = _module(zoo, keypoint_model, of_keypoint_model or Hints())
    modules = {"ObjectDetection": found, "KeypointDetection": estimator}
    return {"pipeline_name": f"{found['model_name']} + {estimator['model_name']}", "SubModules": modules}


def _module(zoo: Zoo, folder: str | PathLike[str], hints: Hints) -> dict[str, Any]:
    said = {name: value for name, value in (("kind", hints.kind), ("skeleton", hints.skeleton)) if value is not None}
    return {"model_name": zoo.of_path(Path(folder), hints).name, "model_dir": fspath(folder), **said}


def tolerant(source: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """The content of a pipeline without the fields that PaddleX would ignore, each of which is logged.

    Raises:
        ConfigError: no such file or name.

    Example:
        >>> sorted(tolerant({"pipeline_name": "mine", "colour": "red"}))
        ['pipeline_name']
    """
    content, where = _content(source)
    return tolerate(PipelineConfig, content, where) if isinstance(content, Mapping) else content


def tolerate(kind: type[BaseModel], content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Keep the known fields of a record and of its sections, and log each of the others.

    Args:
        kind: class of the record.
        content: its fields.
        where: what they belong to, for the log.

    Example:
        >>> tolerate(HpiConfig, {"backend": "openvino", "colour": "red"}, "hpi_config")
        {'backend': 'openvino'}
    """
    fields = {field.alias or name: field for name, field in kind.model_fields.items()}
    kept = {}
    for key, value in content.items():
        place = f"{where}: {key}"
        if key in _IGNORED:
            logger.warning("%s is ignored: %s", place, _IGNORED[key])
        elif key not in fields:
            near = nearest(str(key), fields)
            logger.warning("%s is ignored: %s", place, f"did you mean {near}?" if near else "unknown field")
        elif fields[key].annotation is type(None) and value is not None:
            logger.warning("%s is ignored: the input size of a model is fixed", place)
        else:
            section = _record_in(fields[key].annotation)
            kept[key] = tolerate(section, value, place) if section and isinstance(value, Mapping) else value
    return kept


def _record_in(annotation: Any) -> type[BaseModel] | None:
    """The record among the types of a field."""
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Record)), None)


def _log_no_effect(record: BaseModel, where: str) -> None:
    """Log each field that is set and has no effect."""
    for name, field in type(record).model_fields.items():
        value = getattr(record, name)
        marks = [mark for mark in field.metadata if isinstance(mark, NoEffect)]
        if isinstance(value, BaseModel):
            _log_no_effect(value, f"{where}: {field.alias or name}")
        elif marks and value is not None:
            logger.warning("%s: %s has no effect: %s", where, name, marks[0].why)


def _content(source: str | Path | Mapping[str, Any]) -> tuple[Any, str]:
    """The content of a pipeline's source with resolved model folders, and what errors call it."""
    if isinstance(source, Mapping):
        return source, "config"
    if is_yaml(source):
        return _with_folders(read_yaml(Path(source)), Path(source)), str(source)
    return yaml.safe_load(pipeline_text(str(source))), str(source)


def _with_folders(content: Any, file: Path) -> Any:
    """Replace each relative ``model_dir`` of a pipeline's file, and each file of a skeleton, by what it names."""
    modules = content.get("SubModules") if isinstance(content, dict) else None
    for name, module in modules.items() if isinstance(modules, dict) else ():
        named = module.get("model_dir") if isinstance(module, dict) else None
        if isinstance(named, str) and named:
            module["model_dir"] = str(_find_folder(Path(named).expanduser(), file, f"SubModules.{name}.model_dir"))
        drawn = module.get("skeleton") if isinstance(module, dict) else None
        if isinstance(drawn, str) and is_yaml(drawn):
            module["skeleton"] = str(_find_folder(Path(drawn).expanduser(), file, f"SubModules.{name}.skeleton"))
    return content


def _find_folder(named: Path, file: Path, field: str) -> Path:
    """What a file names: beside the file, or else in the current folder."""
    places = dict.fromkeys([file.parent / named, Path.cwd() / named])
    found = next((place for place in places if place.exists()), None)
    if found is None:
        what = "file" if is_yaml(named) else "folder"
        raise ConfigNotFoundError(f"{file}: {field}: no such {what}: {' or '.join(map(str, places))}")
    return found
