"""uvicorn's HTTP/1.1 and WebSockets, with limits for clients that send nothing or do not read."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode

logger = logging.getLogger(__name__)
logger.setLevel(logging.WARNING)  # below, uvicorn logs each WebSocket with its query; the application logs it itself

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

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Stop the timer, besides what the base class does."""
        self._stop_timer()
        super().handle_websocket_upgrade(event)

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


CLOSE_S = 15
"""Time limit for what is left to send, once the application is done with a WebSocket, in seconds."""

MAX_PIECES = 1000
"""Limit of the pieces of a message, since empty ones count for nothing in the limit of its size."""


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose client cannot hold on to it, nor to memory, and that the application closes itself."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.logger = self.conn.logger = logger

    async def run_asgi(self) -> None:
        """Cut the connection off in the end, besides what the base class does: it waits for the client to read."""
        await super().run_asgi()
        self.loop.call_later(CLOSE_S, self.transport.abort)

    def shutdown(self) -> None:
        """Tell the application that the service stops; it answers the frame in hand, and closes."""
        if self.close_sent or not self.handshake_complete:
            super().shutdown()
        else:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": CloseCode.SERVICE_RESTART})

    def handle_ping(self) -> None:
        """Answer, unless the client does not read: its pings would fill the memory with answers."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def handle_cont(self, event: Any) -> None:
        """Refuse a message of too many pieces, besides what the base class does."""
        if len(self.frames) < MAX_PIECES:
            super().handle_cont(event)
        else:
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG, f"more than {MAX_PIECES} pieces")
            self.handle_parser_exception()
