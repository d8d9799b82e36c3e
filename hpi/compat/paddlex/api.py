"""PaddleX's two functions that make a predictor."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from hpi.errors import ConfigError
from hpi.predictor import MAX_BATCH_SIZE, Predictor, _count
from hpi.selection import AUTO

_ENGINES = {"hpi": AUTO, "flexible": AUTO, "paddle_static": "paddle"}


def create_pipeline(
    pipeline: str | PathLike[str] | None = None,
    config: Mapping[str, Any] | None = None,
    device: str | None = None,
    use_hpip: bool | None = None,
    hpi_config: Mapping[str, Any] | None = None,
    *,
    engine: str | None = None,
) -> Predictor:
    """PaddleX's ``create_pipeline``.

    Args:
        pipeline: name or YAML file of a pipeline.
        config: content of a pipeline YAML, instead of ``pipeline``.
        device: as for :class:`Predictor`; by default the first GPU, else the CPU.
        use_hpip: accepted; this engine is always the high-performance one.
        hpi_config: PaddleX's dictionary, as for :class:`Predictor`.
        engine: PaddleX's name of a runtime, such as ``"paddle"`` or ``"onnxruntime"``; ``"hpi"`` is ``"auto"``.

    Raises:
        ConfigError: neither ``pipeline`` nor ``config`` is given; and as :class:`Predictor`.
    """
    del use_hpip
    if pipeline is None and config is None:
        raise ConfigError("give the name or YAML file of a pipeline, or its config")
    name = "config" if pipeline is None else pipeline
    return Predictor(name, config=config, device=device or AUTO, hpi_config=with_engine(hpi_config, engine))


def create_model(
    model_name: str,
    model_dir: str | PathLike[str] | None = None,
    device: str | None = None,
    use_hpip: bool | None = None,
    hpi_config: Mapping[str, Any] | None = None,
    *,
    engine: str | None = None,
    batch_size: int = 1,
    flip: bool | None = None,
    use_udp: bool | None = None,
) -> Predictor:
    """PaddleX's ``create_model``.

    Args:
        model_name: name of a model.
        model_dir: folder of its files.
        device: as for :class:`Predictor`; by default the first GPU, else the CPU.
        use_hpip: accepted; this engine is always the high-performance one.
        hpi_config: PaddleX's dictionary, as for :class:`Predictor`.
        engine: PaddleX's name of a runtime, such as ``"paddle"`` or ``"onnxruntime"``; ``"hpi"`` is ``"auto"``.
        batch_size: images that go through the model together, where ``predict`` does not say.
        flip: for keypoint models, average with the mirrored crop.
        use_udp: for keypoint models, crop by the UDP convention.

    Raises:
        HpiError: as :class:`Predictor`.
    """
    del use_hpip
    batch_size = _count("batch_size", batch_size, MAX_BATCH_SIZE, ConfigError)
    predictor = Predictor(
        model_name,
        model_dir=model_dir,
        device=device or AUTO,
        hpi_config=with_engine(hpi_config, engine),
        flip=flip,
        use_udp=use_udp,
    )
    predictor.batch_size = batch_size
    return predictor


def with_engine(hpi_config: Mapping[str, Any] | None, engine: str | None) -> Mapping[str, Any]:
    """``hpi_config`` with the backend that an engine stands for, where it names none itself."""
    named = {} if engine is None else {"backend": _ENGINES.get(engine, engine)}
    return {**named, **(hpi_config or {})}
