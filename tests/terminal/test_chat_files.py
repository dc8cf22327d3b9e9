"""Files that go along with a message of the chat."""

from __future__ import annotations

from pathlib import Path

import docx
import pytest

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32


async def test_a_file_that_is_mentioned_goes_along(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("buy milk")
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("Read @notes.txt")
        reply = await model.next_request()
        await reply.answer("Milk.")
        await chat.sees("with notes.txt (8 bytes)")

        assert "buy milk" in str(reply.messages[-1]["content"])


async def test_a_file_that_cannot_be_sent_keeps_the_message_in_the_line(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("Read @gone.txt")
        await chat.sees("there is no file gone.txt")
        await chat.until(lambda: any(row.startswith("> Read @gone.txt") for row in chat.rows))
        (tmp_path / "gone.txt").write_text("here again")
        chat.press("enter")
        reply = await model.next_request()
        await reply.answer("So it is.")

        assert "here again" in str(reply.messages[-1]["content"])


@pytest.mark.slow
async def test_attached_files_go_along_with_the_next_message_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "my notes.txt").write_text("buy milk")
    (tmp_path / "more.md").write_text("and bread")
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("/attach")
        await chat.sees("Nothing goes along yet")
        chat.say('/attach "my notes.txt" more.md')
        await chat.sees("my notes.txt (8 bytes), more.md (9 bytes)")
        chat.say("What is to buy?")
        reply = await model.next_request()
        await reply.answer("Two things.")
        await chat.sees("Two things.")
        model.will_say("None.")
        chat.say("And now?")
        await chat.sees("None.")
        sent_text = str(reply.messages[-1]["content"])

        assert "buy milk" in sent_text
        assert "and bread" in sent_text
        assert model.requests[-1]["messages"][-1]["content"] == "And now?"


async def test_what_was_attached_can_be_dropped(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("buy milk")
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("/attach notes.txt")
        await chat.sees("notes.txt (8 bytes)")
        chat.say("/attach clear")
        await chat.sees("Nothing goes along with the next message.")
        model.will_say("Yes.")
        chat.say("Alone?")
        await chat.sees("Yes.")

        assert model.requests[-1]["messages"][-1]["content"] == "Alone?"


@pytest.mark.slow
async def test_only_pictures_are_taken_for_pictures(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("buy milk")
    (tmp_path / "cat.png").write_bytes(PNG)
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("/image notes.txt")
        await chat.sees("notes.txt is no picture")
        chat.say("/image cat.png")
        await chat.sees("cat.png (40 bytes)")
        chat.say("Who is it?")
        reply = await model.next_request()
        await reply.answer("A cat.")
        kinds = [part["type"] for part in reply.messages[-1]["content"]]

        assert kinds == ["text", "image_url"]


@pytest.mark.slow
async def test_an_attached_document_is_read_and_can_be_searched(tmp_path: Path) -> None:
    document = docx.Document()
    document.add_paragraph("Vacation takes thirty days.")
    document.save(str(tmp_path / "rules.docx"))
    async with (
        Model() as model,
        Chatting(model, "--tools", "antiphon.tools.builtin:calculate", home=tmp_path) as chat,
    ):
        await chat.ready()
        chat.say("How many days? @rules.docx")
        reply = await model.next_request()
        names = {tool["function"]["name"] for tool in reply.body["tools"]}
        assert {"search_documents", "read_document"} <= names
        assert "Vacation takes thirty days." in str(reply.messages[-1]["content"])
        await reply.call("search_documents", '{"query": "vacation"}', id="call_1")
        await reply.end("tool_calls")
        reply = await model.next_request()
        assert '"page":1' in reply.messages[-1]["content"].replace(" ", "")
        await reply.answer("Thirty.")
        await chat.sees("Thirty.")
