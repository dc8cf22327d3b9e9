"""A proxy that injects faults: each kind of request gets each fault in turn."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from itertools import cycle
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["", "before", "after", "midway", "503"]

FAULTS: tuple[Fault, ...] = ("", "before", "", "after", "", "503", "", "midway")
OVERLOADED = b'{"type":"about:blank","title":"Overloaded","status":503,"code":"overloaded"}'


class Faulty:
    """Proxy of a server, which may be another one for each request.

    `before` cuts the connection before the request is forwarded, `after` once the answer has come,
    `midway` in the middle of the answer; `503` answers without forwarding.
    """

    def __init__(self, server: Callable[[], str]) -> None:
        self.injected: Counter[tuple[str, Fault]] = Counter()
        self.active = True
        self._server = server
        self._next: defaultdict[str, Iterator[Fault]] = defaultdict(lambda: cycle(FAULTS))
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[str]:
        """Run the proxy; yield its address."""
        listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = listener.sockets[0].getsockname()
        try:
            yield f"http://{host}:{port}"
        finally:
            listener.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with closing(writer), suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            kind = _kind(head)
            fault = next(self._next[kind]) if self.active else ""
            self.injected[kind, fault] += 1
            await self._answer_with_fault(fault, head, body, writer)

    async def _answer_with_fault(
        self, fault: Fault, head: bytes, body: bytes, writer: asyncio.StreamWriter
    ) -> None:
        if fault == "before":
            return
        if fault == "503":
            head_lines = (
                b"HTTP/1.1 503 X\r\nContent-Type: application/problem+json\r\nConnection: close"
            )
            writer.write(
                b"%b\r\nContent-Length: %d\r\n\r\n" % (head_lines, len(OVERLOADED)) + OVERLOADED
            )
            await writer.drain()
            return
        address = urlsplit(self._server())
        server_reader, server_writer = await asyncio.open_connection(address.hostname, address.port)
        with closing(server_writer):
            server_writer.write(_add_close_header(head) + body)
            while data := await server_reader.read(65_536):
                if fault == "after":
                    return
                if fault == "midway":
                    writer.write(data[: len(data) // 2])
                    await writer.drain()
                    return
                writer.write(data)
                await writer.drain()


def _kind(head: bytes) -> str:
    line = head.partition(b"\r\n")[0].decode("latin-1")
    return re.sub(r"/(run|act)_\w+", "", line.partition("?")[0].removesuffix(" HTTP/1.1"))


def _add_close_header(head: bytes) -> bytes:
    """Return the head of the request with `Connection: close`."""
    remaining = re.sub(rb"(?i)connection: [^\r]*\r\n", b"", head)
    return remaining[:-2] + b"Connection: close\r\n\r\n"
