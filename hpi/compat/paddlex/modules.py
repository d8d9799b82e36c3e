"""``python main.py -c MODULE.yaml -o KEY=VALUE``: PaddleX's way to check a dataset, and to evaluate and run one model.

Training and export stay with PaddleX; what it exports runs here.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hpi.compat.paddlex.values import read_value
from hpi.errors import ConfigError, HpiError, InputError, ModelError, ModelNotFoundError
from hpi.io.files import check_folder, save
from hpi.io.validation import nearest, read_yaml
from hpi.zoo import Zoo

logger = logging.getLogger(__name__)

Fields = Mapping[str, Any]

KNOWN: Fields = {
    "Global": dict.fromkeys(["model", "mode", "dataset_dir", "device", "output"]),
    "CheckDataset": {
        "convert": dict.fromkeys(["enable", "src_dataset_type"]),
        "split": dict.fromkeys(["enable", "train_percent", "val_percent"]),
    },
    "Train": None,
    "Evaluate": dict.fromkeys(["weight_path", "log_interval"]),
    "Predict": dict.fromkeys(
        [
            "batch_size", "model_dir", "input", "kernel_option", "use_hpip", "hpi_config", "engine", "engine_config",
            "genai_config", "threshold", "flip", "use_udp",
        ]
    ),
    "Export": None,
}  # fmt: skip
"""Fields of PaddleX's module files. The content of a section that is None is not checked."""

NOT_HERE = {"train": "does not train", "export": "does not export", "pdparams2safetensors": "does not convert weights"}

RUN_MODES: Mapping[str, Fields] = {
    "paddle": {},
    "paddle_fp32": {},
    "paddle_fp16": {"precision": "fp16"},
    "mkldnn": {},
    "mkldnn_bf16": {"precision": "bf16"},
    "trt_fp32": {"backend": "tensorrt"},
    "trt_fp16": {"backend": "tensorrt", "precision": "fp16"},
}
"""The options that PaddleX's run modes stand for. Its default, Paddle, leaves the choice of the runtime open."""


@dataclass(frozen=True)
class Module:
    """A module file with the replacements of the command line.

    Attributes:
        where: path of the file, for errors.
        content: its sections and fields.
        strict_device: whether a GPU that cannot be used is an error.

    Example:
        >>> module = Module("pose.yaml", {"Global": {"model": "PP-TinyPose_128x96", "mode": "predict"}})
        >>> module.model, module.get("Predict.input"), str(module.output)
        ('PP-TinyPose_128x96', None, 'output')
    """

    where: str
    content: Fields
    strict_device: bool = False

    def get(self, key: str) -> Any:
        """A field such as ``"Global.model"``; None if it is missing."""
        value: Any = self.content
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def need(self, key: str, example: str) -> Any:
        """A required field.

        Args:
            key: such as ``"Global.model"``.
            example: a value that the error suggests.

        Raises:
            ConfigError: it is missing.
        """
        value = self.get(key)
        if value is None:
            raise ConfigError(f"{self.where}: {key} is missing; give it, such as -o {key}={example}")
        return value

    def text(self, key: str) -> str | None:
        """A field as text, such as a name or a folder; None if it is missing."""
        value = self.get(key)
        return None if value is None else str(value)

    def section(self, key: str) -> Fields:
        """A section; empty if it is missing.

        Raises:
            ConfigError: it is not a section.
        """
        value = self.get(key) or {}
        if not isinstance(value, Mapping):
            raise ConfigError(f"{self.where}: {key} is {value!r}: give a dictionary")
        return value

    @property
    def model(self) -> str:
        """Name of the model."""
        return str(self.need("Global.model", "PP-TinyPose_128x96"))

    @property
    def output(self) -> Path:
        """Folder for everything that is written."""
        return Path(self.text("Global.output") or "output")


