"""The graph of a model in INT8, made by NNCF: its convolutions compute in ranges that images have shown."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import Array, ModelFiles, import_runtime, is_installed
from hpi.backends.graph.protobuf import drop_unread
from hpi.backends.graph.reading import copy_at_opset, read_graph
from hpi.backends.graph.rewrites import HARD_SWISH, UNREAD_OUTPUTS, rewritten
from hpi.backends.messages import summarize
from hpi.backends.paddle_to_onnx import ensure_onnx
from hpi.errors import BackendError, ConfigError

INSTALL = 'pip install "hpi-pose[quantize]"'
PACKAGES = ("nncf", "onnx", "openvino")
RECIPE = "1"
"""Version of everything that this file does to a graph."""

_IGNORED = ("MatMul", "Mul", "Softmax")
"""Operators that stay in FP32: INT8 costs them accuracy and gains no time."""
_OPSET = 13
REWRITES = (UNREAD_OUTPUTS, HARD_SWISH)
"""What is done to a graph before it is calibrated."""
_SILENT = "NNCF_CI"
"""Where it is set, NNCF sends nothing to anybody."""


def check_installed() -> None:
    """Check that what calibrates is installed.

    Raises:
        ConfigError: it is not; the message says how to install it.
    """
    if missing := [package for package in PACKAGES if not is_installed(package)]:
        raise ConfigError(f"INT8 needs {', '.join(missing)}: {INSTALL}")


def versions() -> dict[str, str]:
    """The versions of what decides about the result.

    Example:
        >>> sorted(versions())
        ['nncf', 'openvino']
    """
    return {package: version(package) for package in ("nncf", "openvino")}


def prepared_graph(files: ModelFiles, artifacts: ArtifactCache) -> Any:
    """The graph that is calibrated, in an opset in which each channel of a weight can have a range of its own.

    Raises:
        BackendError: there is none, or it cannot be brought there.
    """
    exported = ensure_onnx(files, artifacts)
    model = copy_at_opset(read_graph(rewritten(files, exported, REWRITES, artifacts).path), _OPSET)
    if model is None:
        raise BackendError(f"{files.name}: its graph cannot be brought to opset {_OPSET}, which INT8 needs")
    drop_unread(model.graph)  # ONNX Runtime prints a line for each constant that nothing reads
    return model


def calibrated(graph: Any, feeds: Sequence[Mapping[str, Array]]) -> bytes:
    """A graph in INT8, as an ONNX file.

    The ranges are the largest that the feeds show: NNCF's usual mean of them cuts off what single images need (boxes
    lost: 1 of 61 instead of 3). Weights and activations of HardSwish have signed ranges (``MIXED``), and the first
    layer leaves a bit free for CPUs whose INT8 sums overflow.

    Args:
        graph: of :func:`prepared_graph`.
        feeds: what the model takes, an image each.

    Raises:
        BackendError: NNCF failed.
    """
    nncf, estimators = _import_nncf("nncf"), _import_nncf("nncf.quantization.range_estimator")
    nncf.set_log_level("ERROR")
    advanced = nncf.AdvancedQuantizationParameters(
        overflow_fix=nncf.OverflowFix.FIRST_LAYER,
        activations_range_estimator_params=estimators.RangeEstimatorParametersSet.MINMAX,
    )
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it draws progress bars of its own
            made = nncf.quantize(
                graph,
                nncf.Dataset(list(feeds)),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(feeds),
                ignored_scope=nncf.IgnoredScope(types=list(_IGNORED), validate=False),
                advanced_parameters=advanced,
            )
    except Exception as error:
        raise BackendError(f"NNCF cannot calibrate the graph: {summarize(str(error))}") from error
    content: bytes = made.SerializeToString(deterministic=True)
    return content


def _import_nncf(module: str) -> Any:
    before = os.environ.get(_SILENT)
    os.environ[_SILENT] = "1"
    try:
        return import_runtime(module, INSTALL)
    finally:
        if before is None:
            del os.environ[_SILENT]
