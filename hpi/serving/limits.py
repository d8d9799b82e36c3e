"""Limits: how many requests run at a time, and how much memory their images take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

MIB = 1 << 20


class RequestError(Exception):
    """A refused request.

    Attributes:
        status: HTTP status of the answer.
        headers: headers of the answer.

    Example:
        >>> error = RequestError(HTTPStatus.NOT_FOUND, "no such route")
        >>> int(error.status), str(error), error.headers
        (404, 'no such route', {})
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


def busy(reason: str) -> RequestError:
    """The error that tells a client to try again later: 503 with ``Retry-After``.

    Example:
        >>> error = busy("64 requests are running")
        >>> int(error.status), str(error), error.headers
        (503, 'busy: 64 requests are running; try again', {'Retry-After': '1'})
    """
    return RequestError(HTTPStatus.SERVICE_UNAVAILABLE, f"busy: {reason}; try again", {"Retry-After": "1"})


def too_late(seconds: float) -> RequestError:
    """The error for a result that was not ready in time.

    Example:
        >>> error = too_late(30)
        >>> int(error.status), str(error)
        (504, 'not done within 30 s; the service is busy')
    """
    return RequestError(HTTPStatus.GATEWAY_TIMEOUT, f"not done within {seconds:g} s; the service is busy")


class Memory:
    """A budget of bytes, shared by the bodies and decoded images of all requests.

    Example:
        >>> memory = Memory(10)
        >>> with memory.held(6):
        ...     memory.take(6)
        Traceback (most recent call last):
        hpi.serving.limits.RequestError: busy: no memory is left for another image; try again
    """

    def __init__(self, most: int) -> None:
        self._free = most

    def take(self, size: int) -> None:
        """Reserve bytes.

        Raises:
            RequestError: 503, fewer are left; nothing is reserved.
        """
        if size > self._free:
            raise busy("no memory is left for another image")
        self._free -= size

    def give(self, size: int) -> None:
        """Release bytes."""
        self._free += size

    @contextmanager
    def held(self, size: int) -> Iterator[None]:
        """Reserve bytes for the duration of a ``with`` block; errors as :meth:`take`."""
        self.take(size)
        try:
            yield
        finally:
            self.give(size)


class Received:
    """Bytes received piece by piece: a request body, or the content of a URL.

    Attributes:
        content: the bytes received so far.

    Example:
        >>> body = Received(1 * MIB, Memory(2 * MIB))
        >>> body.add(b"hello ")
        >>> body.add(b"world")
        >>> bytes(body.content)
        b'hello world'
    """

    def __init__(self, largest: int, memory: Memory) -> None:
        self._largest = largest
        self._memory = memory
        self.content: bytes | bytearray = bytearray()

    def check(self, size: int) -> None:
        """Raise :class:`RequestError` (413) if a size is over the limit."""
        if size > self._largest:
            message = f"larger than the limit of {self._largest / MIB:g} MiB"
            raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)

    def add(self, chunk: bytes) -> None:
        """Append a chunk.

        Raises:
            RequestError: 413, it is over the limit; 503, no memory is left.
        """
        self.check(len(self.content) + len(chunk))
        self._memory.take(len(chunk))
        self.content += chunk

    def become(self, content: bytes | bytearray) -> None:
        """Replace the content by a part of it or by what was decoded from it, which must not be larger."""
        self._memory.give(len(self.content) - len(content))
        self.content = content

    def clear(self) -> None:
        """Drop the content and release its memory."""
        self.become(bytearray())


class Limit:
    """Limits how many of something there are at a time.

    Attributes:
        inside: how many there are: requests that are running or waiting for the models, or open streams.

    Example:
        >>> limit = Limit(1, "requests are running")
        >>> with limit.admitted():
        ...     limit.check()
        Traceback (most recent call last):
        hpi.serving.limits.RequestError: busy: 1 requests are running; try again
    """

    def __init__(self, most: int, what: str) -> None:
        self._most = most
        self._what = what
        self.inside = 0

    def check(self) -> None:
        """Raise :class:`RequestError` (503) if the limit is reached."""
        if self.inside >= self._most:
            raise busy(f"{self._most} {self._what}")

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count one for the duration of a ``with`` block.

        Raises:
            RequestError: 503, the limit is reached.
        """
        self.check()
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1
