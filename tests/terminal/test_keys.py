"""Keys in the input line of the chat, in a terminal."""

from __future__ import annotations

import asyncio
import shutil
import stat
import sys
import time
from pathlib import Path

import pytest

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.mcp_servers import config, whole
from tests.support.terminal.model import Model


def _user_texts(model: Model) -> list[str]:
    """Return the user's message of each request."""
    return [request["messages"][-1]["content"] for request in model.requests]


@pytest.mark.slow
@pytest.mark.parametrize(
    "keys",
    ["\n", "\x1b\r", "\\\r", "\x1b[27;2;13~", "\x1b[13;2u"],
    ids=["ctrl-j", "alt-enter", "backslash", "shift-enter in xterm", "shift-enter in kitty"],
)
async def test_a_new_line_is_made_and_sends_nothing(tmp_path: Path, keys: str) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        model.will_say("Two lines.")
        chat.type(f"one{keys}two")
        await chat.until(lambda: chat.text.rstrip().split("\n")[-2].strip() == "two")
        chat.press("enter")
        await chat.sees("Two lines.")

        assert _user_texts(model) == ["one\ntwo"]


@pytest.mark.slow
async def test_a_paste_of_two_thousand_lines_is_one_message_and_does_not_send(
    tmp_path: Path,
) -> None:
    lines = "\n".join(f"line {number}" for number in range(2_000))
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        model.will_say("Long.")
        chat.paste(lines)
        await chat.sees("[pasted 1: 2,000 lines]")
        chat.type(" end")
        await chat.sees("2,000 lines] end")
        assert not model.requests
        chat.press("enter")
        await chat.sees("Long.")

        assert _user_texts(model) == [f"{lines} end"]


@pytest.mark.slow
async def test_up_and_down_go_through_what_was_said_in_this_chat_and_before(
    tmp_path: Path,
) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        model.will_say("Hi.")
        chat.type("first\nof two")
        chat.press("enter")
        await chat.sees("Hi.")
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        model.will_say("Hi again.", "And again.")
        chat.say("second")
        await chat.sees("Hi again.")
        chat.press("up")
        await chat.until(lambda: chat.text.rstrip().split("\n")[-2] == "> second")
        chat.press("up")
        await chat.until(lambda: chat.text.rstrip().split("\n")[-2].strip() == "of two")
        chat.press("enter")
        await chat.sees("And again.")

        assert _user_texts(model)[-1] == "first\nof two"
    history = tmp_path / "state" / "antiphon" / "history"
    assert history.stat().st_mode & 0o777 == 0o600


async def test_neither_a_slip_nor_what_was_asked_for_enters_the_history(tmp_path: Path) -> None:
    flags = config(tmp_path, {"whole": whole()})
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.sees("1 prompt")
        model.will_say("Old.")
        chat.say("/passwort hunter2")
        await chat.sees("There is no command /passwort")
        chat.say("/whole.city")
        await chat.sees("name:")
        chat.say("Secretville")
        await chat.sees("Old.")
        history = (tmp_path / "state" / "antiphon" / "history").read_text()

        assert history == '"/whole.city"\n'


