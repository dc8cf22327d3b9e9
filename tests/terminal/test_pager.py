"""Collapsed texts open whole in a pager, which has the terminal meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from antiphon.terminal.input.keyboard import Interrupts
from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model

PAGER = """\
#!/bin/sh
trap 'echo interrupted' INT
cat "$@"
read end </dev/tty || read end </dev/tty
"""
TOOLS = """\
from antiphon import tool


@tool
def lines(count: int) -> str:
    \"\"\"Gives so many lines.\"\"\"
    return "\\n".join(f"line {number} \\x1b]0;owned\\x07" for number in range(count))
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    pager = tmp_path / "pager"
    pager.write_text(PAGER)
    pager.chmod(0o700)
    (tmp_path / "tmp").mkdir()
    return {"PAGER": str(pager), "TMPDIR": str(tmp_path / "tmp")}


async def receive_reasoning(model: Model, chat: Chatting) -> None:
    """Have the model think and answer; its reasoning is then folded."""
    await chat.ready()
    chat.say("Why?")
    reply = await model.next_request()
    await reply.think("First this.\n\nThen that.")
    await reply.answer("Because.")
    await chat.sees("10 in, 5 out")


async def close_pager(chat: Chatting) -> None:
    """Close the pager, and wait until the chat has drawn its line."""
    chat.press("enter")
    await chat.until(lambda: chat.rows[-1].startswith("told"))


async def test_ctrl_o_opens_what_was_thought_which_is_in_no_file_meanwhile(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    async with Model() as model, Chatting(model, home=tmp_path, environ=environ) as chat:
        await receive_reasoning(model, chat)
        chat.press("ctrl-o")
        await chat.sees("Then that.")
        assert not [*(tmp_path / "tmp").iterdir()]  # no file that a kill would leave behind
        await close_pager(chat)
        model.will_say("Still here.")
        chat.say("And now?")
        await chat.sees("Still here.")

        assert "/open" not in chat.text
        await chat.sees("Thought before: Because.")


async def test_ctrl_o_opens_the_whole_output_of_a_tool_and_nothing_in_it_acts(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    flags = ("--tools", "tools.py")
    async with Model() as model, Chatting(model, *flags, home=tmp_path, environ=environ) as chat:
        await chat.ready()
        chat.say("Lines!")
        reply = await model.next_request()
        await reply.call("lines", {"count": 30}, id="c1")
        await reply.end("tool_calls")
        await (await model.next_request()).answer("Done.")
        await chat.sees("20 in, 10 out")
        chat.press("ctrl-o")
        await chat.sees("line 29")

        await chat.sees('lines({"count": 30})')
        assert "owned" not in chat.text
        assert not chat.foreign
        await close_pager(chat)


async def test_ctrl_c_in_the_pager_is_the_pagers(tmp_path: Path, environ: dict[str, str]) -> None:
    async with Model() as model, Chatting(model, home=tmp_path, environ=environ) as chat:
        await receive_reasoning(model, chat)
        chat.say("More?")
        reply = await model.next_request()
        await reply.say("It goes ")
        await chat.sees("It goes")
        chat.press("ctrl-o")
        await chat.sees("Then that.")
        chat.press("ctrl-c")
        await chat.sees("interrupted")
        await reply.answer("on.")
        chat.press("enter")
        await chat.sees("It goes on.")

        assert "[stopped]" not in chat.text


async def test_ctrl_c_while_a_program_is_being_started_is_that_programs(tmp_path: Path) -> None:
    handler_calls: list[str] = []
    interrupts = Interrupts(lambda: handler_calls.append("handled"))
    started_file = tmp_path / "started"
    os.mkfifo(started_file)
    interrupts.install()
    try:
        # The loop is busy until the key has been pressed: it does not know of the program yet.
        asyncio.get_running_loop().call_soon(started_file.read_bytes)
        code = await interrupts.run_program(
            ["sh", "-c", f"kill -INT $PPID; echo >'{started_file}'; kill -INT $$"]
        )
    finally:
        interrupts.remove()

    assert code == -signal.SIGINT
    assert handler_calls == []


async def test_a_pager_that_cannot_be_started_is_named_and_the_text_is_printed(
    tmp_path: Path,
) -> None:
    environ = {"PAGER": "no-such-pager 'x"}
    async with Model() as model, Chatting(model, home=tmp_path, environ=environ) as chat:
        await receive_reasoning(model, chat)
        chat.say("/open")
        await chat.sees("Then that.")

        await chat.sees("$PAGER cannot be started")


async def test_where_nothing_is_drawn_it_is_printed(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, "--plain", home=tmp_path) as chat:
        await chat.sees("You:")
        chat.say("Why?")
        reply = await model.next_request()
        await reply.think("First this.\n\nThen that.")
        await reply.answer("Because.")
        await chat.sees("10 in, 5 out")
        chat.say("/open")
        await chat.sees("Then that.")

        await chat.sees("Thought before: Because.")


async def test_reasoning_of_a_thread_that_is_gone_on_with_is_listed_and_opened(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    async with Model() as model, Chatting(model, home=tmp_path, environ=environ) as chat:
        await receive_reasoning(model, chat)
        chat.say("/quit")
        await chat.wait()
    async with Model() as model, Chatting(model, "-r", home=tmp_path, environ=environ) as chat:
        await chat.sees("Because.")
        chat.say("/reasoning")
        await chat.sees("1  23 letters in 3 lines  Thought before: Because.")
        chat.say("/reasoning 1")
        await chat.sees("Then that.")
        await close_pager(chat)


async def test_there_may_be_nothing_to_open(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.press("ctrl-o")
        await chat.sees("Nothing was shown in short here yet")
        chat.say("/reasoning")
        await chat.sees("No reasoning was shown here yet")
