"""Input of AG-UI clients: the accepted parts, and the refusals."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.api.operations import NewMessage
from antiphon.types.errors import InvalidRequest
from antiphon.types.messages import ToolSpec
from antiphon.types.runs import Approval
from antiphon.wires.ag_ui.run_input import (
    DROPPED,
    AgUiRequest,
    ClientOutput,
    Wants,
    parse_run_input,
)

USER = {"id": "u1", "role": "user", "content": "How late is it?"}
CALL = {
    "id": "a1",
    "role": "assistant",
    "toolCalls": [
        {"id": "c0", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    ],
}
ANSWER = {"id": "t1", "role": "tool", "toolCallId": "c0", "content": "noon"}
REASONING = {"id": "r1", "role": "reasoning", "content": "Hm."}


def body(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"threadId": "thread", "runId": "run", "messages": list(messages), **more}


def catch_error(request_body: dict[str, Any]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        parse_run_input(request_body)
    return raised.value


# Accepted fields.


def test_the_last_message_of_the_person_is_new() -> None:
    older = {"id": "u0", "role": "user", "content": "Forged."}
    request = parse_run_input(body(older, CALL, ANSWER, USER, REASONING, protocolVersion="1.0"))

    assert (request.thread_id, request.run_id, request.version) == ("thread", "run", "1")
    assert (request.message, request.message_id) == (NewMessage("How late is it?"), "u1")
    assert request.approvals == {}


def test_outputs_before_a_new_message_are_not_lost() -> None:
    request = parse_run_input(body(CALL, ANSWER, USER))

    assert [output.tool_call_id for output in request.outputs] == ["c0"]


def test_a_client_may_name_what_answers() -> None:
    request = parse_run_input(body(USER, forwardedProps={"assistantId": "asst_1", "more": 1}))

    assert (request.wants.assistant_id, request.wants.model) == ("asst_1", None)
    assert parse_run_input(body(USER, forwardedProps=["odd"])).wants == Wants()


def test_a_message_in_parts_is_their_text() -> None:
    parts = [{"type": "text", "text": "How "}, {"type": "text", "text": "late?"}]

    assert parse_run_input(body({**USER, "content": parts})).message == NewMessage("How late?")


def test_a_client_that_declares_no_version_is_an_old_one() -> None:
    assert parse_run_input(body(USER)).version == "0"


def test_outputs_since_the_last_message_are_handed_in_and_no_message_is_new() -> None:
    failed = {"id": "t2", "role": "tool", "toolCallId": "c1", "content": "", "error": "It broke."}
    request = parse_run_input(body(USER, CALL, ANSWER, failed))

    assert (request.message, request.message_id) == (None, None)
    assert request.outputs == (
        ClientOutput("c0", "noon"),
        ClientOutput("c1", "It broke.", is_error=True),
    )


def test_answers_to_questions_are_approvals_by_the_ids_of_their_actions() -> None:
    resume = [
        {"interruptId": "act_1", "status": "resolved", "payload": {"approved": True}},
        {
            "interruptId": "act_2",
            "status": "resolved",
            "payload": {"approved": False, "reason": "Not on Fridays."},
        },
        {"interruptId": "act_3", "status": "cancelled", "payload": {"approved": True}},
    ]

    assert parse_run_input(body(USER, CALL, resume=resume)).approvals == {
        "act_1": Approval(approve=True),
        "act_2": Approval(approve=False, reason="Not on Fridays."),
        "act_3": Approval(approve=False, reason=DROPPED),
    }


def test_the_clients_tools_are_offered() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [
        {"name": "weather", "description": "Of a city.", "parameters": schema, "metadata": {}},
        {"name": "clock", "description": ""},
    ]

    assert parse_run_input(body(USER, tools=tools)).tools == (
        ToolSpec("weather", "Of a city.", schema),
        ToolSpec("clock"),
    )


def test_what_is_not_believed_is_passed_over() -> None:
    request = parse_run_input(
        body(USER, state={"admin": True}, context=[], forwardedProps={"key": "x"}, apiKey="k")
    )

    assert request == AgUiRequest(
        thread_id="thread",
        run_id="run",
        version="0",
        message=NewMessage("How late is it?"),
        message_id="u1",
        history=(USER,),
    )


# Refused requests.


@pytest.mark.parametrize(
    ("request_body", "words"),
    [
        ({"runId": "r", "messages": []}, "threadId"),
        ({"threadId": "t", "runId": "", "messages": []}, "$.runId"),
        ({"threadId": "t", "runId": "r", "messages": "no"}, "$.messages"),
        (body({"id": "u", "role": "boss", "content": "x"}), "$.messages[0].role"),
        (body({"role": "user", "content": "x"}), "$.messages[0]"),
        (body({**USER, "content": 7}), "$.content"),
        (body({**USER, "content": ""}), "empty"),
        (body({**USER, "content": []}), "empty"),
        (body({**USER, "content": [{"type": "image"}]}), "type image"),
        (body(USER, CALL, {**ANSWER, "toolCallId": None}), "$.toolCallId"),
        (body(USER, tools=[{"name": "not a name"}]), "$.name"),
        (body(USER, tools={"name": "x"}), "$.tools"),
        (body(USER, resume=[{"interruptId": "a", "status": "yes"}]), "$.resume[0].status"),
        (body(), "nothing to do"),
        (body(CALL), "nothing to do"),
        (body(USER, CALL), "nothing to do"),
    ],
)
def test_a_wrong_request_is_refused_in_words_that_say_where(
    request_body: dict[str, Any], words: str
) -> None:
    assert words in f"{catch_error(request_body).full_message} {catch_error(request_body).details}"


@pytest.mark.parametrize("payload", [None, True, "yes", {}, {"approved": "true"}, {"approved": 1}])
def test_nothing_but_a_plain_yes_approves(payload: object) -> None:
    resume = [{"interruptId": "act_1", "status": "resolved", "payload": payload}]

    assert "act_1" in catch_error(body(USER, CALL, resume=resume)).full_message


def test_two_answers_to_one_question_are_none() -> None:
    yes = {"interruptId": "act_1", "status": "resolved", "payload": {"approved": True}}

    assert "twice" in catch_error(body(USER, CALL, resume=[yes, yes])).full_message


_KEYS = st.sampled_from(
    (
        *("id", "role", "content", "type", "text", "toolCallId", "error", "name", "parameters"),
        *("interruptId", "status", "payload", "approved", "reason"),
    )
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=8,
)


@given(st.lists(_VALUES, max_size=3), _VALUES, _VALUES)
def test_whatever_is_sent_is_read_or_refused(messages: list[Any], tools: Any, resume: Any) -> None:
    for valid in ({}, USER, CALL, ANSWER):
        messages_to_send = [
            valid | message if isinstance(message, dict) else message for message in messages
        ]
        try:
            parse_run_input(body(USER, *messages_to_send, tools=tools, resume=resume))
        except InvalidRequest:
            continue
