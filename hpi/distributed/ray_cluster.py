"""Connecting to a Ray cluster, and what Ray has given an actor."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from hpi.errors import ConfigError, HpiError

LOCAL = "local"
"""Address that starts Ray on this machine, for as long as the command runs."""

CONNECT_S = 10
"""How long a cluster may take to accept a connection, in seconds."""


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
        if address not in {LOCAL, "auto"}:
            _check_reachable(address, ray.util.get_node_ip_address())
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


def _check_reachable(address: str, own: str) -> None:
    """Check that somebody listens at an address; Ray itself would try for a quarter of an hour.

    Args:
        address: ``host:port``, or ``ray://host:port``.
        own: address of this machine, which Ray takes for a loopback address.

    Raises:
        OSError: nobody does.
        ValueError: it is no address.
    """
    where = urlsplit(address if "://" in address else f"//{address}")
    if not where.hostname or not where.port:
        raise ValueError("write it as host:port")
    host = own if where.hostname in {"localhost", "127.0.0.1", "::1"} and not where.scheme else where.hostname
    with socket.create_connection((host, where.port), timeout=CONNECT_S):
        pass


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
