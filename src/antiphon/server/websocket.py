"""WebSocket connections of uvicorn, with limits; imported with the first one of a process.

uvicorn bounds what a client makes the server keep: it reads no further message before the last one
was taken, and sends no further one before the client has read. Pings end dead connections. It waits
without limit for the rest of a message, and keeps each fragment as an object of its own.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame

from antiphon.limits.unsent_bytes import UNSENT, UnsentBytes
from antiphon.server.requests import BODY_PAUSE, BODY_RATE
from antiphon.server.streaming import ABORT


class WebSocketConnection(WebSocketsSansIOProtocol):
    """A connection with the ASGI extensions to abort it and to account for its bytes.

    A message may be late as the body of a request may: `message_patience` seconds in all, besides
    its time at `BODY_RATE`. A client that is slower loses the connection.
    """

    message_patience = BODY_PAUSE

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        unsent: UnsentBytes,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._unsent = unsent
        self._message = bytearray()  # of the fragments so far
        self._begun_at = 0.0  # loop time of the unfinished message
        self._deadline: asyncio.TimerHandle | None = None

    async def run_asgi(self) -> None:
        """Run the application for this connection."""
        extensions: dict[str, Any] = self.scope.setdefault("extensions", {})
        extensions[ABORT] = {"now": self.transport.abort}
        extensions[UNSENT] = {"bytes": self._unsent}
        await super().run_asgi()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and watch a message that is not whole."""
        super().data_received(data)
        if self._unfinished_bytes and self._deadline is None:
            self._begun_at = self.loop.time()
            self._deadline = self.loop.call_later(self.message_patience, self._check_message)

    def handle_cont(self, event: Frame) -> None:
        """Add a fragment to its message."""
        if self.frames:
            self._message, self.frames = bytearray(self.frames[0]), []
        self._message += event.data
        if event.fin:
            self.frames, self._message = [bytes(self._message)], bytearray()
            self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        """Pass on a message, which is whole."""
        self._cancel_deadline()
        super().send_receive_event_to_app()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timer."""
        self._cancel_deadline()
        super().connection_lost(exc)

    @property
    def _unfinished_bytes(self) -> int:
        return len(self._message) + sum(map(len, self.frames)) + len(self.conn.reader.buffer)

    def _check_message(self) -> None:
        self._deadline = None
        if not self._unfinished_bytes:
            return
        allowed = self.message_patience + self._unfinished_bytes / BODY_RATE
        left = self._begun_at + allowed - self.loop.time()
        if left <= 0:
            self.transport.abort()
        else:
            self._deadline = self.loop.call_later(left, self._check_message)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
