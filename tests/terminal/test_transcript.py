"""A thread that was left is drawn again with the lines that it had while it ran."""

from __future__ import annotations

import re
from typing import Any

import pytest

from antiphon.terminal import resume, spans
from antiphon.terminal.painters import Frame, InputRows, Region
from antiphon.terminal.themes import THEMES, Ink
from antiphon.types.messages import File, Message, Refusal, Text, ToolCall
from antiphon.types.runs import Fault, Run, Status, Usage
from tests.support.terminal.emulator import ALLOWED, Emulator
from tests.support.terminal.escapes import PAYLOADS

THEME = THEMES["none"]
CALL = ToolCall("c1", "get_weather", '{"city": "Rome"}')


class Thread:
    """Messages one after the other, as a thread holds them."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def say(self, role: Any, text: str = "", **fields: Any) -> None:
        number = len(self.messages) + 1
        content = fields.pop("content", (Text(text),) if text else ())
        self.messages.append(
            Message(
                id=f"m{number}",
                thread_id="t",
                number=number,
                role=role,
                content=content,
                created_at=number,
                **fields,
            )
        )


def run(status: Status = Status.COMPLETED, **fields: Any) -> Run:
    return Run(
        **{
            "id": "r1",
            "thread_id": "t",
            "status": status,
            "model": "told",
            "usage": Usage(input_tokens=10, output_tokens=5),
            "created_at": 1_000,
            "started_at": 1_000,
            "ended_at": 3_500,
            **fields,
        }
    )


def rows(thread: Thread, *runs: Run, columns: int = 80, rows: int = 24) -> list[str]:
    transcript = resume.recent(thread.messages, runs, THEME, columns=columns, rows=rows)
    return [spans.text(line) for line in transcript.lines]


def test_an_exchange_looks_as_it_did():
    thread = Thread()
    thread.say("user", "Weather?\nIn Rome.")
    thread.say("assistant", "I **look**.", reasoning="Hm. " * 10, tool_calls=(CALL,), run_id="r1")
    thread.say("tool", "Sunny\nand warm", tool_call_id="c1", run_id="r1")
    thread.say("assistant", "It is *sunny*.", run_id="r1")

    assert rows(thread, run()) == [
        "",
        "> Weather?",
        "  In Rome.",
        "",
        "thought, 10 tokens",
        "",
        "I look.",
        "",
        '✓ get_weather({"city": "Rome"}) ok',
        "  Sunny  (+1 lines)",
        "",
        "It is sunny.",
        "2.5 s, 10 in, 5 out",
    ]


@pytest.mark.parametrize("columns", [40, 90])
def test_it_is_as_wide_as_the_terminal(columns: int):
    thread = Thread()
    thread.say("user", "Go")
    thread.say("assistant", "word " * 100)

    assert columns - 5 <= max(map(len, rows(thread, columns=columns))) < columns


def test_a_refusal_is_seen_as_one_again():
    thread = Thread()
    thread.say("user", "Go")
    thread.say("assistant", content=(Refusal("I will not."),), run_id="r1")

    assert rows(thread, run())[3:] == [
        *("the model refuses to answer:", "", "I will not.", "2.5 s, 10 in, 5 out")
    ]


def test_an_answer_that_was_stopped_says_so():
    thread = Thread()
    thread.say("user", "Go")
    thread.say("assistant", "Once upon", status="incomplete", run_id="r1")

    assert rows(thread, run(Status.CANCELLED))[3:] == [
        "Once upon",
        "[stopped]",
        "2.5 s, 10 in, 5 out",
    ]


def test_an_answer_that_was_stopped_says_so_in_a_branch_too():
    thread = Thread()
    thread.say("user", "Go")
    thread.say("assistant", "Once upon", status="incomplete", parent_id="m0")

    assert rows(thread)[3:] == ["Once upon", "[stopped]"]


def test_a_run_that_failed_before_it_said_anything_is_told():
    thread = Thread()
    thread.say("user", "Go")
    failed_run = run(
        Status.FAILED, error=Fault("provider_auth", "The key is wrong."), usage=Usage()
    )

    assert rows(thread, failed_run)[3:] == [
        "failed: The key is wrong. (provider_auth)",
        "Check the provider's key and address; `antiphon doctor` names the keys that are",
        "set.",
        "2.5 s",
    ]


def test_waiting_calls_are_left_to_the_chat_that_takes_the_run_up():
    thread = Thread()
    thread.say("user", "Weather?")
    thread.say("assistant", "I look.", tool_calls=(CALL,), run_id="r1")

    assert rows(thread, run(Status.ACTION_REQUIRED, ended_at=None))[3:] == ["I look."]


def test_files_system_messages_and_summaries_are_shown_in_short():
    thread = Thread()
    thread.say("system", "Be brief.")
    thread.say("user", content=(File("file_1"), Text("Look")))
    thread.say("system", "All of it.", compacts=2)

    assert rows(thread) == [
        "(system: Be brief.)",
        "",
        "> [file] Look",
        "",
        "(here a summary stands in for what was said before)",
    ]


def test_the_time_of_reasoning_stands_where_it_stood():
    thread = Thread()
    thread.say("user", "Weather?")
    thread.say("assistant", "Rain.", reasoning="Hm. " * 10, reasoning_seconds=42)

    assert "thought for 42 s, 10 tokens" in rows(thread)


def test_as_many_exchanges_are_shown_as_fit_two_screens_and_the_rest_is_counted():
    thread = Thread()
    for number in range(20):
        thread.say("user", f"Question {number}")
        thread.say("assistant", f"Answer {number}")
    transcript = resume.recent(thread.messages, (), THEME, columns=80, rows=10)

    assert len(transcript.lines) == 20
    assert transcript.earlier == 30
    assert spans.text(transcript.lines[1]) == "> Question 15"


def test_of_an_answer_that_is_longer_the_end_is_shown():
    thread = Thread()
    thread.say("user", "Count")
    thread.say("assistant", "\n".join(f"- {number}" for number in range(100)))
    last_rows = rows(thread, rows=10)

    assert last_rows[0] == "(83 more lines of this answer)"
    assert last_rows[-1] == "• 99"
    assert len(last_rows) == 21


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_in_a_thread_acts_on_the_terminal(payload: str):
    thread = Thread()
    call = ToolCall("c1", f"a{payload}", payload)
    thread.say("user", payload)
    thread.say("assistant", payload, reasoning=payload, tool_calls=(call,))
    thread.say("tool", payload, tool_call_id="c1")
    thread.say("system", payload)
    transcript = resume.recent(thread.messages, (), THEME, columns=80, rows=24)
    terminal = Emulator(80, 24)
    region = Region(terminal, Ink(THEME))
    region.paint(Frame(finished=tuple(transcript.lines)), InputRows(), 80, 0.0)
    region.close()

    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", ALLOWED.sub("", terminal.written))


def test_a_run_that_said_nothing_is_seen_after_the_message_that_it_answered():
    thread = Thread()
    thread.say("user", "Go")
    failed_run = run(
        Status.FAILED, id="r0", messages_before=1, error=Fault("rate_limited", "Later.")
    )

    assert rows(thread, failed_run)[3] == "failed: Later. (rate_limited)"


def test_a_run_whose_place_was_given_to_another_is_gone():
    thread = Thread()
    thread.say("user", "Go")
    thread.say("assistant", "One.", run_id="r2")
    cancelled_run = run(Status.CANCELLED, id="r1", created_at=1)

    assert "[stopped]" in rows(thread, cancelled_run)
    assert "[stopped]" not in rows(thread, cancelled_run, run(id="r2", created_at=2))
