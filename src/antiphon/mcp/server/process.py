"""Processes of the MCP server: over stdin and stdout for one client, over HTTP for several."""

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
from antiphon.mcp.sdk_logging import quiet_sdk_logging
from antiphon.mcp.server.handlers import McpHandlers
from antiphon.mcp.server.server import create_server
from antiphon.settings.settings import Settings
from antiphon.tools.functions import Function
from antiphon.types.errors import BadSettings, Forbidden, Unauthorized

HOST = "127.0.0.1"
PATH = "/mcp"
LONGEST_LINE = 16_000_000  # of one message; as much as a thread's message may have, and its frame
LAST_WORDS = 5  # seconds for answers that are on their way when the server stops

Admit = Callable[[Scope], Awaitable[None]]
"""Admits a request, or raises `Unauthorized` or `Forbidden`."""


async def serve_stdio(
    client: AsyncClient,
    settings: Settings,
    functions: Sequence[Function],
    *,
    each_assistant: bool,
) -> None:
    """Serve the program that started this one, until it closes our stdin."""
    async with _open_handlers(
        client, settings, functions, each_assistant=each_assistant
    ) as handlers:
        server = create_server(handlers, antiphon.__version__)
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
    """Serve clients on this machine, at `http://127.0.0.1:PORT/mcp`, until cancelled."""
    async with _open_handlers(
        client, settings, functions, each_assistant=each_assistant
    ) as handlers:
        listener = _bind(settings.port)
        port = listener.getsockname()[1]
        app = create_server(handlers, antiphon.__version__).streamable_http_app(
            streamable_http_path=PATH,
            max_request_body_size=settings.max_body,
            transport_security=_local_hosts_only(port),
        )
        config = uvicorn.Config(
            _RequireAdmission(app, admit),
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
async def _open_handlers(
    client: AsyncClient,
    settings: Settings,
    functions: Sequence[Function],
    *,
    each_assistant: bool,
) -> AsyncGenerator[McpHandlers]:
    quiet_sdk_logging()  # the SDK would print clients' mistakes on stderr, a person's screen
    handlers = McpHandlers(client, settings, functions=functions, each_assistant=each_assistant)
    try:
        yield handlers
    finally:
        await handlers.close()


class _Server(uvicorn.Server):
    """uvicorn that reports when it listens and leaves the process's signals alone."""

    def __init__(self, config: uvicorn.Config, address: str) -> None:
        super().__init__(config)
        self._address = address

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Install no handlers: signals cancel the caller."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections, and report it."""
        await super().startup(sockets)
        print(f"listening on {self._address}", file=sys.stderr, flush=True)

    async def until_cancelled(self, listener: socket.socket) -> None:
        """Serve; when cancelled, let responses in progress finish."""
        serving = asyncio.create_task(self.serve(sockets=[listener]))
        try:
            await asyncio.shield(serving)
        finally:
            self.should_exit = True
            await serving


class _RequireAdmission:
    """Application that serves only admitted requests."""

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


def _local_hosts_only(port: int) -> TransportSecuritySettings:
    """Allow only names of this machine, against DNS rebinding."""
    hosts = [f"{name}:{port}" for name in (HOST, "localhost")]
    return TransportSecuritySettings(
        allowed_hosts=hosts, allowed_origins=[f"http://{host}" for host in hosts]
    )


def _bind(port: int) -> socket.socket:
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
    """Read stdin on the event loop, so that waiting for a line can be cancelled.

    The library reads lines in a thread that nothing wakes: a signal would end this process only at
    the next line. Files and terminals cannot be read on the loop; the library reads those.
    """
    mode = os.fstat(0).st_mode
    if sys.platform == "win32" or not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return None
    return cast("anyio.AsyncFile[str]", _Lines())


class _Lines:
    """Lines of stdin, to be iterated over once."""

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
    """Return the next line within the size limit; empty at the end."""
    while True:
        with suppress(ValueError):  # the reader has dropped what it held of a longer one
            return await reader.readline()
