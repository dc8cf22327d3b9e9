"""The chat in a terminal, from the first prompt to the last, started from nothing."""

from __future__ import annotations

from pathlib import Path

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model


async def test_a_message_is_answered_as_the_model_speaks(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path, cold=True) as chat:
        await chat.ready()
        chat.say("Hello")
        reply = await model.next_request()
        await reply.say("Hi **there**, ")
        await chat.sees("Hi there,")
        await reply.answer("friend.")
        await chat.sees("10 in, 5 out")

        assert chat.text.count("Hi there, friend.") == 1
        assert not chat.foreign


async def test_ctrl_d_leaves_and_the_terminal_is_as_it_was(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path, cold=True) as chat:
        await chat.ready()
        chat.press("ctrl-d")

        assert await chat.wait() == 0
        assert chat.written.rstrip().endswith("\x1b[?25h\x1b[?2004l")


async def test_quit_stops_nothing_where_nothing_runs(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path, cold=True) as chat:
        await chat.ready()
        chat.say("/quit")

        assert await chat.wait() == 0
        assert "[stopped]" not in chat.text


async def test_ctrl_c_stops_a_reply_and_keeps_what_was_said(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path, cold=True) as chat:
        await chat.ready()
        chat.say("Tell me")
        reply = await model.next_request()
        await reply.say("Once upon a time")
        await chat.sees("Once upon")
        chat.press("ctrl-c")
        await chat.sees("[stopped]")
        model.will_say("Here I am.")
        chat.say("Still there?")
        await chat.sees("Here I am.")

        await chat.sees("Once upon a time")
        assert any("Once upon" in str(each["content"]) for each in model.requests[-1]["messages"])
