"""The conformance of toolboxes: what every one of them keeps, whatever its tools are."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from antiphon.messages import Tool, ToolCall, ToolResult
from antiphon.ports import Tell, Toolbox, quiet
from antiphon.tools.functions import Functions
from antiphon.tools.gate import Gate


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


Make = Callable[[Bench], Toolbox]


def functions(bench: Bench) -> Toolbox:
    return Functions([bench.echo, bench.broken, bench.endless])


def gated(bench: Bench) -> Toolbox:
    return Gate(functions(bench))


@pytest.fixture(params=[functions, gated])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


def test_each_tool_is_offered_by_name_with_a_schema_of_type_object(make: Make):
    tools = make(Bench()).tools()

    assert [tool.spec.name for tool in tools] == ["echo", "broken", "endless"]
    assert all(tool.spec.parameters["type"] == "object" for tool in tools)


async def test_a_call_gives_the_output(make: Make):
    result = await make(Bench()).call(ToolCall("c", "echo", '{"text":"hi"}'))

    assert result == ToolResult("hi")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("broken", "{}"), ("echo", "{}"), ("echo", '{"text":1}'), ("echo", "]"), ("nobody", "{}")],
)
async def test_a_call_never_raises(make: Make, name: str, arguments: str):
    assert (await make(Bench()).call(ToolCall("c", name, arguments))).is_error


async def test_cancelling_the_task_cancels_the_tool(make: Make):
    bench = Bench()
    task = asyncio.create_task(make(bench).call(ToolCall("c", "endless", "{}")))
    await bench.begun.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.stopped.is_set()


async def test_calls_run_side_by_side(make: Make):
    bench = Bench()
    toolbox = make(bench)
    endless = asyncio.create_task(toolbox.call(ToolCall("c1", "endless", "{}")))
    await bench.begun.wait()

    assert (await toolbox.call(ToolCall("c2", "echo", '{"text":"hi"}'))).output == "hi"
    endless.cancel()


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

    async def call(self, call: ToolCall, tell: Tell = quiet) -> ToolResult:
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
