"""Bounds: how many requests are worked on, and how much memory their photos take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

MIB = 1 << 20


class RequestError(Exception):
    """A request that is not served, with the HTTP status to answer."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


def busy(reason: str) -> RequestError:
    """The error that tells a client to come back later."""
    return RequestError(HTTPStatus.SERVICE_UNAVAILABLE, f"busy: {reason}; try again", {"Retry-After": "1"})


class Memory:
    """What bodies and photos may take together, bytes."""

    def __init__(self, most: int) -> None:
        self._free = most

    def take(self, size: int) -> None:
        """Take some.

        Raises:
            RequestError: less is left; then nothing is taken.
        """
        if size > self._free:
            raise busy("no memory is left for another photo")
        self._free -= size

    def give(self, size: int) -> None:
        """Give some back."""
        self._free += size

    @contextmanager
    def held(self, size: int) -> Iterator[None]:
        """Take some for a while; errors as :meth:`take`."""
        self.take(size)
        try:
            yield
        finally:
            self.give(size)


class Received:
    """Bytes that come in piece by piece: a body, or what a URL answers.

    Attributes:
        content: what has come in so far.
    """

    def __init__(self, largest: int, memory: Memory) -> None:
        self._largest = largest
        self._memory = memory
        self.content: bytes | bytearray = bytearray()

    def check(self, size: int) -> None:
        """Raise :class:`RequestError` for more than is taken."""
        if size > self._largest:
            message = f"more than the {self._largest / MIB:g} MiB that are accepted"
            raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)

    def add(self, chunk: bytes) -> None:
        """Take in more.

        Raises:
            RequestError: it is too much, or there is no memory for it now.
        """
        self.check(len(self.content) + len(chunk))
        self._memory.take(len(chunk))
        self.content += chunk

    def become(self, content: bytes | bytearray) -> None:
        """Keep only a part of it, or what it stood for, which is not larger."""
        self._memory.give(len(self.content) - len(content))
        self.content = content

    def clear(self) -> None:
        """Let go of it, and give its memory back."""
        self.become(bytearray())


class Door:
    """Admits so many requests at a time to the models."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.inside = 0

    def check(self) -> None:
        """Raise :class:`RequestError` when it is full."""
        if self.inside >= self._most:
            raise busy(f"{self._most} requests are being worked on")

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Stay inside for as long as the work takes.

        Raises:
            RequestError: it is full.
        """
        self.check()
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1
