"""Conformance of toolboxes: the promises that each of them keeps, whatever its tools are."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import uvicorn
from msgspec.structs import replace

from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.ports import ProgressCallback, Toolbox, quiet
from antiphon.tools.functions import Functions
from antiphon.tools.gate import Gate
from antiphon.types.messages import Tool, ToolCall, ToolResult


class Bench:
    """Three tools, and a record of the runs of one of them."""

    def __init__(self) -> None:
        self.running = self.max_running = 0
        self.started = asyncio.Event()
        self.stopped = asyncio.Event()

    async def echo(self, text: str) -> str:
        return text

    def broken(self) -> None:
        raise RuntimeError("out of order")

    async def endless(self) -> None:
        self.running += 1
        self.max_running = max(self.max_running, self.running)
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.running -= 1
            self.stopped.set()


OpenToolbox = Callable[[Bench], AbstractAsyncContextManager[Toolbox]]


def functions(bench: Bench) -> Toolbox:
    return Functions([bench.echo, bench.broken, bench.endless])


@asynccontextmanager
async def plain_toolbox(bench: Bench) -> AsyncIterator[Toolbox]:
    yield functions(bench)


@asynccontextmanager
async def gated_toolbox(bench: Bench) -> AsyncIterator[Toolbox]:
    yield Gate(functions(bench))


@asynccontextmanager
async def mcp_toolbox(bench: Bench) -> AsyncIterator[Toolbox]:
    """Yield the tools of an MCP server in this process, reached over HTTP."""
    mcpserver = pytest.importorskip("mcp.server.mcpserver", reason="antiphon[mcp] is not installed")
    mcp_server = mcpserver.MCPServer("bench", log_level="CRITICAL")
    for tool in (bench.echo, bench.broken, bench.endless):
        mcp_server.add_tool(tool, structured_output=False)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(mcp_server.streamable_http_app(), log_level="critical", lifespan="on")
    server = uvicorn.Server(config)
    server_task = asyncio.create_task(server.serve([listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    async with AsyncMcpServerPool(
        [ServerConfig(name="bench", transport="http", url=url)]
    ) as servers:
        assert await servers.ready(50) == ()
        yield servers
    server.should_exit = server.force_exit = True
    await server_task


@pytest.fixture(params=[plain_toolbox, gated_toolbox, mcp_toolbox])
def open_toolbox(request: pytest.FixtureRequest) -> OpenToolbox:
    open_context: OpenToolbox = request.param
    return open_context


def call(toolbox: Toolbox, tool: str, arguments: str = "{}") -> ToolCall:
    """Return a call of the tool, by the name under which it is offered."""
    names = [each.spec.name for each in toolbox.tools()]
    return ToolCall("c", next((name for name in names if name.endswith(tool)), tool), arguments)


async def test_each_tool_is_offered_by_name_with_a_schema_of_type_object(open_toolbox: OpenToolbox):
    async with open_toolbox(Bench()) as toolbox:
        tools = toolbox.tools()

    names = [tool.spec.name.removeprefix("bench__") for tool in tools]
    assert names == ["echo", "broken", "endless"]
    assert all(tool.spec.parameters["type"] == "object" for tool in tools)


async def test_a_servers_tools_say_which_server_it_is():
    async with mcp_toolbox(Bench()) as toolbox:
        (origin,) = {tool.origin for tool in toolbox.tools()}

    assert origin.startswith("http://127.0.0.1 (")


def test_another_program_is_another_origin_and_no_secret_is_in_it():
    server = ServerConfig(name="a", command="npx", args=("server", "--token", "s3cret"))
    others = [
        replace(server, command="uvx"),
        replace(server, args=("evil",)),
        replace(server, cwd="/tmp"),
        ServerConfig(name="a", transport="http", url="https://a.example/s3cret"),
        ServerConfig(name="a", transport="http", url="https://a.example/other"),
    ]

    assert replace(server, name="b", env={"A": "1"}, timeout=3).origin == server.origin
    assert len({each.origin for each in (server, *others)}) == 6
    assert not any("s3cret" in each.origin for each in (server, *others))


async def test_a_call_gives_the_output(open_toolbox: OpenToolbox):
    async with open_toolbox(Bench()) as toolbox:
        result = await toolbox.call(call(toolbox, "echo", '{"text":"hi"}'))

    assert result == ToolResult("hi")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("broken", "{}"), ("echo", "{}"), ("echo", '{"text":1}'), ("echo", "]"), ("nobody", "{}")],
)
async def test_a_call_never_raises(open_toolbox: OpenToolbox, name: str, arguments: str):
    async with open_toolbox(Bench()) as toolbox:
        result = await toolbox.call(call(toolbox, name, arguments))

    assert result.is_error


async def test_cancelling_the_task_cancels_the_tool(open_toolbox: OpenToolbox):
    bench = Bench()
    async with open_toolbox(bench) as toolbox, asyncio.timeout(60):
        task = asyncio.create_task(toolbox.call(call(toolbox, "endless")))
        await bench.started.wait()
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        await bench.stopped.wait()


async def test_calls_run_side_by_side(open_toolbox: OpenToolbox):
    bench = Bench()
    async with open_toolbox(bench) as toolbox, asyncio.timeout(60):
        endless = asyncio.create_task(toolbox.call(call(toolbox, "endless")))
        await bench.started.wait()

        result = await toolbox.call(call(toolbox, "echo", '{"text":"hi"}'))
        endless.cancel()

    assert result.output == "hi"


async def test_a_gate_lets_only_so_many_through_at_once():
    bench = Bench()
    gate = Gate(functions(bench), at_once=2, seconds=0.05)

    results = await asyncio.gather(
        *(gate.call(ToolCall(f"c{n}", "endless", "{}")) for n in range(5))
    )

    assert bench.max_running == 2
    assert all(result.is_error for result in results)


async def test_a_deadline_is_a_result_and_ends_the_tool():
    bench = Bench()
    gate = Gate(functions(bench), seconds=0.05)

    result = await gate.call(ToolCall("c", "endless", "{}"))

    assert result.is_error
    assert result.output.startswith("TimeoutError: endless gave no result within 0.05 s")
    assert bench.stopped.is_set()


class Odd:
    """A foreign toolbox, whose outputs no database accepts."""

    def __init__(self, output: str) -> None:
        self._output = output

    def tools(self) -> Sequence[Tool]:
        return []

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        return ToolResult(self._output, is_error=True)


@pytest.mark.parametrize(
    ("output", "expected"),
    [("caf\udce9.txt", "caf\ufffd.txt"), ("a\0b", "a\ufffdb"), ("\ud83d\ude80", "🚀")],
)
async def test_whatever_a_tool_says_comes_out_of_a_gate_as_text_that_can_be_kept(
    output: str, expected: str
):
    result = await Gate(Odd(output)).call(ToolCall("c", "f", "{}"))

    assert result == ToolResult(expected, is_error=True)


async def test_a_thread_that_never_returns_holds_nothing_but_itself():
    release = threading.Event()

    def hang() -> Any:
        release.wait()

    gate = Gate(Functions([hang]), at_once=1, seconds=0.05)

    first = await gate.call(ToolCall("c1", "hang", "{}"))
    second = await gate.call(ToolCall("c2", "hang", "{}"))
    release.set()

    assert first.is_error
    assert second.is_error
