"""Hosted tools of OpenAI's API, carried out by MCP servers that the operator maps."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from msgspec.structs import replace
from openai import AsyncOpenAI

from antiphon.testing.script import Script
from tests.support.server.served import SETTINGS, serve

pytest.importorskip("mcp")

TOOL_SERVER = Path(__file__).parents[1] / "support/harness/tool_server.py"
FOUND = json.dumps([{"title": "Bees", "url": "https://bees.example/a"}])
SOURCES = "web_search_call.action.sources"


class Place:
    """A server whose MCP server `far` has one result for all calls, and OpenAI's client of it."""

    def __init__(self, client: AsyncOpenAI, script: Script) -> None:
        self.client = client
        self.script = script

    async def ask(self, *types: str, **options: Any) -> Any:
        return await self.client.responses.create(
            model=self.script.model,
            input="What do bees do?",
            tools=[{"type": each} for each in types],  # type: ignore[arg-type,misc]
            **options,
        )


@asynccontextmanager
async def open_place(
    tmp_path: Path, *hosted_tools: str, result: str = FOUND
) -> AsyncIterator[Place]:
    script = Script()
    far = ["-I", str(TOOL_SERVER), str(tmp_path / "calls"), result]
    config = tmp_path / "mcp.json"
    servers = {"far": {"command": sys.executable, "args": far, "backend": True}}
    config.write_text(json.dumps({"mcpServers": servers}))
    settings = replace(
        SETTINGS,
        model=script.model,
        backend_mcp="configured",
        config=str(config),
        hosted_tools=hosted_tools,
    )
    async with (
        serve(settings) as server,
        AsyncOpenAI(
            base_url=f"{server.url}/openai/v1", api_key="none", max_retries=0, timeout=20
        ) as client,
    ):
        yield Place(client, script)


@pytest.mark.slow
async def test_a_search_of_the_web_is_an_item_and_its_links_are_cited(tmp_path: Path) -> None:
    async with open_place(tmp_path, "web_search=far/look") as place:
        place.script.calls(("far__look", {"query": "bees"})).reply("See https://bees.example/a.")

        stream = await place.ask("web_search", stream=True, include=[SOURCES])
        stream_events = [event async for event in stream]
        response = stream_events[-1].response
        stored = await place.client.responses.retrieve(response.id, include=[SOURCES])

        assert [event.type for event in stream_events if "web_search" in event.type] == [
            "response.web_search_call.in_progress",
            "response.web_search_call.searching",
            "response.web_search_call.completed",
        ]
        search, message = response.output
        assert (search.type, search.status, search.action.query) == (
            "web_search_call",
            "completed",
            "bees",
        )
        assert [source.url for source in search.action.sources] == ["https://bees.example/a"]
        (citation,) = message.content[0].annotations
        assert (citation.type, citation.title) == ("url_citation", "Bees")
        text = message.content[0].text
        assert text[citation.start_index : citation.end_index] == "https://bees.example/a"
        (annotation_event,) = [
            e for e in stream_events if e.type == "response.output_text.annotation.added"
        ]
        assert annotation_event.annotation.to_dict() == citation.to_dict()
        assert stored.output == response.output


@pytest.mark.slow
async def test_lists_and_streams_of_a_conversation_agree(tmp_path: Path) -> None:
    async with open_place(tmp_path, "web_search=far", "code_interpreter=far/linger") as place:
        place.script.calls(("far__look", {"query": "bees"})).reply("See https://bees.example/a.")
        place.script.reply("I said https://bees.example/a.")
        conversation = (await place.client.conversations.create()).id

        first = await place.ask("web_search_preview", conversation=conversation)
        second = await place.ask("web_search_preview", conversation=conversation)
        page = await place.client.conversations.items.list(conversation, order="asc")

        items = [item.to_dict() for item in page.data if getattr(item, "role", "") != "user"]
        assert items == [item.to_dict() for item in (*first.output, *second.output)]
        assert second.output[0].content[0].annotations == []  # it made no search itself
        for item in page.data:
            single_item = await place.client.conversations.items.retrieve(
                item.id, conversation_id=conversation
            )
            assert single_item == item


@pytest.mark.slow
async def test_a_program_is_an_item_with_its_code(tmp_path: Path) -> None:
    async with open_place(tmp_path, "code_interpreter=far/look") as place:
        for _ in range(2):
            place.script.calls(("far__look", {"code": "1 + 1"})).reply("2.")

        stream = await place.ask("code_interpreter", stream=True)
        stream_events = [event async for event in stream]

        steps = [event.type for event in stream_events if "code_interpreter" in event.type]
        assert [step.removeprefix("response.code_interpreter_call") for step in steps] == [
            ".in_progress",
            "_code.delta",
            "_code.done",
            ".interpreting",
            ".completed",
        ]
        call = stream_events[-1].response.output[0]
        assert (call.type, call.code, call.container_id) == (
            "code_interpreter_call",
            "1 + 1",
            "far",
        )
        assert call.outputs is None
        response = await place.ask("code_interpreter", include=["code_interpreter_call.outputs"])
        assert [output.logs for output in response.output[0].outputs] == [FOUND]


