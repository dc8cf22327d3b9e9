"""Timelines of runs: steps made of records, and those of real runs."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.client.async_client import AsyncClient
from antiphon.client.run_timeline import RunTimeline, build_timeline, load_timeline
from antiphon.settings.settings import Settings
from antiphon.tools.functions import tool
from antiphon.types.errors import NotFound, RunFailed
from antiphon.types.events import Event, TurnEnded, TurnRestarted, UsageAdded
from antiphon.types.ids import reply_id
from antiphon.types.messages import Message, Text
from antiphon.types.runs import Action, Run, Status, Usage

RUN = Run(
    id="run_1",
    thread_id="thread_1",
    model="demo",
    status=Status.COMPLETED,
    turn=2,
    tool_calls=2,
    created_at=1000,
    started_at=1100,
    ended_at=9000,
)
ENDED = TurnEnded(run_id="run_1", status=Status.COMPLETED)


def reply(turn: int, at: int, text: str = "", **fields: Any) -> Message:
    return Message(
        id=reply_id("run_1", turn),
        thread_id="thread_1",
        number=turn,
        role="assistant",
        content=(Text(text),),
        created_at=at,
        **fields,
    )


def call(number: int, began_at: int, ended_at: int | None, **fields: Any) -> Action:
    return Action(
        **{
            "id": f"act_{number}",
            "run_id": "run_1",
            "thread_id": "thread_1",
            "turn": 1,
            "tool_call_id": f"call_{number}",
            "name": f"tool_{number}",
            "arguments": {},
            "status": "completed" if ended_at else "pending",
            "created_at": began_at,
            "expires_at": 99_999,
            "ended_at": ended_at,
            **fields,
        }
    )


def spans(timeline: RunTimeline) -> list[tuple[str, int, int | None]]:
    return [(step.name, step.began_at, step.ended_at) for step in timeline.steps]


def test_a_reply_begins_where_the_outputs_before_it_are_complete() -> None:
    timeline = build_timeline(
        RUN,
        [reply(1, 2000), reply(2, 9000, "done")],
        [call(1, 2000, 3000), call(2, 2000, 5000)],
        [],
    )

    assert spans(timeline) == [
        ("", 1000, 1100),
        ("demo", 1100, 2000),
        ("tool_1", 2000, 3000),
        ("tool_2", 2000, 5000),
        ("demo", 5000, 9000),
    ]
    assert timeline.milliseconds == 8000
    assert [timeline.time_in(kind) for kind in ("queue", "reply", "call")] == [100, 4900, 3000]


def test_usage_and_restarts_are_those_of_their_turn() -> None:
    events: list[Event] = [
        TurnRestarted(reason="worker_lost", after=1, attempt=2),
        UsageAdded(usage=Usage(input_tokens=5, output_tokens=2)),
        ENDED,
        UsageAdded(usage=Usage(input_tokens=9, output_tokens=4)),
        ENDED,
    ]
    timeline = build_timeline(RUN, [reply(1, 2000), reply(2, 9000)], [], events)

    _, first, second = timeline.steps
    assert first.usage == Usage(input_tokens=5, output_tokens=2)
    assert first.restarts == ("worker_lost",)
    assert (second.usage, second.restarts) == (Usage(input_tokens=9, output_tokens=4), ())


def test_calls_say_how_they_ended_and_an_open_one_has_no_end() -> None:
    waiting_run = RUN.__class__(
        **{
            **{name: getattr(RUN, name) for name in RUN.__struct_fields__},
            "status": Status.ACTION_REQUIRED,
            "turn": 1,
            "ended_at": None,
        }
    )
    timeline = build_timeline(
        waiting_run,
        [reply(1, 2000)],
        [
            call(1, 2000, 3000, is_error=True),
            call(2, 2000, 3000, approval="refused", is_error=True),
            call(3, 2000, 3000, status="expired"),
            call(4, 2000, None),
        ],
        [],
    )

    calls = [step for step in timeline.steps if step.kind == "call"]
    assert [step.outcome for step in calls] == ["failed", "refused", "expired", ""]
    assert [step.milliseconds for step in calls] == [1000, 1000, 1000, None]
    assert timeline.milliseconds is None


def test_a_run_that_was_cancelled_before_a_worker_began_only_waited() -> None:
    cancelled_run = Run(
        id="run_1",
        thread_id="thread_1",
        model="demo",
        status=Status.CANCELLED,
        created_at=1000,
        ended_at=4000,
    )

    assert spans(build_timeline(cancelled_run, [], [], [])) == [("", 1000, 4000)]


def test_a_turn_that_failed_without_a_reply_ends_with_its_run() -> None:
    failed_run = Run(
        id="run_1",
        thread_id="thread_1",
        model="demo",
        status=Status.FAILED,
        turn=1,
        created_at=1000,
        started_at=1000,
        ended_at=4000,
    )
    (_, step) = build_timeline(failed_run, [], [], []).steps

    assert (step.began_at, step.ended_at, step.outcome) == (1000, 4000, "failed")


@tool
def get_flight_times(departure: str, arrival: str) -> str:
    """Times of the next flight."""
    return "16:35"


async def test_a_run_with_a_tool_has_two_replies_and_a_call_between_them() -> None:
    settings = Settings(model="demo", database="memory:", demo_delay=0)
    async with AsyncClient(settings=settings) as client:
        result = await client.ask("When is the next LAX-JFK flight?", tools=[get_flight_times])
        timeline = await load_timeline(client, result.run_id)
        with pytest.raises(NotFound):
            await load_timeline(client, "run_none")

    assert [(step.kind, step.name) for step in timeline.steps] == [
        ("queue", ""),
        ("reply", "demo"),
        ("call", "get_flight_times"),
        ("reply", "demo"),
    ]
    usages = [step.usage for step in timeline.steps if step.usage]
    assert usages[0] + usages[1] == timeline.run.usage == result.usage


async def test_a_run_whose_model_failed_has_a_timeline_too() -> None:
    address = "http://127.0.0.1:9/v1"  # nothing listens there
    settings = Settings(model="gone", base_url=address, database="memory:")
    async with AsyncClient(settings=settings) as client:
        with pytest.raises(RunFailed) as error_info:
            await client.ask("hello")
        assert error_info.value.run_id is not None
        timeline = await load_timeline(client, error_info.value.run_id)

    assert (timeline.steps[-1].kind, timeline.steps[-1].outcome) == ("reply", "failed")
    assert timeline.run.error is not None
