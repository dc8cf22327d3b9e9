"""Compaction: the messages that a summary covers, its parts, and when it is due."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.api.operations import Model
from antiphon.client.compaction import CompactionPlan, SummaryReader, choose_model, due
from antiphon.ports import quiet
from antiphon.types import errors
from antiphon.types.events import MessageCompleted, TextDelta, TurnRestarted, UsageAdded
from antiphon.types.messages import File, Image, Message, Progress, Role, Text, ToolCall, parts
from antiphon.types.runs import Fault, Run, Status, Usage


def message(number: int, role: Role, text: str = "", **fields: Any) -> Message:
    return Message(
        id=f"msg_{number}",
        thread_id="thread_1",
        number=number,
        role=role,
        content=fields.pop("content", parts(text)),
        created_at=1,
        **fields,
    )


def exchanges(count: int, text: str = "") -> list[Message]:
    return [
        message(number, "user" if number % 2 else "assistant", f"{number}: {text}")
        for number in range(1, 2 * count + 1)
    ]


def make_plan(messages: list[Message], keep: int = 2, window: int | None = None) -> CompactionPlan:
    return CompactionPlan(
        "thread_1", messages, keep, [Model("demo", "demo", context_tokens=window)]
    )


def run_to_end(plan: CompactionPlan) -> list[str]:
    """Answer every question with `Summary N.`, and return the questions."""
    questions: list[str] = []
    while (question := plan.next_question()) is not None:
        questions.append(question)
        plan.add_summary(f"Summary {len(questions)}.", Usage(output_tokens=1))
    return questions


def test_the_last_exchanges_stay_whole():
    plan = make_plan(exchanges(5))

    (question,) = run_to_end(plan)

    assert "User: 1:" in question
    assert "Assistant: 6:" in question
    assert "7:" not in question
    assert (plan.summary_operation().compacts, plan.summary_operation().role) == (6, "system")
    assert plan.summary_operation().content == "Summary 1."


def test_an_exchange_is_kept_with_its_calls_and_their_outputs():
    call = ToolCall("call_1", "look", "{}")
    messages = [
        *exchanges(1),
        message(3, "user", "Look."),
        message(4, "assistant", tool_calls=(call,)),
        message(5, "tool", "A cat.", tool_call_id="call_1"),
        message(6, "assistant", "There is a cat."),
    ]

    plan = make_plan(messages, keep=1)
    run_to_end(plan)

    assert plan.summary_operation().compacts == 2


@pytest.mark.parametrize("count", [0, 1, 2])
def test_where_nothing_is_older_than_what_is_kept_nothing_is_asked(count: int):
    plan = make_plan(exchanges(count))

    assert plan.next_question() is None
    assert not plan.started


def test_all_can_be_summed_up():
    plan = make_plan(exchanges(3), keep=0)
    run_to_end(plan)

    assert plan.summary_operation().compacts == 6


def test_a_second_summary_begins_with_the_first_and_what_came_since():
    messages = [*exchanges(3), message(7, "system", "We met.", compacts=4)]
    messages += [message(8, "user", "8:"), message(9, "assistant", "9:"), message(10, "user")]

    (question,) = run_to_end(make_plan(messages))

    assert "We met." in question
    assert "4:" not in question
    assert "User: 5:" in question


def test_what_is_summed_up_already_is_not_summed_up_again():
    messages = [*exchanges(4), message(9, "system", "We met.", compacts=4)]

    assert make_plan(messages).next_question() is None


def test_a_summary_that_was_taken_back_does_not_count():
    messages = [
        *exchanges(3),
        message(7, "system", "We met.", compacts=4),
        message(8, "system", "", compacts=0),
    ]

    (question,) = run_to_end(make_plan(messages))

    assert "We met." not in question
    assert "User: 1:" in question


def test_long_outputs_and_arguments_are_shortened_and_system_messages_left_to_the_system():
    arguments = f'{{"a": "{"x" * 50_000}"}}'
    messages = [
        message(1, "system", "Be brief."),
        message(2, "user", "Look."),
        message(3, "assistant", tool_calls=(ToolCall("call_1", "look", arguments),)),
        message(4, "tool", f"first{'y' * 500_000}last", tool_call_id="call_1"),
        message(5, "user", content=(Text("See: "), Image(url="https://a.b/c.png"), File("f"))),
        message(6, "user", "Go on."),
    ]

    (question,) = run_to_end(make_plan(messages, keep=1))

    assert len(question) < 5_000
    assert "[tool output] firsty" in question
    assert "yylast" in question
    assert "498009 letters left out" in question
    assert "[calls look with" in question
    assert "User: See: [a picture][a file]" in question
    assert "Be brief." not in question


def test_what_is_too_long_for_the_model_is_asked_about_in_parts():
    plan = make_plan(exchanges(12, "word " * 100), window=2_000)

    questions = run_to_end(plan)

    assert len(questions) > 1
    assert all(len(question) < 4 * 2_000 for question in questions)
    assert "Summary 1." in questions[1]
    assert plan.summary_operation().content == f"Summary {len(questions)}."


def test_one_message_that_is_too_long_is_shortened():
    questions = run_to_end(make_plan(exchanges(3, "漢" * 100_000), window=2_000))

    assert len(questions) == 2
    assert all(len(question.encode()) < 4 * 2_000 for question in questions)


def test_a_compaction_reports_its_tokens():
    messages = exchanges(5, "word " * 100)
    plan = make_plan(messages)
    run_to_end(plan)

    result = plan.result(message(11, "system", "Summary 1.", compacts=6))

    assert result.summary == "Summary 1."
    assert result.tokens_before > 1_200 > 600 > result.tokens_after > 400
    assert result.usage == Usage(output_tokens=1)


@given(st.integers(0, 8), st.integers(0, 8), st.lists(st.integers(0, 16), max_size=3))
def test_nothing_is_summed_up_twice_or_lost(count: int, keep: int, ends: list[int]):
    messages = exchanges(count, "x")
    for end in ends:
        cut = min(end, len(messages)) // 2 * 2
        messages.append(message(len(messages) + 1, "system", f"Up to {cut}.", compacts=cut))
    cut = next((each.compacts or 0 for each in reversed(messages) if each.compacts is not None), 0)
    plan = make_plan(messages, keep)

    text = "\n".join(run_to_end(plan))

    if plan.started:
        dialogue = [each for each in messages if each.compacts is None]
        old = [
            each
            for each in dialogue
            if cut < each.number <= (plan.summary_operation().compacts or 0)
        ]
        assert [each.number for each in dialogue if f": {each.text}" in text] == [
            each.number for each in old
        ]
        users = [each for each in dialogue if each.role == "user" and each not in old]
        assert len([each for each in users if each.number > cut]) == keep


@pytest.mark.parametrize(
    ("used", "window", "expected"),
    [(79, 100, False), (80, 100, True), (120, 100, True), (10**9, None, False), (0, 100, False)],
)
def test_it_is_due_when_four_fifths_of_the_window_are_used(
    used: int, window: int | None, expected: bool
):
    assert due(used, window) is expected


def test_the_share_can_be_chosen():
    assert due(50, 100, share=0.5)


def make_run(status: Status, model: str = "demo") -> Run:
    return Run(id="run_1", thread_id="thread_1", model=model, status=status, created_at=1)


def test_the_model_is_the_one_that_is_named_or_that_answered_last():
    newest = make_run(Status.COMPLETED, "mine:big")

    assert choose_model([newest, make_run(Status.FAILED)], None) == "mine:big"
    assert choose_model([newest], "mine:small") == "mine:small"
    assert choose_model([], None) is None


@pytest.mark.parametrize("status", [Status.QUEUED, Status.IN_PROGRESS, Status.ACTION_REQUIRED])
def test_a_busy_thread_is_not_summed_up(status: Status):
    with pytest.raises(errors.RunActive):
        choose_model([make_run(status)], None)


def test_the_length_of_a_summary_is_reported_while_it_is_written():
    reports: list[Progress] = []
    reader = SummaryReader("part 1 of 2", reports.append)

    reader.add(TextDelta(text="We "))
    reader.add(TurnRestarted(reason="cut", after=1, attempt=2, message=""))
    reader.add(TextDelta(text="We met."))
    reader.add(UsageAdded(usage=Usage(output_tokens=3)))
    reader.add(MessageCompleted(message=message(2, "assistant", " We met.\n")))

    assert [each.done for each in reports] == [3, 0, 7, 7, 7]
    assert {each.message for each in reports} == {"part 1 of 2"}
    assert reader.summary(Status.COMPLETED, None, None) == "We met."
    assert reader.usage == Usage(output_tokens=3)


def test_a_summary_that_is_not_whole_is_none():
    reader = SummaryReader("part 1 of 1", quiet)
    reader.add(MessageCompleted(message=message(2, "assistant", "We", status="incomplete")))

    with pytest.raises(errors.Cut):
        reader.summary(Status.INCOMPLETE, "length", None)
    with pytest.raises(errors.ProviderAuth, match="no key"):
        reader.summary(Status.FAILED, None, Fault("provider_auth", "no key"))


def test_a_summary_without_a_word_is_none():
    reader = SummaryReader("part 1 of 1", quiet)
    reader.add(MessageCompleted(message=message(2, "assistant", " ")))

    with pytest.raises(errors.Cut):
        reader.summary(Status.COMPLETED, None, None)
