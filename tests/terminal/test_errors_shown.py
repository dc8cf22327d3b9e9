"""Errors are shown to the user, apart from the assistant's words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model, Reply

FOOTER = "10 in, 5 out"
TOOLS = '''\
from pathlib import Path

from antiphon import tool


@tool
def note(text: str) -> str:
    """Write it down."""
    with Path("notes").open("a") as notes:
        notes.write(f"{text}\\n")
    return "noted"
'''


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    async with Model() as model:
        yield model


@pytest.fixture
async def chat(tmp_path: Path, model: Model) -> AsyncIterator[Chatting]:
    (tmp_path / "tools.py").write_text(TOOLS)
    async with Chatting(model, "--tools", "tools.py", home=tmp_path) as chat:
        await chat.ready()
        yield chat


async def ask(chat: Chatting, model: Model, text: str) -> Reply:
    chat.say(text)
    return await model.next_request()


async def next_messages(chat: Chatting, model: Model) -> list[dict[str, Any]]:
    """Continue the chat; return the messages of the next request."""
    reply = await ask(chat, model, "And on.")
    await reply.answer("Very well.")
    await chat.sees("Very well.")
    assert not chat.foreign
    return reply.messages


def assistant(messages: list[dict[str, Any]]) -> list[str]:
    return [each["content"] for each in messages if each["role"] == "assistant"]


async def test_a_refusal_of_the_provider_is_no_answer(chat: Chatting, model: Model) -> None:
    reply = await ask(chat, model, "Hello")
    await reply.refuse(403, "nothing is sold to people of your street")
    await chat.sees("(provider_auth)")
    await chat.sees("Check the provider's key and address; `antiphon doctor` names")

    await chat.sees("answered 403: nothing is sold to people of your")
    assert assistant(await next_messages(chat, model)) == []


async def test_an_error_message_is_broken_between_words(chat: Chatting, model: Model) -> None:
    reply = await ask(chat, model, "Hello")
    await reply.refuse(400, "word " * 40)
    await chat.sees("(provider_")
    error_rows = chat.rows[chat.rows.index("> Hello") + 2 : -3]

    assert len(error_rows) > 2
    assert all(row.split()[-1] in ("word", "(provider_error)") for row in error_rows[:-1])


async def test_a_line_that_breaks_amid_an_answer_leaves_what_came(
    chat: Chatting, model: Model
) -> None:
    reply = await ask(chat, model, "Hello")
    await reply.say("Half an ans")
    await chat.sees("Half an ans")
    await reply.cut()
    await chat.sees("the answer is incomplete (disconnected)")
    await chat.sees("/continue goes on.")

    assert assistant(await next_messages(chat, model)) == ["Half an ans"]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_an_answer_that_was_cut_short_is_not_taken_for_whole(
    chat: Chatting, model: Model, reason: str
) -> None:
    reply = await ask(chat, model, "Hello")
    await reply.say("As I was say")
    await reply.end(reason)
    await chat.sees(f"the answer is incomplete ({reason})")
    await chat.sees("/continue goes on.")

    assert assistant(await next_messages(chat, model)) == ["As I was say"]


async def test_an_empty_answer_stays_empty(chat: Chatting, model: Model) -> None:
    reply = await ask(chat, model, "Hello")
    await reply.end()
    await chat.sees("(empty answer)")
    await chat.sees(FOOTER)

    assert "(empty answer)" not in str(await next_messages(chat, model))


async def test_arguments_that_are_cut_off_run_nothing_and_this_is_said(
    tmp_path: Path, chat: Chatting, model: Model
) -> None:
    reply = await ask(chat, model, "Note it")
    await reply.call("note", '{"text": "half a', id="c1")
    await reply.end("tool_calls")
    second_reply = await model.next_request()
    await chat.sees("invalid_tool_call")
    await second_reply.answer("Never mind.")
    await chat.sees("Never mind.")

    await chat.sees('note({"text": "half a) not run')
    assert not (tmp_path / "notes").exists()
    assert "not a JSON object" in second_reply.messages[-1]["content"]


async def test_a_cut_within_arguments_runs_nothing(
    tmp_path: Path, chat: Chatting, model: Model
) -> None:
    reply = await ask(chat, model, "Note it")
    await reply.call("note", '{"text": "half a', id="c1")
    await chat.sees("half a")
    await reply.cut()
    await chat.sees("the answer is incomplete (disconnected)")
    messages = await next_messages(chat, model)

    await chat.sees("not run")
    assert not (tmp_path / "notes").exists()
    assert "tool_calls" not in str(messages)
