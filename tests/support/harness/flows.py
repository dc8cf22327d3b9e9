"""Events of client, store, model and proxy, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing, suppress
from typing import Any
from urllib.parse import urlsplit

from antiphon.engine.snapshot import Committed, Decide, ReadSet
from antiphon.ports import BeforeCommit, Store
from tests.support.providers.upstream import Request, Upstream

Story = list[str]


class RecordingStore:
    """A store in front of another store, which records reads and changes once they are done."""

    def __init__(self, inner: Store, story: Story) -> None:
        self._inner = inner
        self._story = story

    async def change(
        self, read_set: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        committed = await self._inner.change(read_set, decide, before_commit)
        changes = _describe_change(committed.change) if committed.change else []
        self._story.append(" ".join([f"store: {read_set.what}", *changes]))
        return committed

    async def context(
        self, thread_id: str, *, fresh: bool = False, version: int | None = None
    ) -> Any:
        context = await self._inner.context(thread_id, fresh=fresh, version=version)
        self._story.append(f"store: context {context.messages} {'fresh' if fresh else 'cached'}")
        return context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _describe_change(change: Any) -> list[str]:
    return [
        *(f"{message.role}#{message.number}" for message in change.messages),
        *(f"action:{action.status}" for action in change.actions),
        *(f"run:{update.run.status.value}" for update in change.run_updates),
        *([f"version:{change.thread.version}"] if change.thread else []),
    ]


class RecordingUpstream(Upstream):
    """The faulty upstream, which records the roles of the messages of each request."""

    def __init__(self, story: Story) -> None:
        super().__init__()
        self._story = story

    async def _answer(self, request: Request, *streams: Any) -> bool:
        roles = " ".join(message["role"] for message in request.body["messages"])
        self._story.append(f"model: {roles}")
        return await super()._answer(request, *streams)


@asynccontextmanager
async def proxy(
    server: Callable[[], str], on_request: Callable[[str], None]
) -> AsyncGenerator[str]:
    """A TCP proxy of the current server; it calls `on_request` with each request line.

    Requests on one connection must come one after another.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        address = urlsplit(server())
        with closing(writer), suppress(OSError):
            server_reader, server_writer = await asyncio.open_connection(
                address.hostname, address.port
            )
            with closing(server_writer):
                answers = asyncio.create_task(_pump(server_reader, writer))
                try:
                    await _requests(reader, server_writer, on_request)
                finally:
                    answers.cancel()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _requests(
    reader: asyncio.StreamReader,
    server_writer: asyncio.StreamWriter,
    on_request: Callable[[str], None],
) -> None:
    with suppress(asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            fields = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
            }
            body = await reader.readexactly(int(fields.get("content-length", 0)))
            on_request(lines[0].removesuffix(" HTTP/1.1"))
            server_writer.write(head + body)


async def _pump(server_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await server_reader.read(65_536):
        writer.write(data)
    writer.close()
