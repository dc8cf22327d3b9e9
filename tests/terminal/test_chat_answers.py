"""Answers are copied and printed as the model wrote them."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model

ANSWER = """\
# Two ways

```python
print("one")
\tprint("tab and blanks")\x20\x20
```

1. or

   ```sh
   echo two
   ```

Ünïcödé **ends** it."""


def list_copied(chat: Chatting) -> list[str]:
    """Return the texts that were sent to the terminal's clipboard."""
    encoded_texts = re.findall(r"\x1b\]52;c;([^\x07]*)\x07", chat.written)
    return [base64.b64decode(each).decode() for each in encoded_texts]


async def answer_message(model: Model, chat: Chatting, *answers: str) -> None:
    await chat.ready()
    for number, answer in enumerate(answers, 1):
        model.will_say(answer)
        chat.say(f"Question {number}")
        await chat.until(lambda: chat.text.count("10 in, 5 out") == number)  # noqa: B023


@pytest.mark.slow
async def test_an_answer_is_copied_byte_for_byte(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await answer_message(model, chat, ANSWER, "The last.")
        chat.say("/copy 2")
        await chat.sees("Copied by the terminal (OSC 52)")
        chat.say("/copy")
        await chat.until(lambda: len(list_copied(chat)) == 2)

        assert list_copied(chat) == [ANSWER, "The last."]


@pytest.mark.slow
async def test_a_piece_of_code_is_copied_byte_for_byte(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await answer_message(model, chat, ANSWER)
        for command in ("/copy code 1", "/copy code", "/copy 1 code 2"):
            before = len(list_copied(chat))
            chat.say(command)
            await chat.until(lambda: len(list_copied(chat)) > before)  # noqa: B023
        chat.say("/copy code 3")
        await chat.sees("There are 2 blocks of code")

        first = 'print("one")\n\tprint("tab and blanks")  \n'
        assert list_copied(chat) == [first, "echo two\n", "echo two\n"]


async def test_nothing_of_a_model_reaches_the_clipboard_unasked(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await answer_message(model, chat, "Look: \x1b]52;c;b3duZWQ=\x07 there")

        assert list_copied(chat) == []
        chat.say("/copy")
        await chat.until(lambda: len(list_copied(chat)) == 1)
        assert list_copied(chat) == ["Look: \x1b]52;c;b3duZWQ=\x07 there"]


async def test_a_program_copies_where_there_is_one(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "wl-copy"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n/bin/cat > "$HOME/copied"\n')
    program.chmod(0o700)
    environ = {"PATH": str(program.parent), "WAYLAND_DISPLAY": "wayland-0"}
    async with Model() as model, Chatting(model, home=tmp_path, environ=environ) as chat:
        await answer_message(model, chat, ANSWER)
        chat.say("/copy")
        await chat.sees("Copied by wl-copy and the terminal (OSC 52)")

        assert (tmp_path / "copied").read_text() == ANSWER


@pytest.mark.slow
async def test_what_is_too_long_for_a_terminal_is_not_given_to_it(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await answer_message(model, chat, "word " * 20_000)
        chat.say("/copy")
        await chat.sees("This is too long for the terminal's clipboard")

        assert list_copied(chat) == []


async def test_an_answer_is_printed_as_it_was_written_without_control_characters(
    tmp_path: Path,
) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await answer_message(model, chat, f"# Title\n\n**{'long ' * 30}end** \x1b[31mred")
        chat.say("/raw")
        await chat.sees("# Title")
        await chat.until(lambda: "end** red\r" in chat.written)

        assert f"**{'long ' * 30}end** red\r" in chat.written
        assert not chat.foreign


async def test_there_may_be_no_answer_yet(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        for command in ("/copy", "/raw", "/rate up"):
            chat.say(command)
        await chat.until(lambda: chat.text.count("There is no answer here yet") == 3)


@pytest.mark.slow
async def test_an_answer_is_rated_and_the_rating_removed(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await answer_message(model, chat, ANSWER)
        chat.say("/rate")
        await chat.sees("The last answer has no rating")
        chat.say("/rate down too \x1b[31mlong")
        await chat.sees("The last answer is rated down: too ")
        chat.say("/rate none")
        await chat.until(lambda: chat.text.count("The last answer has no rating") == 2)
        chat.say("/rate sideways")
        await chat.sees("This is no rating")

        assert not chat.foreign
