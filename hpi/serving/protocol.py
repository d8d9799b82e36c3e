"""uvicorn's HTTP/1.1 with a timeout for connections that send no request."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10
"""Time limit for the head of a request, from the start of the connection or the end of the last answer, in seconds.

uvicorn itself waits forever once a connection is open or a first byte has arrived, so silent clients could occupy every
connection.
"""


class ImpatientProtocol(H11Protocol):
    """Closes a connection whose next request does not arrive in time."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the timer of the first request, besides what the base class does."""
        super().connection_made(transport)
        self._await_head()

    def handle_events(self) -> None:
        """Stop the timer when a request begins, besides what the base class does."""
        super().handle_events()
        if self._is_busy():
            self._stop_timer()

    def on_response_complete(self) -> None:
        """Start the timer of the next request, besides what the base class does."""
        super().on_response_complete()
        if not self._is_busy():  # a pipelined request may have started
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer, besides what the base class does."""
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
