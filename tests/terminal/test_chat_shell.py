"""Lines that begin with an exclamation mark run in the user's shell, if the user agrees."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from antiphon.terminal.input.keyboard import PAUSE
from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model

QUESTION = "Run this here, and show the model its output?"


async def answer(chat: Chatting, key: str) -> None:
    """Press the key until it counts: it does only after a pause since the one before it."""
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
        asked = [str(each["content"]) for each in messages if each["role"] == "user"]
        assert "lines" in asked[0]
        assert "of it" in asked[0]
        assert "of it" not in asked[1]
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


async def read_next(pipe: int) -> bytes:
    """What comes next in a pipe; nothing at its end."""
    readable = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe, readable.set)
    try:
        await readable.wait()
    finally:
        asyncio.get_running_loop().remove_reader(pipe)
    return os.read(pipe, 99)


async def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # The pipe is at its end once every program that could write into it has ended.
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        async with Model() as model, Chatting(model, home=tmp_path) as chat:
            await chat.ready()
            chat.say(f"!exec 3>{pipe}; sleep 600 & echo begun >&3; sleep 600")
            await answer(chat, "y")
            assert await read_next(reader) == b"begun\n"
            chat.press("ctrl-c")
            await chat.sees("[stopped]")

            assert await read_next(reader) == b""
    finally:
        os.close(reader)
