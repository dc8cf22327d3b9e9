"""The MCP server as a process: over stdin and stdout for one program, over HTTP for several."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, cast

import anyio
import uvicorn
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

import antiphon
from antiphon.client.async_client import AsyncClient
from antiphon.mcp.sdk_logging import hush
from antiphon.mcp.server.handlers import Desk
from antiphon.mcp.server.server import mcp_server
from antiphon.settings.settings import Settings
from antiphon.tools.functions import Function
from antiphon.types.errors import BadSettings, Forbidden, Unauthorized

HOST = "127.0.0.1"
PATH = "/mcp"
LONGEST_LINE = 16_000_000  # of one message; as much as a thread's message may have, and its frame
LAST_WORDS = 5  # seconds for answers that are on their way when the server stops

Admit = Callable[[Scope], Awaitable[None]]
"""Lets a request in, or raises `Unauthorized` or `Forbidden`."""


async def serve_stdio(
    client: AsyncClient,
    settings: Settings,
    functions: Sequence[Function],
    *,
    each_assistant: bool,
) -> None:
    """Speak with the program that started this one, until it closes our stdin."""
    async with _desk(client, settings, functions, each_assistant=each_assistant) as desk:
        server = mcp_server(desk, antiphon.__version__)
        async with stdio_server(stdin=_stdin()) as (read, write):
            await server.run(read, write, server.create_initialization_options())


async def serve_http(
    client: AsyncClient,
    settings: Settings,
    functions: Sequence[Function],
    admit: Admit,
    *,
    each_assistant: bool,
) -> None:
    """Answer programs on this machine, at `http://127.0.0.1:PORT/mcp`, until cancelled."""
    async with _desk(client, settings, functions, each_assistant=each_assistant) as desk:
        listener = _bound(settings.port)
        port = listener.getsockname()[1]
        face = mcp_server(desk, antiphon.__version__).streamable_http_app(
            streamable_http_path=PATH,
            max_request_body_size=settings.max_body,
            transport_security=_own_names(port),
        )
        config = uvicorn.Config(
            _Locked(face, admit),
            lifespan="on",
            ws="none",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=LAST_WORDS,
        )
        await _Server(config, f"http://{HOST}:{port}{PATH}").until_cancelled(listener)


@asynccontextmanager
async def _desk(
    client: AsyncClient,
    settings: Settings,
    functions: Sequence[Function],
    *,
    each_assistant: bool,
) -> AsyncGenerator[Desk]:
    hush()  # stderr is somebody's screen, and the library would print there what strangers send
    desk = Desk(client, settings, functions=functions, each_assistant=each_assistant)
    try:
        yield desk
    finally:
        await desk.close()


class _Server(uvicorn.Server):
    """uvicorn that says when it listens, and keeps its hands off the process's signals."""

    def __init__(self, config: uvicorn.Config, address: str) -> None:
        super().__init__(config)
        self._address = address

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Whoever runs this is cancelled by them."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections, and say so."""
        await super().startup(sockets)
        print(f"listening on {self._address}", file=sys.stderr, flush=True)

    async def until_cancelled(self, listener: socket.socket) -> None:
        """Serve; when cancelled, let answers end that are on their way."""
        serving = asyncio.create_task(self.serve(sockets=[listener]))
        try:
            await asyncio.shield(serving)
        finally:
            self.should_exit = True
            await serving


class _Locked:
    """An application that answers those alone who are admitted."""

    def __init__(self, inner: ASGIApp, admit: Admit) -> None:
        self._inner = inner
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                await self._admit(scope)
            except (Unauthorized, Forbidden) as refusal:
                locked = isinstance(refusal, Unauthorized)
                answer = JSONResponse(
                    {"error": refusal.message},
                    status_code=401 if locked else 403,
                    headers={"www-authenticate": "Bearer"} if locked else None,
                )
                await answer(scope, receive, send)
                return
        await self._inner(scope, receive, send)


def _own_names(port: int) -> TransportSecuritySettings:
    """Only what names this machine: a page elsewhere that rebinds its name is refused."""
    hosts = [f"{name}:{port}" for name in (HOST, "localhost")]
    return TransportSecuritySettings(
        allowed_hosts=hosts, allowed_origins=[f"http://{host}" for host in hosts]
    )


def _bound(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise BadSettings(
            f"Port {port} of {HOST} cannot be listened on: {error.strerror or error}.",
            expected="a free port of this machine",
            hint="--port 0 takes any that is free.",
        ) from error
    return listener


def _stdin() -> anyio.AsyncFile[str] | None:
    """stdin's lines, read on the loop, so that waiting for one can be cancelled.

    The library reads them in a thread, which nothing wakes: a signal would end this process only
    when the next line comes. Files and terminals cannot be read in this way, and are left to it.
    """
    mode = os.fstat(0).st_mode
    if sys.platform == "win32" or not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return None
    return cast("anyio.AsyncFile[str]", _Lines())


class _Lines:
    """What the library asks of its stdin: to be iterated over, once."""

    async def __aiter__(self) -> AsyncIterator[str]:
        reader = asyncio.StreamReader(limit=LONGEST_LINE)
        own = os.dup(0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)  # a tool that reads stdin shall not read the protocol
        os.close(nothing)
        pipe = os.fdopen(own, "rb", buffering=0)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: cast("Any", asyncio.StreamReaderProtocol(reader)), pipe
        )
        try:
            while line := await _line(reader):
                yield line.decode("utf-8", "replace")
        finally:
            transport.close()


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next line that is no longer than a message may be; empty at the end."""
    while True:
        with suppress(ValueError):  # the reader has dropped what it held of a longer one
            return await reader.readline()
