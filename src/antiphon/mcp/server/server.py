"""Antiphon as an MCP server: over stdio for one client, over HTTP for several."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager, suppress
from inspect import cleandoc
from typing import Any, NamedTuple, cast

import anyio
import mcp_types as types
import msgspec
import uvicorn
from mcp import MCPError
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import antiphon
from antiphon.api import problems
from antiphon.client.async_client import AsyncClient
from antiphon.mcp.metadata import quiet_sdk_logging
from antiphon.mcp.server.handlers import McpHandlers, OfferedTool
from antiphon.mcp.server.tools import AskOutput, json_schema
from antiphon.settings.settings import Settings
from antiphon.tools.functions import Function
from antiphon.types.errors import (
    AntiphonError,
    BadSettings,
    Forbidden,
    InvalidRequest,
    NotFound,
    TryAgain,
    Unauthorized,
)
from antiphon.types.runs import Thread
from antiphon.types.terminal_safe import clean

ADDRESS = "antiphon://threads/"
"""Prefix of a thread's URI."""

INSTRUCTIONS = (
    "Antiphon keeps conversations with language models. `ask` puts a text to a model or to one of"
    " its assistants and may take minutes; the thread_id in its answer goes on with the same"
    " conversation."
)

_Context = ServerRequestContext[Any, Any]


def _create_server(handlers: McpHandlers) -> Server[Any]:
    """Return a server for any number of connections."""
    sdk_handlers = _SdkHandlers(handlers)
    return Server(
        "antiphon",
        version=antiphon.__version__,
        title="Antiphon",
        instructions=INSTRUCTIONS,
        on_list_tools=sdk_handlers.list_tools,
        on_call_tool=sdk_handlers.call_tool,
        on_list_resources=sdk_handlers.list_resources,
        on_list_resource_templates=sdk_handlers.list_templates,
        on_read_resource=sdk_handlers.read_resource,
    )


