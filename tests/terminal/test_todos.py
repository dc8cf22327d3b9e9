"""The to-do list of the model in the chat: shown whole, and again after /resume."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model

ITEMS = [
    {"text": "Read \x1b[2Jthe tests", "status": "done"},
    {"text": "Fix the parser", "status": "in_progress"},
    {"text": "Run the tests", "status": "pending"},
]
FLAGS = ("--tools", "antiphon.tools.builtin")
NAMED = ("antiphon.tools.builtin:write_todos", "antiphon.tools.builtin:ask_user")


async def write_list(model: Model, chat: Chatting) -> None:
    """Have the model write its list, and answer."""
    chat.say("Fix it")
    reply = await model.next_request()
    await reply.call("write_todos", {"items": ITEMS}, id="call_0")
    await reply.end("tool_calls")
    await (await model.next_request()).answer("Begun.")
    await chat.sees("Begun.")


@pytest.mark.slow
async def test_the_list_is_shown_whole_and_found_again_in_its_thread(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, *FLAGS, home=tmp_path) as chat:
        await chat.ready()
        chat.say("/todos")
        await chat.sees("There is no to-do list in this thread.")
        await write_list(model, chat)

        row = next(index for index, row in enumerate(chat.rows) if "write_todos" in row)
        assert "write_todos(1 of 3 done) ok" in chat.rows[row]
        list_rows = chat.rows[row + 1 : row + 4]
        assert list_rows[0].startswith("  ☑ Read ")
        assert list_rows[1:] == ["  ▸ Fix the parser", "  ☐ Run the tests"]
        assert "[~] Fix the parser" in model.requests[-1]["messages"][-1]["content"]
        assert not chat.foreign
        async with Chatting(model, "--resume", home=tmp_path) as second_chat:
            await second_chat.sees("write_todos(1 of 3 done)")
            second_chat.say("/todos")
            await second_chat.sees("To do: 1 of 3 done")
            await second_chat.until(lambda: second_chat.text.count("  ▸ Fix the parser") == 2)


async def test_the_tool_can_be_named_beside_all_built_in_tools(tmp_path: Path) -> None:
    flags = (*FLAGS, *(flag for name in NAMED for flag in ("--tools", name)))
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.ready()
        await write_list(model, chat)

        tool_names = [each["function"]["name"] for each in model.requests[-1]["tools"]]
        assert (tool_names.count("write_todos"), tool_names.count("ask_user")) == (1, 1)


async def test_a_screen_reader_gets_words(tmp_path: Path) -> None:
    flags = (*FLAGS, "--screen-reader")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("You:")
        await write_list(model, chat)

        assert "  (in progress) Fix the parser" in chat.text
        assert "  (to do) Run the tests" in chat.text
