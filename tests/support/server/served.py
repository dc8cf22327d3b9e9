"""A server on a loopback socket, over a runtime that keeps everything in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2
import uvicorn

from antiphon.runtime.admin.keys import create_unaudited_key
from antiphon.runtime.runtime import Runtime, open_runtime
from antiphon.server.app import RuntimeOpener
from antiphon.server.connection import HttpConnection
from antiphon.server.serve import run_server
from antiphon.settings.settings import Settings

DEADLINE = 60.0


SETTINGS = Settings(
    database="memory:",
    model="demo",
    port=0,
    demo_delay=0,
    max_body=1_000_000,
    max_upload=1_000_000,
    documents=False,
    shutdown_timeout=0.1,
)


@dataclass
class Served:
    """A running server, its runtime, and its clients."""

    url: str
    runtime: Runtime
    clients: AsyncExitStack
    keys: dict[str, str] = field(default_factory=dict)

    async def client(self, key: str | None = None, **options: Any) -> httpx2.AsyncClient:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        client = httpx2.AsyncClient(
            base_url=self.url, headers=headers, timeout=DEADLINE, trust_env=False, **options
        )
        return await self.clients.enter_async_context(client)

    async def key(self, owner: str, *scopes: str) -> str:
        key, text = await create_unaudited_key(
            self.runtime.store, owner, "a test", scopes or ("read", "write")
        )
        self.keys[text] = key.id
        return text

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        address = urlsplit(self.url)
        return await asyncio.open_connection(address.hostname, address.port, limit=2**20)

    async def raw(self, request: bytes) -> bytes:
        """Send these bytes; return what the server sends until it closes the connection."""
        reader, writer = await self.connect()
        writer.write(request)
        try:
            async with asyncio.timeout(DEADLINE):
                return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def serve(
    settings: Settings = SETTINGS, opener: RuntimeOpener = open_runtime, **options: Any
) -> AsyncGenerator[Served]:
    runtimes: list[Runtime] = []

    @asynccontextmanager
    async def open_recorded(settings: Settings) -> AsyncGenerator[Runtime]:
        async with opener(settings) as runtime:
            runtimes.append(runtime)
            yield runtime

    async with run_server(settings, open_recorded, **options) as url, AsyncExitStack() as clients:
        yield Served(url, runtimes[0], clients)


@asynccontextmanager
async def asgi(
    application: Any, connection: type[HttpConnection] = HttpConnection, ws: Any = "none"
) -> AsyncGenerator[str]:
    """Serve any ASGI application with the server's own connection class; yield the address."""
    config = uvicorn.Config(
        application, port=0, http=connection, lifespan="off", ws=ws, log_config=None
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve())
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = server.force_exit = True
        await running


async def eventually(ask: Callable[[], Awaitable[bool]]) -> None:
    """Wait until `ask` returns True, under a deadline."""
    async with asyncio.timeout(DEADLINE):
        while not await ask():
            await asyncio.sleep(0.02)
