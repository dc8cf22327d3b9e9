"""A minimal load balancer: each new connection goes to the next backend that accepts it.

It forwards bytes both ways. It skips backends that refuse connections, and does not retry once it
is connected: that is the client's task.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

PIECE = 65_536


class Balancer:
    """Listens at `url` and distributes connections over `backends`, which may change."""

    def __init__(self, backends: Sequence[str]) -> None:
        self.backends = list(backends)
        self.url = ""
        self._turn = 0
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self) -> asyncio.Server:
        """Start to listen on a free port."""
        server = await asyncio.start_server(self._handle_connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    async def close(self) -> None:
        """Cut all open connections."""
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _handle_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._pass_both_ways(reader, writer)
        except asyncio.CancelledError:
            pass  # the loop would log a cancelled handler
        finally:
            writer.transport.abort()
            self._connections.discard(task)

    async def _pass_both_ways(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        backend = await self._next()
        if backend is None:
            return
        backend_reader, backend_writer = backend
        try:
            # When one side is gone, the other is closed too.
            with suppress(OSError):
                await asyncio.gather(_pass(reader, backend_writer), _pass(backend_reader, writer))
        finally:
            backend_writer.transport.abort()

    async def _next(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Connect to the next backend in turn that accepts a connection."""
        for _ in range(len(self.backends)):
            self._turn += 1
            address = urlsplit(self.backends[self._turn % len(self.backends)])
            with suppress(OSError):
                return await asyncio.open_connection(address.hostname, address.port)
        return None


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Forward bytes until the source ends, then end the sink."""
    while piece := await source.read(PIECE):
        sink.write(piece)
        await sink.drain()
    sink.write_eof()


@asynccontextmanager
async def run_balancer(*backends: str) -> AsyncGenerator[Balancer]:
    """Run a balancer for these backends during the block."""
    balancer = Balancer(backends)
    async with await balancer.serve():
        try:
            yield balancer
        finally:
            await balancer.close()