def run(config: Path | None, overrides: Sequence[str], *, strict_device: bool = False) -> None:
    """Run the mode that a module file sets.

    Args:
        config: the module file.
        overrides: replacements of fields, ``KEY=VALUE`` each.
        strict_device: whether a GPU that cannot be used is an error.

    Raises:
        ConfigError: the file, a replacement or the mode is wrong.
        HpiError: the mode failed; ``<mode>_result.json`` in the output folder has the error too, as in PaddleX.
    """
    if config is None:
        raise ConfigError("give the YAML file of a module as -c")
    module = Module(str(config), read_module(config, overrides), strict_device)
    mode = str(module.need("Global.mode", "predict"))
    if mode in NOT_HERE:
        raise ConfigError(
            f"Global.mode={mode}: this engine {NOT_HERE[mode]}. Do it with PaddleX; what it exports runs here with "
            "-o Global.mode=predict -o Predict.model_dir=FOLDER"
        )
    if mode not in _MODES:
        raise ConfigError(f"Global.mode={mode}: give {', '.join(_MODES)}")
    check_folder(module.output, ConfigError)
    try:
        result = _MODES[mode](module)
    except HpiError as error:
        _write_result(module, mode, {"done_flag": False, "err_type": str(type(error)), "err_msg": str(error)})
        raise
    if result is not None:
        _write_result(module, mode, {"done_flag": True, **result})


def read_module(config: Path, overrides: Sequence[str]) -> Fields:
    """The content of a module file with replaced fields. Each unknown field is logged.

    Raises:
        ConfigError: the file cannot be read, or a replacement is not ``KEY=VALUE`` of a field.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "pose.yaml")
        ...     _ = path.write_text("Global: {mode: train}")
        ...     read_module(path, ["Global.mode=predict", "Predict.batch_size=8"])
        {'Global': {'mode': 'predict'}, 'Predict': {'batch_size': 8}}
    """
    content = read_yaml(config)
    if not isinstance(content, dict):
        raise ConfigError(f"{config}: not a module file, which has sections such as Global and Predict")
    content = {str(name): _evaluated(section) for name, section in content.items()}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not all(key.split(".")):
            raise ConfigError(f"-o {override}: write it as Section.field=value, such as Global.mode=predict")
        _replace(content, key.split("."), read_value(value), override)
    for section, name, known in _unknown(content, KNOWN):
        near = nearest(name, known)
        hint = f"; did you mean {section}{near}?" if near else ""
        logger.warning("%s: %s%s is unknown and has no effect%s", config, section, name, hint)
    return content


def _evaluated(content: Any) -> Any:
    """Parse text that is a literal, as PaddleX does in its files."""
    if isinstance(content, dict):
        return {str(key): _evaluated(value) for key, value in content.items()}
    return [_evaluated(value) for value in content] if isinstance(content, list) else read_value(content)


def _replace(content: Any, keys: Sequence[str], value: Any, override: str) -> None:
    for key in keys[:-1]:
        content = content[_index(content, key, override)] if isinstance(content, list) else _section(content, key)
    if not isinstance(content, (dict, list)):
        raise ConfigError(f"-o {override}: {'.'.join(keys[:-1])} is not a section")
    content[_index(content, keys[-1], override)] = value


def _section(content: Any, key: str) -> Any:
    """A section of a section, created if it is missing or empty."""
    if not isinstance(content, dict):
        return content
    if content.get(key) is None:
        content[key] = {}
    return content[key]


def _index(content: Any, key: str, override: str) -> Any:
    if isinstance(content, list):
        if not key.isdigit() or int(key) >= len(content):
            raise ConfigError(f"-o {override}: {key} is not an index of a list of {len(content)}")
        return int(key)
    return key


def _unknown(content: Fields, known: Fields, section: str = "") -> Iterator[tuple[str, str, Fields]]:
    """Each unknown field: its section with a dot at the end, its name, and the known fields of that section."""
    for name, value in content.items():
        if name not in known:
            yield section, name, known
        elif isinstance(known[name], Mapping) and isinstance(value, Mapping):
            yield from _unknown(value, known[name], f"{section}{name}.")


def _write_result(module: Module, mode: str, content: Fields) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False)
    save(module.output / f"{mode}_result.json", text.encode("utf-8", "backslashreplace"), ConfigError)


