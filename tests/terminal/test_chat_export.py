"""`/export` and `/save`: the contents of the file of a chat, and its place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model

HOSTILE = (
    "**set** <script>alert(1)</script> \x1b]0;owned\x07 [x](javascript:alert(1))\n\n```py\n1 <"
)
PIXEL = b"\x89PNG\r\n\x1a\n" + b"\0" * 24


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    async with Model() as model:
        yield model


@pytest.fixture
async def chat(model: Model, tmp_path: Path) -> AsyncIterator[Chatting]:
    async with Chatting(model, home=tmp_path, rows=40, columns=160) as chat:
        await chat.ready()
        yield chat


async def exchange(chat: Chatting, model: Model, message: str, answer: str) -> None:
    """Send a message, answer it, and wait for the end of the answer."""
    model.will_say(answer)
    chat.say(message)
    await chat.sees("10 in, 5 out")


@pytest.mark.slow
async def test_a_page_is_set_and_nothing_in_it_runs(
    chat: Chatting, model: Model, tmp_path: Path
) -> None:
    await exchange(chat, model, "About bees", HOSTILE)
    chat.say("/export html")
    await chat.sees(f"2 messages are in {tmp_path / 'About-bees.html'}")
    page = (tmp_path / "About-bees.html").read_text()

    assert "<strong>set</strong>" in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert 'href="javascript' not in page
    assert "\x1b" not in page
    assert chat.foreign == []


@pytest.mark.slow
async def test_markdown_tells_the_model_and_files_by_name(
    chat: Chatting, model: Model, tmp_path: Path
) -> None:
    (tmp_path / "bee.png").write_bytes(PIXEL)
    await exchange(chat, model, "What is @bee.png ?", "A bee.")
    chat.say("/save talk.md")
    await chat.sees("2 messages are in")
    text = (tmp_path / "talk.md").read_text()

    assert "Attached: `bee.png`" in text
    assert "## Assistant (told), " in text
    assert "A bee." in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kept", '"kept"', "~/kept", "md kept"])
async def test_in_a_folder_a_file_is_called_by_the_title(
    chat: Chatting, model: Model, tmp_path: Path, name: str
) -> None:
    (tmp_path / "kept").mkdir()
    await exchange(chat, model, "About bees", "They hum.")
    chat.say(f"/export {name}")
    await chat.sees(f"2 messages are in {tmp_path / 'kept/About-bees.md'}")

    assert "They hum." in (tmp_path / "kept/About-bees.md").read_text()


async def test_where_nothing_was_said_nothing_is_written(chat: Chatting, tmp_path: Path) -> None:
    chat.say("/save talk.md")
    await chat.sees("This thread has no messages yet")

    assert not (tmp_path / "talk.md").exists()


@pytest.mark.slow
async def test_a_form_that_there_is_not_is_no_file(
    chat: Chatting, model: Model, tmp_path: Path
) -> None:
    await exchange(chat, model, "About bees", "They hum.")
    chat.say("/export pdf")
    await chat.sees("pdf is neither a form nor a file's whole name")

    assert not (tmp_path / "pdf").exists()
