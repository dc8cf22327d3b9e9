"""Baseline: a server that relays an upstream's reply and does nothing else.

    python -m benchmarks.relay http://127.0.0.1:PORT

Bare ASGI and raw reads of aiohttp, under uvicorn with uvloop and httptools as `antiphon serve` is.
"""

from __future__ import annotations

import socket
import sys

import aiohttp
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8")]


class Relay:
    """ASGI application that forwards the upstream's bytes as they were read."""

    def __init__(self, upstream: str) -> None:
        self._url = upstream + "/v1/chat/completions"
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Relay one request."""
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message.get("more_body", False)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
            )
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        async with self._session.post(self._url, data=body) as response:
            async for piece in response.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def serve(app: ASGIApp) -> None:
    """Serve on a free port until a signal comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        print(
            f"listening on http://127.0.0.1:{listener.getsockname()[1]}",
            file=sys.stderr,
            flush=True,
        )
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_level="error",
            timeout_graceful_shutdown=1,
        )
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    serve(Relay(sys.argv[1]))
