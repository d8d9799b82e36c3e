"""ONNX graphs with random weights, the same ones every time, for benchmarks and tests.

``rtmpose-t`` to ``rtmpose-l`` have the architecture, the size and the cost of the real networks. The others are small,
with the inputs and outputs of the exports that people have. ``python -m hpi.benchmarks.graphs NAME FILE`` writes one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx

from hpi.benchmarks.graphs import small
from hpi.benchmarks.graphs.rtmpose import RtmPose

GRAPHS: Mapping[str, Callable[[int], Any]] = {
    "rtmpose-t": RtmPose(deepen=0.167, widen=0.375).build,
    "rtmpose-s": RtmPose(deepen=0.33, widen=0.5).build,
    "rtmpose-m": RtmPose().build,
    "rtmpose-l": RtmPose(deepen=1, widen=1).build,
    "simcc": lambda seed: small.simcc((192, 256), seed),
    "vitpose": lambda seed: small.vitpose((192, 256), seed),
    "rtmo": lambda seed: small.rtmo((640, 640), seed),
    "rtmdet": lambda seed: small.detector((320, 320), seed),
    "yolox": lambda seed: small.detector((416, 416), seed, levels=True),
    "yolox-raw": lambda seed: small.yolox_raw((416, 416), seed),
}
"""From a seed to a graph, by name."""


def save_graph(name: str, path: Path, seed: int = 0) -> Path:
    """Write one of :data:`GRAPHS`.

    Args:
        name: of the graph.
        path: the file.
        seed: of its weights.

    Returns:
        The file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_graph("simcc", Path(folder, "pose.onnx")).stat().st_size > 100_000
        True
    """
    onnx.save(GRAPHS[name](seed), path)
    return path
