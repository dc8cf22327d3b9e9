"""HTTP/1.1 and server-sent events by hand: a request to a connection, and every cut is seen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

PATIENCE = 15.0  # seconds for an answer: a server that is frozen answers nobody


class Cut(Exception):
    """No connection, or one that ended before the answer did: what was asked may have been done."""


class Silence(Cut):
    """No answer in all the time that anybody would wait: it hangs."""


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class ServerEvent:
    """One event of a stream, as it came."""

    number: int
    type: str
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class Stream:
    """An answer while it comes. `ended` is true once the server has closed it in order."""

    def __init__(self, status: int, headers: Mapping[str, str], body: AsyncIterator[bytes]) -> None:
        self.status = status
        self.headers = headers
        self.ended = False
        self.comments = 0
        self._body = body

    async def events(self) -> AsyncGenerator[ServerEvent, None]:
        """Each event; raises `Cut` where the connection ends before the stream does."""
        rest = b""
        async for piece in self._body:
            *frames, rest = (rest + piece).split(b"\n\n")
            for frame in frames:
                if frame.startswith(b":"):
                    self.comments += 1
                else:
                    yield _parse_frame(frame)
        self.ended = True

    async def read(self) -> Answer:
        """The rest, as a whole answer."""
        return Answer(self.status, self.headers, b"".join([piece async for piece in self._body]))


async def ask(
    url: str,
    method: str,
    path: str,
    body: Any = None,
    *,
    query: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    patience: float = PATIENCE,
) -> Answer:
    """One request and its whole answer. Raises `Cut`, and `Silence` when it takes too long."""
    try:
        async with (
            asyncio.timeout(patience),
            open_request(url, method, path, body, query=query, headers=headers) as stream,
        ):
            return await stream.read()
    except TimeoutError:
        raise Silence(f"{method} {path}: no answer within {patience} s") from None


async def ask_dying(url: str, method: str, path: str, body: Any) -> Answer | None:
    """Send a request to a server that what it asks for kills: `None` if it died before its answer.

    Raises `Silence` as `ask` does.
    """
    try:
        return await ask(url, method, path, body)
    except Silence:
        raise
    except Cut:
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
    """One request, and its answer while it comes; the connection is closed at the end. `Cut`."""
    where = urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=2**24)
    except OSError as error:
        raise Cut(str(error)) from error
    try:
        writer.write(_request(method, path, where.netloc, body, query or {}, headers or {}))
        yield await _answer(reader)
    except (OSError, asyncio.IncompleteReadError) as error:
        raise Cut(str(error)) from error
    finally:
        writer.close()


def _request(
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


async def _answer(reader: asyncio.StreamReader) -> Stream:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    return Stream(int(first.split(" ")[1]), headers, _body(reader, headers))


async def _body(
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


async def turn(url: str, path: str, body: Any, **options: Any) -> list[ServerEvent]:
    """All events of a turn. Raises `Cut`, `Refused`."""
    async with open_request(url, "POST", path, body, **options) as stream:
        return await whole(stream)


async def follow(url: str, run_id: str, after: int = 0) -> list[ServerEvent]:
    """All events of a run above `after`, to its end."""
    headers = {"Last-Event-ID": str(after)}
    async with open_request(url, "GET", f"/v1/runs/{run_id}/events", headers=headers) as stream:
        return await whole(stream)


class Refused(Exception):
    """An answer that is a problem, where events were asked for."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body.decode(errors="replace")[:500])
        self.answer = answer


async def whole(stream: Stream) -> list[ServerEvent]:
    """All events of a stream."""
    if stream.status != 200:
        raise Refused(await stream.read())
    async with aclosing(stream.events()) as events:
        return [told async for told in events]
