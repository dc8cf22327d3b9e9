"""The chat line by line: for a screen reader, a dumb terminal, and in pipes."""

from __future__ import annotations

import asyncio
import itertools
import os
import pty
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Self

import pytest

from antiphon.terminal import spans
from antiphon.terminal.input.keyboard import Box, Field, KeyChoice
from antiphon.terminal.input.line_mode import LineKeyboard
from antiphon.terminal.painters import Frame, InputRows
from antiphon.terminal.streaming_context import StreamingContext
from antiphon.terminal.themes import BARE, Ink
from tests.support import fork_server
from tests.support.terminal.chatting import Chatting
from tests.support.terminal.consenting import deliberate, pause
from tests.support.terminal.model import Model

TOOL = '''
from antiphon import tool

@tool
def erase(name: str) -> str:
    """Erase it."""
    return f"erased {name}"
'''
ESCAPES = re.compile(r"\x1b")
BOXES = re.compile("[\u2500-\u259f\u2800-\u28ff]")


async def run_piped(
    stdin_text: str, model: Model, *flags: str, home: Path, environ: Mapping[str, str] | None = None
) -> tuple[str, int]:
    """Run a chat in pipes; return its output and exit code."""
    process = await asyncio.create_subprocess_exec(
        *(*fork_server.command(), "chat", "--base-url", model.url, "--model", "told"),
        *flags,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **(environ or {})},
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate(stdin_text.encode())
    assert process.returncode is not None
    return output.decode(), process.returncode


@pytest.mark.parametrize("mode", ["--screen-reader", "--plain", "TERM=dumb", "small"])
async def test_a_message_is_answered_in_lines_alone(tmp_path: Path, mode: str) -> None:
    environ = {"TERM": "dumb"} if mode == "TERM=dumb" else {}
    flags = (mode,) if mode.startswith("--") else ()
    columns, rows = (80, 7) if mode == "small" else (80, 24)
    async with (
        Model() as model,
        Chatting(model, *flags, home=tmp_path, environ=environ, columns=columns, rows=rows) as chat,
    ):
        await chat.sees("You:")
        chat.say("Hello")
        reply = await model.next_request()
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
        reply = await model.next_request()
        await chat.sees("Waiting.")
        await reply.think("Well.")
        await chat.sees("The model thinks.")
        await reply.answer("Hi.\n\nSo it is.")
        await chat.sees("So it is.")

        assert chat.text.count("Waiting.") == 1
        assert chat.text.count("The model thinks.") == 1
        assert chat.text.count("Assistant:") == 1
        assert "\x1b" not in chat.written


def test_silence_is_counted_from_the_last_word() -> None:
    output = StringIO()
    painter = StreamingContext(output, Ink(BARE), announces=True)
    for now in (1000, 1001, 1021):
        painter.paint(Frame(phase="connecting"), InputRows(), 80, now)

    assert output.getvalue() == "Still connecting, 21 s.\n"


class Person:
    """Keyboard at a terminal of its own, the output of that terminal, and the lines shown."""

    busy = attentive = False

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._master, slave = pty.openpty()
        self._source = os.fdopen(slave)
        self.output = ""
        self.lines: list[str] = []
        self._news = asyncio.Event()
        self.keyboard = LineKeyboard(
            self,  # type: ignore[arg-type]
            source=self._source,
            show=lambda lines: self.lines.extend(map(spans.text, lines)),
            echoed=lambda ended: None,
            changed=self._news.set,
            suspend=nullcontext,
            columns=lambda: 80,
            echoes=True,
            clock=clock or itertools.count().__next__,
        )
        os.set_blocking(self._master, False)
        asyncio.get_running_loop().add_reader(self._master, self._read_output)

    async def __aenter__(self) -> Self:
        await self.keyboard.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.keyboard.__aexit__(None, None, None)
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        self._source.close()

    async def wait_for_prompt(self) -> str:
        """Wait for the prompt, and return it."""
        async with asyncio.timeout(60):
            while not (typed := self.keyboard.render(80)).rows:
                self._news.clear()
                await self._news.wait()
        return spans.text(typed.rows[0])

    async def type(self, line: str) -> None:
        """Type a line, and wait until the terminal has shown that it ended."""
        self._news.clear()
        lines = self.output.count("\n")
        os.write(self._master, f"{line}\n".encode())
        async with asyncio.timeout(60):
            while self.output.count("\n") == lines:
                self._news.clear()
                await self._news.wait()

    def begin_line(self, text: str) -> None:
        """Type a text, and do not press Enter."""
        os.write(self._master, text.encode())

    async def wait_for_output(self, text: str) -> None:
        """Wait until the terminal has shown this text."""
        async with asyncio.timeout(60):
            while text not in self.output:
                self._news.clear()
                await self._news.wait()

    def _read_output(self) -> None:
        self.output += os.read(self._master, 4096).decode()
        self._news.set()


