"""PaddleX's ``create_pipeline`` and ``create_model``, whose predictors take PaddleX's arguments in its order.

Like PaddleX, they ignore unknown keywords and fall back to the CPU if there is no GPU; each case is logged.
:class:`hpi.Predictor` raises an error instead.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from hpi.compat.paddlex.config import HpiConfig, backend_of, tolerant, tolerate
from hpi.compat.paddlex.results import PaddleXResult
from hpi.errors import BackendError, ConfigError
from hpi.options import AUTO
from hpi.predictor import Predictor
from hpi.sources import Input

logger = logging.getLogger(__name__)

NO_FALLBACK = "PADDLE_PDX_DISABLE_DEVICE_FALLBACK"
"""PaddleX's environment variable that makes a missing GPU an error."""

Results = Iterator[PaddleXResult]
AnyPredictor = TypeVar("AnyPredictor", bound=Predictor)

_TRUE = {"True", "true", "TRUE", "1"}
_IMAGE_SIZES = {"img_size", "imgsz"}


class Pipeline(Predictor):
    """A pipeline as PaddleX's ``create_pipeline`` returns it."""

    def predict(self, input: Input, det_threshold: float | None = None, **options: Any) -> Results:  # noqa: A002
        """As :meth:`hpi.Predictor.predict`; the second argument is the threshold, as in PaddleX.

        Unknown keywords are logged and ignored.
        """
        return super().predict(input, det_threshold=det_threshold, **_known(options, "predict"))

    __call__ = predict


class Model(Predictor):
    """A single model as PaddleX's ``create_model`` returns it."""

    @property
    def model_name(self) -> str:
        """Name of the model."""
        return str(self.describe()["models"][0]["model"])

    @property
    def model_dir(self) -> Path:
        """Folder of its files."""
        return Path(self.describe()["models"][0]["model_dir"])

    def predict(self, input: Input, batch_size: int | None = None, **options: Any) -> Results:  # noqa: A002
        """As :meth:`hpi.Predictor.predict`; the second argument is the batch size, as in PaddleX.

        Unknown keywords are logged and ignored.
        """
        return super().predict(input, batch_size=batch_size, **_known(options, "predict"))

    __call__ = predict


def create_pipeline(
    pipeline: str | PathLike[str] | None = None,
    config: Mapping[str, Any] | None = None,
    device: str | None = None,
    use_hpip: bool | None = None,
    hpi_config: Mapping[str, Any] | None = None,
    *,
    engine: str | None = None,
    strict_device: bool = False,
    **ignored: Any,
) -> Pipeline:
    """PaddleX's ``create_pipeline``.

    Args:
        pipeline: name or YAML file of a pipeline.
        config: content of a pipeline YAML; it is used instead of ``pipeline``.
        device: as for :class:`hpi.Predictor`; by default the first GPU, else the CPU. If a named GPU cannot be used,
            the CPU is used instead, with a warning.
        use_hpip: accepted; this engine is always the high-performance one.
        hpi_config: PaddleX's dictionary, as for :class:`hpi.Predictor`.
        engine: PaddleX's name of a runtime, such as ``"paddle"`` or ``"onnxruntime"``; ``"hpi"`` is ``"auto"``.
        strict_device: a GPU that cannot be used is an error, as with ``PADDLE_PDX_DISABLE_DEVICE_FALLBACK=1``.
        ignored: PaddleX's other keywords (``engine_config``, ``pp_option`` and so on); each is logged.

    Raises:
        ConfigError: neither ``pipeline`` nor ``config`` is given.
        HpiError: as :class:`hpi.Predictor`.

    Example:
        >>> with create_pipeline("human_keypoint_detection_lite") as pipeline:
        ...     (result,) = pipeline.predict("examples/basketball.png", 0.5)
        >>> len(result["boxes"])
        2
    """
    del use_hpip
    _log_ignored(ignored, "create_pipeline")
    if pipeline is None and config is None:
        raise ConfigError("give the name or YAML file of a pipeline, or its config")
    if config is not None:
        config = tolerant(config)
        if pipeline is not None and config.get("pipeline_name") != pipeline:
            logger.warning("the config is for %s; pipeline=%s is ignored", config.get("pipeline_name"), pipeline)
    else:
        config = tolerant(str(pipeline))
    if engine is not None:
        config["engine"] = engine
    name = "config" if pipeline is None else pipeline
    configured = tolerate(HpiConfig, hpi_config or {}, "hpi_config")
    return _on_device(Pipeline, name, device, strict_device, config=config, hpi_config=configured)


