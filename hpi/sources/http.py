"""Videos and HLS on servers, over connections that are checked here, not in FFmpeg."""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar
from weakref import WeakSet

from hpi.errors import InputError
from hpi.io.addresses import is_public
from hpi.io.fetch import ascii_url, is_url, open_url, shown
from hpi.sources.live import LiveStream
from hpi.sources.streams import Stream, StreamOptions
from hpi.sources.video import SAFE_FORMATS, Video, VideoFile, open_video, reason, require_pyav

_PLAYLIST = b"#EXTM3U"
_OF_ALL = re.compile(r"bytes \d+-\d+/(\d+)")
_FAILURES = (OSError, http.client.HTTPException, ValueError)

T = TypeVar("T")


def open_http(url: str, name: str, options: StreamOptions) -> Stream:
    """Open a video, an MJPEG stream or an HLS playlist on a server.

    What has a length or a duration is a recording, of which every frame is given; anything else is live.

    Raises:
        InputError: the options do not allow it, PyAV is not installed, or it cannot be opened.
    """
    if not options.allow_network:
        raise InputError(
            f"{shown(url)}: streams of the network are opened only with StreamOptions(allow_network=True), or "
            "--allow_network"
        )
    connections = Connections(options)
    video, has_end = _open(url, connections)
    if has_end:
        connections.is_patient = True
        return VideoFile(video, name, connections.abort)

    def again() -> Video | None:
        video, has_end = _open(url, connections)
        if not has_end:
            return video
        video.close()
        return None

    return LiveStream(name, video, again, options, connections.abort)


def _open(url: str, connections: Connections) -> tuple[Video, bool]:
    """The video, and whether it has an end."""
    label = shown(url)
    av = require_pyav(label)
    connections.begin()
    file = HttpFile(connections, url)
    try:
        if file.starts_with(_PLAYLIST):
            file.close()
            video = _open_playlist(label, file.url, connections)
            has_end = bool(video.duration_s)
        else:
            video = open_video(label, file, options={"format_whitelist": f"{SAFE_FORMATS},mpjpeg"})
            has_end = file.length is not None or bool(video.duration_s)
    except (av.FFmpegError, *_FAILURES) as error:
        file.close()
        if isinstance(error, InputError):
            raise
        raise InputError(f"{label}: not a video, or a damaged one: {reason(error)}") from error
    advice = "" if file.seekable() else "; the server does not send parts of a file, so download it first"
    return replace(video, advice=advice, before_packet=connections.renew, on_close=file.close), has_end


def _open_playlist(label: str, url: str, connections: Connections) -> Video:
    from av.stream import Discard

    def open_part(part: str, *_: object) -> HttpFile | io.BytesIO:
        if connections.has_failed:
            return io.BytesIO()
        if not is_url(part):
            connections.has_failed = True
            raise InputError(f"{label}: the playlist leads to {shown(part)}; only http and https are supported")
        return HttpFile(connections, part)

    video = open_video(
        label,
        url,
        format="hls",
        io_open=open_part,
        options={
            "format_whitelist": f"hls,{SAFE_FORMATS},aac,ac3,eac3,mp3,webvtt",
            # Else FFmpeg reuses connections that it takes for its own.
            "http_persistent": "0",
            "http_multiple": "0",
        },
    )
    for stream in video.stream.container.streams:
        if stream is not video.stream:
            stream.discard = Discard.all  # or every resolution is fetched
    return video


