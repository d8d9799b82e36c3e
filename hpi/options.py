"""Options of a Predictor: their limits."""

from __future__ import annotations

import re

from hpi.errors import ConfigError

MAX_THREADS = 1024

_DEVICE = re.compile(r"cpu|(?P<kind>gpu|cuda|npu|xpu|mlu|dcu|gcu)(:(?P<cards>\d{1,3}(,\d{1,3})*))?")


def read_devices(device: str) -> list[str]:
    """The devices that a device string of PaddleX names, each by its own.

    Args:
        device: ``cpu``, ``gpu``, ``gpu:0``, ``gpu:0,1``, ``npu:0`` and the like; ``cuda`` is another word for ``gpu``.

    Returns:
        ``["cpu"]``, ``["gpu:0", "gpu:1"]`` and the like.

    Raises:
        ConfigError: it is none, or names a card twice.
    """
    match = _DEVICE.fullmatch(device) if isinstance(device, str) else None
    if match is None:
        raise ConfigError(f"device {device!r}: give cpu, gpu, gpu:0 and the like, or auto")
    if match["kind"] is None:
        return ["cpu"]
    kind = "gpu" if match["kind"] == "cuda" else match["kind"]
    cards = [f"{kind}:{int(index)}" for index in (match["cards"] or "0").split(",")]
    if len(set(cards)) < len(cards):
        raise ConfigError(f"device {device!r}: names a card twice")
    return cards
