"""A model asks the person something, by a tool."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model


@pytest.mark.parametrize(
    ("key", "words", "answer"),
    [("2", "", "Blue"), ("o", "Green", "Green"), ("escape", "", "gave no answer")],
)
async def test_a_question_is_answered_by_a_key_or_in_words_or_not(
    tmp_path: Path, key: str, words: str, answer: str
) -> None:
    flags = ("--tools", "antiphon.tools.builtin")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.ready()
        chat.say("Paint it.")
        reply = await model.next_request()
        arguments = {"question": "Which colour?", "choices": ["Red", "Blue"]}
        await reply.call("ask_user", arguments, id="call_0")
        await reply.end("tool_calls")
        await chat.sees("o something else")
        await asyncio.sleep(0.4)  # the moment after which a key is meant for the box
        chat.press(key)
        if words:
            await chat.sees("Your answer:")
            chat.say(words)

        assert answer in (await model.next_request()).messages[-1]["content"]


async def test_a_question_without_choices_is_answered_in_words(tmp_path: Path) -> None:
    flags = ("--tools", "antiphon.tools.builtin:ask_user")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.ready()
        chat.say("Paint it.")
        reply = await model.next_request()
        await reply.call("ask_user", {"question": "What \x1b[2Jcolour?"}, id="call_0")
        await reply.end("tool_calls")
        await chat.sees("Your answer:")
        chat.say("Red, please")

        assert (await model.next_request()).messages[-1]["content"] == "Red, please"
        assert not chat.foreign


PAINT = '''
from antiphon import ToolContext, tool


@tool
def paint(wall: str, ctx: ToolContext) -> str:
    """Paint a wall."""
    return f"{wall}: {ctx.wait(ctx.ask_user('Which colour?', ['Red', 'Blue']))}"
'''


async def test_a_tool_of_a_file_asks_the_person_itself(tmp_path: Path) -> None:
    file = tmp_path / "paint.py"
    file.write_text(PAINT)
    async with Model() as model, Chatting(model, "--tools", str(file), home=tmp_path) as chat:
        await chat.ready()
        chat.say("Paint it.")
        reply = await model.next_request()
        await reply.call("paint", {"wall": "north"}, id="call_0")
        await reply.end("tool_calls")
        await chat.sees("You are asked:")
        await chat.sees("o something else")
        await asyncio.sleep(0.4)  # the moment after which a key is meant for the box
        chat.press("2")

        assert (await model.next_request()).messages[-1]["content"] == "north: Blue"
