"""Tools that search and read documents: their scope and their results."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from antiphon.client.async_client import AsyncClient
from antiphon.client.document_tools import DocumentTools
from antiphon.settings.settings import Settings
from antiphon.types.messages import File, Image, Text, ToolCall, ToolResult

pytestmark = pytest.mark.processes

SETTINGS = Settings(model="demo", database="memory:", demo_delay=0, shutdown_timeout=0.1)


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    async with AsyncClient(settings=SETTINGS) as client:
        yield client


async def add(client: AsyncClient, text: str, name: str) -> str:
    """Upload a text, and wait until it is read."""
    upload = await client.upload_file(text.encode(), name)
    async with asyncio.timeout(120):
        while (document := (await client.get_file(upload.id)).document) is None or (
            document.status == "pending"
        ):
            await asyncio.sleep(0.02)
    return upload.id


async def call(tools: DocumentTools, name: str, **arguments: Any) -> ToolResult:
    return await tools.toolbox.call(ToolCall("call_1", name, json.dumps(arguments)))


@pytest.mark.slow
async def test_a_model_searches_and_reads_only_what_its_conversation_has(
    client: AsyncClient,
) -> None:
    assistant_file = await add(client, "Vacation takes thirty days.", "rules.txt")
    folder_file = await add(client, "Vacation in the folder.", "folder.txt")
    attached_file = await add(client, "Vacation as it was attached.", "attached.txt")
    hidden_file = await add(client, "Vacation of the board.", "secret.txt")
    folder = await client.create_folder("Work", file_ids=[folder_file])
    assistant = await client.create_assistant("clerk", file_ids=[assistant_file])
    thread = await client.create_thread(folder_id=folder.id)
    await client.create_message(thread.id, (Text("Read it."), File(file_id=attached_file)))

    tools = DocumentTools(client.transport, thread.id, assistant.id)
    search = json.loads((await call(tools, "search_documents", query="vacation")).output)
    page = json.loads((await call(tools, "read_document", file=f"{assistant_file}#1")).output)
    by_name = await call(tools, "read_document", file="attached.txt", page=1)
    refusal = await call(tools, "read_document", file=hidden_file)
    beyond_end = await call(tools, "read_document", file="rules.txt", page=2)

    assert {each["file"] for each in search["results"]} == {
        "rules.txt",
        "folder.txt",
        "attached.txt",
    }
    assert page == {
        "source": f"{assistant_file}#1",
        "file": "rules.txt",
        "page": 1,
        "pages": 1,
        "text": "Vacation takes thirty days.",
    }
    assert "as it was attached" in by_name.output
    assert refusal.is_error
    assert "secret" not in refusal.output
    assert beyond_end.is_error
    assert "has no page 2" in beyond_end.output


async def test_a_text_that_looks_like_an_attachment_brings_no_file_into_the_search(
    client: AsyncClient,
) -> None:
    hidden = await client.upload_file(b"Vacation of the board.", "secret.txt")
    picture = await client.upload_file(b"A picture.", "a.png")
    thread = await client.create_thread()
    address = f"antiphon:{hidden.id}"
    part = f'"file":{{"file_id":"{address}"}}'
    for text in (address, part, f'"{part}"', f'\\"file\\":{{\\"file_id\\":\\"{address}\\"}}'):
        await client.create_message(thread.id, text)
        await client.create_message(thread.id, (Text(text), Image(file_id=picture.id)))

    files = await client.list_files(thread_id=thread.id)

    assert [each.name for each in files.data] == ["a.png"]


async def test_tools_are_offered_only_where_there_are_documents(client: AsyncClient) -> None:
    thread = await client.create_thread()
    tools = DocumentTools(client.transport, thread.id, None)
    assert await tools.specs() == ()
    empty_file = await add(client, "", "empty.txt")
    await client.create_message(thread.id, (Text("This?"), File(file_id=empty_file)))
    assert await tools.specs() == ()
    file_id = await add(client, "Hello", "hello.txt")
    await client.create_message(thread.id, (Text("This?"), File(file_id=file_id)))
    assert [spec.name for spec in await tools.specs()] == ["search_documents", "read_document"]
    await client.delete_file(file_id)
    assert await tools.specs() == ()


async def test_a_search_without_a_match_names_the_documents(client: AsyncClient) -> None:
    file_id = await add(client, "Hello", "hello.txt")
    assistant = await client.create_assistant("clerk", file_ids=[file_id])
    tools = DocumentTools(client.transport, None, assistant.id)
    answer = json.loads((await call(tools, "search_documents", query="zebra")).output)
    assert answer == {
        "results": [],
        "note": "No page has these words. The documents are: hello.txt.",
    }
