"""Folders of threads, in a chat: moved, begun in one, picked from one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon.client.async_client import AsyncClient
from antiphon.settings.settings import Settings
from antiphon.types.folders import Folder
from antiphon.types.runs import Thread
from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model

HOSTILE = "\u05e9\u05dc\u05d5\u05dd <b>"


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    async with Model() as model:
        yield model


@pytest.fixture
async def chat(model: Model, tmp_path: Path) -> AsyncIterator[Chatting]:
    async with Chatting(model, home=tmp_path, rows=50) as chat:
        await chat.ready()
        yield chat


def open_client(home: Path) -> AsyncClient:
    database = f"sqlite:///{home}/data/antiphon/antiphon.db"
    return AsyncClient(settings=Settings(database=database, model="demo"))


async def list_stored(home: Path) -> tuple[list[Folder], list[Thread]]:
    """Return the folders and the threads of the chat's runtime, newest first."""
    async with open_client(home) as client:
        return list((await client.list_folders()).data), list((await client.list_threads()).data)


async def exchange(chat: Chatting, model: Model, message: str) -> str:
    """Exchange a message and its answer; return the instructions that the model was given."""
    footers = chat.text.count("10 in, 5 out")
    chat.say(message)
    reply = await model.next_request()
    await reply.answer("Yes.")
    await chat.until(lambda: chat.text.count("10 in, 5 out") > footers)
    first = reply.messages[0]
    return str(first["content"]) if first["role"] == "system" else ""


@pytest.mark.slow
async def test_a_thread_begins_in_a_folder_leaves_it_and_models_read_its_instructions(
    chat: Chatting, model: Model, tmp_path: Path
) -> None:
    async with open_client(tmp_path) as client:
        await client.create_folder("Taxes", "Name the paragraph.")
    chat.say("/folder taxes")
    await chat.sees("This thread is in the folder Taxes, once it has begun. Models read its")
    assert "<folder_instructions name=" in await exchange(chat, model, "What may I deduct?")
    chat.say("/folder none")
    await chat.sees("This thread is in no folder.")
    assert await exchange(chat, model, "And now?") == ""
    chat.say(f"/folder new {HOSTILE}")
    await chat.until(lambda: chat.text.count("This thread is in the folder") == 2)

    folders, (thread,) = await list_stored(tmp_path)
    assert {folder.name for folder in folders} == {"Taxes", HOSTILE}
    assert thread.folder_id == next(each.id for each in folders if each.name == HOSTILE)
    chat.say("/folder gone")
    await chat.sees("There is no folder 'gone'")
    chat.say("/folder new")
    await chat.sees("A name is missing")
    chat.say("/folder new \u200b")
    await chat.sees("The name of a folder is text on one line")


@pytest.mark.slow
async def test_folders_are_listed_completed_and_their_threads_picked(
    chat: Chatting, model: Model
) -> None:
    chat.say("/folder")
    await chat.sees("There is no folder. /folder new NAME creates one.")
    await exchange(chat, model, "Say pancakes")
    chat.say("/new")
    await chat.sees("A new thread begins")
    await exchange(chat, model, "Say deductions")
    chat.type("/folder ne")
    await chat.sees("a folder that is created")
    chat.type("w Taxes\r")
    await chat.sees("This thread is in the folder Taxes.")
    chat.say("/folder")
    await chat.sees("Taxes  (here)")
    chat.say("/threads folder taxes")
    await chat.sees("/resume NUMBER continues one.")
    chat.say("/resume folder Taxes")
    await chat.sees("Search in Taxes:")
    await chat.until(lambda: any("(1)" in row for row in chat.rows))
    rows = "\n".join(chat.rows)
    picker_rows = rows[rows.index("Type to search") :]

    assert "deductions" in picker_rows
    assert "pancakes" not in picker_rows
