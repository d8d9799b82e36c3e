"""Rewrites of ONNX graphs, one file each.

A rewrite takes a ``ModelProto`` of :func:`read_graph` and returns one; it leaves its argument as it is.
"""

from hpi.backends.graph.fp16 import to_fp16
from hpi.backends.graph.nms import cut_nms
from hpi.backends.graph.reading import inputs_of, read_graph
from hpi.backends.graph.sensitivity import SENSITIVE_SHARE, decoding_nodes, sensitive_nodes

__all__ = [
    "SENSITIVE_SHARE",
    "VERSION",
    "cut_nms",
    "decoding_nodes",
    "inputs_of",
    "read_graph",
    "sensitive_nodes",
    "to_fp16",
]

VERSION = "1"
"""Part of the key of everything made from a rewritten graph; raise it with every change to a rewrite."""
