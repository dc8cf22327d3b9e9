"""The conformance of toolboxes: what every one of them keeps, whatever its tools are."""

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
    """Three tools, and what is known of their running."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.begun = asyncio.Event()
        self.stopped = asyncio.Event()

    async def echo(self, text: str) -> str:
        return text

    def broken(self) -> None:
        raise RuntimeError("out of order")

    async def endless(self) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.running -= 1
            self.stopped.set()


Opened = Callable[[Bench], AbstractAsyncContextManager[Toolbox]]


def functions(bench: Bench) -> Toolbox:
    return Functions([bench.echo, bench.broken, bench.endless])


@asynccontextmanager
async def plain(bench: Bench) -> AsyncIterator[Toolbox]:
    yield functions(bench)


@asynccontextmanager
async def gated_toolbox(bench: Bench) -> AsyncIterator[Toolbox]:
    yield Gate(functions(bench))


@asynccontextmanager
async def over_mcp(bench: Bench) -> AsyncIterator[Toolbox]:
    """The tools of an MCP server, which is reached over HTTP, in this process."""
    mcpserver = pytest.importorskip("mcp.server.mcpserver", reason="antiphon[mcp] is not installed")
    served = mcpserver.MCPServer("bench", log_level="CRITICAL")
    for tool in (bench.echo, bench.broken, bench.endless):
        served.add_tool(tool, structured_output=False)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(served.streamable_http_app(), log_level="critical", lifespan="on")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listening]))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    async with AsyncMcpServerPool(
        [ServerConfig(name="bench", transport="http", url=url)]
    ) as servers:
        assert await servers.ready(50) == ()
        yield servers
    server.should_exit = server.force_exit = True
    await serving


@pytest.fixture(params=[plain, gated_toolbox, over_mcp])
def opened(request: pytest.FixtureRequest) -> Opened:
    chosen: Opened = request.param
    return chosen


def call(toolbox: Toolbox, tool: str, arguments: str = "{}") -> ToolCall:
    """A call of the tool, by whatever name it is offered."""
    names = [each.spec.name for each in toolbox.tools()]
    return ToolCall("c", next((name for name in names if name.endswith(tool)), tool), arguments)


async def test_each_tool_is_offered_by_name_with_a_schema_of_type_object(opened: Opened):
    async with opened(Bench()) as toolbox:
        tools = toolbox.tools()

    names = [tool.spec.name.removeprefix("bench__") for tool in tools]
    assert names == ["echo", "broken", "endless"]
    assert all(tool.spec.parameters["type"] == "object" for tool in tools)


async def test_a_servers_tools_say_which_server_it_is():
    async with over_mcp(Bench()) as toolbox:
        (origin,) = {tool.origin for tool in toolbox.tools()}

    assert origin.startswith("http://127.0.0.1 (")


def test_another_program_is_another_origin_and_a_secret_is_not_told():
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


async def test_a_call_gives_the_output(opened: Opened):
    async with opened(Bench()) as toolbox:
        result = await toolbox.call(call(toolbox, "echo", '{"text":"hi"}'))

    assert result == ToolResult("hi")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("broken", "{}"), ("echo", "{}"), ("echo", '{"text":1}'), ("echo", "]"), ("nobody", "{}")],
)
async def test_a_call_never_raises(opened: Opened, name: str, arguments: str):
    async with opened(Bench()) as toolbox:
        result = await toolbox.call(call(toolbox, name, arguments))

    assert result.is_error


async def test_cancelling_the_task_cancels_the_tool(opened: Opened):
    bench = Bench()
    async with opened(bench) as toolbox, asyncio.timeout(60):
        task = asyncio.create_task(toolbox.call(call(toolbox, "endless")))
        await bench.begun.wait()
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        await bench.stopped.wait()


async def test_calls_run_side_by_side(opened: Opened):
    bench = Bench()
    async with opened(bench) as toolbox, asyncio.timeout(60):
        endless = asyncio.create_task(toolbox.call(call(toolbox, "endless")))
        await bench.begun.wait()

        result = await toolbox.call(call(toolbox, "echo", '{"text":"hi"}'))
        endless.cancel()

    assert result.output == "hi"


async def test_a_gate_lets_only_so_many_through_at_once():
    bench = Bench()
    gate = Gate(functions(bench), at_once=2, seconds=0.05)

    results = await asyncio.gather(
        *(gate.call(ToolCall(f"c{n}", "endless", "{}")) for n in range(5))
    )

    assert bench.most == 2
    assert all(result.is_error for result in results)


async def test_a_deadline_is_a_result_and_ends_the_tool():
    bench = Bench()
    gate = Gate(functions(bench), seconds=0.05)

    result = await gate.call(ToolCall("c", "endless", "{}"))

    assert result.is_error
    assert result.output.startswith("TimeoutError: endless gave no result within 0.05 s")
    assert bench.stopped.is_set()


class Odd:
    """A toolbox of somebody else's, which says what no database takes."""

    def __init__(self, output: str) -> None:
        self._output = output

    def tools(self) -> Sequence[Tool]:
        return []

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        return ToolResult(self._output, is_error=True)


@pytest.mark.parametrize(
    ("output", "savable"),
    [("caf\udce9.txt", "caf\ufffd.txt"), ("a\0b", "a\ufffdb"), ("\ud83d\ude80", "🚀")],
)
async def test_whatever_a_tool_says_comes_out_of_a_gate_as_text_that_can_be_kept(
    output: str, savable: str
):
    result = await Gate(Odd(output)).call(ToolCall("c", "f", "{}"))

    assert result == ToolResult(savable, is_error=True)


async def test_a_thread_that_never_returns_holds_nothing_but_itself():
    stuck = threading.Event()

    def hang() -> Any:
        stuck.wait()

    gate = Gate(Functions([hang]), at_once=1, seconds=0.05)

    first = await gate.call(ToolCall("c1", "hang", "{}"))
    second = await gate.call(ToolCall("c2", "hang", "{}"))
    stuck.set()

    assert first.is_error
    assert second.is_error
