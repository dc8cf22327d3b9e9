"""Tests of the kill harness's judge: a good record passes, and each bad one is named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.support.harness.checks import judge
from tests.support.harness.final_state import FinalState, RunTransition
from tests.support.harness.record import Entry, OperationKind, ReceivedEvent, Record, digest

Doc = dict[str, Any]
RUN, THREAD = "run_1", "thread_1"


def status(word: str) -> Doc:
    return {"type": "run.status", "run_id": RUN, "thread_id": THREAD, "status": word}


def message(number: int, role: str, text: str, **fields: Any) -> Doc:
    return {
        "id": f"msg_{number}",
        "thread_id": THREAD,
        "number": number,
        "role": role,
        "content": [{"type": "text", "text": text}],
        "tool_calls": [],
        "reasoning": None,
        "tool_call_id": None,
        "run_id": RUN,
        "status": "completed",
        **fields,
    }


CALL = {"id": "call_1", "name": "f", "arguments": '{"x":1}'}
QUESTION = message(1, "user", "hello")
CALL_MESSAGE = message(2, "assistant", "wait", tool_calls=[CALL])
OUTPUT = message(3, "tool", "42", tool_call_id="call_1")
ANSWER = message(4, "assistant", "It is 42.", reasoning="hm")
EVENTS: list[Doc] = [
    status("queued"),
    status("in_progress"),
    {"type": "text.delta", "text": "void"},
    {"type": "turn.restarted", "after": 2, "attempt": 2, "reason": "worker_lost"},
    status("queued"),
    status("in_progress"),
    {"type": "text.delta", "text": "wait"},
    {"type": "tool_call.started", "tool_call_id": "call_1", "name": "f"},
    {"type": "tool_call.delta", "tool_call_id": "call_1", "arguments": '{"x"'},
    {"type": "tool_call.delta", "tool_call_id": "call_1", "arguments": ":1}"},
    {"type": "tool_call.ready", "tool_call_id": "call_1", "name": "f", "arguments": '{"x":1}'},
    {"type": "message.completed", "message": CALL_MESSAGE},
    {"type": "action.required", "run_id": RUN, "actions": []},
    status("action_required"),
    {"type": "turn.ended", "run_id": RUN, "status": "action_required"},
    {"type": "tool_output.added", "tool_call_id": "call_1", "output": "42"},
    status("queued"),
    status("in_progress"),
    {"type": "reasoning.delta", "text": "hm"},
    {"type": "text.delta", "text": "It is "},
    {"type": "text.delta", "text": "42."},
    {"type": "message.completed", "message": ANSWER},
    status("completed"),
    {"type": "turn.ended", "run_id": RUN, "status": "completed"},
]
ACTION = {
    "id": "act_1",
    "run_id": RUN,
    "thread_id": THREAD,
    "tool_call_id": "call_1",
    "status": "completed",
    "output": "42",
}


def log_lines(events: Sequence[Doc]) -> list[tuple[int, bytes]]:
    return [(number, json.dumps(event).encode()) for number, event in enumerate(events, 1)]


GOOD = FinalState(
    threads={THREAD: {"title": "t", "messages": 4}},
    messages=(QUESTION, CALL_MESSAGE, OUTPUT, ANSWER),
    runs={
        RUN: {
            "status": "completed",
            "metadata": {"marker": "m"},
            "row": {"status": "completed", "kept_after": 0},
        }
    },
    actions=(ACTION,),
    events={RUN: log_lines(EVENTS)},
    transitions=(
        RunTransition(RUN, "queued", "in_progress", 0, 1, None, "a"),
        RunTransition(RUN, "in_progress", "queued", 1, 2, "a", None),
        RunTransition(RUN, "queued", "in_progress", 2, 3, None, "b"),
    ),
)
OUTPUT_BODY = {"run_id": RUN, "tool_call_id": "call_1", "output": "42"}


def good_record() -> Record:
    """Return a record of the clients that led to the good final state."""
    record = Record()
    add_operation(record, "thread", {"title": "t"}, {"id": THREAD})
    add_operation(record, "message", {"content": "hello"}, None, {"id": "msg_1"})
    add_operation(record, "run", {"metadata": {"marker": "m"}}, {"id": RUN})
    add_operation(record, "output", OUTPUT_BODY, None, {"id": "act_1"}, {"id": "act_1"})
    add_operation(record, "cancel", {"run_id": RUN}, {"id": RUN, "status": "completed"})
    for number, line in GOOD.events[RUN]:
        record.add_received(RUN, number, line)
    return record


def add_operation(
    record: Record, operation_kind: OperationKind, request: Doc, *responses: Doc | None
) -> None:
    """Add an operation with its attempts; None is an attempt whose outcome is not known."""
    op = record.begin_operation()
    for response in responses:
        record.add(Entry(op, "invoke", operation_kind, request))
        kind = "unknown" if response is None else "ok"
        record.add(Entry(op, kind, operation_kind, request, response=response))


def events(*changed_events: Doc | None, at: int) -> FinalState:
    """Return the good state, with other events in the place of those from number `at` on."""
    stored_events = [*EVENTS]
    stored_events[at - 1 : at - 1 + len(changed_events)] = [each for each in changed_events if each]
    return replace(GOOD, events={RUN: log_lines(stored_events)})


def messages(*stored: Doc) -> FinalState:
    return replace(GOOD, messages=stored)


def test_nothing_is_said_of_a_good_story() -> None:
    assert not any(judge(good_record(), GOOD).numbers.values()), judge(good_record(), GOOD)


def test_an_effect_that_was_never_acknowledged_may_be_there_or_not() -> None:
    record = good_record()
    add_operation(record, "message", {"content": "hello"}, None)
    add_operation(record, "message", {"content": "never came"}, None)

    assert not any(judge(record, GOOD).numbers.values())


@pytest.mark.parametrize(
    ("final", "expected_word"),
    [
        (replace(GOOD, threads={}), "thread"),
        (messages(CALL_MESSAGE, OUTPUT, ANSWER), "msg_1"),
        (messages(QUESTION, CALL_MESSAGE, ANSWER), "call_1"),
        (replace(GOOD, runs={}), RUN),
        (replace(GOOD, actions=()), "call_1"),
    ],
)
def test_what_was_acknowledged_and_is_gone_is_lost(final: FinalState, expected_word: str) -> None:
    complaints = judge(good_record(), final).lost

    assert any(expected_word in complaint for complaint in complaints), complaints


def test_a_cancel_that_was_acknowledged_and_did_not_stop_the_run_is_lost() -> None:
    running_runs = {RUN: GOOD.runs[RUN] | {"status": "in_progress"}}

    assert judge(good_record(), replace(GOOD, runs=running_runs)).lost


@pytest.mark.parametrize(
    "final",
    [
        messages(QUESTION, CALL_MESSAGE, OUTPUT, ANSWER, message(5, "user", "hello")),
        messages(QUESTION, CALL_MESSAGE, OUTPUT, OUTPUT | {"number": 4}, ANSWER | {"number": 5}),
        replace(GOOD, threads=GOOD.threads | {"thread_2": {"title": "t", "messages": 0}}),
        replace(GOOD, runs=GOOD.runs | {"run_2": GOOD.runs[RUN]}),
    ],
)
def test_what_was_asked_for_once_and_is_there_twice_is_a_dup(final: FinalState) -> None:
    assert judge(good_record(), final).dup


def test_two_ids_for_one_key_are_a_dup() -> None:
    record = good_record()
    add_operation(record, "message", {"content": "hello"}, {"id": "msg_1"}, {"id": "msg_4"})

    assert judge(record, GOOD).dup


@pytest.mark.parametrize(
    "final",
    [
        replace(GOOD, threads={THREAD: {"title": "other", "messages": 4}}),
        messages(message(1, "user", "other"), CALL_MESSAGE, OUTPUT, ANSWER),
        replace(GOOD, actions=(ACTION | {"output": "43"},)),
        replace(GOOD, runs={RUN: GOOD.runs[RUN] | {"status": "failed"}}),
    ],
)
def test_what_was_acknowledged_and_is_otherwise_is_changed(final: FinalState) -> None:
    assert judge(good_record(), final).changed


def test_two_workers_in_one_epoch_are_a_double_claim() -> None:
    transitions = (
        *GOOD.transitions,
        RunTransition(RUN, "in_progress", "in_progress", 3, 3, "b", "c"),
    )

    assert judge(good_record(), replace(GOOD, transitions=transitions)).double_claim


@pytest.mark.parametrize(
    ("final", "expected_word"),
    [
        (replace(GOOD, faults=["row 1 missing from index"]), "missing from index"),
        (
            replace(
                GOOD, transitions=(RunTransition(RUN, "completed", "queued", 1, 1, None, None),)
            ),
            "went from",
        ),
        (
            replace(GOOD, transitions=(RunTransition(RUN, "queued", "queued", 2, 1, None, None),)),
            "epoch",
        ),
        (replace(GOOD, events={RUN: log_lines(EVENTS)[:-3] + log_lines(EVENTS)[-2:]}), "numbered"),
        (replace(GOOD, events={}), "numbered"),
        (events(None, at=3), "was heard"),
        (events({"type": "text.delta", "text": "other"}, at=7), "text of message msg_2"),
        (events({"type": "reasoning.delta", "text": "ha"}, at=19), "reasoning of message msg_4"),
        (events(EVENTS[8], EVENTS[8], at=9), "arguments of message msg_2"),
        (events({"type": "usage", "usage": {}}, at=4), "text of message msg_2"),
        (events(status("completed"), status("completed"), at=23), "ends 2 times"),
        (events(EVENTS[22], EVENTS[23], EVENTS[23], at=23), "goes on after its end"),
        (events({"type": "turn.ended", "status": "failed"}, at=24), "ends otherwise"),
        (events(status("failed"), at=23), "its events say"),
        (events(status("action_required"), at=17), "tells of"),
        (events({"type": "usage", "usage": {}}, at=22), "no message holds"),
        (messages(QUESTION, CALL_MESSAGE, OUTPUT, message(4, "assistant", "It is 43.")), "is kept"),
        (messages(QUESTION, CALL_MESSAGE, OUTPUT, ANSWER | {"number": 5}), "numbered"),
        (replace(GOOD, threads={THREAD: {"title": "t", "messages": 5}}), "counts 5 of 4"),
        (messages(QUESTION, CALL_MESSAGE, ANSWER | {"number": 3}), "without the outputs"),
        (messages(QUESTION, OUTPUT | {"number": 2}, CALL_MESSAGE, ANSWER), "out of place"),
        (messages(QUESTION, CALL_MESSAGE), "ends without the outputs"),
    ],
)
def test_what_no_database_may_hold_is_broken(final: FinalState, expected_word: str) -> None:
    complaints = judge(good_record(), final).broken

    assert any(expected_word in complaint for complaint in complaints), complaints


def test_what_was_refused_must_not_be_there() -> None:
    record = Record()
    request = {"content": "hello"}
    record.add(Entry(1, "invoke", "message", request))
    record.add(Entry(1, "fail", "message", request, status=409))

    assert "was refused" in judge(record, GOOD).broken[0]


def test_two_readers_with_different_words_under_one_number_are_told_apart() -> None:
    record = good_record()
    record.received.append(ReceivedEvent(RUN, 3, digest(b"something else")))

    assert "event 3" in judge(record, GOOD).broken[0]
