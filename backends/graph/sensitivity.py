"""Which nodes suffer most from a lower precision."""

from __future__ import annotations

from itertools import islice
from typing import Any

SENSITIVE_SHARE = 0.25
"""The share of the convolutions, from the input on, whose rounding to FP16 moves keypoints most; see
benchmarks/NOTES.md."""


def decoding_nodes(model: Any) -> set[str]:
    """Names of the nodes after the last convolutions.

    There a detector's boxes become pixels. FP16 resolves them only to 0.5 from 512 on, and to 2 from 2048 on.

    Example:
        >>> from hpi.backends.graph.reading import read_graph
        >>> from hpi.zoo import Zoo
        >>> model = read_graph(Zoo.default().find("PicoDet-S_person_416").files.onnx)
        >>> len(decoding_nodes(model)), len(model.graph.node)
        (104, 471)
    """
    before_convolution: set[str] = set()
    names = set()
    for node in reversed(model.graph.node):
        if node.op_type == "Conv" or before_convolution.intersection(node.output):
            before_convolution.update(node.input)
        else:
            names.add(node.name)
    return names


def sensitive_nodes(model: Any) -> set[str]:
    """Names of the nodes up to the end of the first :data:`SENSITIVE_SHARE` of the convolutions.

    Example:
        >>> from hpi.backends.graph.reading import read_graph
        >>> from hpi.zoo import Zoo
        >>> model = read_graph(Zoo.default().find("MoveNet-Thunder_256x256").files.onnx)
        >>> len(sensitive_nodes(model)), len(model.graph.node)
        (51, 232)
    """
    nodes = model.graph.node
    convolutions = [index for index, node in enumerate(nodes) if node.op_type == "Conv"]
    after = round(len(convolutions) * SENSITIVE_SHARE)
    end = convolutions[after] if after < len(convolutions) else 0
    return {node.name for node in islice(nodes, end)}
