"""Connecting to a Ray cluster, and what Ray has given an actor."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hpi.errors import ConfigError, HpiError

LOCAL = "local"
"""Address that starts Ray on this machine, for as long as the command runs."""


@contextmanager
def connected(address: str = LOCAL) -> Iterator[None]:
    """Be connected to a Ray cluster; where the process is connected already, it stays so.

    Args:
        address: :data:`LOCAL`, ``"auto"`` for the cluster that this machine is in, or ``"host:port"``.

    Raises:
        ConfigError: Ray is not installed.
        HpiError: there is no cluster at the address, or Ray cannot be started.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before the import, which reads it
    try:
        import ray
    except ImportError as error:
        raise ConfigError(f'Ray is not installed ({error}): pip install "hpi-pose[ray]"') from error
    if ray.is_initialized():
        yield
        return
    own: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(address, logging_level="WARNING", **own)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise HpiError(
            f"--ray {address}: no Ray cluster can be reached there ({error}); start one with `ray start --head`, or "
            "set RAY_AUTH_MODE=token for one with a token"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def arguments_in_actor(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a Predictor inside an actor: on the GPU that Ray has given it, else on its share of the cores.

    What the arguments say themselves is left as it is.
    """
    import ray

    given = ray.get_runtime_context().get_assigned_resources()
    return for_share(arguments, cpus=given.get("CPU", 1), gpus=given.get("GPU", 0))


def for_share(arguments: Mapping[str, Any], *, cpus: float, gpus: float) -> dict[str, Any]:
    """Arguments of a Predictor that has these cores and GPUs; what the arguments say themselves is left as it is.

    Example:
        >>> for_share({"backend": "openvino", "device": None}, cpus=2, gpus=0)
        {'backend': 'openvino', 'device': 'cpu', 'threads': 2}
    """
    share = {"device": "gpu" if gpus else "cpu", "threads": max(1, int(cpus))}
    return {**arguments, **{name: value for name, value in share.items() if arguments.get(name) is None}}
