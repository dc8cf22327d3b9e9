"""A model that a test speaks for: chat completions, said piece by piece, when the test says so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


class Reply:
    """One request, and the reply to it as far as the test has said it."""

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
        """The answer goes on."""
        await self._delta({"content": text})

    async def think(self, text: str) -> None:
        """The reasoning goes on."""
        await self._delta({"reasoning_content": text})

    async def cite(self, *pages: tuple[str, str]) -> None:
        """Name sources of the answer: addresses and titles."""
        named = [{"url": url, "title": title} for url, title in pages]
        noted = [{"type": "url_citation", "url_citation": each} for each in named]
        await self._delta({"annotations": noted})

    async def decline(self, text: str) -> None:
        """Say why there is no answer, where it is told apart from one."""
        await self._delta({"refusal": text})

    async def call(self, name: str, arguments: Any = "{}", *, id: str, index: int = 0) -> None:
        """A tool call, whole; arguments that are no text are written as JSON."""
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        function = {"name": name, "arguments": text}
        call = {"index": index, "id": id, "type": "function", "function": function}
        await self._delta({"tool_calls": [call]})

    async def more(self, arguments: str, *, index: int = 0) -> None:
        """The arguments of a call go on."""
        await self._delta({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})

    async def end(self, reason: str = "stop", usage: tuple[int, int] = (10, 5)) -> None:
        """The reply is whole.

        Its end is written at once: a client leaves two seconds after the reason, which pass between
        two writes on a busy machine.
        """
        ended = {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
        counts = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
        used = {"choices": [], "usage": counts}
        await self._write(_frame(ended) + _frame(used) + b"data: [DONE]\n\n")
        self._ended.set()

    async def answer(self, text: str, usage: tuple[int, int] = (10, 5)) -> None:
        """Say this and end."""
        await self.say(text)
        await self.end(usage=usage)

    async def whole(self, text: str, usage: tuple[int, int] = (10, 5)) -> None:
        """Answer in one go, without a stream."""
        message = {"role": "assistant", "content": text}
        counts = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        _json(self._writer, {"id": "r", "model": "told", "choices": [choice], "usage": counts})
        await self._writer.drain()
        self._ended.set()

    async def refuse(self, status: int, message: str) -> None:
        """Answer by an error."""
        body = json.dumps({"error": {"message": message, "type": "server_error"}}).encode()
        head = f"HTTP/1.1 {status} No\r\nContent-Type: application/json\r\n"
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await self._writer.drain()
        self._ended.set()

    async def cut(self) -> None:
        """The line breaks."""
        self._ended.set()

    async def over(self) -> None:
        """Wait until nothing more is said, or the client has left."""
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
    """The server; `url` is a base URL. Each request waits to be taken by `next_request`.

    Replies that were queued by `will_say` are given first, without anybody asking.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.names = ["told"]
        self._asked: asyncio.Queue[Reply] = asyncio.Queue()
        self._queued: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        host, port = self._server.sockets[0].getsockname()
        return f"http://{host}:{port}/v1"

    def will_say(self, *texts: str) -> None:
        """The next replies."""
        self._queued += texts

    async def next_request(self, seconds: float = 60.0) -> Reply:
        """The next request, once it is there."""
        async with asyncio.timeout(seconds):
            return await self._asked.get()

    @property
    def waiting(self) -> int:
        """Requests that nobody has taken yet."""
        return self._asked.qsize()

    async def __aenter__(self) -> Model:
        self._server = await asyncio.start_server(self._came, "127.0.0.1", 0, limit=2**24)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._break_off()

    async def forget(self) -> None:
        """Break off every reply, and be as if nobody had asked anything yet."""
        await self._break_off()
        self.requests, self._queued, self._asked = [], [], asyncio.Queue()

    async def _break_off(self) -> None:
        while self._tasks:  # somebody may just be coming
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0)

    def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)

        def over(_: object) -> None:
            self._tasks.discard(task)
            writer.transport.abort()  # a task that was cancelled before it began has closed nothing

        task.add_done_callback(over)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            path, body = await _read(reader)
            if path.endswith("/models"):
                _list(writer, self.names)
                return
            self.requests.append(body)
            reply = Reply(body, writer)
            leaving = asyncio.create_task(_wait_for_disconnect(reader, reply))
            try:
                if self._queued:
                    await reply.answer(self._queued.pop(0))
                else:
                    self._asked.put_nowait(reply)
                    await reply.over()
            finally:
                leaving.cancel()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()  # nobody waits for what is not sent yet
            raise
        finally:
            await close_writer(writer)


def _frame(chunk: dict[str, Any]) -> bytes:
    whole = {"id": "r", "object": "chat.completion.chunk", "model": "told", **chunk}
    return b"data: " + json.dumps(whole).encode() + b"\n\n"


async def close_writer(writer: asyncio.StreamWriter) -> None:
    """Close the line, and wait until it is: a loop that ends before leaves a socket open."""
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
