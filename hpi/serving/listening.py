"""Binding an address before the models are loaded, so that an address in use is reported at once."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from hpi.errors import HpiError

_REASONS = {
    errno.EADDRINUSE: "is in use; stop the process that listens there, or choose another port",
    errno.EACCES: "is not permitted for this user; choose a port of 1024 or above",
    errno.EADDRNOTAVAIL: "is not an address of this machine; set --host to one that is, or to 0.0.0.0 for all of them",
}


def bind(host: str, port: int) -> list[socket.socket]:
    """Bind a port at every address of a host. Connections are refused until the sockets listen.

    Args:
        host: name or address.
        port: port number.

    Raises:
        HpiError: the address cannot be bound; the message says why.

    Example:
        >>> sockets = bind("127.0.0.1", 0)
        >>> len(sockets), sockets[0].getsockname()[0]
        (1, '127.0.0.1')
        >>> close(sockets)
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise HpiError(f"{host}: no such host: {getattr(error, 'strerror', None) or error}") from error
    bound: list[socket.socket] = []
    failures: list[HpiError] = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            bound.append(_bind(socket.socket(family, kind, protocol), address))
        except OSError as error:
            failures.append(cannot_listen(host, port, error))
            if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:  # as for localhost without IPv6
                break
    else:
        if bound:
            return bound
    close(bound)
    raise failures[-1]


def close(sockets: list[socket.socket]) -> None:
    """Close the sockets of :func:`bind`.

    Example:
        >>> sockets = bind("127.0.0.1", 0)
        >>> close(sockets)
        >>> sockets[0].fileno()
        -1
    """
    for bound in sockets:
        bound.close()


def cannot_listen(host: str, port: int, error: OSError) -> HpiError:
    """The error for an address that cannot be bound.

    Example:
        >>> str(cannot_listen("127.0.0.1", 80, PermissionError(errno.EACCES, "Permission denied")))
        '127.0.0.1:80 is not permitted for this user; choose a port of 1024 or above'
    """
    reason = _REASONS.get(error.errno or 0) or f"cannot be listened on: {os.strerror(error.errno or 0)}"
    return HpiError(f"{address_of(host, port)} {reason}")


def url_of(bound: socket.socket) -> str:
    """The http URL of a bound socket.

    Example:
        >>> sockets = bind("127.0.0.1", 0)
        >>> url_of(sockets[0]) == f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        True
        >>> close(sockets)
    """
    return "http://" + address_of(*bound.getsockname()[:2])


def address_of(host: str, port: int) -> str:
    """A host and a port in one.

    Example:
        >>> address_of("127.0.0.1", 80), address_of("::1", 80)
        ('127.0.0.1:80', '[::1]:80')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind(unbound: socket.socket, address: Any) -> socket.socket:
    try:
        unbound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier service may linger
        if unbound.family == socket.AF_INET6:
            unbound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has its own socket
        unbound.bind(address)
    except OSError:
        unbound.close()
        raise
    return unbound
