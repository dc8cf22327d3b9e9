"""WebSocket connections of uvicorn; imported with the first one of a process.

uvicorn bounds what a client makes the server keep: it reads no further message before the last one
was taken, and sends no further one before the client has read. Pings end dead connections.
"""

from __future__ import annotations

from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from antiphon.limits import UNSENT, UnsentBytes
from antiphon.server.streaming import CUT


class WebSocketConnection(WebSocketsSansIOProtocol):
    """A connection with the ASGI extensions to abort it and to account for its bytes."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        unsent: UnsentBytes,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._unsent = unsent

    async def run_asgi(self) -> None:
        """Run the application for this connection."""
        extensions: dict[str, Any] = self.scope.setdefault("extensions", {})
        extensions[CUT] = {"now": self.transport.abort}
        extensions[UNSENT] = {"account": self._unsent}
        await super().run_asgi()
