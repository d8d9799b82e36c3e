"""HTTP/1.1 as uvicorn speaks it, with an end to connections that do not come to the point."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10
"""Longest time until the head of a request is there, from the connection's start or the last answer's end.

uvicorn itself waits for ever once a connection is open or a first byte has come, so that silent clients could hold
every connection that it takes.
"""


class ImpatientProtocol(H11Protocol):
    """Closes a connection whose next request does not begin in time."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: D102
        super().connection_made(transport)
        self._await_head()

    def handle_events(self) -> None:  # noqa: D102
        super().handle_events()
        if self._is_busy():
            self._stop_timer()

    def on_response_complete(self) -> None:  # noqa: D102
        super().on_response_complete()
        if not self._is_busy():  # a pipelined request may have begun
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        self._stop_timer()
        super().connection_lost(exc)

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        self._stop_timer()
        self._head_timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