class Connections:
    """The connections of one stream: to allowed addresses only, and ended together.

    Each resolves the host name once and connects to exactly the address that was checked. Redirects are new
    connections. No proxy is used, since the proxy would resolve the name.

    Args:
        options: what is allowed, and how long to wait.
    """

    def __init__(self, options: StreamOptions) -> None:
        self._options = options
        self._is_aborted = threading.Event()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._changing = threading.Lock()
        self._handler = _Handler(self)
        self._deadline = 0.0
        self.is_patient = False  # whether lost connections are opened again here
        self.has_failed = False  # FFmpeg may read on before it lets the first error through

    def begin(self) -> None:
        """Before the source is opened, for the first time or again."""
        self.has_failed = False
        self.renew()

    def renew(self) -> None:
        """Data came; the next may take as long again."""
        self._deadline = time.monotonic() + self._options.timeout_s

    def abort(self) -> None:
        """End what waits for a server, from any thread, and refuse new connections."""
        self._is_aborted.set()
        with self._changing:
            connections = list(self._sockets)
        for connection in connections:
            with contextlib.suppress(OSError):
                # Not that of ssl, which another thread must not call.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def get(self, url: str, at: int) -> http.client.HTTPResponse:
        """The content of a URL from a position on, if the server can; from 0 on otherwise.

        Raises:
            InputError: the address is not allowed, the server refuses, or time is up.
            OSError, HTTPException, ValueError: there is no answer.
        """
        self.check()
        no_proxy = urllib.request.ProxyHandler({})
        try:
            return open_url(
                url,
                timeout_s=self._options.timeout_s,
                headers={"Range": f"bytes={at}-"},
                handlers=[no_proxy, self._handler],
            )
        except urllib.error.HTTPError as error:
            error.close()
            answer = f"the server answers {error.code} {error.reason}"
            if error.code >= 500:  # it may be well again later
                raise OSError(answer) from error
            raise InputError(f"{shown(url)}: {answer}") from error

    def check(self) -> None:
        """Check that the stream is not closed, and that time is not up.

        Raises:
            InputError: it is.
        """
        if self._is_aborted.is_set():
            raise InputError("the stream is closed")
        if time.monotonic() > self._deadline:
            raise InputError(f"no frame within {self._options.timeout_s:g} s")

    def persist(self, url: str, attempt: Callable[[], T]) -> T:
        """Run an attempt; with ``is_patient``, again and again until one succeeds.

        Raises:
            InputError: none succeeded, or the attempt says that another is of no use.
        """
        pauses = self._options.pauses() if self.is_patient else iter(())
        while True:
            try:
                return attempt()
            except InputError:
                self.has_failed = True
                raise
            except _FAILURES as error:
                pause = next(pauses, None)
                if pause is None or self._is_aborted.wait(pause):
                    self.has_failed = True
                    problem = error.reason if isinstance(error, urllib.error.URLError) else error
                    raise InputError(f"{shown(url)}: cannot be fetched: {reason(problem)}") from error
                self.renew()

    def connect(self, host: str, port: int, timeout_s: float | None) -> socket.socket:
        """A connection to a host.

        Raises:
            InputError: one of its addresses is not allowed.
            OSError: it cannot be reached.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(target[0]) for *_, target in found))
        if not (self._options.allow_private or all(map(is_public, addresses))):
            raise InputError(
                f"{host}: not a public address; for servers in the own network give StreamOptions(allow_private=True), "
                "or --allow_private"
            )
        failure = OSError(f"{host}: no address")
        for address in addresses:
            try:
                return self.keep(socket.create_connection((address, port), timeout_s))
            except OSError as error:
                failure = error
        raise failure

    def keep(self, connection: socket.socket) -> socket.socket:
        """Note a connection, to end it with the others."""
        with self._changing:
            self._sockets.add(connection)
        if self._is_aborted.is_set():
            self.abort()
        return connection


class HttpFile:
    """The content behind a URL as a file that PyAV reads.

    Args:
        connections: what opens it.
        url: http or https.

    Attributes:
        url: after redirects.
        length: of the content, bytes; None if the server does not state it.
    """

    def __init__(self, connections: Connections, url: str) -> None:
        self.url = url
        self._connections = connections
        self._at = 0
        answer = connections.persist(url, partial(connections.get, url, 0))
        if answer.url != ascii_url(url):  # which has no password; a redirect does not get it
            self.url = answer.url
        of_all = _OF_ALL.match(answer.headers.get("Content-Range", "")) if answer.status == 206 else None
        self._is_seekable = of_all is not None
        self.length = int(of_all[1]) if of_all else answer.length
        self._answer: http.client.HTTPResponse | None = answer

    def starts_with(self, magic: bytes) -> bool:
        """Whether the content does, which stays unread."""
        return self._answer is not None and self._answer.peek(len(magic)).startswith(magic)

    def read(self, size: int) -> bytes:
        """The next bytes; none at the end.

        Raises:
            InputError: the connection ended before, and cannot be resumed.
        """
        if self._connections.has_failed:
            return b""
        return self._connections.persist(self.url, partial(self._read, size))

    def _read(self, size: int) -> bytes:
        self._connections.check()
        if self.length is not None and self._at >= self.length:
            return b""
        if self._answer is None:
            self._answer = self._connections.get(self.url, self._at)
            if self._at and self._answer.status != 206:
                raise InputError(f"{shown(self.url)}: the server does not send parts of it")
        try:
            block = self._answer.read1(size)
            if not block and self.length is not None:
                raise ConnectionError(f"the connection ended after {self._at} of {self.length} bytes")
        except _FAILURES as error:
            self.close()
            if self._is_seekable:
                raise
            raise InputError(f"{shown(self.url)}: {reason(error)}") from error
        self._at += len(block)
        return block

    def seekable(self) -> bool:
        """Whether the server sends parts of the content."""
        return self._is_seekable

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position; the next read asks for what follows."""
        position = offset + (0, self._at, self.length or 0)[whence]
        if position != self._at:
            self.close()
            self._at = position
        return position

    def tell(self) -> int:
        """The position of the next read."""
        return self._at

    def close(self) -> None:
        """End the connection."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None


class _Handler(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Lets the connections of a stream connect."""

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connections = connections
        self._tls = ssl.create_default_context()

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_Plain, self._connections), req)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_Encrypted, self._connections, self._tls), req)


class _Plain(http.client.HTTPConnection):
    def __init__(self, connections: Connections, host: str, **arguments: Any) -> None:
        super().__init__(host, **arguments)
        self._connections = connections

    def connect(self) -> None:
        self.sock = self._connections.connect(self.host, self.port, self.timeout)


class _Encrypted(http.client.HTTPSConnection):
    def __init__(self, connections: Connections, tls: ssl.SSLContext, host: str, **arguments: Any) -> None:
        super().__init__(host, context=tls, **arguments)
        self._connections = connections
        self._tls = tls

    def connect(self) -> None:
        plain = self._connections.connect(self.host, self.port, self.timeout)
        self.sock = self._connections.keep(self._tls.wrap_socket(plain, server_hostname=self.host))