def create_model(
    model_name: str,
    model_dir: str | PathLike[str] | None = None,
    device: str | None = None,
    use_hpip: bool | None = None,
    hpi_config: Mapping[str, Any] | None = None,
    *,
    engine: str | None = None,
    batch_size: int | None = None,
    flip: bool | None = None,
    use_udp: bool | None = None,
    threshold: float | None = None,
    strict_device: bool = False,
    **ignored: Any,
) -> Model:
    """PaddleX's ``create_model``.

    Args:
        model_name: name of a model.
        model_dir: folder of its files.
        device: as for :func:`create_pipeline`.
        use_hpip: accepted; this engine is always the high-performance one.
        hpi_config: PaddleX's dictionary, as for :class:`hpi.Predictor`.
        engine: PaddleX's name of a runtime, such as ``"paddle"`` or ``"onnxruntime"``; ``"hpi"`` is ``"auto"``.
        batch_size: images that go through the model together, unless ``predict`` sets it.
        flip: for keypoint models, average the keypoints with those of the mirrored crop.
        use_udp: for keypoint models, crop with UDP.
        threshold: for detectors, keep boxes that score above it, unless ``predict`` sets it.
        strict_device: as for :func:`create_pipeline`.
        ignored: PaddleX's other keywords (``engine_config``, ``genai_config``, ``img_size`` and so on); each is logged.

    Raises:
        HpiError: as :class:`hpi.Predictor`.

    Example:
        >>> with create_model("PicoDet-S_person_416") as model:
        ...     (result,) = model.predict("examples/basketball.png", batch_size=1)
        >>> [box["label"] for box in result["boxes"]]
        ['person', 'person']
    """
    del use_hpip
    _log_ignored(ignored, "create_model")
    return _on_device(
        Model,
        model_name,
        device,
        strict_device,
        model_dir=model_dir or None,
        hpi_config=with_engine(tolerate(HpiConfig, hpi_config or {}, "hpi_config"), engine),
        flip=flip,
        use_udp=use_udp,
        batch_size=batch_size,
        threshold=threshold,
    )


def with_engine(hpi_config: Mapping[str, Any] | None, engine: str | None) -> Mapping[str, Any]:
    """``hpi_config`` with the backend of a PaddleX engine, unless it names a backend itself.

    Example:
        >>> with_engine(None, "hpi"), with_engine({"backend": "openvino"}, "onnxruntime")
        ({'backend': 'auto'}, {'backend': 'openvino'})
    """
    named = {} if engine is None else {"backend": backend_of(engine)}
    return {**named, **(hpi_config or {})}


def _on_device(
    kind: type[AnyPredictor], name: str | PathLike[str], device: str | None, strict_device: bool, **arguments: Any
) -> AnyPredictor:
    """A predictor on a device, or on the CPU if a GPU cannot be used and ``strict_device`` does not forbid that."""
    requested = device or AUTO
    try:
        predictor = kind(name, device=requested, **arguments)
    except BackendError as error:
        wants_gpu = requested.strip().lower().startswith(("gpu", "cuda"))
        if strict_device or not wants_gpu or os.environ.get(NO_FALLBACK) in _TRUE:
            raise
        try:
            predictor = kind(name, device="cpu", **arguments)
        except BackendError:
            raise error from None
        logger.warning(
            "the device %s cannot be used, the CPU is used instead (strict_device=True makes this an error): %s",
            requested,
            error,
        )
    return predictor


def _known(options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The keywords that :meth:`hpi.Predictor.predict` takes; the others are logged."""
    names = {"batch_size", "det_threshold", "threshold", "boxes", "on_error"}
    _log_ignored({name: value for name, value in options.items() if name not in names}, where)
    return {name: value for name, value in options.items() if name in names}


def _log_ignored(keywords: Mapping[str, Any], where: str) -> None:
    for name, value in keywords.items():
        if value is not None:
            why = "the size of a model's input is fixed" if name in _IMAGE_SIZES else "it has no effect here"
            logger.warning("%s: %s is ignored: %s", where, name, why)
