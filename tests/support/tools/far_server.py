"""A web server on loopback with given answers, which records the requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from ssl import SSLContext

Answer = tuple[str, dict[str, str], bytes]
"""Status line, headers and body; `content-length` is added unless the headers contain it."""


class ReceivedRequest:
    """Received request."""

    def __init__(self, line: str, headers: Mapping[str, str], body: bytes) -> None:
        self.method, self.path, _ = line.split(" ")
        self.headers = headers
        self.body = body


class FarServer:
    """Server with `answers` by path; other requests stay open until the client disconnects."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[ReceivedRequest] = []
        self.gone = asyncio.Event()
        self.writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.stop: Callable[[], None] = lambda: None

    def url(self, path: str = "/", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def say(self, path: str, body: str | bytes, media_type: str = "text/plain") -> None:
        data = body.encode() if isinstance(body, str) else body
        self.answers[path] = "200 OK", {"content-type": media_type}, data

    def redirect(self, path: str, to: str, status: str = "302 Found") -> None:
        self.answers[path] = status, {"location": to}, b""

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            while request := await _read(reader):
                self.requests.append(request)
                answer = self.answers.get(request.path)
                if answer is None:
                    await reader.read()
                    return
                status, headers, body = answer
                head = {"content-length": str(len(body)), **headers}
                lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
                writer.write(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body)
                await writer.drain()
                if head.get("connection") == "close":
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.gone.set()
            writer.close()
            self.writers.discard(writer)

    async def close_connections(self) -> None:
        """Close the connections that clients keep open."""
        for writer in [*self.writers]:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> ReceivedRequest | None:
    line = (await reader.readline()).decode().strip()
    if not line:
        return None
    headers: dict[str, str] = {}
    while field := (await reader.readline()).decode().strip():
        name, _, value = field.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return ReceivedRequest(line, headers, body)


@asynccontextmanager
async def serve_far(
    host: str = "127.0.0.1", tls: SSLContext | None = None
) -> AsyncIterator[FarServer]:
    far = FarServer()
    server = await asyncio.start_server(far.serve, host, 0, ssl=tls)
    far.port, far.stop = server.sockets[0].getsockname()[1], server.close
    try:
        yield far
    finally:
        server.close()
        await far.close_connections()
