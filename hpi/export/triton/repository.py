"""Writing a model repository: the pipeline as a model in Python, and its two models as native ones."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import yaml

from hpi.backends.artifacts import ArtifactCache, content_hash, staging_folder
from hpi.backends.base import MAX_BATCH, image_input, onnx_files
from hpi.backends.onnx_header import OnnxHeader, Value, read_header
from hpi.backends.paddle_to_onnx import ensure_onnx
from hpi.compat.paddlex.config import PipelineConfig, read_pipeline
from hpi.errors import ConfigError
from hpi.export.triton.config_text import Name, config_text, parameters
from hpi.export.triton.tensors import (
    NATIVE,
    PIPELINE_FILE,
    TYPES,
    pipeline_inputs,
    pipeline_outputs,
    tensor,
)
from hpi.io.validation import is_yaml
from hpi.models.readers import DESCRIPTIONS, Hints
from hpi.models.spec import ModelSpec
from hpi.predictor import Predictor
from hpi.zoo import Zoo

Runtime = Literal["onnxruntime", "openvino", "tensorrt"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
"""Of the native models, by Triton's names of its backends."""

MAX_WAITING = 64
"""Requests that may wait for a model; Triton refuses further ones."""
WAIT_US = 2000
"""How long the first request of a batch waits for others, in microseconds; as the service's ``max_wait_ms``."""
VERSION = "1"
ONES = "ones"
"""File with what a warm-up gives the inputs beside the image, in the folder where Triton looks for it."""
FACTORS = 2
"""Values in it: as many as ``scale_factor`` and ``im_shape`` have."""
MODEL_PY = '''"""The pipeline; what it does is in the package hpi-pose."""

from hpi.export.triton.model import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class Settings:
    """How a repository is to be served.

    Attributes:
        native: what the server runs the two models on; None: they run in the Python process of the pipeline, on the
            runtimes of this package, and the server needs nothing but its Python backend.
        device: ``"cpu"`` or ``"gpu"``.
        instances: how many of each model run side by side, on each device.
        max_batch: requests that Triton may hand to the pipeline together. With 1 its tensors have the shapes of the
            Open Inference Protocol on ``hpi serve``; with more, Triton puts a batch dimension before each.

    Raises:
        ConfigError: a value is out of range, or values do not go together.

    Example:
        >>> Settings(native="openvino", device="gpu")
        Traceback (most recent call last):
        hpi.errors.ConfigError: Triton's OpenVINO backend runs on the CPU: give device cpu, or another backend
    """

    native: Runtime | None = "onnxruntime"
    device: str = "cpu"
    instances: int = 1
    max_batch: int = 1

    def __post_init__(self) -> None:
        if self.native not in {*RUNTIMES, None}:
            raise ConfigError(f"unknown backend {self.native!r} of native models; known are {', '.join(RUNTIMES)}")
        if self.device not in {"cpu", "gpu"}:
            raise ConfigError(f"device is {self.device!r}: give cpu or gpu; Triton itself chooses among GPUs")
        if self.instances < 1 or self.max_batch < 1:
            raise ConfigError("instances and max_batch must be at least 1")
        if self.native == "openvino" and self.device == "gpu":
            raise ConfigError("Triton's OpenVINO backend runs on the CPU: give device cpu, or another backend")
        if self.native == "tensorrt" and self.device == "cpu":
            raise ConfigError("TensorRT runs on GPUs: give device gpu, or another backend")

    @property
    def group(self) -> dict[str, Any]:
        """The instances of a model, as Triton's ``instance_group``."""
        return {"count": self.instances, "kind": Name(f"KIND_{self.device.upper()}")}


@dataclass(frozen=True)
class Written:
    """A model of a repository: its name, and what runs it there.

    Example:
        >>> Written("MoveNet-Thunder_256x256", "onnxruntime").runtime
        'onnxruntime'
    """

    name: str
    runtime: str


def export_triton(
    pipeline: str | PathLike[str], output: str | PathLike[str], settings: Settings | None = None
) -> list[Written]:
    """Write a pipeline as a model repository of NVIDIA's Triton Inference Server.

    The pipeline becomes a model of Triton's Python backend, which needs this package there. Unless the settings say
    otherwise it calls its two models in the same server, where they are ONNX graphs or TensorRT plans; see Triton's
    ``model_repository`` and ``model_configuration``.

    Args:
        pipeline: its name or YAML file.
        output: the folder to write, which must not exist or be empty. It appears whole or not at all.
        settings: how it is to be served.

    Returns:
        The models of the repository, the pipeline first.

    Raises:
        ConfigError: the pipeline is unknown, does not consist of a detector and a keypoint model, or has a name that
            is no name of a folder; the output folder is not empty; no TensorRT plan was built here.
        BackendError: a model has no ONNX graph, and none can be made.
        ModelError: a model cannot be found or read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for model in export_triton("human_keypoint_detection_lite", f"{folder}/repository"):
        ...         print(model.name, "on", model.runtime)
        human_keypoint_detection_lite on python
        PicoDet-S_person_416 on onnxruntime
        MoveNet-Thunder_256x256 on onnxruntime
    """
    settings, target = settings or Settings(), Path(output).absolute()
    zoo = Zoo.default()
    content = _read(pipeline, zoo)
    _check_names(content.pipeline_name)
    _check_target(target)
    models = _find(content, zoo)
    _check_names(content.pipeline_name, *(model.spec.name for model in models))
    natives = [_native(model, settings, zoo) for model in models] if settings.native else []
    if settings.native == "tensorrt" and not any(native.runtime == "tensorrt" for native in natives):
        raise ConfigError(
            f"no TensorRT engine in FP32 was built on this machine for {models[1].spec.name}; build it by running "
            'hpi predict with --backend tensorrt --device gpu once, or take the backend "onnxruntime"'
        )
    keypoints = _count_keypoints(pipeline)
    target.parent.mkdir(parents=True, exist_ok=True)
    with staging_folder(target) as staging:
        _write_pipeline(staging / content.pipeline_name, content, models, keypoints, settings, zoo)
        for native in natives:
            native.write(staging)
        staging.rename(target)
    return [Written(content.pipeline_name, "python"), *(Written(native.name, native.runtime) for native in natives)]


def _read(pipeline: str | PathLike[str], zoo: Zoo) -> PipelineConfig:
    name = fspath(pipeline)
    if not is_yaml(name) and name in zoo.models:
        raise ConfigError(
            f"{name} is a model; a pipeline is exported, which is a detector and a keypoint model: give its name or "
            "YAML file. A model that finds people with their keypoints itself is served by hpi serve --model"
        )
    return read_pipeline(name)


@dataclass(frozen=True)
class _Found:
    """A model, what its files do not say, and its ONNX graph."""

    spec: ModelSpec
    hints: Hints
    graph: Path


def _find(content: PipelineConfig, zoo: Zoo) -> list[_Found]:
    """The detector and the keypoint model; their graphs are converted where they have none."""
    detector, estimator = content.modules.ObjectDetection, content.modules.KeypointDetection
    found = []
    for module, hints in ((detector, Hints(detector.kind)), (estimator, Hints(estimator.kind, estimator.skeleton))):
        folder = None if module.model_dir is None else Path(module.model_dir)
        spec = zoo.find(module.model_name, folder, hints)
        found.append(_Found(spec, hints, ensure_onnx(spec.files, ArtifactCache(zoo.artifacts))))
    return found


def _count_keypoints(pipeline: str | PathLike[str]) -> int:
    """How many keypoints a person has, by opening the pipeline, which also shows that its models go together."""
    with Predictor(fspath(pipeline), device="cpu", workers=1, calibrate=False) as predictor:
        skeleton = predictor.pipelines[0].skeleton
    assert skeleton is not None  # as a pipeline ends with a keypoint model
    return len(skeleton)


def _check_target(target: Path) -> None:
    if target.is_dir():
        if any(target.iterdir()):
            raise ConfigError(f"{target}: is not empty; give a new folder")
    elif target.exists():
        raise ConfigError(f"{target}: is a file; give a new folder")


def _check_names(*names: str) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} cannot be the name of a model in Triton, which is a folder: give it one of letters, digits, "
                "'_', '.' and '-' (pipeline_name or model_name in the pipeline's YAML)"
            )
    if len({*names}) < len(names):
        raise ConfigError(f"the pipeline and its models need different names, got {', '.join(names)}")


def _write_pipeline(
    folder: Path, content: PipelineConfig, models: Sequence[_Found], keypoints: int, settings: Settings, zoo: Zoo
) -> None:
    """The pipeline as a model in Python, with the files of its models, so that the server needs nothing else."""
    version = folder / VERSION
    version.mkdir(parents=True)
    own: dict[str, Any] = content.model_dump(mode="json", by_alias=True, exclude_unset=True)
    own.pop("Serving", None)
    for section, model in zip(("ObjectDetection", "KeypointDetection"), models, strict=True):
        _copy_model(model, version / "models" / model.spec.name, zoo)
        own["SubModules"][section]["model_dir"] = f"models/{model.spec.name}"
    if is_yaml(drawn := models[1].hints.skeleton or ""):
        shutil.copyfile(drawn, version / Path(drawn).name)
        own["SubModules"]["KeypointDetection"]["skeleton"] = Path(drawn).name
    (version / PIPELINE_FILE).write_text(yaml.safe_dump(own, sort_keys=False), encoding="utf-8")
    (version / "model.py").write_text(MODEL_PY, encoding="utf-8")
    group = Settings(None, "cpu", settings.instances).group if settings.native else settings.group
    config = {
        "name": content.pipeline_name,
        "backend": "python",
        "max_batch_size": settings.max_batch if settings.max_batch > 1 else 0,
        "input": pipeline_inputs(),
        "output": pipeline_outputs(keypoints),
        "instance_group": [group],
        "dynamic_batching": _queue(WAIT_US if settings.max_batch > 1 else 0),
        "parameters": parameters({NATIVE: f"{settings.native} on {settings.device}"} if settings.native else {}),
    }
    (folder / "config.pbtxt").write_text(config_text(config), encoding="utf-8")


def _queue(wait_us: int) -> dict[str, Any]:
    """How requests wait: of two priorities, 1 before 2, which is the usual one; and not without limit."""
    return {
        "max_queue_delay_microseconds": wait_us,
        "priority_levels": 2,
        "default_priority_level": 2,
        "default_queue_policy": {"max_queue_size": MAX_WAITING},
    }


def _copy_model(model: _Found, target: Path, zoo: Zoo) -> None:
    """The files that say what a model is, and its ONNX graph.

    Raises:
        ConfigError: the copy is not read as the model is.
    """
    spec = model.spec
    target.mkdir(parents=True)
    descriptions = (spec.folder / name for name in DESCRIPTIONS)
    for file in {spec.yml, *(one for one in descriptions if one.is_file()), *onnx_files(model.graph)}:
        shutil.copyfile(file, target / file.name)
    copy = zoo.find(spec.name, target, model.hints)
    said = ("transform", "head", "labels", "skeleton")
    if different := [what for what in said if getattr(copy, what) != getattr(spec, what)]:
        raise ConfigError(
            f"{spec.folder}: files that say what the model is lie elsewhere, so that a copy has another "
            f"{' and '.join(different)}; write it into an hpi.yml beside the graph: hpi inspect --write"
        )


@dataclass(frozen=True)
class _Native:
    """A native model: its configuration, and its files with the names that they get."""

    name: str
    runtime: str
    config: Mapping[str, Any]
    files: tuple[tuple[Path, str], ...]

    def write(self, repository: Path) -> None:
        folder = repository / self.name / VERSION
        folder.mkdir(parents=True)
        for file, name in self.files:
            shutil.copyfile(file, folder / name)
        (folder.parent / "config.pbtxt").write_text(config_text(self.config), encoding="utf-8")
        if len(self.config["input"]) > 1:
            (folder.parent / "warmup").mkdir()
            (folder.parent / "warmup" / ONES).write_bytes(np.ones(FACTORS, np.float32).tobytes())


def _native(model: _Found, settings: Settings, zoo: Zoo) -> _Native:
    spec = model.spec
    graph, *weights = onnx_files(model.graph)
    header = read_header(graph)
    _check_header(graph, header)
    plan = _plan_of(spec, graph, zoo) if settings.native == "tensorrt" else None
    runtime = "onnxruntime" if settings.native == "tensorrt" and plan is None else settings.native
    assert runtime is not None
    # The boxes of a detector are one list for a whole batch, which Triton could not take apart. And batches of any
    # size are too much for its OpenVINO backend, which wants the largest one or pads.
    joins = spec.transform.takes_regions and _is_free(header) and runtime != "openvino"
    config: dict[str, Any] = {
        "name": spec.name,
        "backend": runtime,
        "default_model_filename": "model.plan" if plan else "model.onnx",
        "max_batch_size": MAX_BATCH if joins else 0,
        "input": [_declared(value, joined=joins) for value in header.inputs],
        "output": [_declared(value, joined=joins) for value in header.outputs],
        "instance_group": [settings.group],
        "dynamic_batching": _queue(WAIT_US if joins else 0),
        # People who have been found are finished before others are looked for.
        "optimization": {"priority": Name("PRIORITY_MAX" if spec.transform.takes_regions else "PRIORITY_DEFAULT")},
        "model_warmup": [_warmup(spec, header, joined=joins)],
    }
    if plan:
        return _Native(spec.name, runtime, config, ((plan, "model.plan"),))
    return _Native(spec.name, runtime, config, ((graph, "model.onnx"), *((file, file.name) for file in weights)))


def _check_header(graph: Path, header: OnnxHeader) -> None:
    for value in (*header.inputs, *header.outputs):
        if value.shape is None or value.dtype not in TYPES:
            raise ConfigError(
                f"{graph}: does not say type and shape of {value.name}, which Triton needs; export it with shapes, or "
                "export the pipeline with --models own"
            )


def _is_free(header: OnnxHeader) -> bool:
    """Whether the batch is free, and each output has a row for each row of the inputs."""
    return all(value.shape and value.shape[0] is None for value in (*header.inputs, *header.outputs))


def _declared(value: Value, *, joined: bool) -> dict[str, Any]:
    """An input or output of a graph; Triton adds the dimension of batches that it joins."""
    assert value.shape is not None
    sides = value.shape[1:] if joined else value.shape
    return tensor(value.name, value.dtype, [-1 if side is None else side for side in sides])


def _warmup(spec: ModelSpec, header: OnnxHeader, *, joined: bool) -> dict[str, Any]:
    """A request that each instance answers before the model is ready: a black image, and factors of 1."""
    image = spec.image_input or image_input([value.name for value in header.inputs])
    inputs = []
    for value in header.inputs:
        declared = _declared(value, joined=joined)
        data = {"zero_data": True} if value.name == image else {"input_data_file": ONES}
        dims = _sides(declared["dims"], spec, joined=joined)
        inputs.append({"key": value.name, "value": {"data_type": declared["data_type"], "dims": dims, **data}})
    return {"name": "black", "batch_size": 1, "inputs": inputs}


def _sides(dims: list[int], spec: ModelSpec, *, joined: bool) -> list[int]:
    """Sides in the place of free ones: one item, and the size of the model's input."""
    first = [] if joined else [1 if dims[:1] == [-1] else dims[0]]
    width, height = spec.input_size
    spatial = iter((height, width))
    return [*first, *(next(spatial) if side == -1 else side for side in dims[len(first) :])]


def _plan_of(spec: ModelSpec, graph: Path, zoo: Zoo) -> Path | None:
    """The newest engine in FP32 that was built of this very graph on this machine; None where there is none.

    Of a detector it ends before the NMS, and is no model that Triton could run in the place of the graph.
    """
    if not spec.transform.takes_regions:
        return None
    content = content_hash(onnx_files(graph))
    wanted = {"model": spec.name, "content": content, "variant": "fp32"}
    found = [
        entry.folder / "model.engine"
        for entry in ArtifactCache(zoo.artifacts).entries()
        if entry.kind == "tensorrt" and wanted.items() <= entry.key.items()
    ]
    return found[-1] if found else None
