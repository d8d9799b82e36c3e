"""Fetching a photo that a client names by URL, from public addresses only."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import urllib.request
from collections.abc import Iterable
from typing import Any

from hpi.errors import InputError

NAT64 = ipaddress.ip_network("64:ff9b::/96")


def opener_for_public_addresses() -> list[urllib.request.BaseHandler]:
    """Handlers for :func:`hpi.fetch.fetch` that connect to public addresses only, also behind redirects.

    The name is resolved once and the connection made to the very address that was checked, so a name server cannot
    answer differently in between. No proxy is used, since it would connect in the service's place.
    """
    return [urllib.request.ProxyHandler({}), _HttpHandler(), _HttpsHandler()]


def is_public(address: str) -> bool:
    """Whether an IP address can be anybody's on the internet: not private, loopback, link-local, multicast or reserved.

    An IPv4 address inside an IPv6 one counts as itself.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and (inner := _inner_ipv4(ip)):
        return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _inner_ipv4(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address of a transition mechanism leads to."""
    if ip in NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    teredo = ip.teredo
    return ip.ipv4_mapped or ip.sixtofour or (teredo[1] if teredo else None)


def _connect(host: str, port: int, timeout: Any) -> socket.socket:
    """A connection to a host by one of its addresses, all of which must be public."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InputError(f"{host}: no such host") from error
    addresses = [(family, target) for family, _, _, _, target in found]
    _check_public(host, (str(target[0]) for _, target in addresses))
    failure: OSError | None = None
    for family, target in addresses:
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout if isinstance(timeout, (int, float)) else None)
            connection.connect(target)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure or OSError("no address")


def _check_public(host: str, addresses: Iterable[str]) -> None:
    if not all(is_public(address) for address in addresses):
        raise InputError(f"{host}: not a public address; photos are only fetched from the internet")


class _HttpConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = _connect(self.host, self.port, self.timeout)


class _HttpsConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        plain = _connect(self.host, self.port, self.timeout)
        context: Any = self._context  # type: ignore[attr-defined]
        self.sock = context.wrap_socket(plain, server_hostname=self.host)


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HttpConnection, req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HttpsConnection, req, context=self._context)  # type: ignore[attr-defined]
