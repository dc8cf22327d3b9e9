"""HTTP/1.1 and server-sent events by hand: one request for each connection; cuts are errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

TIMEOUT = 15.0  # seconds for a response: a frozen server sends none


class ConnectionCut(Exception):
    """No connection, or one that ended early: the server may have handled the request."""


class NoResponse(ConnectionCut):
    """No response within the timeout: the server hangs."""


@dataclass(frozen=True)
class Response:
    """Complete response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class ServerEvent:
    """Event of a stream, as received."""

    number: int
    type: str
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class Stream:
    """Response that still arrives. `ended` is true once the server has ended it in order."""

    def __init__(self, status: int, headers: Mapping[str, str], body: AsyncIterator[bytes]) -> None:
        self.status = status
        self.headers = headers
        self.ended = False
        self.comments = 0
        self._body = body

    async def events(self) -> AsyncGenerator[ServerEvent, None]:
        """Yield each event. Raises `ConnectionCut` if the connection ends before the stream."""
        rest = b""
        async for piece in self._body:
            *frames, rest = (rest + piece).split(b"\n\n")
            for frame in frames:
                if frame.startswith(b":"):
                    self.comments += 1
                else:
                    yield _parse_frame(frame)
        self.ended = True

    async def read(self) -> Response:
        """Read the rest and return the complete response."""
        return Response(self.status, self.headers, b"".join([piece async for piece in self._body]))


async def send_request(
    url: str,
    method: str,
    path: str,
    body: Any = None,
    *,
    query: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> Response:
    """Send a request and return the response. Raises `ConnectionCut`, and `NoResponse` late."""
    try:
        async with (
            asyncio.timeout(timeout),
            open_request(url, method, path, body, query=query, headers=headers) as stream,
        ):
            return await stream.read()
    except TimeoutError:
        raise NoResponse(f"{method} {path}: no answer within {timeout} s") from None


async def send_fatal_request(url: str, method: str, path: str, body: Any) -> Response | None:
    """Send a request that kills the server; return `None` if it died before its response.

    Raises `NoResponse` as `send_request` does.
    """
    try:
        return await send_request(url, method, path, body)
    except NoResponse:
        raise
    except ConnectionCut:
        return None


@asynccontextmanager
async def open_request(
    url: str,
    method: str,
    path: str,
    body: Any = None,
    *,
    query: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> AsyncGenerator[Stream]:
    """Send a request and yield the stream of its response. Raises `ConnectionCut`."""
    address = urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=2**24)
    except OSError as error:
        raise ConnectionCut(str(error)) from error
    try:
        writer.write(
            _encode_request(method, path, address.netloc, body, query or {}, headers or {})
        )
        yield await _read_head(reader)
    except (OSError, asyncio.IncompleteReadError) as error:
        raise ConnectionCut(str(error)) from error
    finally:
        writer.close()


def _encode_request(
    method: str,
    path: str,
    host: str,
    body: Any,
    query: Mapping[str, Any],
    headers: Mapping[str, str],
) -> bytes:
    content = (
        body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    )
    fields = {"Host": host, "Connection": "close", "Content-Length": str(len(content))}
    if content:
        fields["Content-Type"] = "application/json"
    target = f"{path}?{urlencode(query)}" if query else path
    lines = [f"{method} {target} HTTP/1.1", *(f"{k}: {v}" for k, v in (fields | headers).items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


async def _read_head(reader: asyncio.StreamReader) -> Stream:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    return Stream(int(first.split(" ")[1]), headers, _read_body(reader, headers))


async def _read_body(
    reader: asyncio.StreamReader, headers: Mapping[str, str]
) -> AsyncGenerator[bytes, None]:
    if headers.get("transfer-encoding") != "chunked":
        yield await reader.readexactly(int(headers.get("content-length", 0)))
        return
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)


def _parse_frame(frame: bytes) -> ServerEvent:
    fields = dict(line.split(b": ", 1) for line in frame.split(b"\n"))
    return ServerEvent(int(fields[b"id"]), fields[b"event"].decode(), fields[b"data"])


async def read_turn(url: str, path: str, body: Any, **options: Any) -> list[ServerEvent]:
    """Return all events of a turn. Raises `ConnectionCut`, `UnexpectedResponse`."""
    async with open_request(url, "POST", path, body, **options) as stream:
        return await read_events(stream)


async def follow_run(url: str, run_id: str, after: int = 0) -> list[ServerEvent]:
    """Return all events of a run after number `after`, to its end."""
    headers = {"Last-Event-ID": str(after)}
    async with open_request(url, "GET", f"/v1/runs/{run_id}/events", headers=headers) as stream:
        return await read_events(stream)


class UnexpectedResponse(Exception):
    """Response without a stream to a request for events."""

    def __init__(self, answer: Response) -> None:
        super().__init__(answer.body.decode(errors="replace")[:500])
        self.response = answer


async def read_events(stream: Stream) -> list[ServerEvent]:
    """Return all events of a stream."""
    if stream.status != 200:
        raise UnexpectedResponse(await stream.read())
    async with aclosing(stream.events()) as events:
        return [event async for event in events]