async def test_a_hidden_text_is_not_shown_and_is_asked_for_until_it_fits() -> None:
    field = Field(
        label="Key", hidden=True, wrong=lambda text: None if text == "secret" else "Too short."
    )
    async with Person() as person:
        answer = asyncio.create_task(person.keyboard.write(field))
        assert await person.wait_for_prompt() == "Key: "
        await person.type("sec")
        await person.type("secret")

        assert await answer == "secret"
    assert person.lines == ["Too short."]
    assert person.output.strip() == ""


async def test_a_text_that_is_there_is_taken_by_enter_alone() -> None:
    async with Person() as person:
        answer = asyncio.create_task(person.keyboard.write(Field(label="Name", text="Ada")))
        await person.wait_for_prompt()
        await person.type("")

        assert await answer == "Ada"
    assert person.lines == ["Enter alone takes this: Ada"]


ERASE = Box(
    rows=lambda columns: [], choices=(KeyChoice("y", "yes"), KeyChoice("n", "no")), default="n"
)


async def test_a_line_that_was_begun_before_the_question_answers_nothing_however_it_ends() -> None:
    async with Person() as person:
        person.begin_line("please delete all and sa")
        await person.wait_for_output("and sa")
        answer = asyncio.create_task(person.keyboard.choose(ERASE))
        await person.wait_for_prompt()
        await person.type("y")
        await person.type("")

        assert await answer == "n"
    assert "Enter alone sends this: please delete all and say" in person.lines


async def test_prose_answers_nothing_and_is_kept() -> None:
    async with Person() as person:
        answer = asyncio.create_task(person.keyboard.choose(ERASE))
        await person.wait_for_prompt()
        await person.type("yes, and then all of it")
        await person.type("1")

        assert await answer == "y"
    assert "Enter alone sends this: yes, and then all of it" in person.lines


@pytest.mark.parametrize(
    "pasted", ["1\nand 2", "To do:\n1\ny", "y\n1", "7\n1"], ids=["first", "prose", "twice", "last"]
)
async def test_a_paste_with_a_line_that_would_be_an_answer_answers_nothing(pasted: str) -> None:
    async with Person(time.monotonic) as person:
        answer = asyncio.create_task(person.keyboard.choose(ERASE))
        await person.wait_for_prompt()
        await deliberate()
        person.begin_line(f"{pasted}\n")
        await person.wait_for_output(pasted.replace("\n", "\r\n"))
        await pause()
        assert not answer.done()
        await person.type("")

        assert await answer == "n"


async def test_an_answer_is_taken_in_a_line_alone_after_a_paste(tmp_path: Path) -> None:
    async with Person(time.monotonic) as person:
        answer = asyncio.create_task(person.keyboard.choose(ERASE))
        await person.wait_for_prompt()
        await deliberate()
        person.begin_line("y\nof all\n")
        await person.wait_for_output("of all\r\n")
        await pause()
        await person.type("1")

        assert await answer == "y"
    assert "Enter alone sends this: y" in person.lines
    assert "of all" in person.lines


async def test_a_backslash_goes_on_in_the_next_line(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, "--plain", home=tmp_path) as chat:
        await chat.sees("You:")
        chat.say("One\\")
        await chat.sees("Next line:")
        chat.say("two")
        reply = await model.next_request()

        assert reply.messages[-1]["content"] == "One\ntwo"


async def test_ctrl_c_stops_a_reply_and_twice_at_the_prompt_leaves(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, "--screen-reader", home=tmp_path) as chat:
        await chat.sees("You:")
        chat.say("Tell me")
        reply = await model.next_request()
        await reply.say("Once upon a time.\n\nAnd")
        await chat.sees("Once upon")
        chat.press("ctrl-c")
        await chat.sees("[stopped]")
        await chat.until(lambda: chat.rows[-1].startswith("You:"))
        chat.press("ctrl-c")
        await chat.sees("again leaves")
        chat.press("ctrl-c")

        assert await chat.wait() == 0


async def test_ctrl_d_leaves(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, "--plain", home=tmp_path) as chat:
        await chat.sees("You:")
        chat.press("ctrl-d")

        assert await chat.wait() == 0


