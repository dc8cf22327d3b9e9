"""Runs with tools of a page, on the wires of the AI SDK and AG-UI, and the requests of pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any, get_args

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from antiphon.types.errors import InvalidRequest
from antiphon.types.events import (
    ActionRequired,
    Event,
    MessageCompleted,
    Numbered,
    PendingAction,
    RunStatus,
    ToolCallReady,
    ToolOutputAdded,
    TurnEnded,
)
from antiphon.types.messages import Message, ToolCall
from antiphon.types.runs import Status
from antiphon.wires.ag_ui import encoder
from antiphon.wires.ag_ui.encoder import AgUi, Reader
from antiphon.wires.ag_ui.events import Version
from antiphon.wires.ag_ui.run_input import parse_run_input
from antiphon.wires.ai_sdk import message_stream
from antiphon.wires.ai_sdk.message_stream import UIMessageStream
from antiphon.wires.ai_sdk.page_request import parse_page_request
from antiphon.wires.ai_sdk.parts import Sdk, ToolApprovalRequest
from antiphon.wires.ai_sdk.tool_parts import PageCalls
from antiphon.wires.framing import parse_cursor
from tests.support.wires.ag_ui_judge import Page, essence
from tests.support.wires.stories import TYPICAL, number_events, runs
from tests.support.wires.ui_judge import Judge
from tests.support.wires.ui_streams import SDKS, encode_events

LOOK = frozenset({"look"})
PAGE = PageCalls(tools=LOOK)
ASKING = PageCalls(tools=LOOK, ask=LOOK)
MINE = {"id": "mine", "role": "user", "content": "hello"}
SDK = st.sampled_from(SDKS)
VERSION = st.sampled_from(("0", "1"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
"""Any JSON."""


def run_id(events: Sequence[Numbered]) -> str:
    _, first = events[0]
    assert isinstance(first, RunStatus)
    return first.run_id


def parts_of(frames: Sequence[bytes]) -> list[dict[str, Any]]:
    data = [frame.split(b"data: ", 1)[1] for frame in frames]
    return [json.loads(each) for each in data if not each.startswith(b"[DONE]")]


@pytest.mark.parametrize("module", [message_stream, encoder])
def test_every_event_is_known_to_each_encoder(module: ModuleType) -> None:
    assert {kind.__name__ for kind in get_args(Event)} <= vars(module).keys()


@given(runs(), SDK, st.sampled_from((PAGE, ASKING)), st.integers(0, 10_000))
@settings(max_examples=3 * settings.default.max_examples)
def test_wherever_a_page_is_cut_off_it_comes_back_to_the_same_message(
    events: list[Numbered], sdk: Sdk, page: PageCalls, cut: int
) -> None:
    assume(sdk >= ToolApprovalRequest.since or not page.ask)  # the server refuses such pages
    frames = [f for f in encode_events(events, sdk, page=page) if f.startswith(b"id: ")]
    judge = Judge(sdk, LOOK).read(frames[: cut % (len(frames) + 1)])
    after = parse_cursor(judge.ids[-1], run_id(events)) if judge.ids else None
    judge.read(encode_events(events, sdk, after, page))

    expected = Judge(sdk, LOOK).read(encode_events(events, sdk, page=page))
    assert judge.parts == expected.parts
    assert judge.message["metadata"] == expected.message["metadata"]


@given(runs(), SDK)
def test_a_page_gets_a_call_only_when_it_is_handed_over(events: list[Numbered], sdk: Sdk) -> None:
    stream = UIMessageStream(sdk, page=PAGE)
    handed_call_ids: set[str] = set()

    for number, event in events:
        parts = parts_of(stream.feed(number, event))
        if isinstance(event, ActionRequired):
            handed_call_ids |= {each.tool_call_id for each in event.actions if each.kind == "tool"}
        for part in parts:
            if part["type"] == "tool-input-available" and part["toolName"] == "look":
                assert part["toolCallId"] in handed_call_ids


@given(runs(), SDK)
def test_a_page_that_asks_gets_no_call_before_the_answer(events: list[Numbered], sdk: Sdk) -> None:
    parts = parts_of(encode_events(events, sdk, page=ASKING))

    available = [part for part in parts if part["type"] == "tool-input-available"]
    assert not [part for part in available if part["toolName"] == "look"]


@given(runs(), SDK)
def test_a_stream_that_waits_for_its_page_is_finished(events: list[Numbered], sdk: Sdk) -> None:
    stream = UIMessageStream(sdk, page=PAGE)
    stream.feed_all(events)
    status = [event for _, event in events if isinstance(event, RunStatus)][-1].status

    finish = [part for part in parts_of(stream.close()) if part["type"] == "finish"]

    assert len(finish) == stream.awaits_client
    assert status is Status.ACTION_REQUIRED or not stream.awaits_client


@given(runs(), VERSION, st.booleans(), st.integers(0, 10_000))
@settings(max_examples=3 * settings.default.max_examples)
def test_wherever_an_ag_ui_page_is_cut_off_it_comes_back_to_the_same_messages(
    events: list[Numbered], version: Version, asks: bool, cut: int
) -> None:
    def reader(after: int = 0) -> Reader:
        ask = LOOK if asks else frozenset[str]()
        return Reader(version=version, history=(MINE,), after=after, page_tools=LOOK, ask=ask)

    frames = AgUi(reader()).feed_all(events)
    client = Page([MINE]).read(frames[: cut % (len(frames) + 1)])
    after = parse_cursor(client.ids[-1], run_id(events)).number if client.ids else 0
    client.read(AgUi(reader(after)).feed_all(events))

    expected = Page([MINE]).read(AgUi(reader()).feed_all(events))
    assert essence(client.messages) == essence(expected.messages)


def test_a_page_that_was_cut_between_the_frames_of_a_call_gets_its_arguments_once() -> None:
    def status(status: Status) -> RunStatus:
        return RunStatus(run_id="run_1", thread_id="thread_1", status=status)

    reply = Message(
        id="msg_1",
        thread_id="thread_1",
        number=2,
        role="assistant",
        content=(),
        created_at=1,
        tool_calls=(ToolCall(id="c0", name="look", arguments='{"x":0}'),),
    )
    action = PendingAction(
        action_id="act_1", tool_call_id="c0", name="look", arguments={"x": 0}, expires_at=1
    )
    events = list[Numbered](
        enumerate(
            (
                status(Status.IN_PROGRESS),
                ToolCallReady(tool_call_id="c0", name="look", arguments='{"x":0}'),
                MessageCompleted(message=reply),
                ActionRequired(run_id="run_1", actions=(action,)),
                status(Status.ACTION_REQUIRED),
                TurnEnded(run_id="run_1", status=Status.ACTION_REQUIRED),
                ToolOutputAdded(tool_call_id="c0", output="There."),
                status(Status.QUEUED),
            ),
            1,
        )
    )
    reader = Reader(history=(MINE,), page_tools=LOOK, ask=LOOK)
    frames = AgUi(reader).feed_all(events)
    arguments = next(index for index, each in enumerate(frames) if b"TOOL_CALL_ARGS" in each)
    client = Page([MINE]).read(frames[: arguments + 1])
    after = parse_cursor(client.ids[-1], "run_1").number

    client.read(AgUi(replace(reader, after=after)).feed_all(events))

    assert essence(client.messages) == essence(Page([MINE]).read(frames).messages)


@given(runs(), VERSION)
def test_an_ag_ui_page_sees_the_end_of_a_call_only_when_it_is_handed_over(
    events: list[Numbered], version: Version
) -> None:
    stream = AgUi(Reader(version=version, page_tools=LOOK))
    names: dict[str, str] = {}
    handed_call_ids: set[str] = set()
    answered_call_ids: set[str] = set()

    for number, event in events:
        if isinstance(event, ActionRequired):
            handed_call_ids |= {each.tool_call_id for each in event.actions}
        parts = parts_of(stream.feed(number, event))
        answered_call_ids |= {
            part["toolCallId"] for part in parts if part["type"] == "TOOL_CALL_RESULT"
        }
        for part in parts:
            if part["type"] == "TOOL_CALL_START":
                names[part["toolCallId"]] = part["toolCallName"]
            if part["type"] == "TOOL_CALL_END" and names[part["toolCallId"]] == "look":
                assert part["toolCallId"] in handed_call_ids | answered_call_ids


def test_an_ag_ui_page_that_has_seen_no_run_gets_one_that_tells_what_to_do() -> None:
    log = number_events(TYPICAL["parallel-calls"]())
    rest = next(number for number, event in log if event.type == "turn.ended")
    stream = AgUi(Reader(version="1", after=rest, page_tools=LOOK))
    assert stream.feed_all(log[:rest]) == []

    events = parts_of(stream.continue_run())

    assert [event["type"] for event in events] == ["RUN_STARTED", "CUSTOM", "RUN_FINISHED"]
    assert events[-1]["outcome"]["pendingToolCallIds"]
    assert stream.continue_run() == []


# Requests of pages.


@given(JSON)
def test_whatever_a_page_posts_is_understood_or_refused(body: Any) -> None:
    for parse in (parse_page_request, parse_run_input):
        with suppress(InvalidRequest):
            parse(body if isinstance(body, dict) else {"id": "c", "messages": body})


@given(st.lists(st.fixed_dictionaries({"type": st.just("tool-look")}) | JSON, max_size=4), JSON)
def test_whatever_stands_in_a_reply_is_understood_or_refused(parts: list[Any], tools: Any) -> None:
    message = {"id": "a", "role": "assistant", "parts": parts}
    with suppress(InvalidRequest):
        parse_page_request({"id": "c", "messages": [message], "tools": tools})


def reply(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"id": "c", "messages": [{"id": "a", "role": "assistant", "parts": list(parts)}]}


def test_outputs_are_texts_or_json_and_those_of_other_programs_are_left_out() -> None:
    completed = {"type": "tool-look", "state": "output-available"}

    request = parse_page_request(
        reply(
            {**completed, "toolCallId": "c0", "output": "seen"},
            {**completed, "toolCallId": "c1", "output": {"seen": ["“", None]}},
            {**completed, "toolCallId": "c2", "output": 1, "providerExecuted": True},
            {**completed, "toolCallId": "c3", "output": 1, "preliminary": True},
            {"type": "tool-look", "state": "output-error", "toolCallId": "c4", "errorText": "No."},
            {"type": "tool-look", "state": "input-available", "toolCallId": "c5"},
        )
    )

    assert [(each.tool_call_id, each.output, each.is_error) for each in request.outputs] == [
        ("c0", "seen", False),
        ("c1", '{"seen":["“",null]}', False),
        ("c4", "No.", True),
    ]


@pytest.mark.parametrize(
    "tools",
    [
        {"look": {"description": "Look.", "inputSchema": {"type": "object"}}},
        {"look": {"description": "Look.", "parameters": {"jsonSchema": {"type": "object"}}}},
        [{"name": "look", "description": "Look.", "parameters": {"type": "object"}}],
    ],
)
def test_tools_come_in_each_form_that_pages_know(tools: Any) -> None:
    message = {"id": "m", "role": "user", "parts": [{"type": "text", "text": "Hello?"}]}
    body = {"id": "c", "messages": [message], "tools": tools}

    (tool,) = parse_page_request(body).tools or ()

    assert (tool.name, tool.description, tool.parameters) == ("look", "Look.", {"type": "object"})
