"""Tools of requests for responses in namespaces, and responses that are not stored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from msgspec.structs import replace

from antiphon import AsyncClient
from antiphon.testing.script import Script
from tests.server.openai_place import Place
from tests.support.server.served import SETTINGS, serve

CREW = {
    "type": "namespace",
    "name": "crew",
    "description": "Other agents.",
    "tools": [
        {
            "type": "function",
            "name": "spawn",
            "description": "Start an agent.",
            "parameters": {"type": "object", "properties": {"task": {"type": "string"}}},
        },
        {"type": "custom", "name": "tell", "description": "Tell all agents."},
    ],
}


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    script = Script()
    async with (
        serve(replace(SETTINGS, model=script.model)) as server,
        AsyncClient(server.url) as native_client,
    ):
        place = Place(server, script, native_client)
        async with place.client:
            yield place


async def create(place: Place, input: Any, **options: Any) -> Any:
    return await place.client.responses.create(model=place.script.model, input=input, **options)


async def test_calls_of_a_namespace_come_and_go_with_its_name(place: Place) -> None:
    place.script.calls(("crew__spawn", {"task": "x"}), ("crew__tell", {"input": "Hi."}))
    place.script.reply("Done.").reply("Done again.")
    question = {"role": "user", "content": "Start one."}

    first = await create(place, [question], tools=[CREW])
    outputs = [
        {"type": f"{call.type}_output", "call_id": call.call_id, "output": "fine"}
        for call in first.output
    ]
    second = await create(place, outputs, tools=[CREW], previous_response_id=first.id)
    full_input = [question, *json.loads(first.to_json())["output"], *outputs]
    await create(place, full_input, tools=[CREW], store=False)

    assert [(call.type, call.namespace, call.name) for call in first.output] == [
        ("function_call", "crew", "spawn"),
        ("custom_tool_call", "crew", "tell"),
    ]
    assert first.tools[0].name == "crew"
    assert second.output_text == "Done."
    assert [(tool.name, tool.description) for tool in place.script.requests[0].tools] == [
        ("crew__spawn", "Start an agent."),
        ("crew__tell", "Tell all agents."),
    ]
    sent_names = [
        [
            call["function"]["name"]
            for message in messages
            for call in message.get("tool_calls") or ()
        ]
        for messages in (request.decode_messages() for request in place.script.requests[1:])
    ]
    assert sent_names == [["crew__spawn", "crew__tell"]] * 2


async def test_calls_of_a_namespace_are_the_same_in_events_and_when_retrieved(
    place: Place,
) -> None:
    place.script.call("crew__spawn", task="x")

    events = [event async for event in await create(place, "Go.", tools=[CREW], stream=True)]

    (call,) = events[-1].response.output
    done_events = [
        event for event in events if event.type == "response.function_call_arguments.done"
    ]
    assert (call.namespace, call.name, done_events[0].name) == ("crew", "spawn", "spawn")
    retrieved = await place.client.responses.retrieve(events[-1].response.id)
    assert retrieved.output == [call]


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({"type": "namespace", "name": "a"}, "tools[0].tools"),
        ({"type": "namespace", "name": "a", "tools": [1]}, "tools[0].tools[0]"),
        ({"type": "namespace", "name": "a b", "tools": CREW["tools"]}, "tools[0].name"),
        ({"type": "namespace", "name": "a", "tools": [{"type": "mcp"}]}, "tools[0].tools[0]"),
    ],
)
async def test_a_namespace_that_is_none_is_refused(
    place: Place, tool: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as excinfo:
        await create(place, "Go.", tools=[tool])

    assert excinfo.value.param == param


async def test_a_response_that_is_not_stored_is_not_found_even_at_once(place: Place) -> None:
    place.script.reply("Hello.")

    answer = await create(place, "Hello?", store=False)

    with pytest.raises(openai.NotFoundError):
        await place.client.responses.retrieve(answer.id)
