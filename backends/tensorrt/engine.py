"""Engines: building them, which takes minutes, and keeping them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpi.backends.artifacts import ArtifactCache, content_hash, staging_folder
from hpi.backends.base import SessionOptions, Variant, onnx_files
from hpi.backends.batches import BatchRange
from hpi.backends.gpu import Gpu
from hpi.backends.graph import VERSION as GRAPH_VERSION
from hpi.backends.graph import decoding_nodes, sensitive_nodes, to_fp16
from hpi.backends.passthrough import set_attributes
from hpi.backends.tensorrt.batching import Shape
from hpi.backends.tensorrt.logs import new_progress
from hpi.errors import BackendError

logger = logging.getLogger(__name__)

MIXED = "mixed"
"""The profile in which the layers that a lower precision harms most stay in FP32."""


def with_precision(model: Any, variant: Variant) -> Any:
    """The graph as a variant runs it; its inputs and outputs are float32 in each."""
    if variant.precision == "fp32":
        return model
    return to_fp16(model, decoding_nodes(model) | (sensitive_nodes(model) if variant.profile == MIXED else set()))


def engine_key(
    name: str, graph: Path, options: SessionOptions, batches: BatchRange, gpu: Gpu, version: str
) -> Mapping[str, str]:
    """Everything an engine depends on."""
    return {
        "model": name,
        "content": content_hash(onnx_files(graph)),
        "edits": GRAPH_VERSION,
        "variant": str(options.variant),
        "batches": str(batches),
        "gpu": gpu.name,
        "compute_capability": str(gpu.compute_capability),
        "cuda": str(gpu.cuda),
        "tensorrt": version,
        **options.key,
    }


def timings_name(gpu: Gpu, version: str) -> str:
    """Name of the file with TensorRT's timings on a GPU, which all models share."""
    return re.sub(r"\W+", "_", f"timings {gpu.name} {gpu.compute_capability} {gpu.cuda} {version}")


def open_engine(
    trt: Any, log: Any, artifacts: ArtifactCache, key: Mapping[str, str], build: Callable[[Path], None]
) -> Any:
    """The engine from the cache, built when it is missing, and rebuilt once when TensorRT refuses it.

    Raises:
        BackendError: it cannot be built, or TensorRT refuses even a new one.
    """
    runtime = trt.Runtime(log)
    file = artifacts.get("tensorrt", key, "model.engine", build)
    engine = runtime.deserialize_cuda_engine(file.read_bytes())
    if engine is None:
        logger.warning("%s: incompatible engine, rebuilding it%s", file, log.said())
        artifacts.discard(file)
        file = artifacts.get("tensorrt", key, "model.engine", build)
        engine = runtime.deserialize_cuda_engine(file.read_bytes())
    if engine is None:
        raise BackendError(f"TensorRT refuses the engine {file}, even after a rebuild{log.said()}; try removing it")
    return engine


@dataclass(frozen=True)
class EngineBuild:
    """What to build an engine from.

    Attributes:
        name: the model, for messages.
        graph: a serialized ONNX model; layers run in the precision that it states.
        shapes: for each input with a free batch the smallest, best and largest shape.
        timings: file with earlier timings, which the build updates.
        options: attributes of ``IBuilderConfig`` to set.
    """

    name: str
    graph: bytes
    shapes: Mapping[str, tuple[Shape, Shape, Shape]]
    timings: Path
    options: SessionOptions


def build_engine(trt: Any, log: Any, wanted: EngineBuild) -> Any:
    """Build an engine, which takes minutes.

    Args:
        trt: the package.
        log: from :func:`hpi.backends.tensorrt.logs.new_log`.
        wanted: what to build.

    Returns:
        The serialized engine, a buffer.

    Raises:
        BackendError: an option is unknown, or TensorRT cannot read the graph or build an engine for it.
    """
    name = wanted.name
    logger.info("building TensorRT's engine for %s (once on this GPU; takes some minutes)", name)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(wanted.graph):
        problems = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
        raise BackendError(f"{name}: TensorRT cannot read the graph: {problems}{log.said()}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # FP32 means FP32
    set_attributes("tensorrt", config, wanted.options.backend_options)
    progress = new_progress(trt, name)
    config.progress_monitor = progress
    if wanted.shapes:
        optimization = builder.create_optimization_profile()
        for of_input, (least, best, most) in wanted.shapes.items():
            optimization.set_shape(of_input, least, best, most)
        config.add_optimization_profile(optimization)
    cache = _use_timings(config, wanted.timings)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BackendError(f"{name}: TensorRT cannot build an engine{wanted.options.with_options}{log.said()}")
    _save(wanted.timings, cache.serialize())
    logger.info("built TensorRT's engine for %s", name)
    return engine


def _use_timings(config: Any, file: Path) -> Any:
    """Let a build use and extend earlier timings; a damaged file counts as empty."""
    cache = config.create_timing_cache(file.read_bytes() if file.is_file() else b"")
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _save(file: Path, content: Any) -> None:
    """Replace a file as a whole; where it cannot be written, the next build takes longer."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with staging_folder(file) as staging:
            written = staging / file.name
            written.write_bytes(content)
            written.replace(file)
    except OSError as error:
        logger.info("TensorRT's timings cannot be kept for the next build: %s", error)
