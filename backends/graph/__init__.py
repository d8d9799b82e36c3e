"""Rewrites of ONNX graphs, one file each.

A rewrite takes a ``ModelProto`` of :func:`read_graph` and returns one; it leaves its argument as it is. Those that
runtimes ask for by name are in :mod:`hpi.backends.graph.rewrites`.
"""

from hpi.backends.graph.batch import free_batch, is_for_one_item
from hpi.backends.graph.boxes import count_boxes
from hpi.backends.graph.fp16 import to_fp16
from hpi.backends.graph.nms import cut_nms, suppressions_in
from hpi.backends.graph.reading import inputs_of, read_graph
from hpi.backends.graph.sensitivity import SENSITIVE_SHARE, decoding_nodes, sensitive_nodes

__all__ = [
    "SENSITIVE_SHARE",
    "VERSION",
    "count_boxes",
    "cut_nms",
    "decoding_nodes",
    "free_batch",
    "inputs_of",
    "is_for_one_item",
    "read_graph",
    "sensitive_nodes",
    "suppressions_in",
    "to_fp16",
]

VERSION = "1"
"""Part of the key of everything made from a graph that was read here; raise it with every change to the reading, and to
the rewrites that are no :data:`hpi.backends.graph.rewrites.REWRITES`, which have versions of their own."""
