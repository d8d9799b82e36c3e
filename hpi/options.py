"""Options of a Predictor: their allowed values, and where each of them is set.

An option can be set by an argument, in a model's section of the pipeline's YAML, or for the whole pipeline. The first
of these levels that sets it wins; :class:`Resolved` has the defaults.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from hpi.errors import ConfigError, HpiError, InputError

AUTO = "auto"
MAX_THREADS = 1024
MAX_BATCH_SIZE = 1024
PADDLEX, PADDLEDETECTION = "paddlex", "paddledetection"
CROPS = (PADDLEX, PADDLEDETECTION)
"""How people can be cut out: the names of :data:`hpi.transforms.CROPS`."""

_DEVICE = re.compile(r"cpu|(?P<kind>gpu|cuda|npu|xpu|mlu|dcu|gcu)(:(?P<indices>\d{1,3}(,\d{1,3})*))?")


@dataclass(frozen=True)
class Options:
    """The options of one level. None leaves an option to the next level.

    Attributes:
        device: ``"auto"``, ``"cpu"``, ``"gpu:0"`` and so on.
        backend: name of a runtime, or ``"auto"``.
        precision: ``"fp32"``, ``"bf16"``, ``"fp16"``, ``"int8"`` or ``"auto"``.
        objective: what to optimise: ``"latency"``, ``"throughput"`` or ``"memory"``; ``"auto"``: the latency of single
            images and the throughput of many.
        max_p99_ms: largest allowed p99 of the expected batches, ms.
        max_deviation_px: largest allowed distance of a keypoint from that of the reference, pixels of the crop.
        max_ap_loss: most points of AP that a detector in INT8 may lose; None: ``"auto"`` does not take INT8.
        batches: expected numbers of people per run.
        threads: CPU threads of one inference.
        workers: whole pipelines that run side by side on the CPU, each with ``threads`` threads.
        backend_options: options of single runtimes by their own names: ``{"openvino": {"NUM_STREAMS": 1}}``.
        flip: average the keypoints with those of the mirrored crop.
        use_udp: crop with UDP.
        crop: how people are cut out, one of :data:`CROPS`.
        use_dark: refine keypoints of heatmaps by DARK, rather than by a quarter of a cell.
        batch_size: images that go through the models together.
        threshold: keep people that score above it, 0 to 1.
        classes: labels of the detector that count as people, or their indices.

    Raises:
        ConfigError: a value is not allowed.

    >>> Options(threads=0)
    Traceback (most recent call last):
    hpi.errors.ConfigError: threads is 0: give a whole number from 1 to 1024, or None for the default
    """

    device: str | None = None
    backend: str | None = None
    precision: str | None = None
    objective: str | None = None
    max_p99_ms: float | None = None
    max_deviation_px: float | None = None
    max_ap_loss: float | None = None
    batches: Sequence[int] | None = None
    threads: int | None = None
    workers: int | None = None
    backend_options: Mapping[str, Mapping[str, Any]] | None = None
    flip: bool | None = None
    use_udp: bool | None = None
    crop: str | None = None
    use_dark: bool | None = None
    batch_size: int | None = None
    threshold: float | None = None
    classes: Sequence[str | int] | None = None

    @property
    def specified(self) -> dict[str, Any]:
        """The options that this level sets."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name)) is not None}

    def __post_init__(self) -> None:
        for name in ("flip", "use_udp", "use_dark"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, bool):
                raise ConfigError(f"{name} is {value!r}: give True, False, or None for the default")
        if self.crop is not None and self.crop not in CROPS:
            raise ConfigError(f"crop is {self.crop!r}: give {' or '.join(CROPS)}, or None for the model's own")
        _check_backend_options(self.backend_options)
        for name in ("device", "backend", "precision", "objective"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise ConfigError(f"{name} is {value!r}: give a name, or None for the default")
        for name, most in (("threads", MAX_THREADS), ("workers", MAX_THREADS), ("batch_size", MAX_BATCH_SIZE)):
            object.__setattr__(self, name, check_count(name, getattr(self, name), most, ConfigError))
        for batch in self.batches or ():
            check_count("batches", batch, MAX_BATCH_SIZE, ConfigError)
        check_score("threshold", self.threshold, ConfigError)
        for name in ("max_p99_ms", "max_deviation_px", "max_ap_loss"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and value > 0):  # NaN fails the comparison
                raise ConfigError(f"{name} is {value!r}: give a number above 0, or None for no limit")


@dataclass(frozen=True)
class Resolved(Options):
    """The options that apply: every option that has a default is set.

    Example:
        >>> Resolved(precision="bf16").precision, Resolved().objective, Resolved().batch_size
        ('bf16', 'auto', 1)
    """

    device: str = AUTO
    backend: str = AUTO
    precision: str = "fp32"
    objective: str = AUTO
    flip: bool = False
    batch_size: int = 1
    backend_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def resolve(*levels: Options) -> Resolved:
    """Resolve every option: the first level that sets it wins, then the default.

    Args:
        levels: the highest priority first: arguments, the model's section, the pipeline.

    >>> resolve(Options(precision="fp32"), Options(precision="fp16", threads=2)).precision
    'fp32'
    """
    resolved: dict[str, Any] = {}
    for level in reversed(levels):
        resolved.update(level.specified)
    return Resolved(**resolved)


def _check_backend_options(options: object) -> None:
    """Only the form; what a runtime has no such option for, it says itself.

    Raises:
        ConfigError: it is not a mapping of runtimes to mappings of names.
    """
    if options is None:
        return
    form = 'give the options of each runtime by its name: {"openvino": {"NUM_STREAMS": 1}}'
    if not isinstance(options, Mapping):
        raise ConfigError(f"backend_options is {options!r}: {form}")
    for backend, values in options.items():
        if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in (backend, *values)):
            raise ConfigError(f"backend_options has {backend!r}: {values!r}; {form}")


