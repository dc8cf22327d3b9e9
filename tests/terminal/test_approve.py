"""/approve: tools that may run without a question are listed, revoked, and allowed beforehand."""

from __future__ import annotations

from pathlib import Path

from tests.support.terminal.consenting import answers_for_longer, calls, chat_that_asks, leaves, ran
from tests.support.terminal.model import Model


async def test_what_was_allowed_is_listed_and_asks_again_once_it_is_revoked(tmp_path: Path) -> None:
    async with Model() as model:
        async with chat_that_asks(tmp_path, model) as chat:
            await calls(chat, model, {"command": "one"})
            await answers_for_longer(chat, "a")
            await leaves(chat, model)
        async with chat_that_asks(tmp_path, model) as chat:
            await chat.ready()
            chat.say("/approve")
            await chat.sees("asks by the settings: *")
            await chat.sees("1 shell  always")
            chat.say("/approve revoke 1")
            await chat.sees("shell asks again")
            chat.say("/approve")
            await chat.sees("Nothing was allowed")
            await calls(chat, model, {"command": "two"})
            await chat.sees("May the model call")

            assert ran(tmp_path) == ["one"]


async def test_a_tool_can_be_allowed_for_the_session_beforehand(tmp_path: Path) -> None:
    async with Model() as model, chat_that_asks(tmp_path, model) as chat:
        await chat.ready()
        chat.say("/approve nothing")
        await chat.sees("No tool here is called nothing")
        chat.say("/approve shell")
        await chat.sees("Runs without a question this session, where http://127.0.0.1:")
        await calls(chat, model, {"command": "one"})
        await model.next_request()

        assert ran(tmp_path) == ["one"]


async def test_a_tool_that_is_denied_cannot_be_allowed(tmp_path: Path) -> None:
    async with Model() as model, chat_that_asks(tmp_path, model, "--deny", "shell") as chat:
        await chat.ready()
        chat.say("/approve shell")

        await chat.sees("that stands above all else")
