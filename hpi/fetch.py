"""Reading http(s) URLs: bounded in time and size."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import IO, Any

from hpi.errors import HpiError

SILENCE_S = 30
"""Longest wait for the next bytes."""


def is_url(text: str) -> bool:
    """Whether a string is an http(s) URL."""
    return text.lower().startswith(("http://", "https://"))


class _StayOnHttp(urllib.request.HTTPRedirectHandler):
    """Redirects must not lead to other schemes: urllib would follow them to ftp."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not is_url(newurl):
            raise urllib.error.URLError(f"it redirects to {newurl}, which is not http or https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(
    url: str,
    out: IO[bytes],
    *,
    limit: int,
    seconds: float,
    error: type[HpiError],
    progress: Callable[[int, int | None], None] | None = None,
) -> int | None:
    """Copy what a URL answers into a stream.

    Args:
        url: http or https; redirects must stay there.
        out: where to write.
        limit: most bytes to take.
        seconds: longest time that it may take in all.
        error: what to raise.
        progress: called with the bytes so far and in all, if the server says.

    Returns:
        The size that the server announced, which is then that of the content; None if it did not.

    Raises:
        HpiError: of the kind ``error``: no answer, an HTTP error, more than ``limit`` bytes, fewer than announced, or
            not finished in time.
    """
    if not is_url(url):
        raise error(f"{url}: only http and https are fetched")
    deadline = time.monotonic() + seconds
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "hpi-pose"})
        with urllib.request.build_opener(_StayOnHttp).open(request, timeout=min(SILENCE_S, seconds)) as answer:
            length = answer.headers.get("Content-Length")
            total = int(length) if length and length.isdigit() else None
            done = 0
            while block := answer.read1(1 << 16):
                done += len(block)
                if done > limit:
                    raise error(f"{url}: more than the {limit} bytes that are accepted")
                if time.monotonic() > deadline:
                    raise error(f"{url}: not finished within {seconds:g} s, {done} bytes so far")
                out.write(block)
                if progress:
                    progress(done, total)
    except HpiError:
        raise
    except urllib.error.HTTPError as problem:
        raise error(f"{url}: the server answers {problem.code} {problem.reason}") from problem
    except (HTTPException, OSError, ValueError) as problem:
        raise error(f"{url}: cannot be fetched: {getattr(problem, 'reason', problem)}") from problem
    if total is not None and done != total:
        raise error(f"{url}: broke off after {done} of {total} bytes")
    return total
