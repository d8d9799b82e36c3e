"""Rewrite: a graph in FP16 with float32 inputs and outputs."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any

import numpy as np

from hpi.backends.base import import_runtime
from hpi.backends.gpu import INSTALL
from hpi.backends.graph.batch_norm import fold_batch_norms
from hpi.backends.graph.protobuf import copied


def to_fp16(model: Any, keep_fp32: Collection[str] = ()) -> Any:
    """The graph in FP16; its inputs and outputs stay float32.

    Args:
        model: a graph of :func:`hpi.backends.graph.read_graph`.
        keep_fp32: names of nodes that stay in FP32.

    Raises:
        BackendError: onnxconverter-common is not installed. Its own errors pass through.
    """
    float16 = import_runtime("onnxconverter_common.float16", INSTALL)
    copy = copied(model)
    fold_batch_norms(copy.graph)
    _separate_outputs(copy.graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one line for each weight too small for FP16
        return float16.convert_float_to_float16(
            copy,
            max_finite_val=float(np.finfo(np.float16).max),
            keep_io_types=True,
            node_block_list=list(keep_fp32),
        )


def _separate_outputs(graph: Any) -> None:
    """Give every output of the graph its own Identity node.

    Otherwise the converter leaves other readers of the same value with the wrong type.
    """
    names = {value.name: f"{value.name}.inside" for value in graph.output}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for name, inside in names.items():
        graph.node.add(op_type="Identity", name=f"{name}.outside", input=[inside], output=[name])