@pytest.mark.slow
@pytest.mark.parametrize(
    "choice",
    [
        {"type": "web_search_preview"},
        {"type": "mcp", "server_label": "far", "name": "look"},
        {"type": "mcp", "server_label": "far"},
        "required",
    ],
)
async def test_a_search_can_be_forced_and_the_answer_still_comes(
    tmp_path: Path, choice: Any
) -> None:
    async with open_place(tmp_path, "web_search=far/look") as place:
        place.script.calls(("far__look", {"query": "bees"})).reply("Buzz.")

        response = await place.ask("web_search", tool_choice=choice)

        names_tool = isinstance(choice, dict) and choice != {"type": "mcp", "server_label": "far"}
        first, second = place.script.requests
        assert (first.sampling.chosen_tool == "far__look") == names_tool
        assert first.sampling.forces_call
        assert not second.sampling.forces_call
        assert response.output_text == "Buzz."


async def test_a_picture_comes_inside_its_item(tmp_path: Path) -> None:
    async with open_place(tmp_path, "image_generation=far/look", result="picture") as place:
        place.script.calls(("far__look", {"prompt": "a bee"})).reply("Here it is.")
        conversation = (await place.client.conversations.create()).id

        stream = await place.ask("image_generation", stream=True, conversation=conversation)
        stream_events = [event async for event in stream]
        response = stream_events[-1].response

        steps = [event.type for event in stream_events if "image_generation" in event.type]
        assert [step.removeprefix("response.image_generation_call.") for step in steps] == [
            "in_progress",
            "generating",
            "completed",
        ]
        picture = response.output[0]
        assert (picture.type, picture.status) == ("image_generation_call", "completed")
        assert base64.b64decode(picture.result).startswith(b"\x89PNG")
        stored = await place.client.responses.retrieve(response.id)
        assert stored.output == response.output
        replay = await place.client.responses.retrieve(response.id, stream=True)
        assert [event async for event in replay] == stream_events
        items = (await place.client.conversations.items.list(conversation, order="asc")).data
        assert [item.to_dict() for item in items[1:]] == [
            item.to_dict() for item in response.output
        ]


async def test_what_is_not_mapped_is_refused_with_what_to_set(tmp_path: Path) -> None:
    async with open_place(tmp_path, "web_search=far/look") as place:
        for kind in ("file_search", "code_interpreter", "image_generation"):
            with pytest.raises(openai.BadRequestError, match="hosted_tools") as excinfo:
                await place.ask(kind)
            assert excinfo.value.param == "tools[0]"


async def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with open_place(tmp_path, "web_search=near") as place:
        with pytest.raises(openai.BadRequestError, match="There is no MCP server near"):
            await place.ask("web_search")


async def test_a_chat_searches_the_web_and_cites_what_it_found(tmp_path: Path) -> None:
    async with open_place(tmp_path, "web_search=far/look") as place:
        options: Any = {
            "model": place.script.model,
            "messages": [{"role": "user", "content": "What do bees do?"}],
            "web_search_options": {"search_context_size": "low"},
        }
        for _ in range(2):
            place.script.calls(("far__look", {"query": "bees"})).reply(
                "See https://bees.example/a."
            )

        choice = (await place.client.chat.completions.create(**options)).choices[0]
        chunks = [
            c async for c in await place.client.chat.completions.create(**options, stream=True)
        ]

        (annotation,) = choice.message.annotations or ()
        url_citation = annotation.url_citation
        assert (url_citation.title, url_citation.url) == ("Bees", "https://bees.example/a")
        assert choice.message.content is not None
        assert (
            choice.message.content[url_citation.start_index : url_citation.end_index]
            == url_citation.url
        )
        assert choice.message.tool_calls is None
        last: Any = chunks[-1].choices[0]
        assert last.finish_reason == "stop"
        assert last.delta.annotations == [annotation.to_dict()]


async def test_a_chat_that_searches_is_refused_where_no_server_does(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        with pytest.raises(openai.BadRequestError, match="web_search=SERVER/TOOL") as excinfo:
            await place.client.chat.completions.create(
                model=place.script.model,
                messages=[{"role": "user", "content": "What do bees do?"}],
                web_search_options={},
            )

        assert excinfo.value.param == "web_search_options"