@pytest.mark.slow
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
        reply = await model.next_request()
        await reply.call("erase", {"name": "all"}, id="c1")
        await reply.end("tool_calls")
        await chat.sees("or Enter for 0:")
        await chat.sees("0. no")
        while "none of the answers" not in chat.text:
            reactions = _count_reactions(chat.text)
            chat.say("7")  # 7 is no answer; before the question takes answers, it is a message
            await chat.until(
                partial(lambda before: _count_reactions(chat.text) > before, reactions)
            )
        await deliberate()
        chat.say(answer)
        await chat.sees(outcome)


def _count_reactions(text: str) -> int:
    return text.count("none of the answers") + text.count("sent when this")


async def test_what_comes_through_a_pipe_is_answered_and_then_the_chat_ends(
    tmp_path: Path,
) -> None:
    async with Model() as model:
        model.will_say("Hi **there**.", "Bye.")
        output, code = await run_piped("hi\nand bye", model, home=tmp_path)

    assert code == 0
    assert "You: hi\nAssistant:\nHi **there**.\n" in output
    assert "You: and bye\nAssistant:\nBye.\n" in output
    assert "\x1b" not in output


async def test_through_a_pipe_nobody_agrees_to_a_tool(tmp_path: Path) -> None:
    (tmp_path / "erasing.py").write_text(TOOL)
    async with Model() as model:
        flags = ("--tools", "erasing.py", "--ask", "erase")
        chatting = asyncio.create_task(run_piped("erase\n", model, *flags, home=tmp_path))
        reply = await model.next_request()
        await reply.call("erase", {"name": "all"}, id="c1")
        await reply.end("tool_calls")
        reply = await model.next_request()
        await reply.answer("Not then.")
        output, code = await chatting

    assert code == 0
    assert "Tool failed: erase" in output


async def test_a_file_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "said").write_text("hi\n")
    async with Model() as model:
        model.will_say("Hi.")
        chat = shlex.join(fork_server.command())
        command = f"{chat} chat --base-url {model.url} --model told < said"
        process = await asyncio.create_subprocess_shell(
            command,
            stdout=asyncio.subprocess.PIPE,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        )
        async with asyncio.timeout(60):
            output, _ = await process.communicate()

    assert process.returncode == 0
    assert b"Assistant:\nHi.\n" in output


@pytest.mark.parametrize("flags", [(), ("--plain",)])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_a_signal_to_end_ends_the_chat_in_order(
    tmp_path: Path, flags: tuple[str, ...], number: int, code: int
) -> None:
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("/help")
        chat.say("Tell me")
        reply = await model.next_request()
        await reply.say("Once upon a time.\n\nAnd")
        await chat.sees("Once upon")
        chat.kill(number)

        assert await chat.wait() == code
        assert flags or chat.written.rstrip().endswith("\x1b[?25h\x1b[?2004l")


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--plain",)])
async def test_a_window_that_is_closed_ends_the_chat_and_its_run(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("/help")
        chat.say("Tell me")
        reply = await model.next_request()
        await reply.say("Once upon a time.\n\nAnd")
        await chat.sees("Once upon")
        chat.hang_up()

        assert await chat.wait() == 129
        assert reply.closed.is_set()


@pytest.mark.slow
async def test_a_reader_who_has_seen_enough_ends_the_chat(tmp_path: Path) -> None:
    async with Model() as model:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "antiphon", "chat", "--base-url", model.url),
            *("--model", "told"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        )
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"hi\n")
        reply = await model.next_request()
        await reply.say("One.\n\nTwo")
        assert await process.stdout.readline() == b"You: hi\n"
        process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
        await reply.say("\n\nThree.\n\n")

        async with asyncio.timeout(60):
            assert await process.wait() == 141


async def test_what_a_tool_prints_is_a_line_above(tmp_path: Path) -> None:
    printing_tool = TOOL.replace("return f", 'print("printed", end="");\n    return f')
    (tmp_path / "erasing.py").write_text(printing_tool)
    async with (
        Model() as model,
        Chatting(model, "--tools", "erasing.py", "--yes", home=tmp_path) as chat,
    ):
        await chat.ready()
        chat.say("Erase it")
        reply = await model.next_request()
        await reply.call("erase", {"name": "all"}, id="c1")
        await reply.end("tool_calls")
        await (await model.next_request()).answer("Done.")
        await chat.sees("Done.")
        await chat.leave()

        assert "printed" in [row.strip() for row in chat.rows]
