"""``paddlex.utils.device``: parsing and building device strings, for scripts with a process per device."""

from __future__ import annotations

from collections.abc import Sequence

from hpi.options import read_devices


def parse_device(device: str) -> tuple[str, list[int] | None]:
    """The kind of device of a device string, and its indices; None if it has none.

    Raises:
        ConfigError: it is not a device string.

    Example:
        >>> parse_device("gpu:0,1"), parse_device("cpu")
        (('gpu', [0, 1]), ('cpu', None))
    """
    devices = [one.partition(":") for one in read_devices(device)]
    return devices[0][0], [int(index) for _, _, index in devices] if ":" in device else None


def constr_device(device_type: str, device_ids: Sequence[int] | None) -> str:
    """The device string of a kind of device and indices.

    Example:
        >>> constr_device("gpu", [0, 1])
        'gpu:0,1'
    """
    return f"{device_type}:{','.join(map(str, device_ids))}" if device_ids else device_type
