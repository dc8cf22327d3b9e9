"""A person's time to think is no tool's time to run: whoever asks, wherever the tool runs."""

import asyncio
import gc
import threading
import weakref
from queue import SimpleQueue

import pytest

from antiphon.ports import ProgressCallback
from antiphon.settings.settings import Settings
from antiphon.tools.builtin import builtins
from antiphon.tools.deadlines import (
    CallDeadline,
    DaemonThreads,
    DeadlineGroup,
    pause_deadline,
    run_within,
    seconds_left,
)
from antiphon.tools.functions import Functions, tool
from antiphon.tools.gate import Gate
from antiphon.types.messages import Progress, ToolCall, ToolResult
from tests.support.tools.call_clock import RECHECK_SECONDS, CallClock

SECONDS = RECHECK_SECONDS


async def call_tool(function, arguments: str = "{}", tell=lambda progress: None) -> ToolResult:
    gate = Gate(Functions([function]), seconds=SECONDS)
    name = gate.tools()[0].spec.name
    return await gate.call(ToolCall("c1", name, arguments), tell)


async def test_a_question_to_the_user_may_take_longer_than_the_tool(call_clock: CallClock):
    async def thinks(question: str, choices: object) -> str:
        await call_clock.think()
        return "blue"

    ask_user = next(each for each in builtins(Settings(), thinks) if each.__name__ == "ask_user")
    result = await call_tool(ask_user, '{"question": "Which colour?"}')

    assert result.output == "blue"


async def test_only_the_time_of_the_question_is_given_back(call_clock: CallClock):
    left: list[float] = []

    @tool
    async def asks_and_dawdles() -> str:
        """Asks, then goes on for ever."""
        call_clock.now += SECONDS / 2
        with pause_deadline():
            await call_clock.think()
        left.append(seconds_left()())
        call_clock.now += SECONDS / 2
        await asyncio.Event().wait()
        return "never"

    result = await call_tool(asks_and_dawdles)

    assert left == [pytest.approx(SECONDS / 2)]
    assert result.fault == "timed_out"


async def test_a_tool_in_a_thread_may_ask_too(call_clock: CallClock):
    @tool
    def asks() -> str:
        """Asks in its own thread."""
        with pause_deadline():
            asyncio.run(call_clock.think())
        return "asked"

    assert (await call_tool(asks)).output == "asked"


async def test_the_clock_stands_still_until_the_last_of_several_questions_is_answered(
    call_clock: CallClock,
):
    answered = asyncio.Event()

    async def answer_first() -> None:
        with pause_deadline():
            await call_clock.think()
        answered.set()

    async def answer_last() -> None:
        with pause_deadline():
            await answered.wait()
            await call_clock.think()

    @tool
    async def asks_twice() -> str:
        """Asks two things at once."""
        await asyncio.gather(answer_first(), answer_last())
        return "both"

    assert (await call_tool(asks_twice)).output == "both"


async def test_the_clock_of_another_call_runs_on(call_clock: CallClock):
    begun = asyncio.Event()

    @tool
    async def asks() -> str:
        """Asks."""
        with pause_deadline():
            await begun.wait()
            await call_clock.think()
        return "asked"

    @tool
    async def endless() -> str:
        """Never ends."""
        begun.set()
        await asyncio.Event().wait()
        return "never"

    gate = Gate(Functions([asks, endless]), seconds=SECONDS)
    asked, other = await asyncio.gather(
        gate.call(ToolCall("c1", "asks", "{}")), gate.call(ToolCall("c2", "endless", "{}"))
    )

    assert asked.output == "asked"
    assert other.fault == "timed_out"


async def test_progress_that_is_told_during_a_question_costs_nothing(call_clock: CallClock):
    told: list[Progress] = []

    @tool
    async def asks(tell: ProgressCallback) -> str:
        """Asks, and says so."""
        with pause_deadline():
            tell(Progress(1))
            await call_clock.think()
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


async def test_a_call_made_while_its_server_waits_for_a_person_stands_still_too(
    call_clock: CallClock,
):
    group, called = DeadlineGroup(), asyncio.Event()

    async def call() -> str:
        with group.join():
            called.set()
            await call_clock.think()
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


class Threads:
    """Daemon threads that say which of them has done some work."""

    def __init__(self, idle_seconds: float = 60.0) -> None:
        self.pool = DaemonThreads(idle_seconds)
        self._used: SimpleQueue[threading.Thread] = SimpleQueue()

    def use(self) -> threading.Thread:
        self.pool.run(lambda: self._used.put(threading.current_thread()))
        return self._used.get(timeout=60)

    async def wait_until_idle(self, count: int) -> None:
        while self.pool.idle != count:
            await asyncio.sleep(0)


async def test_an_idle_thread_is_used_again_and_a_busy_one_is_not():
    threads = Threads()
    first = threads.use()
    await threads.wait_until_idle(1)
    held = threading.Event()
    threads.pool.run(lambda: held.wait(60) and None)
    second = threads.use()
    held.set()
    await threads.wait_until_idle(2)

    assert second is not first
    assert {threads.use(), threads.use()} <= {first, second}


async def test_an_idle_thread_keeps_nothing_of_its_last_call():
    threads = Threads()
    held = threading.Event()
    gone = weakref.ref(held)
    threads.pool.run(held.set)
    await threads.wait_until_idle(1)
    del held

    assert gone() is None


async def test_a_thread_that_has_waited_long_enough_ends():
    threads = Threads(idle_seconds=0.0)
    first = threads.use()
    first.join(60)

    assert not first.is_alive()
    assert threads.use() is not first
