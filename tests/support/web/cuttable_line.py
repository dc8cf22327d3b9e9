"""A line between a browser and a server, which a test can break.

async with Line(server_url) as line:
    await page.goto(line.url)
    line.cut()
    line.mend()
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit


class Line:
    """Passes bytes on; `requests` counts by their first line what was asked."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._whole = True
        self._silent = False
        self._deaf_to: bytes | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[str] = []
        self.swallowed = asyncio.Event()

    @property
    def url(self) -> str:
        host, port = self._server.sockets[0].getsockname()
        return f"http://{host}:{port}"

    async def __aenter__(self) -> Line:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Every connection ends, and none begins."""
        self._whole = False
        for end in self._ends:
            end.transport.abort()

    def mend(self) -> None:
        """Connections begin again."""
        self._whole = True
        self._deaf_to = None
        self._silent = False

    def swallow(self, request: str) -> None:
        """Of what follows such a request nothing comes back, until the line is mended."""
        self._deaf_to = request.encode()

    def silence(self) -> None:
        """Connections stand, and nothing comes back on them, until the line is mended."""
        self._silent = True

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._ends.add(writer)
        try:
            if self._whole:
                await self._pass(reader, writer)
        except OSError:
            pass
        finally:
            self._ends.discard(writer)
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        self._ends.add(far_writer)
        deaf = asyncio.Event()

        async def there() -> None:
            while data := await reader.read(2**16):
                if data.startswith((b"GET ", b"POST ", b"PATCH ", b"DELETE ")):
                    self.requests.append(data.split(b" HTTP", 1)[0].decode())
                if self._deaf_to and data.startswith(self._deaf_to):
                    deaf.set()
                far_writer.write(data)
                await far_writer.drain()

        async def back() -> None:
            while data := await far_reader.read(2**16):
                if self._silent or deaf.is_set():
                    self.swallowed.set()
                    continue
                writer.write(data)
                await writer.drain()

        ways = [asyncio.create_task(there()), asyncio.create_task(back())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
                with suppress(OSError, asyncio.CancelledError):
                    await way
            self._ends.discard(far_writer)
            far_writer.close()
