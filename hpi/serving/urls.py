"""Fetching images that clients name by URL, from public addresses only."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable
from typing import Any
from urllib.parse import urljoin

import httpcore

from hpi.errors import InputError
from hpi.io.addresses import is_public
from hpi.io.fetch import ascii_url, is_url, shown
from hpi.serving.limits import Received

MAX_REDIRECTS = 5

_REDIRECTS = {301, 302, 303, 307, 308}
_HEADERS = [("User-Agent", "hpi-pose"), ("Accept", "image/*")]


async def fetch_public(url: str, into: Received, seconds: float) -> None:
    """Fetch the content of a URL in bounded time.

    Each connection resolves the host name once and connects to exactly the address that was checked, so a name server
    cannot answer differently in between. Redirects are new connections. No proxy is used, since the proxy would resolve
    the name.

    Args:
        url: http or https.
        into: receives the content; its errors pass through.
        seconds: time limit for all of it.

    Raises:
        InputError: the address is not public, there is no answer in time, an HTTP error, or too many redirects.
        RequestError: the content is too large, or no memory is left.
    """
    try:
        async with httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(), network_backend=_PublicOnly()
        ) as pool:
            await asyncio.wait_for(_follow(pool, url, into), seconds)
    except asyncio.TimeoutError as error:
        raise InputError(f"{shown(url)}: not fetched within {seconds:g} s") from error
    except InputError:
        raise
    except (OSError, ValueError, httpcore.ProtocolError, httpcore.NetworkError, httpcore.UnsupportedProtocol) as error:
        raise InputError(f"{shown(url)}: cannot be fetched: {error or type(error).__name__}") from error


async def _follow(pool: httpcore.AsyncConnectionPool, url: str, into: Received) -> None:
    for _ in range(MAX_REDIRECTS + 1):
        if not is_url(url):
            raise InputError(f"{shown(url)}: only http and https are supported")
        async with pool.stream("GET", ascii_url(url), headers=_HEADERS) as answer:
            if answer.status not in _REDIRECTS:
                if answer.status != 200:
                    raise InputError(f"{shown(url)}: the server answers {answer.status}")
                async for chunk in answer.aiter_stream():
                    into.add(chunk)
                return
            target = dict(_lower(answer.headers)).get("location", "")
        url = urljoin(url, target)
    raise InputError(f"{shown(url)}: more than {MAX_REDIRECTS} redirects")


def _lower(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[str, str]]:
    return ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)


class _PublicOnly(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only."""

    def __init__(self) -> None:
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = OSError(f"{host}: no address")
        for address in await _public_addresses(host, port):
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


async def _public_addresses(host: str, port: int) -> list[str]:
    """The addresses of a host; an error unless all are public."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InputError(f"{host}: no such host") from error
    addresses = list(dict.fromkeys(str(target[0]) for *_, target in found))
    if not all(is_public(address) for address in addresses):
        raise InputError(f"{host}: not a public address; images are fetched from public addresses only")
    return addresses