def _print(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - where PaddleX's log goes


def _check_dataset(module: Module) -> Fields:
    from hpi.evaluation.check_dataset import check_dataset

    config = Zoo.default().models.get(module.model)
    if config is not None and config.task != "keypoint_detection":
        raise ConfigError(f"Global.model={module.model}: datasets are checked for keypoint models only")
    folder = Path(str(module.need("Global.dataset_dir", "./dataset")))
    if module.get("CheckDataset.convert.enable"):
        logger.warning("CheckDataset.convert has no effect: keypoint data sets already have COCO's format")
    split = None
    if module.get("CheckDataset.split.enable"):
        split = tuple(module.need(f"CheckDataset.split.{name}_percent", "50") for name in ("train", "val"))
        if not all(type(percent) is int for percent in split):
            raise ConfigError(f"CheckDataset.split: give train_percent and val_percent as whole numbers, not {split}")
    result = check_dataset(folder, module.output, split=split)
    if split is not None:
        _print("Split dataset successfully !")
    _print("Check dataset passed !")
    return result


def _evaluate(module: Module) -> Fields:
    from rich.console import Console
    from rich.progress import Progress

    from hpi.evaluation.coco import CocoDataset, boxes_of
    from hpi.evaluation.predictions import Journal, predict

    folder = Path(str(module.need("Global.dataset_dir", "./dataset")))
    failed: list[InputError] = []
    with _open(module, _exported(module), first_device=True) as predictor:
        boxes = boxes_of(predictor.pipelines[0])
        dataset = CocoDataset(folder / "annotations" / "instance_val.json", folder / "images", boxes)
        for warning in dataset.check(predictor):
            logger.warning("%s", warning)
        with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("evaluating", total=len(dataset.images))
            done = partial(progress.advance, task)
            found = predict(predictor, dataset.images, Journal(None), 8, on_progress=done, on_error=failed.append)
        if failed:
            raise InputError(f"{len(failed)} images cannot be used; the first: {failed[0]}")
        figures = dataset.figures(found, predictor)
    percent = figures["box AP" if boxes == "detector" else "AP"]
    if percent is None:
        raise InputError(f"{folder}: the validation set has no annotated people")
    _print(f"AP {percent / 100:.3f}")
    return {"metrics": {"AP": percent / 100}}


def _exported(module: Module) -> Path | None:
    """The folder of the model to evaluate; None for the official model."""
    named = module.text("Evaluate.weight_path")
    if named is None:
        return None
    if Path(named).is_dir():
        return Path(named)
    beside = Path(named).parent / "inference"
    raise ModelError(
        f"Evaluate.weight_path={named}: not a folder of an exported model; training weights cannot be run directly. "
        f"Export them with PaddleX, and give that folder: -o Evaluate.weight_path={beside}; or None for the official "
        f"{module.model}"
    )


def _predict(module: Module) -> None:
    from hpi.compat.paddlex.predicting import print_and_save

    source = module.need("Predict.input", "people.jpg")
    folder = module.text("Predict.model_dir")
    if folder is not None and not Path(folder).is_dir():
        raise ModelNotFoundError(
            f"Predict.model_dir={folder}: no such folder; -o Predict.model_dir=None takes the official {module.model}"
        )
    arguments = {name: module.get(f"Predict.{name}") for name in ("batch_size", "threshold")}
    with _open(module, folder) as predictor:
        print_and_save(predictor, source if isinstance(source, list) else str(source), module.output, **arguments)


def _open(module: Module, folder: str | Path | None, *, first_device: bool = False) -> Any:
    from hpi.compat.paddlex.api import create_model

    device = module.text("Global.device")
    if device is not None and first_device:
        device = device.partition(",")[0]
    return create_model(
        module.model,
        folder,
        device,
        hpi_config=_runtime(module),
        engine=module.text("Predict.engine"),
        engine_config=module.get("Predict.engine_config"),
        genai_config=module.get("Predict.genai_config"),
        flip=module.get("Predict.flip"),
        use_udp=module.get("Predict.use_udp"),
        strict_device=module.strict_device,
    )


def _runtime(module: Module) -> Fields:
    """The ``hpi_config`` of a module, with ``Predict.kernel_option`` as its defaults."""
    option, configured, settings = (
        module.section(f"Predict.{name}") for name in ("kernel_option", "hpi_config", "hpi_config.backend_config")
    )
    mode = str(option.get("run_mode") or "paddle")
    if mode not in RUN_MODES:
        raise ConfigError(f"Predict.kernel_option.run_mode={mode}: give {', '.join(RUN_MODES)}")
    defaults = RUN_MODES[mode]
    backend = {"backend": defaults["backend"]} if "backend" in defaults else {}
    precision = {"precision": defaults["precision"]} if "precision" in defaults else {}
    others = {name: value for name, value in option.items() if name != "run_mode"}
    return {**backend, **configured, "backend_config": {**others, **precision, **settings}}


_MODES: Mapping[str, Callable[[Module], Fields | None]] = {
    "check_dataset": _check_dataset,
    "evaluate": _evaluate,
    "predict": _predict,
}
