"""Keys and bytes that no person types on purpose: nothing is lost, nothing breaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model


@pytest.mark.parametrize(
    "keys",
    ["\x1b[31m", "\x1b[<;;M", "\x1b[32;1M", "\x1b[<99999999999;1;1m", "\x1b[<65;1;1M", "\0"],
    ids=["a color", "a broken mouse", "a click", "a mouse far away", "a wheel", "a mark"],
)
async def test_a_sequence_that_is_no_letter_changes_nothing_in_the_line(
    tmp_path: Path, keys: str
) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        model.will_say("Seen.")
        chat.type(f"be{keys}fore\r")
        await chat.sees("Seen.")

        assert model.requests[0]["messages"][-1]["content"] == "before"
        assert "Traceback" not in chat.text


async def test_bytes_that_are_no_utf_8_are_sent_as_what_they_are_seen_as(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        model.will_say("Seen.")
        chat.type(b"caf\xe9 \xff \x1b[200~pasted \xfe\x1b[201~\r")
        await chat.sees("Seen.")

        assert model.requests[0]["messages"][-1]["content"] == "caf\ufffd \ufffd pasted \ufffd"


async def test_a_terminal_of_another_encoding_shows_what_it_has_letters_for(tmp_path: Path) -> None:
    environ = {"LANG": "", "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    async with Model() as model, Chatting(model, home=tmp_path, environ=environ) as chat:
        await chat.ready()
        model.will_say("A caf\u00e9, 1 \u2192 2.")
        chat.say("Go")
        await chat.sees("A caf?, 1 ? 2.")

        assert "Traceback" not in chat.text
