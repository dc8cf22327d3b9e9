"""The chat line by line: for a screen reader, a dumb terminal, and in pipes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from tests.terminal.chatting import Chatting
from tests.terminal.model import Model

TOOL = '''
from antiphon import tool

@tool
def erase(name: str) -> str:
    """Erase it."""
    return f"erased {name}"
'''
ESCAPES = re.compile(r"\x1b")
BOXES = re.compile("[\u2500-\u259f\u2800-\u28ff]")


async def piped(
    said: str, model: Model, *flags: str, home: Path, environ: Mapping[str, str] | None = None
) -> tuple[str, int]:
    """What a chat in pipes prints, and its exit code."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "antiphon", "chat", "--base-url", model.url, "--model", "told"),
        *flags,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **(environ or {})},
    )
    async with asyncio.timeout(20):
        out, _ = await process.communicate(said.encode())
    assert process.returncode is not None
    return out.decode(), process.returncode


@pytest.mark.parametrize("how", ["--screen-reader", "--plain", "TERM=dumb", "small"])
async def test_a_message_is_answered_in_lines_alone(tmp_path: Path, how: str) -> None:
    environ = {"TERM": "dumb"} if how == "TERM=dumb" else {}
    flags = (how,) if how.startswith("--") else ()
    columns, rows = (80, 7) if how == "small" else (80, 24)
    async with (
        Model() as model,
        Chatting(model, *flags, home=tmp_path, environ=environ, columns=columns, rows=rows) as chat,
    ):
        await chat.sees("You:")
        chat.say("Hello")
        reply = await model.asked()
        await reply.answer("Hi **there**.")
        await chat.until(lambda: chat.text.count("You:") == 2)

        assert re.search(r"You: Hello\n(.*\n)*Assistant:\nHi .*there.*\n", chat.text)
        assert chat.text.count("there") == 1
        assert chat.text.count("Hello") == 1
        moves = re.sub(r"\x1b\[[0-9;]*m", "", chat.written)
        assert not ESCAPES.search(moves)
        assert not BOXES.search(chat.text)


async def test_a_screen_reader_hears_each_change_once_and_no_styles(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, "--screen-reader", home=tmp_path) as chat:
        await chat.sees("You:")
        chat.say("Hello")
        reply = await model.asked()
        await chat.sees("Waiting.")
        await reply.think("Well.")
        await chat.sees("The model thinks.")
        await reply.answer("Hi.\n\nSo it is.")
        await chat.sees("So it is.")

        assert chat.text.count("Waiting.") == 1
        assert chat.text.count("The model thinks.") == 1
        assert chat.text.count("Assistant:") == 1
        assert "\x1b" not in chat.written


async def test_a_backslash_goes_on_in_the_next_line(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, "--plain", home=tmp_path) as chat:
        await chat.sees("You:")
        chat.say("One\\")
        await chat.sees("Next line:")
        chat.say("two")
        reply = await model.asked()

        assert reply.messages[-1]["content"] == "One\ntwo"


async def test_ctrl_c_stops_a_reply_and_twice_at_the_prompt_leaves(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, "--screen-reader", home=tmp_path) as chat:
        await chat.sees("You:")
        chat.say("Tell me")
        reply = await model.asked()
        await reply.say("Once upon a time.\n\nAnd")
        await chat.sees("Once upon")
        chat.press("ctrl-c")
        await chat.sees("[stopped]")
        await chat.until(lambda: chat.rows[-1].startswith("You:"))
        chat.press("ctrl-c")
        await chat.sees("again leaves")
        chat.press("ctrl-c")

        assert await chat.ended() == 0


async def test_ctrl_d_leaves(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, "--plain", home=tmp_path) as chat:
        await chat.sees("You:")
        chat.press("ctrl-d")

        assert await chat.ended() == 0


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [("1", "Tool done: erase"), ("y", "Tool done: erase"), ("", "Tool failed: erase")],
)
async def test_a_question_is_answered_by_a_number_and_enter_alone_is_no(
    tmp_path: Path, answer: str, outcome: str
) -> None:
    (tmp_path / "erasing.py").write_text(TOOL)
    flags = ("--screen-reader", "--tools", "erasing.py", "--ask", "erase")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("You:")
        chat.say("Erase it")
        reply = await model.asked()
        await reply.call("erase", {"name": "all"}, id="c1")
        await reply.end("tool_calls")
        await chat.sees("or Enter for 0:")
        assert "0. no" in chat.text
        while "none of the answers" not in chat.text:
            heard = _heard(chat.text)
            chat.say("7")  # is no answer; before the question could be heard, it is a message
            await chat.until(partial(lambda before: _heard(chat.text) > before, heard))
        chat.say(answer)
        await chat.sees(outcome)


def _heard(text: str) -> int:
    return text.count("none of the answers") + text.count("sent when this")


async def test_what_comes_through_a_pipe_is_answered_and_then_the_chat_ends(
    tmp_path: Path,
) -> None:
    async with Model() as model:
        model.will_say("Hi **there**.", "Bye.")
        out, code = await piped("hi\nand bye", model, home=tmp_path)

    assert code == 0
    assert "You: hi\nAssistant:\nHi **there**.\n" in out
    assert "You: and bye\nAssistant:\nBye.\n" in out
    assert "\x1b" not in out


async def test_through_a_pipe_nobody_agrees_to_a_tool(tmp_path: Path) -> None:
    (tmp_path / "erasing.py").write_text(TOOL)
    async with Model() as model:
        flags = ("--tools", "erasing.py", "--ask", "erase")
        chatting = asyncio.create_task(piped("erase\n", model, *flags, home=tmp_path))
        reply = await model.asked()
        await reply.call("erase", {"name": "all"}, id="c1")
        await reply.end("tool_calls")
        reply = await model.asked()
        await reply.answer("Not then.")
        out, code = await chatting

    assert code == 0
    assert "Tool failed: erase" in out


async def test_a_file_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "said").write_text("hi\n")
    async with Model() as model:
        model.will_say("Hi.")
        command = f"{sys.executable} -m antiphon chat --base-url {model.url} --model told < said"
        process = await asyncio.create_subprocess_shell(
            command,
            stdout=asyncio.subprocess.PIPE,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        )
        async with asyncio.timeout(20):
            out, _ = await process.communicate()

    assert process.returncode == 0
    assert b"Assistant:\nHi.\n" in out


@pytest.mark.parametrize("flags", [(), ("--plain",)])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_a_signal_to_end_ends_the_chat_in_order(
    tmp_path: Path, flags: tuple[str, ...], number: int, code: int
) -> None:
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("/help")
        chat.say("Tell me")
        reply = await model.asked()
        await reply.say("Once upon a time.\n\nAnd")
        await chat.sees("Once upon")
        chat.kill(number)

        assert await chat.ended() == code
        assert flags or chat.written.rstrip().endswith("\x1b[?25h\x1b[?2004l")


async def test_what_a_tool_prints_is_a_line_above(tmp_path: Path) -> None:
    printing = TOOL.replace("return f", 'print("printed", end="");\n    return f')
    (tmp_path / "erasing.py").write_text(printing)
    async with (
        Model() as model,
        Chatting(model, "--tools", "erasing.py", "--yes", home=tmp_path) as chat,
    ):
        await chat.ready()
        chat.say("Erase it")
        reply = await model.asked()
        await reply.call("erase", {"name": "all"}, id="c1")
        await reply.end("tool_calls")
        await (await model.asked()).answer("Done.")
        await chat.sees("Done.")
        chat.press("ctrl-d")
        await chat.ended()

        assert "printed" in [row.strip() for row in chat.rows]
