"""The time in which a person thinks does not count as the time of a tool."""

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
    async def think_first(question: str, choices: object) -> str:
        await call_clock.think()
        return "blue"

    ask_user = next(
        each for each in builtins(Settings(), think_first) if each.__name__ == "ask_user"
    )
    result = await call_tool(ask_user, '{"question": "Which colour?"}')

    assert result.output == "blue"


async def test_only_the_time_of_the_question_is_given_back(call_clock: CallClock):
    remaining: list[float] = []

    @tool
    async def ask_and_dawdle() -> str:
        """Asks, then goes on for ever."""
        call_clock.now += SECONDS / 2
        with pause_deadline():
            await call_clock.think()
        remaining.append(seconds_left()())
        call_clock.now += SECONDS / 2
        await asyncio.Event().wait()
        return "never"

    result = await call_tool(ask_and_dawdle)

    assert remaining == [pytest.approx(SECONDS / 2)]
    assert result.fault == "timed_out"


async def test_a_tool_in_a_thread_may_ask_too(call_clock: CallClock):
    @tool
    def ask() -> str:
        """Asks in its own thread."""
        with pause_deadline():
            asyncio.run(call_clock.think())
        return "asked"

    assert (await call_tool(ask)).output == "asked"


async def test_the_clock_stands_still_until_the_last_of_several_questions_is_answered(
    call_clock: CallClock,
):
    first_answered = asyncio.Event()

    async def answer_first() -> None:
        with pause_deadline():
            await call_clock.think()
        first_answered.set()

    async def answer_last() -> None:
        with pause_deadline():
            await first_answered.wait()
            await call_clock.think()

    @tool
    async def ask_twice() -> str:
        """Asks two things at once."""
        await asyncio.gather(answer_first(), answer_last())
        return "both"

    assert (await call_tool(ask_twice)).output == "both"


async def test_the_clock_of_another_call_runs_on(call_clock: CallClock):
    started = asyncio.Event()

    @tool
    async def asks() -> str:
        """Asks."""
        with pause_deadline():
            await started.wait()
            await call_clock.think()
        return "asked"

    @tool
    async def endless() -> str:
        """Never ends."""
        started.set()
        await asyncio.Event().wait()
        return "never"

    gate = Gate(Functions([asks, endless]), seconds=SECONDS)
    ask_result, endless_result = await asyncio.gather(
        gate.call(ToolCall("c1", "asks", "{}")), gate.call(ToolCall("c2", "endless", "{}"))
    )

    assert ask_result.output == "asked"
    assert endless_result.fault == "timed_out"


async def test_progress_that_is_reported_during_a_question_costs_nothing(call_clock: CallClock):
    reports: list[Progress] = []

    @tool
    async def ask(tell: ProgressCallback) -> str:
        """Asks, and says so."""
        with pause_deadline():
            tell(Progress(1))
            await call_clock.think()
        return "asked"

    assert (await call_tool(ask, tell=reports.append)).output == "asked"
    assert reports == [Progress(1)]


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
    group, call_started = DeadlineGroup(), asyncio.Event()

    async def call() -> str:
        with group.join():
            call_started.set()
            await call_clock.think()
        return "answered"

    with group.pause():
        task = asyncio.create_task(run_within(CallDeadline(SECONDS), call()))
        await call_started.wait()
        finished_task = await task

    assert finished_task is not None
    assert finished_task.result() == "answered"


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
    """Daemon threads that report which of them did some work."""

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
    release = threading.Event()
    threads.pool.run(lambda: release.wait(60) and None)
    second = threads.use()
    release.set()
    await threads.wait_until_idle(2)

    assert second is not first
    assert {threads.use(), threads.use()} <= {first, second}


async def test_an_idle_thread_keeps_nothing_of_its_last_call():
    threads = Threads()
    event = threading.Event()
    reference = weakref.ref(event)
    threads.pool.run(event.set)
    await threads.wait_until_idle(1)
    del event

    assert reference() is None


async def test_a_thread_that_has_waited_long_enough_ends():
    threads = Threads(idle_seconds=0.0)
    first = threads.use()
    first.join(60)

    assert not first.is_alive()
    assert threads.use() is not first
