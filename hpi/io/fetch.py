"""Reading http(s) URLs within limits of time and size."""

from __future__ import annotations

import base64
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException, HTTPResponse
from typing import IO, Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import idna

from hpi.errors import HpiError

SILENCE_S = 30
"""Time limit for the next bytes, in seconds."""


_USER = re.compile(r"^((?:https?|rtsp)://)[^/?#]*@", re.IGNORECASE)
# After the colon is no port number, so it is a password with a slash in it.
_USER_WITH_SLASH = re.compile(r"^((?:https?|rtsp)://)[^/?#@\[]*:[^/?#@]*[^/?#@\d].*@", re.IGNORECASE)
_SECRET = re.compile(
    r"(?<=[?&;#])([^=&;#]*(?:auth|cred|hmac|jwt|key(?![a-z])|keyid|pass|pwd|secret|sess|sig(?![a-z])|signature|token)"
    r"[^=&;#]*=)[^&;#]*",
    re.IGNORECASE,
)


def is_url(text: str) -> bool:
    """Whether a string is an http(s) URL.

    Example:
        >>> is_url("https://example.org/a.jpg"), is_url("a.jpg")
        (True, False)
    """
    return text[:8].lower().startswith(("http://", "https://"))


def shown(url: str) -> str:
    """A URL that is safe to show, log and save: without user, password, and secrets in its query.

    Secrets are recognised by the parameter names of signed links and of API keys.

    Example:
        >>> shown("https://me:pw@example.org/a.jpg?size=2&X-Amz-Signature=0a1b")
        'https://example.org/a.jpg?size=2&X-Amz-Signature=***'
    """
    return _SECRET.sub(r"\1***", _USER_WITH_SLASH.sub(r"\1", _USER.sub(r"\1", url)))


def url_path(url: str) -> str:
    """The decoded path of a URL; empty if it is not a URL.

    Example:
        >>> url_path("http://example.org/my%20image.jpg?size=2")
        '/my image.jpg'
    """
    try:
        return unquote(urlsplit(url).path, errors="surrogateescape")
    except ValueError:
        return ""


def ascii_url(url: str) -> str:
    """A URL as it is sent: host in IDNA, other characters escaped, without user and password.

    Raises:
        ValueError: it is not a URL. The message does not quote it, since any part may belong to a password.

    Example:
        >>> ascii_url("http://bücher.example/mein Bild.jpg")
        'http://xn--bcher-kva.example/mein%20Bild.jpg'
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if not host.isascii():
            host = idna.encode(host, uts46=True).decode("ascii")
    except ValueError:
        raise ValueError("not a valid URL") from None
    if any(ord(character) < 32 or ord(character) == 127 for character in url):
        raise ValueError("a URL cannot have control characters")
    host = f"[{host}]" if ":" in host else host
    place = host if port is None else f"{host}:{port}"
    return urlunsplit((parts.scheme, place, _escape(parts.path), _escape(parts.query), ""))


def _escape(text: str) -> str:
    """Percent-encode characters that a URL cannot have, and keep existing escapes."""
    return quote(re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", text), safe="%/:?@!$&'()*+,;=~[]", errors="surrogateescape")


class _StayOnHttp(urllib.request.HTTPRedirectHandler):
    """Refuses redirects to other schemes; urllib would follow them to ftp."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not is_url(newurl):
            raise urllib.error.URLError(f"it redirects to {shown(newurl)}, which is not http or https")
        return super().redirect_request(req, fp, code, msg, headers, ascii_url(newurl))


def fetch(
    url: str,
    out: IO[bytes],
    *,
    limit: int,
    seconds: float,
    error: type[HpiError],
    on_progress: Callable[[int, int | None], None] | None = None,
) -> int | None:
    """Copy the content of a URL into a stream.

    Args:
        url: http or https; redirects must stay there.
        out: where to write.
        limit: maximum size, in bytes.
        seconds: time limit for all of it.
        error: class of the error to raise.
        on_progress: called with the bytes received so far, and the total if the server announced it.

    Returns:
        The size that the server announced, which equals the size of the content; None if it announced none.

    Raises:
        HpiError: of class ``error``: no answer, an HTTP error, more than ``limit`` bytes, fewer than announced, or not
            finished in time.

    Example:
        >>> import io
        >>> from hpi.errors import InputError
        >>> fetch("ftp://example.org/a.jpg", io.BytesIO(), limit=1 << 20, seconds=10, error=InputError)
        Traceback (most recent call last):
        hpi.errors.InputError: ftp://example.org/a.jpg: only http and https are supported
    """
    label = shown(url)
    if not is_url(url):
        raise error(f"{label}: only http and https are supported")
    deadline = time.monotonic() + seconds
    try:
        with open_url(url, timeout_s=min(SILENCE_S, seconds)) as answer:
            length = answer.headers.get("Content-Length")
            total = int(length) if length and length.isdigit() else None
            done = 0
            while block := answer.read1(1 << 16):
                done += len(block)
                if done > limit:
                    raise error(f"{label}: larger than the limit of {limit} bytes")
                if time.monotonic() > deadline:
                    raise error(f"{label}: not finished within {seconds:g} s, {done} bytes so far")
                out.write(block)
                if on_progress:
                    on_progress(done, total)
    except HpiError:
        raise
    except urllib.error.HTTPError as problem:
        raise error(f"{label}: the server answers {problem.code} {problem.reason}") from problem
    except (HTTPException, OSError, ValueError) as problem:
        raise error(f"{label}: cannot be fetched: {getattr(problem, 'reason', problem)}") from problem
    if total is not None and done != total:
        raise error(f"{label}: the connection ended after {done} of {total} bytes")
    return total


def open_url(
    url: str,
    *,
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
    handlers: Sequence[urllib.request.BaseHandler] = (),
) -> HTTPResponse:
    """Ask for a URL and follow redirects, which must stay on http and https.

    User and password go into a header that is not sent to redirects.

    Args:
        url: http or https.
        timeout_s: time limit for the connection and for each read of it.
        headers: sent besides the usual ones.
        handlers: in the place of those of ``urllib.request`` that connect.

    Raises:
        OSError: no answer, or one that is an HTTP error.
        HTTPException: the answer is not HTTP.
        ValueError: it is not a URL.
    """
    request = urllib.request.Request(ascii_url(url), headers={"User-Agent": "hpi-pose", **(headers or {})})
    parts = urlsplit(url)
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode('ascii')}")
    answer: HTTPResponse = urllib.request.build_opener(_StayOnHttp, *handlers).open(request, timeout=timeout_s)
    return answer
