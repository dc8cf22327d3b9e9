"""The context of a tool: its call, its deadline, its progress and its user."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

import pytest

from antiphon.tools import functions
from antiphon.tools.consent import Consent
from antiphon.tools.context import ToolContext
from antiphon.tools.functions import Functions, UnfitTool, tool
from antiphon.tools.permissions import Rules
from antiphon.tools.tool_events import ToolEvent, ToolProgressed
from antiphon.tools.tool_processor import ToolProcessor
from antiphon.types.errors import InvalidRequest
from antiphon.types.messages import Progress, ToolCall, ToolResult
from tests.support.tools.call_clock import CallClock


async def run_call(
    function: Callable[..., Any],
    arguments: str = "{}",
    events: list[ToolEvent] | None = None,
    **limits: Any,
) -> ToolResult:
    """Return the result of one call in the run `run_1` of `thread_1`."""
    toolbox = Functions([function])
    call = ToolCall("call_1", toolbox.specs()[0].name, arguments)
    processor = ToolProcessor(
        toolbox,
        on_tool_event=lambda event: None if events is None else events.append(event),
        **limits,
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
    events: list[ToolEvent] = []
    result = await run_call(function, '{"word":"hi"}', events)

    assert result.output == '["hi","run_1","thread_1","call_1"]'
    assert list(Functions([function]).specs()[0].parameters["properties"]) == ["word"]
    [progress_event] = [event for event in events if isinstance(event, ToolProgressed)]
    assert progress_event.progress == Progress(1, 2, "half")


async def test_a_tool_in_a_thread_sees_that_its_time_is_up() -> None:
    saw_cancellation = threading.Event()

    def work(ctx: ToolContext) -> None:
        while not ctx.cancelled:
            pass
        saw_cancellation.set()

    result = await run_call(work, seconds=0.05)

    assert result.fault == "timed_out"
    assert await asyncio.to_thread(saw_cancellation.wait, 60)


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

    short_result = await run_call(hurry)
    long_result = await run_call(take_time, seconds=0.05)

    assert "gave no result within 0.05 s" in short_result.output
    assert long_result.output == "true"


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_tool_without_time_is_refused(seconds: float) -> None:
    with pytest.raises(UnfitTool, match="A tool needs time"):
        tool(timeout=seconds)


@pytest.mark.parametrize("on_the_loop", [True, False])
async def test_a_generator_reports_its_progress_and_its_last_value_is_the_output(
    on_the_loop: bool,
) -> None:
    def count(limit: int) -> Any:
        for number in range(limit):
            yield Progress(number, limit)
        yield {"counted": limit}

    async def count_on_the_loop(limit: int) -> Any:
        for item in count(limit):
            yield item

    events: list[ToolEvent] = []
    result = await run_call(count_on_the_loop if on_the_loop else count, '{"limit":2}', events)

    assert result.output == '{"counted":2}'
    progress = [event.progress for event in events if isinstance(event, ToolProgressed)]
    assert progress == [Progress(0, 2), Progress(1, 2)]


@pytest.mark.parametrize("on_the_loop", [True, False])
async def test_a_generator_that_never_ends_is_closed_at_its_deadline(
    call_clock: CallClock, on_the_loop: bool
) -> None:
    closed = threading.Event()

    def drip() -> Any:
        try:
            while True:
                call_clock.now += 0.01
                yield Progress(1)
                threading.Event().wait(0.01)
        finally:
            closed.set()

    async def drip_on_the_loop() -> Any:
        try:
            while True:
                call_clock.now += 0.01
                yield Progress(1)
                await asyncio.sleep(0.01)
        finally:
            closed.set()

    result = await run_call(drip_on_the_loop if on_the_loop else drip, seconds=0.05)

    assert "gave no result within 0.05 s, nor within" in result.output
    assert await asyncio.to_thread(closed.wait, 60)


async def test_a_tool_is_retried_after_the_errors_that_it_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(functions, "FIRST_PAUSE", 0.0)
    calls: list[str] = []

    @tool(retries=2, retry_on=(ConnectionError,))
    def look(until: int) -> str:
        calls.append("look")
        if len(calls) < until:
            raise ConnectionError("no line")
        return "found"

    @tool(retries=2, retry_on=(ConnectionError,))
    def other() -> str:
        calls.append("other")
        raise ValueError("never")

    events: list[ToolEvent] = []
    success = await run_call(look, '{"until":3}', events)
    calls.clear()
    failure = await run_call(look, '{"until":9}')
    tries = len(calls)
    calls.clear()
    other_failure = await run_call(other)

    assert success == ToolResult("found")
    progress = [event.progress for event in events if isinstance(event, ToolProgressed)]
    assert [each.message for each in progress] == ["ConnectionError, trying again"] * 2
    assert (failure.output, tries) == ("ConnectionError: no line", 3)
    assert (other_failure.output, calls) == ("ValueError: never", ["other"])


async def test_a_function_that_wants_consent_is_not_run_without_it() -> None:
    erased_paths: list[str] = []

    @tool(consent=True)
    def erase(path: str) -> str:
        erased_paths.append(path)
        return "gone"

    refusal = await run_call(erase, '{"path":"a"}')
    success = await run_call(erase, '{"path":"b"}', consent=Consent(Rules(allow=("erase",))))

    assert "needs a person's consent" in refusal.output
    assert (success.output, erased_paths) == ("gone", ["b"])


@pytest.mark.parametrize("retries", [-1, 11])
def test_a_tool_is_retried_a_few_times_at_most(retries: int) -> None:
    with pytest.raises(UnfitTool, match="few times"):
        tool(retries=retries)


class User:
    """A user who records, while answering, how much time the call has left."""

    def __init__(self) -> None:
        self.context: ToolContext | None = None
        self.seconds_left: list[float] = []

    def answer_blue(self, question: str, choices: Sequence[str]) -> str:
        if self.context is not None:
            for _ in range(2):
                self.seconds_left.append(self.context.seconds_left)
                now = time.monotonic()
                while time.monotonic() == now:
                    pass
        return f"{question} {'/'.join(choices)}: blue"


@pytest.mark.parametrize("on_the_loop", [True, False])
async def test_a_tool_asks_the_user_whose_time_is_not_its_own(on_the_loop: bool) -> None:
    user = User()

    async def paint(ctx: ToolContext) -> str | None:
        user.context = ctx
        return await ctx.ask_user("Which?", ["red", "blue"])

    def paint_in_a_thread(ctx: ToolContext) -> str | None:
        user.context = ctx
        return ctx.wait(ctx.ask_user("Which?", ["red", "blue"]))

    function = paint if on_the_loop else paint_in_a_thread
    result = await run_call(function, seconds=100.0, ask_user=user.answer_blue)

    assert result.output == "Which? red/blue: blue"
    assert user.seconds_left[0] == user.seconds_left[1]


async def test_without_a_user_nobody_is_asked() -> None:
    async def paint(ctx: ToolContext) -> list[object]:
        return [ctx.can_ask_user, await ctx.ask_user("Which?")]

    assert (await run_call(paint)).output == "[false,null]"


async def test_a_question_of_a_call_that_has_ended_is_withdrawn() -> None:
    question_asked, question_withdrawn = asyncio.Event(), asyncio.Event()
    errors: list[BaseException] = []
    tool_ended = threading.Event()

    async def ask(question: str, choices: Sequence[str]) -> str | None:
        question_asked.set()
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            question_withdrawn.set()

    def paint(ctx: ToolContext) -> str | None:
        try:
            return ctx.wait(ctx.ask_user("Which?"))
        except BaseException as error:
            errors.append(error)
            raise
        finally:
            tool_ended.set()

    processor = ToolProcessor(Functions([paint]), ask_user=ask)
    results = processor.process_tool_calls("run_1", [ToolCall("call_1", "paint", "{}")])
    first = asyncio.ensure_future(anext(results))
    async with asyncio.timeout(60):
        await question_asked.wait()
        assert processor.cancel("call_1")
        _, result = await first
        await question_withdrawn.wait()
        assert await asyncio.to_thread(tool_ended.wait, 60)
    await results.aclose()

    assert result.fault == "cancelled"
    assert isinstance(errors[0], concurrent.futures.CancelledError)


async def test_an_async_tool_is_told_not_to_wait_in_the_way_of_a_sync_one() -> None:
    async def paint(ctx: ToolContext) -> str | None:
        return ctx.wait(ctx.ask_user("Which?"))

    result = await run_call(paint, ask_user=User().answer_blue)

    assert result.output == (
        "RuntimeError: An async tool awaits this itself; wait() is for sync tools."
    )


async def test_a_tool_without_a_client_knows_neither_its_run_nor_its_owner() -> None:
    async def name_team(ctx: ToolContext) -> str:
        return (await ctx.get_run()).metadata["team"]

    async def name_owner(ctx: ToolContext) -> str:
        return await ctx.get_owner()

    assert "does not know its run" in (await run_call(name_team)).output
    assert "does not know its run" in (await run_call(name_owner)).output


class Words(str):
    """Text of a class that JSON does not know."""


def return_no_content() -> ToolResult:
    nothing: Any = None
    return ToolResult("x", content=nothing)


async def cancel_oneself() -> None:
    raise GeneratorExit


async def fail_in_a_group() -> None:
    raise BaseExceptionGroup("several", [SystemExit(1), ValueError("no")])


@pytest.mark.parametrize(
    ("function", "output"),
    [
        (tool(name="f")(lambda: Words("hi")), "hi"),
        (tool(name="f")(lambda: ToolResult(Words("hi"))), "hi"),
        (
            tool(name="f")(lambda: ToolResult("x", content=None)),
            "ValidationError: Expected `array`",
        ),  # type: ignore[arg-type]
        (tool(name="f")(lambda: ToolResult(5)), "ValidationError: Expected `str`"),  # type: ignore[arg-type]
        (cancel_oneself, "GeneratorExit"),
        (fail_in_a_group, "BaseExceptionGroup: several"),
    ],
)
async def test_whatever_a_tool_returns_or_raises_is_a_result(
    function: Callable[..., Any], output: str
) -> None:
    assert (await run_call(function)).output.startswith(output)


async def test_a_callback_that_raises_does_not_touch_the_call() -> None:
    def fail(event: ToolEvent) -> None:
        raise KeyError("my callback")

    processor = ToolProcessor(Functions([cancel_oneself]), on_tool_event=fail)
    results = processor.process_tool_calls("run_1", [ToolCall("call_1", "cancel_oneself", "{}")])
    async with aclosing(results):
        _, result = await anext(results)

    assert result.output == "GeneratorExit"


async def test_a_value_that_json_cannot_express_is_no_reason_to_run_again() -> None:
    runs: list[int] = []

    @tool(retries=3)
    def find() -> object:
        runs.append(1)
        return object()

    result = await run_call(find)

    assert (result.is_error, runs) == (True, [1])


async def test_an_async_generator_that_awaits_nothing_is_closed_at_its_deadline() -> None:
    async def spin() -> Any:
        while True:
            yield 1

    result = await run_call(spin, seconds=0.05)

    assert result.fault == "timed_out"


@pytest.mark.parametrize("at_once", [0, -1, "x", None])
def test_a_limit_by_which_nothing_could_run_is_refused(at_once: Any) -> None:
    with pytest.raises(InvalidRequest, match="cannot run so many"):
        ToolProcessor(Functions([]), at_once=at_once)


async def ask_later(question: str, choices: Sequence[str], answer: str) -> str:
    return answer


@pytest.mark.parametrize(
    "ask_user",
    [partial(ask_later, answer="blue"), lambda question, choices: ask_later("", (), "blue")],
)
async def test_a_question_is_asked_by_whatever_is_async_after_all(ask_user: Any) -> None:
    async def paint(ctx: ToolContext) -> str | None:
        return await ctx.ask_user("Which?")

    assert (await run_call(paint, ask_user=ask_user)).output == "blue"


async def test_a_thread_of_the_tools_own_pauses_its_deadline_too() -> None:
    user = User()

    def paint(ctx: ToolContext) -> str:
        user.context = ctx
        answers: list[str | None] = []
        thread = threading.Thread(
            target=lambda: answers.append(ctx.wait(ctx.ask_user("Which?", ["red"])))
        )
        thread.start()
        thread.join()
        return str(answers[0])

    result = await run_call(paint, seconds=100.0, ask_user=user.answer_blue)

    assert result.output == "Which? red: blue"
    assert user.seconds_left[0] == user.seconds_left[1]


async def test_nobody_is_asked_once_the_call_has_ended() -> None:
    contexts: list[ToolContext] = []

    async def paint(ctx: ToolContext) -> None:
        contexts.append(ctx)

    await run_call(paint, ask_user=User().answer_blue)

    assert await contexts[0].ask_user("Which?") is None
