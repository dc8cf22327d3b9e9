"""A load balancer as small as can be: each new connection goes to the next backend that takes it.

Bytes pass as they come, both ways. A backend that refuses connections is passed over; nothing is
tried again once a connection stands, for that is the client's part.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

PIECE = 65_536


class Balancer:
    """Where it listens, and the addresses that it shares connections out to; these may change."""

    def __init__(self, backends: Sequence[str]) -> None:
        self.backends = list(backends)
        self.url = ""
        self._turn = 0
        self._passing: set[asyncio.Task[None]] = set()

    async def serve(self) -> asyncio.Server:
        """Begin to listen, on a port of its own."""
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    async def close(self) -> None:
        """Cut what is open."""
        for task in self._passing:
            task.cancel()
        if self._passing:
            await asyncio.wait(self._passing)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        try:
            await self._pass_both_ways(reader, writer)
        except asyncio.CancelledError:
            pass  # of a handler's task the loop would complain
        finally:
            writer.transport.abort()
            self._passing.discard(task)

    async def _pass_both_ways(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        backend = await self._next()
        if backend is None:
            return
        there, back = backend
        try:
            # Where either side is gone, the other is not left waiting for it.
            with suppress(OSError):
                await asyncio.gather(_pass(reader, back), _pass(there, writer))
        finally:
            back.transport.abort()

    async def _next(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to the next backend in turn that takes one."""
        for _ in range(len(self.backends)):
            self._turn += 1
            where = urlsplit(self.backends[self._turn % len(self.backends)])
            with suppress(OSError):
                return await asyncio.open_connection(where.hostname, where.port)
        return None


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Until there is no more; the other side learns that nothing more comes from here."""
    while piece := await source.read(PIECE):
        sink.write(piece)
        await sink.drain()
    sink.write_eof()


@asynccontextmanager
async def run_balancer(*backends: str) -> AsyncGenerator[Balancer]:
    """A balancer before these, for as long as the block lasts."""
    balancer = Balancer(backends)
    async with await balancer.serve():
        try:
            yield balancer
        finally:
            await balancer.close()
