"""The window of the terminal changes while an answer comes, in a terminal that wraps rows anew."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model
from tests.support.terminal.tmux import Window

SIZES = [
    *((100, 30), (60, 20), (33, 12), (10, 10), (80, 24)),
    *((5, 6), (120, 40), (20, 8), (47, 24), (80, 24)),
]
SHAPES = [
    "- In an item that is long enough to be wrapped wherever it is narrow, mark-{:04}.\n",
    "\nA paragraph of several words that are wrapped, and its mark-{:04} at the end.\n\n",
    "```py\nin_code(that_is='rather long', and_not='wrapped', by='us')  # mark-{:04}\n```\n",
]
NUMBERED = re.compile(r"mark-(\d+)")
EACH = 6


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not here")
async def test_ten_resizes_amid_an_answer_lose_and_repeat_nothing(tmp_path: Path) -> None:
    async with Model() as model, Window(model, home=tmp_path) as chat:
        await chat.sees("/help")
        chat.say("Tell me everything.")
        reply = await model.next_request()
        chat.type("draft")
        number = 0
        for columns, rows in SIZES:
            for _ in range(EACH):
                await reply.say(SHAPES[number % len(SHAPES)].format(number))
                number += 1
            await chat.sees(f"mark-{number - 1:04}")
            for offset in (2, 1, 0):  # as a window is dragged
                chat.resize(columns + offset, rows + offset)
        await reply.say("All of it.")
        await reply.end()
        await chat.sees("10 in, 5 out")
        text = chat.text

        assert [int(each) for each in NUMBERED.findall(text)] == list(range(number))
        assert text.count("> Tell me everything.") == 1
        assert text.count("draft") == 1
        assert "writing" not in text


async def test_the_terminal_is_believed_rather_than_the_environment(tmp_path: Path) -> None:
    environ = {"COLUMNS": "40", "LINES": "10"}
    async with Model() as model, Chatting(model, home=tmp_path, environ=environ) as chat:
        await chat.ready()
        model.will_say("word " * 12)
        chat.say("How wide is it?")
        await chat.sees("10 in, 5 out")

        await chat.until(lambda: "word " * 11 + "word" in chat.rows)
