"""A model server of chat completions whose replies a test sends piece by piece."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


class Reply:
    """A request, and the reply to it, which a test sends."""

    def __init__(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self.body = body
        self.closed = asyncio.Event()
        self._writer = writer
        self._begun = False
        self._ended = asyncio.Event()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Messages of the request."""
        return self.body["messages"]

    async def say(self, text: str) -> None:
        """Send a piece of the answer."""
        await self._delta({"content": text})

    async def think(self, text: str) -> None:
        """Send a piece of the reasoning."""
        await self._delta({"reasoning_content": text})

    async def cite(self, *pages: tuple[str, str]) -> None:
        """Send sources of the answer: addresses and titles."""
        sources = [{"url": url, "title": title} for url, title in pages]
        annotations = [{"type": "url_citation", "url_citation": each} for each in sources]
        await self._delta({"annotations": annotations})

    async def decline(self, text: str) -> None:
        """Send a piece of a refusal."""
        await self._delta({"refusal": text})

    async def call(self, name: str, arguments: Any = "{}", *, id: str, index: int = 0) -> None:
        """Send a complete tool call; arguments that are no text are encoded as JSON."""
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        function = {"name": name, "arguments": text}
        call = {"index": index, "id": id, "type": "function", "function": function}
        await self._delta({"tool_calls": [call]})

    async def more(self, arguments: str, *, index: int = 0) -> None:
        """Send a further piece of the arguments of a call."""
        await self._delta({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})

    async def end(self, reason: str = "stop", usage: tuple[int, int] = (10, 5)) -> None:
        """End the reply.

        Reason and usage are sent in one write: a client disconnects two seconds after the reason,
        and on a busy machine that long may pass between two writes.
        """
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
        counts = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
        usage_chunk = {"choices": [], "usage": counts}
        await self._write(_frame(end) + _frame(usage_chunk) + b"data: [DONE]\n\n")
        self._ended.set()

    async def answer(self, text: str, usage: tuple[int, int] = (10, 5)) -> None:
        """Send this answer and end the reply."""
        await self.say(text)
        await self.end(usage=usage)

    async def whole(self, text: str, usage: tuple[int, int] = (10, 5)) -> None:
        """Send this answer as JSON, without a stream."""
        message = {"role": "assistant", "content": text}
        counts = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        _json(self._writer, {"id": "r", "model": "told", "choices": [choice], "usage": counts})
        await self._writer.drain()
        self._ended.set()

    async def refuse(self, status: int, message: str) -> None:
        """Answer with an error."""
        body = json.dumps({"error": {"message": message, "type": "server_error"}}).encode()
        head = f"HTTP/1.1 {status} No\r\nContent-Type: application/json\r\n"
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await self._writer.drain()
        self._ended.set()

    async def cut(self) -> None:
        """Break the connection without an end of the reply."""
        self._ended.set()

    async def over(self) -> None:
        """Wait until the reply has ended, or the client has disconnected."""
        waits = [asyncio.create_task(event.wait()) for event in (self._ended, self.closed)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _delta(self, delta: dict[str, Any]) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        await self._write(_frame({"choices": [choice]}))

    async def _write(self, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            head = (
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            )
            self._writer.write(head)
        self._writer.write(data)
        await self._writer.drain()


class Model:
    """The server; `url` is a base URL. Each request waits until `next_request` returns it.

    While replies of `will_say` are queued, requests get these instead.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.names = ["told"]
        self._pending: asyncio.Queue[Reply] = asyncio.Queue()
        self._queued: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        host, port = self._server.sockets[0].getsockname()
        return f"http://{host}:{port}/v1"

    def will_say(self, *texts: str) -> None:
        """Queue the next replies."""
        self._queued += texts

    async def next_request(self, seconds: float = 60.0) -> Reply:
        """Wait for the next request and return it."""
        async with asyncio.timeout(seconds):
            return await self._pending.get()

    @property
    def waiting(self) -> int:
        """The number of requests that `next_request` has not returned yet."""
        return self._pending.qsize()

    async def __aenter__(self) -> Model:
        self._server = await asyncio.start_server(
            self._handle_connection, "127.0.0.1", 0, limit=2**24
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._cancel_replies()

    async def forget(self) -> None:
        """Break off all replies and forget all requests."""
        await self._cancel_replies()
        self.requests, self._queued, self._pending = [], [], asyncio.Queue()

    async def _cancel_replies(self) -> None:
        while self._tasks:  # a client may connect meanwhile
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0)

    def _handle_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)

        def over(_: object) -> None:
            self._tasks.discard(task)
            writer.transport.abort()  # a task cancelled before it began has not closed it

        task.add_done_callback(over)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            path, body = await _read(reader)
            if path.endswith("/models"):
                _list(writer, self.names)
                return
            self.requests.append(body)
            reply = Reply(body, writer)
            disconnect_task = asyncio.create_task(_wait_for_disconnect(reader, reply))
            try:
                if self._queued:
                    await reply.answer(self._queued.pop(0))
                else:
                    self._pending.put_nowait(reply)
                    await reply.over()
            finally:
                disconnect_task.cancel()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()  # drops what is not sent yet
            raise
        finally:
            await close_writer(writer)


def _frame(chunk: dict[str, Any]) -> bytes:
    body = {"id": "r", "object": "chat.completion.chunk", "model": "told", **chunk}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


async def close_writer(writer: asyncio.StreamWriter) -> None:
    """Close the connection and wait until it is closed, before the event loop may end."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def _wait_for_disconnect(reader: asyncio.StreamReader, reply: Reply) -> None:
    try:
        while await reader.read(1024):
            pass
    except ConnectionError:
        pass
    reply.closed.set()


async def _read(reader: asyncio.StreamReader) -> tuple[str, dict[str, Any]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return first.split()[1], json.loads(body) if body else {}


def _list(writer: asyncio.StreamWriter, names: Sequence[str]) -> None:
    _json(writer, {"object": "list", "data": [{"id": name, "object": "model"} for name in names]})


def _json(writer: asyncio.StreamWriter, value: Any) -> None:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
