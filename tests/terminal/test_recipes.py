"""The chats of the documentation happen as their pages show them, with the demo model."""

from __future__ import annotations

import shlex
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from antiphon.terminal.input.keyboard import PAUSE
from tests.support.docs.blocks import Block, every
from tests.support.terminal.chatting import Chatting


@pytest.mark.slow
@pytest.mark.parametrize("block", every("console", "chat"), ids=str)
async def test_a_chat_takes_place_as_its_page_has_it(tmp_path: Path, block: Block) -> None:
    lines = block.text.splitlines()
    (start,) = [line for line in lines if line.startswith("$ antiphon chat")]
    at = lines.index(start)
    for line in lines[:at]:
        subprocess.run(["bash", "-euc", line.removeprefix("$ ")], cwd=tmp_path, check=True)
    flags = shlex.split(start.removeprefix("$ antiphon chat"))
    environ = {"ANTIPHON_DEMO_DELAY": "0", "SHELL": "/bin/sh"}
    environ["XDG_CONFIG_HOME"] = str(tmp_path / ".config")
    async with Chatting(None, *flags, home=tmp_path, environ=environ, rows=40) as chat:
        await chat.until(lambda: "demo" in chat.rows[-1])
        before, last = "", ""
        for line in lines[at + 1 :]:
            if line.startswith("> "):
                before = chat.text
                chat.say(line.removeprefix("> "))
            elif line.startswith("["):
                before = chat.text
                await press(chat, line.strip("[]"), last)
            else:
                last = line
                await chat.until(partial(is_new, chat, line, before.count(line)))


def is_new(chat: Chatting, line: str, before: int) -> bool:
    """Return whether the line is on the screen more often than `before`."""
    return chat.text.count(line) > before


async def press(chat: Chatting, key: str, question: str) -> None:
    """Press the key until the question is gone: it counts only after a pause."""
    while question in chat.text:
        chat.press(key)
        with suppress(AssertionError):
            await chat.until(lambda: question not in chat.text, PAUSE + 0.5)
    chat.press("ctrl-u")