class _SdkHandlers:
    """Request handlers in the SDK's types."""

    def __init__(self, handlers: McpHandlers) -> None:
        self._handlers = handlers

    async def list_tools(
        self, context: _Context, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_tool(each) for each in await self._handlers.tools()])

    async def call_tool(
        self, context: _Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        async def tell(number: int, text: str) -> None:
            await context.session.report_progress(number, message=text)

        # Over stdio there is no request; one over HTTP has the limits of its key, and ends with it.
        admission = context.request.scope.get(ADMISSION) if context.request is not None else None
        client = None if admission is None else admission.client
        work = self._handlers.call(params.name, params.arguments or {}, tell, client)
        try:
            return _result(await (work if admission is None else _while_admitted(admission, work)))
        except AntiphonError as problem:
            return _error_result(problem)

    async def list_resources(
        self, context: _Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        try:
            threads, following = await self._handlers.threads(params.cursor if params else None)
        except (NotFound, InvalidRequest) as error:
            raise MCPError(types.INVALID_PARAMS, "There is no such page.") from error
        return types.ListResourcesResult(
            resources=[_resource(thread) for thread in threads], next_cursor=following
        )

    async def list_templates(
        self, context: _Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        template = types.ResourceTemplate(
            name="thread",
            title="A conversation",
            uri_template=ADDRESS + "{thread_id}",
            mime_type="text/markdown",
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def read_resource(
        self, context: _Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        try:
            if not params.uri.startswith(ADDRESS):
                raise NotFound("There is no such resource.")
            text = await self._handlers.markdown(params.uri.removeprefix(ADDRESS))
        except AntiphonError as problem:
            raise MCPError(
                types.INVALID_PARAMS, problem.message, {"uri": params.uri, "code": problem.code}
            ) from problem
        content = types.TextResourceContents(uri=params.uri, mime_type="text/markdown", text=text)
        return types.ReadResourceResult(contents=[content])


async def _while_admitted(
    admission: Admission, work: Coroutine[Any, Any, msgspec.Struct]
) -> msgspec.Struct:
    """Return the result of work that is cancelled when its key is revoked.

    Raises `Unauthorized` then.
    """
    working = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({working}, timeout=RECHECK))[0]:
            with suppress(TryAgain):  # the database is away
                if not await admission.stands():
                    raise Unauthorized("The key was revoked.", hint="Ask for a new one.")
        return await working
    finally:
        working.cancel()


def _tool(offered: OfferedTool) -> types.Tool:
    hints = offered.input_type.hints
    return types.Tool(
        name=offered.name,
        title=clean(offered.title),
        description=clean(cleandoc(offered.description)),
        input_schema=json_schema(offered.input_type),
        output_schema=json_schema(offered.input_type.output_type),
        annotations=types.ToolAnnotations(
            title=clean(offered.title),
            read_only_hint=hints.read_only,
            destructive_hint=hints.destructive,
            idempotent_hint=hints.idempotent,
            open_world_hint=hints.open_world,
        ),
    )


def _resource(thread: Thread) -> types.Resource:
    return types.Resource(
        name=clean(thread.title) or thread.id,
        uri=ADDRESS + thread.id,
        description=f"A conversation of {thread.messages} messages.",
        mime_type="text/markdown",
    )


def _result(value: msgspec.Struct) -> types.CallToolResult:
    """Return the value as JSON; the output of `ask` also as text."""
    if isinstance(value, AskOutput):
        about = f"[thread_id: {value.thread_id}, status: {value.status}]"
        texts = [value.text, about]
    else:
        texts = [msgspec.json.encode(value).decode()]
    return types.CallToolResult(
        content=[types.TextContent(text=text) for text in texts],
        structured_content=msgspec.to_builtins(value),
    )


def _error_result(problem: AntiphonError) -> types.CallToolResult:
    """Return the error as a result that a model can act on."""
    words = {"expected": "wanted: ", "received": "got: ", "hint": ""}
    details = [
        word + str(problem.details[name]) for name, word in words.items() if name in problem.details
    ]
    text = "; ".join([problem.message.rstrip("."), *details]) + f" ({problem.code})"
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)


# Processes of the MCP server: over stdin and stdout for one client, over HTTP for several.


HOST = "127.0.0.1"
PATH = "/mcp"
LONGEST_LINE = 16_000_000  # of one message; as much as a thread's message may have, and its frame
LAST_WORDS = 5  # seconds for answers that are on their way when the server stops


class Admission(NamedTuple):
    """The client that works for an admitted request, and whether its key still stands."""

    client: AsyncClient
    stands: Callable[[], Awaitable[bool]]


Admit = Callable[[Scope], Awaitable[Admission]]
"""Admits a request.

Raises `Unauthorized`, `Forbidden` and `TryAgain`.
"""
RECHECK = 2.0
"""Seconds between two looks at the key of a call in progress."""
ADMISSION = "antiphon.admission"
"""Key of an admitted request's ASGI scope with its `Admission`."""


@asynccontextmanager
async def open_handlers(
    client: AsyncClient,
    settings: Settings,
    functions: Sequence[Function],
    *,
    each_assistant: bool,
) -> AsyncGenerator[McpHandlers]:
    """Yield the handlers of requests, for `serve_stdio` or `serve_http`."""
    quiet_sdk_logging()  # the SDK would print clients' mistakes on stderr, a person's screen
    handlers = McpHandlers(client, settings, functions=functions, each_assistant=each_assistant)
    try:
        yield handlers
    finally:
        await handlers.close()


async def serve_stdio(handlers: McpHandlers) -> None:
    """Serve the program that started this one, until it closes our stdin."""
    server = _create_server(handlers)
    async with stdio_server(stdin=_stdin()) as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def serve_http(handlers: McpHandlers, settings: Settings, admit: Admit) -> None:
    """Serve clients on this machine, at `http://127.0.0.1:PORT/mcp`, until cancelled."""
    listener = _bind(settings.port)
    port = listener.getsockname()[1]
    # Only names of this machine are allowed, against DNS rebinding.
    hosts = [f"{name}:{port}" for name in (HOST, "localhost")]
    app = _create_server(handlers).streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=settings.max_body,
        transport_security=TransportSecuritySettings(
            allowed_hosts=hosts, allowed_origins=[f"http://{host}" for host in hosts]
        ),
    )
    config = uvicorn.Config(
        _RequireAdmission(app, admit, settings.max_body),
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

    def __init__(self, inner: ASGIApp, admit: Admit, max_body: int) -> None:
        self._inner = inner
        self._admit = admit
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        try:
            scope[ADMISSION] = admission = await self._admit(scope)
            body = await self._read_body(admission, receive)
        except (Unauthorized, Forbidden, TryAgain) as refusal:
            status, _ = problems.status_and_title(refusal)
            headers = dict(problems.problem_headers(refusal))
            answer = JSONResponse(
                {"error": refusal.message},
                status_code=status,
                headers={name.decode(): each.decode() for name, each in headers.items()},
            )
            await answer(scope, receive, send)
            return

        async def receive_again() -> Message:
            return body.pop(0) if body else await receive()

        await self._inner(scope, receive_again, send)

    async def _read_body(self, admission: Admission, receive: Receive) -> list[Message]:
        """Return the body as one message, as far as it is read at all, and the one after it.

        A sender may hold it back until its key is revoked: the key is checked again once it has
        come, which counts no other request. Raises `Unauthorized` and `TryAgain`.
        """
        body = bytearray()
        message = await receive()
        while message.get("more_body") and len(body) <= self._max_body:
            body += message.get("body", b"")
            message = await receive()
        if not await admission.stands():
            raise Unauthorized("The key was revoked.", hint="Ask for a new one.")
        if message["type"] != "http.request":  # the client has left
            return [{"type": "http.request", "body": bytes(body), "more_body": True}, message]
        return [{**message, "body": bytes(body + message.get("body", b""))}]


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
        os.dup2(nothing, 0)  # a tool that reads stdin must not read the protocol
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
