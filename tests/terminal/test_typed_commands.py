"""Input that begins with a slash: a command, a typo, or a message."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from antiphon.terminal.commands.table import TABLE
from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model


async def test_a_slip_is_answered_by_the_nearest_command_and_sent_to_nobody(
    tmp_path: Path,
) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("/modell")
        await chat.sees("There is no command /modell")
        chat.say("Hello")
        reply = await model.next_request()
        await reply.answer("Hi.")
        await chat.sees("Hi.")

        assert re.search(r"There is no command /modell.*\bmodel\b", chat.text)
        assert [each["content"] for each in reply.messages] == ["Hello"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("/etc/passwd is what?", "/etc/passwd is what?"),
        ("//model is a command, is it?", "/model is a command, is it?"),
        ("either/or", "either/or"),
    ],
)
async def test_a_path_or_two_slashes_begin_a_message(
    tmp_path: Path, typed: str, message: str
) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say(typed)
        reply = await model.next_request()
        await reply.answer("So it is.")
        await chat.sees("So it is.")

        assert reply.messages[-1]["content"] == message


@pytest.mark.parametrize("name", [command.name for command in TABLE])
def test_every_command_is_tried_in_a_terminal(name: str) -> None:
    tests_text = "\n".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))

    assert re.search(rf'(?<!/)/{re.escape(name)}[" \\]', tests_text)