def check_count(name: str, value: int | None, most: int, error: type[HpiError]) -> int | None:
    """Check a whole number from 1 to ``most``, of any integer type, or None.

    Raises:
        HpiError: of the type ``error``: it is anything else.

    Example:
        >>> check_count("threads", 2, 8, ConfigError)
        2
    """
    if value is None:
        return None
    try:
        number = 0 if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        number = 0
    if not 1 <= number <= most:
        raise error(f"{name} is {value!r}: give a whole number from 1 to {most}, or None for the default")
    return number


def check_score(name: str, value: float | None, error: type[HpiError] = InputError) -> float | None:
    """Check a score from 0 to 1, or None.

    Raises:
        HpiError: of the type ``error``: it is anything else.

    Example:
        >>> check_score("threshold", 0.5)
        0.5
    """
    if value is not None and not (_is_number(value) and 0 <= value <= 1):
        raise error(f"{name} is {value!r}: give a number from 0 to 1, or None for the default")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def read_devices(device: str) -> list[str]:
    """Split a device string of PaddleX into single devices; upper or lower case.

    Args:
        device: ``cpu``, ``gpu``, ``gpu:0``, ``gpu:0,1``, ``npu:0`` and so on; ``cuda`` means ``gpu``.

    Returns:
        Such as ``["cpu"]`` or ``["gpu:0", "gpu:1"]``.

    Raises:
        ConfigError: it is not a device string, or names a device twice.

    >>> read_devices("GPU:0,1")
    ['gpu:0', 'gpu:1']
    """
    match = _DEVICE.fullmatch(device.strip().lower()) if isinstance(device, str) else None
    if match is None:
        raise ConfigError(f"device {device!r}: give cpu, gpu, gpu:0 or similar, or auto")
    if match["kind"] is None:
        return ["cpu"]
    kind = "gpu" if match["kind"] == "cuda" else match["kind"]
    devices = [f"{kind}:{int(index)}" for index in (match["indices"] or "0").split(",")]
    if len(set(devices)) < len(devices):
        raise ConfigError(f"device {device!r}: it names a device twice")
    return devices
