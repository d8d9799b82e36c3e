"""Whether the places that models are downloaded from can be reached."""

from __future__ import annotations

import http.client
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from urllib.parse import urlsplit

from hpi.doctor.report import Check

LIMIT_S = 3.0
"""Seconds for all attempts together."""
HUGGING_FACE = "https://huggingface.co"


def download_hosts(urls: Iterable[str], *, hugging_face: bool) -> list[str]:
    """The servers to try, each once, as addresses without a path.

    Example:
        >>> download_hosts(["https://example.org/a.tar", "https://example.org/b.tar"], hugging_face=False)
        ['https://example.org']
    """
    hub = [os.environ.get("HF_ENDPOINT") or HUGGING_FACE] if hugging_face else []
    parts = [urlsplit(url) for url in [*hub, *urls]]
    return list(dict.fromkeys(f"{one.scheme}://{one.netloc.rpartition('@')[2]}" for one in parts))


def check_network(hosts: list[str]) -> Check:
    """Try all servers at once, through the proxies that downloads use too. None is needed for the bundled models."""
    outcomes = dict.fromkeys(hosts, f"no answer within {LIMIT_S:g} s")

    def attempt(host: str) -> None:
        outcomes[host] = _attempt(host)

    # Looking up a name has no time limit of its own, so these threads may be left behind.
    threads = [threading.Thread(target=attempt, args=(host,), daemon=True) for host in hosts]
    end = time.monotonic() + LIMIT_S
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
    known = dict(outcomes)  # a late attempt may still change it
    used = urllib.request.getproxies()
    proxies = {kind: without_login(used[kind]) for kind in ("http", "https") if kind in used}
    lines = [f"{urlsplit(host).netloc}: {outcome}" for host, outcome in known.items()]
    lines += [f"by the proxy {address}" for address in dict.fromkeys(proxies.values())]
    failed = any(outcome != "reachable" for outcome in known.values())
    if failed:
        lines.append("the models of the default pipeline need no network")
    return Check("network", "\n".join(lines), is_note=failed, facts={"hosts": known, "proxies": proxies})


def without_login(address: str) -> str:
    """An address, with or without a scheme, that may be shown.

    Example:
        >>> without_login("http://me:secret@proxy:3128"), without_login("me:secret@proxy:3128")
        ('http://***@proxy:3128', '***@proxy:3128')
    """
    login, at, host = address.rpartition("@")
    scheme = re.match(r"([a-z][a-z\d+.-]*://)?", login, re.IGNORECASE)
    return f"{scheme[0] if scheme else ''}***@{host}" if at else address


def _attempt(host: str) -> str:
    request = urllib.request.Request(host, method="HEAD", headers={"User-Agent": "hpi-pose"})
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S):
            pass
    except urllib.error.HTTPError:  # it answers
        pass
    except (http.client.InvalidURL, ValueError):  # its text may have a part of a proxy's login
        return "not reachable (its address or that of the proxy is malformed)"
    except Exception as error:  # noqa: BLE001 - whatever it is, the server cannot be reached
        return f"not reachable ({getattr(error, 'reason', error)})"
    return "reachable"
