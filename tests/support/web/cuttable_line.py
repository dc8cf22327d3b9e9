"""A connection between a browser and a server that a test can cut.

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
    """Forwards bytes; `requests` are the first lines of all requests."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._is_open = True
        self._silent = False
        self._swallowed_request: bytes | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[str] = []
        self.swallowed = asyncio.Event()

    @property
    def url(self) -> str:
        host, port = self._server.sockets[0].getsockname()
        return f"http://{host}:{port}"

    async def __aenter__(self) -> Line:
        self._server = await asyncio.start_server(self._handle_connection, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Cut every connection, and refuse new ones."""
        self._is_open = False
        for end in self._ends:
            end.transport.abort()

    def mend(self) -> None:
        """Accept and forward connections again."""
        self._is_open = True
        self._swallowed_request = None
        self._silent = False

    def swallow(self, request: str) -> None:
        """Swallow all answers after such a request on its connection, until `mend`."""
        self._swallowed_request = request.encode()

    def silence(self) -> None:
        """Swallow all answers on all connections, which stay open, until `mend`."""
        self._silent = True

    async def _handle_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._ends.add(writer)
        try:
            if self._is_open:
                await self._pass(reader, writer)
        except OSError:
            pass
        finally:
            self._ends.discard(writer)
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        self._ends.add(far_writer)
        swallowing = asyncio.Event()

        async def forward() -> None:
            while data := await reader.read(2**16):
                if data.startswith((b"GET ", b"POST ", b"PATCH ", b"DELETE ")):
                    self.requests.append(data.split(b" HTTP", 1)[0].decode())
                if self._swallowed_request and data.startswith(self._swallowed_request):
                    swallowing.set()
                far_writer.write(data)
                await far_writer.drain()

        async def send_back() -> None:
            while data := await far_reader.read(2**16):
                if self._silent or swallowing.is_set():
                    self.swallowed.set()
                    continue
                writer.write(data)
                await writer.drain()

        tasks = [asyncio.create_task(forward()), asyncio.create_task(send_back())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
                with suppress(OSError, asyncio.CancelledError):
                    await task
            self._ends.discard(far_writer)
            far_writer.close()
