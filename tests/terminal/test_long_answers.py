"""An answer longer than the terminal: every line is there once, whatever is typed meanwhile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model, Reply

DRAFT = "what I think of meanwhile"
SHAPES = ["{}. In a list.", "Said, {}.\n", "```py\ncode = {}\n```", "> Quoted, {}.\n", "# {}\n"]
NUMBERED = re.compile(r"mark-(\d+)")


def number_lines(lines: int) -> list[str]:
    """Return the lines of an answer of all kinds in turn, a number in each."""
    return [SHAPES[at // 10 % len(SHAPES)].format(f"mark-{at:04}") + "\n" for at in range(lines)]


class ScreenWatcher:
    """Checks the terminal each time that something was written to it."""

    def __init__(self, chat: Chatting) -> None:
        self._chat = chat
        self._scrolled: list[str] = []

    def is_intact(self) -> bool:
        """Check that the scrolled rows are unchanged, and the answer so far is complete."""
        scrolled = self._chat.emulator.scrolled
        assert scrolled[: len(self._scrolled)] == self._scrolled
        self._scrolled = scrolled
        shown_numbers = numbers(self._chat.text)
        assert shown_numbers == list(range(len(shown_numbers)))
        return True


def numbers(text: str) -> list[int]:
    return [int(number) for number in NUMBERED.findall(text)]


async def say_all(reply: Reply, lines: list[str]) -> None:
    for line in lines:
        await reply.say(line)
    await reply.end()


@pytest.mark.slow
async def test_an_answer_of_200_lines_goes_by_while_a_person_types(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        watcher = ScreenWatcher(chat)
        chat.say("Tell me everything.")
        reply = await model.next_request()
        lines = number_lines(200)
        for at, letter in enumerate(DRAFT):
            for line in lines[at * 8 : (at + 1) * 8]:
                await reply.say(line)
            chat.type(letter)
            typed = DRAFT[: at + 1].rstrip()
            await chat.until(lambda typed=typed: watcher.is_intact() and f"> {typed}" in chat.text)
        await reply.end()
        await chat.until(lambda: watcher.is_intact() and "10 in, 5 out" in chat.text)

        assert numbers(chat.text) == list(range(200))
        await chat.until(lambda: chat.rows[-2] == f"> {DRAFT}")
        assert not chat.foreign


@pytest.mark.slow
async def test_what_is_finished_is_never_written_again(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("Tell me everything.")
        await say_all(await model.next_request(), number_lines(100))
        await chat.sees("10 in, 5 out")
        before = len(chat.written)
        for end in range(1, len(DRAFT) + 1):
            chat.type(DRAFT[end - 1])
            await chat.sees(f"> {DRAFT[:end].rstrip()}")

        assert not NUMBERED.search(chat.written, before)


@pytest.mark.soak
async def test_an_answer_of_64_000_tokens_is_all_there(tmp_path: Path) -> None:
    lines = number_lines(64_000 * 4 // 24)
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("Tell me everything.")
        await say_all(await model.next_request(), lines)
        await chat.until(lambda: "10 in, 5 out" in "\n".join(chat.emulator.screen.display), 300)

        assert numbers(chat.text) == list(range(len(lines)))
        assert len(chat.written) <= 20 * sum(map(len, lines))
