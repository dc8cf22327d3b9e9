"""Lines that begin with an exclamation mark run in the user's shell, if the user agrees."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from antiphon.terminal.input.keyboard import PAUSE
from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model

QUESTION = "Run this here, and show the model its output?"


async def answer(chat: Chatting, key: str) -> None:
    """Press the key until it counts: it does only after a pause since the key before it."""
    await chat.sees(QUESTION)
    while QUESTION in chat.text:
        chat.press(key)
        with suppress(AssertionError):
            await chat.until(lambda: QUESTION not in chat.text, PAUSE + 0.5)
    chat.press("ctrl-u")


async def test_a_command_runs_after_a_yes_and_its_output_goes_along(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say(r"!printf 'two \033[31mlines\nof it'; exit 3")
        await answer(chat, "y")
        await chat.sees("[exit code 3]")
        await chat.sees("The output goes with your next message")
        model.will_say("I see.", "Nothing more.")
        chat.say("What is this?")
        await chat.sees("I see.")
        chat.say("And now?")
        await chat.sees("Nothing more.")

        messages = model.requests[-1]["messages"]
        user_messages = [str(each["content"]) for each in messages if each["role"] == "user"]
        assert "lines" in user_messages[0]
        assert "of it" in user_messages[0]
        assert "of it" not in user_messages[1]
        assert not chat.foreign


async def test_a_command_that_is_declined_or_cannot_be_shown_does_not_run(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say(f"!touch {tmp_path}/made")
        await answer(chat, "n")
        await chat.sees("It was not run.")
        chat.say(f"!true {'x' * 700}; touch {tmp_path}/made")
        await chat.sees("cannot be shown whole before it runs")
        chat.paste(f"!true\ntouch {tmp_path}/made")
        chat.press("enter")
        await chat.until(lambda: chat.text.count("cannot be shown whole") == 2)
        model.will_say("Hello!")
        chat.say("!!important")
        await chat.sees("Hello!")

        assert not (tmp_path / "made").exists()
        assert model.requests[-1]["messages"][-1]["content"] == "!important"


async def test_one_yes_may_stand_for_all_lines_of_the_chat(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("!echo one $((1 + 1))")
        await answer(chat, "a")
        await chat.sees("one 2")
        chat.say("!echo two $((1 + 2))")
        await chat.sees("two 3")
