"""Reading http(s) URLs: bounded in time and size."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import IO
from urllib.parse import urlsplit

from hpi.errors import HpiError

TIMEOUT_S = 30


def is_url(text: str) -> bool:
    """Whether a string is an http(s) URL."""
    return text.startswith(("http://", "https://"))


def fetch(
    url: str,
    out: IO[bytes],
    limit: int,
    error: type[HpiError],
    progress: Callable[[int, int | None], None] | None = None,
) -> None:
    """Copy what a URL answers into a stream.

    Args:
        url: http or https; redirects must stay there.
        out: where to write.
        limit: most bytes to take.
        error: what to raise.
        progress: called with bytes so far and in all, if the server says.

    Raises:
        HpiError: of the kind ``error``: no answer, an HTTP error, more than ``limit`` bytes, or fewer or more bytes
            than announced.
    """
    if not is_url(url):
        raise error(f"{url}: only http and https are fetched")
    request = urllib.request.Request(url, headers={"User-Agent": "hpi-pose"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            if urlsplit(answer.url).scheme not in {"http", "https"}:
                raise error(f"{url}: redirects to {answer.url}, which is not http or https")
            length = answer.headers.get("Content-Length")
            total = int(length) if length and length.isdigit() else None
            done = 0
            while block := answer.read(1 << 16):
                done += len(block)
                if done > limit:
                    raise error(f"{url}: more than the {limit} bytes that are accepted")
                out.write(block)
                if progress:
                    progress(done, total)
    except urllib.error.HTTPError as problem:
        raise error(f"{url}: the server answers {problem.code} {problem.reason}") from problem
    except (HTTPException, OSError, ValueError) as problem:
        raise error(f"{url}: cannot be fetched: {getattr(problem, 'reason', problem)}") from problem
    if total is not None and done != total:
        raise error(f"{url}: broke off after {done} of {total} bytes")
