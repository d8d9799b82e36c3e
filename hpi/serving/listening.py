"""Taking an address before the models are loaded, so that one that cannot be had is told at once."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from hpi.errors import HpiError

_REASONS = {
    errno.EADDRINUSE: "is in use; stop what listens there, or choose another --port",
    errno.EACCES: "may not be used by this user; choose a --port from 1024 on",
    errno.EADDRNOTAVAIL: "is no address of this machine; give --host one that is, or 0.0.0.0 for all of them",
}


def bind(host: str, port: int) -> list[socket.socket]:
    """Take a port at every address of a host. Clients are still refused, until somebody listens.

    Raises:
        HpiError: it cannot be had; the message says why.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise HpiError(f"{host}: no such host: {getattr(error, 'strerror', None) or error}") from error
    taken: list[socket.socket] = []
    failures: list[HpiError] = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            taken.append(_bind(socket.socket(family, kind, protocol), address))
        except OSError as error:
            failures.append(cannot_listen(host, port, error))
            if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:  # those: localhost where IPv6 is off
                break
    else:
        if taken:
            return taken
    close(taken)
    raise failures[-1]


def close(sockets: list[socket.socket]) -> None:
    """Give back what :func:`bind` took."""
    for one in sockets:
        one.close()


def cannot_listen(host: str, port: int, error: OSError) -> HpiError:
    """The error for an address that cannot be had."""
    reason = _REASONS.get(error.errno or 0) or f"cannot be listened on: {os.strerror(error.errno or 0)}"
    return HpiError(f"{_pair(host, port)} {reason}")


def url_of(one: socket.socket) -> str:
    """The address that a socket has taken."""
    return "http://" + _pair(*one.getsockname()[:2])


def _pair(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind(free: socket.socket, address: Any) -> socket.socket:
    try:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier service linger a while
        if free.family == socket.AF_INET6:
            free.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
        free.bind(address)
    except OSError:
        free.close()
        raise
    return free