@pytest.mark.slow
async def test_ctrl_r_searches_what_was_said_in_any_case(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        model.will_say("One.", "Two.", "Three.")
        for text, answer in (("The Needle", "One."), ("some hay", "Two.")):
            chat.say(text)
            await chat.sees(answer)
        chat.press("ctrl-r")
        await chat.sees("search:")
        chat.type("need")
        await chat.sees("search: need")
        chat.press("enter")
        await chat.until(lambda: "search:" not in chat.text)
        chat.press("enter")
        await chat.sees("Three.")

        assert _user_texts(model)[-1] == "The Needle"


@pytest.mark.slow
async def test_tab_completes_commands_paths_resources_and_arguments(tmp_path: Path) -> None:
    (tmp_path / "my notes").mkdir()
    (tmp_path / "my notes" / "milk.txt").write_text("buy milk")
    (tmp_path / ".hidden").touch()
    (tmp_path / "odd\x1b[2Jname").touch()
    flags = config(tmp_path, {"whole": whole()})
    async with Model() as model, Chatting(model, *flags, home=tmp_path, rows=40) as chat:
        await chat.sees("1 prompt")
        chat.type("/serv")
        await chat.sees("MCP servers: how they are")
        chat.press("tab")
        await chat.sees("> /servers")
        chat.press("ctrl-c")
        chat.type("/resources ")
        chat.press("tab")
        await chat.sees("> /resources whole")
        chat.press("ctrl-c")
        chat.type("/whole.city name=pa")
        await chat.sees("parma")
        chat.press("ctrl-c")
        chat.type("@whole:note")
        await chat.sees("note://all")
        chat.press("ctrl-c")
        chat.type("@")
        await chat.sees("my notes/")
        assert ".hidden" not in chat.text
        assert "odd" not in chat.text
        chat.type("my")
        chat.press("tab")
        await chat.sees('> @"my notes/')
        chat.type("mi")
        chat.press("tab")
        await chat.sees('> @"my notes/milk.txt"')
        chat.press("enter")
        reply = await model.next_request()
        await reply.answer("Milk.")

        assert "buy milk" in str(reply.messages[-1]["content"])
        assert not chat.foreign


async def test_ctrl_g_writes_the_message_in_another_editor(tmp_path: Path) -> None:
    script = tmp_path / "editor"
    script.write_text('#!/bin/sh\nprintf " from\\nelsewhere" >> "$1"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    environ = {"EDITOR": str(script)}
    async with Model() as model, Chatting(model, home=tmp_path, environ=environ) as chat:
        await chat.ready()
        model.will_say("Seen.")
        chat.type("written")
        await chat.sees("> written")
        chat.press("ctrl-g")
        await chat.sees("elsewhere")
        chat.press("enter")
        await chat.sees("Seen.")

        assert [text.split() for text in _user_texts(model)] == [["written", "from", "elsewhere"]]


async def test_what_is_said_while_busy_waits_and_up_takes_it_back(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("first")
        reply = await model.next_request()
        await reply.say("On")
        await chat.sees("On")
        chat.say("second")
        await chat.sees("next: second")
        chat.say("third")
        await chat.sees("next: third")
        chat.press("up")
        await chat.until(lambda: "next: third" not in chat.text and "> third" in chat.text)
        chat.press("ctrl-c")
        await chat.sees("[stopped]")
        reply = await model.next_request()
        await reply.answer("Done.")
        await chat.sees("Done.")
        await chat.until(lambda: chat.text.rstrip().split("\n")[-2] == "> third")

        assert _user_texts(model) == ["first", "second"]


async def test_ctrl_y_brings_back_what_ctrl_c_cleared(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.type("precious")
        await chat.sees("> precious")
        chat.press("ctrl-c")
        await chat.sees("Ctrl+Y brings the line back.")
        await chat.until(lambda: "> precious" not in chat.text)
        chat.press("ctrl-y")

        await chat.sees("> precious")


async def test_vi_keys_edit_where_they_are_chosen(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, "--keys", "vi", home=tmp_path) as chat:
        await chat.ready()
        model.will_say("Better.")
        chat.type("worse words")
        await chat.sees("> worse words")
        chat.press("escape")
        await asyncio.sleep(0.3)  # only time tells a lone escape from a sequence
        chat.type("0dwA!")
        await chat.sees("> words!")
        chat.press("enter")
        await chat.sees("Better.")

        assert _user_texts(model) == ["words!"]


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not here")
async def test_ctrl_z_sleeps_and_the_line_is_there_again_after_it(tmp_path: Path) -> None:
    async with Shell(tmp_path) as shell:
        await shell.type(f"{sys.executable} -m antiphon chat --model demo", "Enter")
        await shell.sees("demo ·")
        await shell.type("half a")
        await shell.sees("> half a")
        await shell.type("", "C-z")
        await shell.sees("Stopped")
        await shell.type("fg", "Enter")
        await shell.sees("> half a")
        await shell.type(" message")

        await shell.sees("> half a message")


class Shell:
    """Shell with jobs in a terminal: a program can sleep only where a shell can wake it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._tmux = ("tmux", "-S", str(home / "socket"), "-f", "/dev/null")

    async def __aenter__(self) -> Shell:
        command = f"env HOME={self._home} PS1=$ bash --norc -i"
        await self._run("new-session", "-d", "-x", "80", "-y", "24", command)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._run("kill-server")

    async def type(self, text: str, *keys: str) -> None:
        if text:
            await self._run("send-keys", "-l", text)
        if keys:
            await self._run("send-keys", *keys)

    async def sees(self, text: str, seconds: float = 60.0) -> None:
        async with asyncio.timeout(seconds):
            while text not in await self._run("capture-pane", "-p"):
                await asyncio.sleep(0.05)

    async def _run(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *self._tmux, *arguments, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        return output.decode()


async def test_keys_are_seen_while_a_reply_streams(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("Talk")
        talk_task = asyncio.create_task(_talk(await model.next_request()))
        await chat.sees("word 20")
        await _measure_median_delay(chat, range(5))

        assert not talk_task.done()
        talk_task.cancel()


@pytest.mark.soak
async def test_keys_are_seen_soon_while_a_reply_streams(tmp_path: Path) -> None:
    """Measure seconds, which a busy machine lengthens."""
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("Talk")
        talk_task = asyncio.create_task(_talk(await model.next_request()))
        await chat.sees("word 20")
        median = await _measure_median_delay(chat, range(60))
        talk_task.cancel()

        assert median < 0.15


async def _measure_median_delay(chat: Chatting, keys: range) -> float:
    delays: list[float] = []
    for before in keys:
        start = time.monotonic()
        chat.type("k")
        await chat.sees("> " + "k" * (before + 1))
        delays.append(time.monotonic() - start)
    return sorted(delays)[len(delays) // 2]


async def _talk(reply) -> None:
    for number in range(100_000):
        await reply.say(f"word {number}\n\n")
        await asyncio.sleep(0.002)
