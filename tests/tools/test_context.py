"""What a tool learns of its call, and how it tells its progress."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from antiphon.tools.context import ToolContext
from antiphon.tools.functions import Functions, UnfitTool, tool
from antiphon.tools.tool_events import ToolEvent, ToolProgressed
from antiphon.tools.tool_processor import ToolProcessor
from antiphon.types.messages import Progress, ToolCall, ToolResult


async def run_call(
    function: Callable[..., Any],
    arguments: str = "{}",
    told: list[ToolEvent] | None = None,
    **limits: Any,
) -> ToolResult:
    """The result of one call in the run `run_1` of `thread_1`."""
    toolbox = Functions([function])
    call = ToolCall("call_1", toolbox.specs()[0].name, arguments)
    processor = ToolProcessor(
        toolbox, on_tool_event=lambda event: None if told is None else told.append(event), **limits
    )
    results = processor.process_tool_calls("run_1", [call], thread_id="thread_1")
    async with asyncio.timeout(60), aclosing(results) as ready:
        [result] = [result async for _, result in ready]
    return result


@pytest.mark.parametrize("on_the_loop", [True, False])
async def test_a_tool_learns_its_run_thread_and_call_and_the_model_does_not_see_it(
    on_the_loop: bool,
) -> None:
    def name_call(word: str, ctx: ToolContext) -> list[str]:
        ctx.report(1, 2, "half")
        return [word, ctx.run_id, ctx.thread_id, ctx.call.id]

    async def name_call_on_the_loop(word: str, ctx: ToolContext) -> list[str]:
        return name_call(word, ctx)

    function = name_call_on_the_loop if on_the_loop else name_call
    told: list[ToolEvent] = []
    result = await run_call(function, '{"word":"hi"}', told)

    assert result.output == '["hi","run_1","thread_1","call_1"]'
    assert list(Functions([function]).specs()[0].parameters["properties"]) == ["word"]
    [progressed] = [event for event in told if isinstance(event, ToolProgressed)]
    assert progressed.progress == Progress(1, 2, "half")


async def test_a_tool_in_a_thread_sees_that_its_time_is_up() -> None:
    seen = threading.Event()

    def work(ctx: ToolContext) -> None:
        while not ctx.cancelled:
            pass
        seen.set()

    result = await run_call(work, seconds=0.05)

    assert result.fault == "timed_out"
    assert await asyncio.to_thread(seen.wait, 60)


async def test_a_tool_knows_how_much_time_it_has() -> None:
    def measure(ctx: ToolContext) -> list[float]:
        first = ctx.seconds_left
        with ctx.pause_deadline():
            paused = [ctx.seconds_left, ctx.seconds_left]
        return [first, *paused]

    first, paused, still_paused = json.loads((await run_call(measure, seconds=100.0)).output)

    assert 90 < first <= 100
    assert paused == still_paused


async def test_a_tool_that_others_call_too_may_do_without_a_context() -> None:
    def name_run(ctx: ToolContext | None = None) -> str:
        return ctx.run_id if ctx else "no run"

    assert (await run_call(name_run)).output == "run_1"
    assert name_run() == "no run"


async def test_outside_of_a_run_a_tool_has_a_context_without_ids_and_limits() -> None:
    async def show(ctx: ToolContext) -> list[Any]:
        return [ctx.run_id, ctx.thread_id, ctx.cancelled, ctx.seconds_left > 1e9]

    result = await Functions([show]).call(ToolCall("call_1", "show", "{}"))

    assert result.output == '["","",false,true]'


async def test_a_tool_has_its_own_time() -> None:
    @tool(timeout=0.05)
    async def hurry() -> None:
        await asyncio.Event().wait()

    @tool(timeout=3600)
    async def take_time(ctx: ToolContext) -> bool:
        return ctx.seconds_left > 60

    hurried = await run_call(hurry)
    patient = await run_call(take_time, seconds=0.05)

    assert "gave no result within 0.05 s" in hurried.output
    assert patient.output == "true"


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_tool_without_time_is_refused(seconds: float) -> None:
    with pytest.raises(UnfitTool, match="A tool needs time"):
        tool(timeout=seconds)
