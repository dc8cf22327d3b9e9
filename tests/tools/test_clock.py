"""A person's time to think is no tool's time to run: whoever asks, wherever the tool runs."""

import asyncio
import gc
import threading
import time

import pytest

from antiphon.ports import ProgressCallback
from antiphon.settings.settings import Settings
from antiphon.tools.builtin import builtins
from antiphon.tools.deadlines import CallDeadline, DeadlineGroup, pause_deadline, run_within
from antiphon.tools.functions import Functions, tool
from antiphon.tools.tool_processor import Gate
from antiphon.types.messages import Progress, ToolCall, ToolResult

SECONDS = 0.15
THOUGHT = 0.4


async def call_tool(function, arguments: str = "{}", tell=lambda progress: None) -> ToolResult:
    gate = Gate(Functions([function]), seconds=SECONDS)
    name = gate.tools()[0].spec.name
    return await gate.call(ToolCall("c1", name, arguments), tell)


async def test_a_question_to_the_user_may_take_longer_than_the_tool():
    async def thinks(question: str, choices: object) -> str:
        await asyncio.sleep(THOUGHT)
        return "blue"

    ask_user = next(each for each in builtins(Settings(), thinks) if each.__name__ == "ask_user")
    result = await call_tool(ask_user, '{"question": "Which colour?"}')

    assert result.output == "blue"


async def test_only_the_time_of_the_question_is_given_back():
    @tool
    async def asks_and_dawdles() -> str:
        """Asks, then goes on for ever."""
        with pause_deadline():
            await asyncio.sleep(THOUGHT)
        await asyncio.Event().wait()
        return "never"

    began = time.monotonic()
    result = await call_tool(asks_and_dawdles)

    assert result.fault == "timed_out"
    assert THOUGHT + SECONDS / 2 < time.monotonic() - began < THOUGHT + SECONDS + 10


async def test_a_tool_in_a_thread_may_ask_too():
    @tool
    def asks() -> str:
        """Asks in its own thread."""
        with pause_deadline():
            threading.Event().wait(THOUGHT)
        return "asked"

    assert (await call_tool(asks)).output == "asked"


async def test_the_clock_stands_still_until_the_last_of_several_questions_is_answered():
    async def answer_after(seconds: float) -> None:
        with pause_deadline():
            await asyncio.sleep(seconds)

    @tool
    async def asks_twice() -> str:
        """Asks two things at once."""
        await asyncio.gather(answer_after(THOUGHT / 4), answer_after(THOUGHT))
        return "both"

    assert (await call_tool(asks_twice)).output == "both"


async def test_the_clock_of_another_call_runs_on():
    @tool
    async def asks() -> str:
        """Asks."""
        with pause_deadline():
            await asyncio.sleep(THOUGHT)
        return "asked"

    @tool
    async def endless() -> str:
        """Never ends."""
        await asyncio.Event().wait()
        return "never"

    gate = Gate(Functions([asks, endless]), seconds=SECONDS)
    asked, other = await asyncio.gather(
        gate.call(ToolCall("c1", "asks", "{}")), gate.call(ToolCall("c2", "endless", "{}"))
    )

    assert asked.output == "asked"
    assert other.fault == "timed_out"


async def test_progress_that_is_told_during_a_question_costs_nothing():
    told: list[Progress] = []

    @tool
    async def asks(tell: ProgressCallback) -> str:
        """Asks, and says so."""
        with pause_deadline():
            tell(Progress(1))
            await asyncio.sleep(THOUGHT)
        return "asked"

    assert (await call_tool(asks, tell=told.append)).output == "asked"
    assert told == [Progress(1)]


async def test_outside_of_a_tool_it_changes_nothing():
    with pause_deadline():
        pass


@pytest.mark.parametrize("seconds", [float("inf"), 1e9])
async def test_a_tool_may_have_all_the_time_of_the_world(seconds: float):
    @tool
    async def quick() -> str:
        """Is quick."""
        return "done"

    result = await Gate(Functions([quick]), seconds=seconds).call(ToolCall("c1", "quick", "{}"))

    assert result.output == "done"


async def test_a_call_made_while_its_server_waits_for_a_person_stands_still_too():
    group, called = DeadlineGroup(), asyncio.Event()

    async def call() -> str:
        with group.join():
            called.set()
            await asyncio.sleep(THOUGHT)
        return "answered"

    with group.pause():
        calling = asyncio.create_task(run_within(CallDeadline(SECONDS), call()))
        await called.wait()
        done = await calling

    assert done is not None
    assert done.result() == "answered"


async def test_how_work_failed_that_nobody_waits_for_any_more_is_not_logged(caplog):
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("\x1b[31mwhat a server said") from None

    assert await run_within(CallDeadline(0.01), stubborn()) is None
    gc.collect()

    assert caplog.records == []
