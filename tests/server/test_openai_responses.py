"""Responses, as the official Python client sees them."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pydantic
import pytest
from msgspec.structs import replace

from antiphon import AsyncClient
from antiphon.server.streaming import StreamTimeouts
from antiphon.testing.script import Script
from antiphon.types.runs import McpServer, Status
from tests.server.openai_place import Place
from tests.support.server.served import SETTINGS, eventually, serve

TOOL_SERVER = Path(__file__).parents[1] / "support/harness/tool_server.py"
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGA"
    "hKmMIQAAAABJRU5ErkJggg=="
)
HELLO: list[Any] = [{"role": "user", "content": "Hello?"}]
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@asynccontextmanager
async def open_place(script: Script, **settings: Any) -> AsyncIterator[Place]:
    async with (
        serve(replace(SETTINGS, model=script.model, **settings)) as server,
        AsyncClient(server.url) as native_client,
    ):
        place = Place(server, script, native_client)
        async with place.client:
            yield place


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with open_place(Script()) as place:
        yield place


async def stream(place: Place, **options: Any) -> list[Any]:
    fields = {"model": place.script.model, "stream": True, **options}
    return [event async for event in await place.client.responses.create(**fields)]


async def ask(place: Place, input: Any, **options: Any) -> Any:
    fields = {"model": place.script.model, **options}
    return await place.client.responses.create(input=input, **fields)


def output(call_id: str, text: str) -> dict[str, str]:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def plain(value: Any) -> Any:
    return json.loads(value.to_json())


# Answers.


async def test_an_answer_comes_as_a_whole(place: Place) -> None:
    place.script.reply("Hello.", reasoning="A greeting.", tokens=(7, 2))

    answer = await ask(place, "Hello?", metadata={"a": "b"}, safety_identifier="ann")

    assert answer.output_text == "Hello."
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.output[0].summary[0].text == "A greeting."
    assert (answer.status, answer.usage.total_tokens) == ("completed", 9)
    assert (answer.metadata, answer.safety_identifier) == ({"a": "b"}, "ann")
    retrieved = await place.client.responses.retrieve(answer.id)
    assert plain(retrieved) == plain(answer)


async def test_an_answer_comes_in_events_that_agree_with_the_stored_one(place: Place) -> None:
    place.script.reply("Hello, you.", reasoning="A greeting.", tokens=(7, 2))

    events = await stream(place, input="Hello?")

    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:3]] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
    ]
    deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
    assert "".join(deltas) == "Hello, you."
    response = events[-1].response
    assert plain(await place.client.responses.retrieve(response.id)) == plain(response)
    items = [event.item for event in events if event.type == "response.output_item.done"]
    assert [plain(item) for item in items] == [plain(item) for item in response.output]


async def test_a_stored_response_can_be_followed_from_every_number(place: Place) -> None:
    place.script.reply("Hello, you there.", reasoning="A greeting.", tokens=(7, 2))
    events = await stream(place, input="Hello?")
    own_id = events[-1].response.id

    for number in range(len(events)):
        replay = await place.client.responses.retrieve(own_id, stream=True, starting_after=number)
        assert [plain(each) async for each in replay] == [plain(e) for e in events[number + 1 :]]
    full_replay = await place.client.responses.retrieve(own_id, stream=True)
    assert [plain(each) async for each in full_replay] == [plain(event) for event in events]
    with pytest.raises(openai.BadRequestError, match="has no event"):
        await place.client.responses.retrieve(own_id, stream=True, starting_after=len(events))
    async with place.client.responses.stream(response_id=own_id, starting_after=3) as helper:
        assert [each.sequence_number async for each in helper] == list(range(4, len(events)))


async def test_a_response_in_the_background_is_answered_at_once_and_read_later() -> None:
    async with open_place(Script(), demo_delay=0.01) as place:
        fields = {"model": "demo", "input": "60 words", "background": True}

        first = await place.client.responses.create(**fields)
        stream_again = await place.client.responses.retrieve(first.id, stream=True)
        events = [event async for event in stream_again]

        assert first.status == "queued"
        types = [event.type for event in events[:3]]
        assert types == ["response.created", "response.queued", "response.in_progress"]
        assert events[-1].type == "response.completed"
        retrieved = await place.client.responses.retrieve(first.id)
        assert plain(retrieved) == plain(events[-1].response)
        assert len(retrieved.output_text.split()) >= 60


async def test_a_stored_response_survives_its_reader_and_one_that_is_not_ends() -> None:
    async with open_place(Script(), demo_delay=0.01) as place:
        for store in (True, False):
            fields = {"model": "demo", "input": "60 words", "store": store}
            events = await place.client.responses.create(**fields, stream=True)
            begun_response = (await anext(aiter(events))).response
            await events.close()
            if store:
                stream_again = await place.client.responses.retrieve(begun_response.id, stream=True)
                last = [event async for event in stream_again][-1]
                assert last.type == "response.completed"
        await place.wait_for_deletion()
        assert len((await place.native_client.list_runs()).data) == 1


async def test_a_response_that_is_not_stored_leaves_nothing_but_usage(place: Place) -> None:
    place.script.reply("Hello.", tokens=(7, 2))

    answer = await ask(place, "Hello?", store=False)

    assert (answer.output_text, answer.store) == ("Hello.", False)
    await place.wait_for_deletion()
    with pytest.raises(openai.NotFoundError):
        await place.client.responses.retrieve(answer.id)
    (row,) = (await place.native_client.get_usage(days=1)).rows
    assert (row.runs, row.input_tokens, row.output_tokens) == (1, 7, 2)


# Tools.


async def test_calls_are_handed_over_and_their_outputs_continue_the_run(place: Place) -> None:
    place.script.calls(("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"}), text="So.")
    place.script.reply("Rain and sun.")

    events = await stream(place, input="Oslo and Rome?", tools=[WEATHER])
    first = events[-1].response
    calls = [item for item in first.output if item.type == "function_call"]
    deltas = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    final = await ask(
        place,
        [output(call.call_id, text) for call, text in zip(calls, ("rain", "sun"), strict=True)],
        previous_response_id=first.id,
        tools=[WEATHER],
    )

    assert first.status == "completed"
    assert "".join(deltas) == "".join(call.arguments for call in calls)
    assert [json.loads(call.arguments)["city"] for call in calls] == ["Oslo", "Rome"]
    assert (final.output_text, final.previous_response_id) == ("Rain and sun.", first.id)
    assert [item.type for item in final.output] == ["message"]
    (run,) = (await place.native_client.list_runs()).data
    assert run.status is Status.COMPLETED
    assert [message["role"] for message in place.script.messages] == [
        "user",
        "assistant",
        "tool",
        "tool",
    ]
    assert plain(await place.client.responses.retrieve(first.id)) == plain(first)
    assert plain(await place.client.responses.retrieve(final.id)) == plain(final)
    input_items = await place.client.responses.input_items.list(final.id, order="asc")
    assert [(item.type, item.output) for item in input_items.data] == [
        ("function_call_output", "rain"),
        ("function_call_output", "sun"),
    ]


async def test_every_response_of_a_run_can_be_followed_from_every_number(place: Place) -> None:
    place.script.calls(("weather", {"city": "Oslo"}), text="So.").reply("Rain.")
    first = await stream(place, input="Oslo?", tools=[WEATHER])
    (call,) = [i for i in first[-1].response.output if i.type == "function_call"]
    second = await stream(
        place,
        input=[output(call.call_id, "rain")],
        previous_response_id=first[-1].response.id,
        tools=[WEATHER],
    )

    for events in (first, second):
        for number in range(-1, len(events)):
            options = {} if number < 0 else {"starting_after": number}
            own_id = events[-1].response.id
            replay = await place.client.responses.retrieve(own_id, stream=True, **options)
            assert [plain(each) async for each in replay] == [
                plain(e) for e in events[number + 1 :]
            ]


async def test_a_custom_tool_gets_its_input_as_text(place: Place) -> None:
    patch = 'say "hi"\n\\ünd \U0001f600\n'
    place.script.call("patch", input=patch).reply("Done.")
    tool = {"type": "custom", "name": "patch", "description": "Patches."}

    events = await stream(place, input="Patch it.", tools=[tool])
    (call,) = events[-1].response.output
    deltas = [e.delta for e in events if e.type == "response.custom_tool_call_input.delta"]
    answer = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "ok"}
    final = await ask(place, [answer], previous_response_id=events[-1].response.id, tools=[tool])

    assert (call.type, call.input, "".join(deltas)) == ("custom_tool_call", patch, patch)
    assert final.output_text == "Done."


@pytest.mark.parametrize("changes", [{"tools": [WEATHER], "temperature": 0.5}, {}])
async def test_a_request_for_something_else_ends_the_run_and_begins_another(
    place: Place, changes: dict[str, Any]
) -> None:
    place.script.call("weather", city="Oslo").reply("Rain.")
    first = await ask(place, "Oslo?", tools=[WEATHER])

    final = await ask(
        place,
        [output(first.output[0].call_id, "rain")],
        previous_response_id=first.id,
        **changes,
    )

    assert final.output_text == "Rain."
    runs = (await place.native_client.list_runs()).data
    assert [run.status for run in runs] == [Status.COMPLETED, Status.CANCELLED]
    assert (await place.client.responses.retrieve(first.id)).status == "completed"
    assert place.script.messages[-1]["content"] == "rain"


async def test_what_was_said_goes_on_from_the_response_that_is_named(place: Place) -> None:
    place.script.reply("One.").reply("Two.").reply("Three.").reply("Four.")
    first = await ask(place, "First?")
    second = await ask(place, "Second?", previous_response_id=first.id)

    third = await ask(place, "Third?", previous_response_id=first.id)
    fourth = await ask(place, "Fourth?", previous_response_id=second.id, store=False)

    texts = [[m["content"] for m in r.decode_messages()] for r in place.script.requests]
    assert texts[1] == ["First?", "One.", "Second?"]
    assert texts[2] == ["First?", "One.", "Third?"]
    assert texts[3] == ["First?", "One.", "Second?", "Two.", "Fourth?"]
    assert (third.output_text, fourth.output_text) == ("Three.", "Four.")
    await place.wait_for_deletion()
    assert len((await place.native_client.list_threads()).data) == 2


async def test_a_fork_takes_calls_and_outputs_along(place: Place) -> None:
    place.script.call("weather", city="Oslo").reply("Rain.").reply("Snow.")
    first = await ask(place, "Oslo?", tools=[WEATHER])
    call_id = first.output[0].call_id
    options: dict[str, Any] = {"previous_response_id": first.id, "tools": [WEATHER]}
    await ask(place, [output(call_id, "rain")], **options)

    other_answer = await ask(place, [output(call_id, "snow")], **options)

    assert other_answer.output_text == "Snow."
    assert [m.get("content") for m in place.script.messages] == ["Oslo?", None, "snow"]
    with pytest.raises(openai.BadRequestError, match="No tool call found"):
        await ask(place, [output("call_other", "x")], **options)


async def test_outputs_that_are_missing_or_of_no_call_are_refused(place: Place) -> None:
    place.script.calls(("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"}))
    first = await ask(place, "Oslo and Rome?", tools=[WEATHER])
    first_output = output(first.output[0].call_id, "rain")
    options: dict[str, Any] = {"previous_response_id": first.id, "tools": [WEATHER]}

    for sent_outputs, message in (
        ([first_output], "No tool output found for function call"),
        ([], "No tool output found for function call"),
        ([output("call_x", "rain")], "No tool call found for function call output"),
        ([first_output, {**first_output, "output": "sun"}], "two different outputs"),
    ):
        with pytest.raises(openai.BadRequestError, match=message) as excinfo:
            await ask(place, sent_outputs, **options)
        assert excinfo.value.response.headers.get("x-should-retry") != "true"
    with pytest.raises(openai.BadRequestError, match="No tool call found"):
        await ask(place, [first_output])
    call = {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"}
    with pytest.raises(openai.BadRequestError, match="No tool output found"):
        await ask(place, [{"role": "user", "content": "?"}, call])


async def test_a_question_instead_of_outputs_leaves_the_calls_behind(place: Place) -> None:
    place.script.call("weather", city="Oslo").reply("Fine.")
    first = await ask(place, "Oslo?", tools=[WEATHER])

    final = await ask(place, "Never mind.", previous_response_id=first.id, tools=[WEATHER])

    assert final.output_text == "Fine."
    assert (await place.client.responses.retrieve(first.id)).status == "completed"
    await forget_events(place)
    retrieved = await place.client.responses.retrieve(first.id)
    assert {**plain(retrieved), "usage": 0} == {**plain(first), "usage": 0}


async def forget_events(place: Place) -> None:
    """Let the events of all runs that have ended pass their retention."""
    store = place.server.runtime.store
    await store.delete_expired(await store.now() + 1, 0)


async def test_a_turn_that_begins_again_keeps_what_was_void_apart(place: Place) -> None:
    place.script.calls(("nothing", {}), text="I try.").reply("Sorry.").reply("Yes.")

    events = await stream(place, input="Hello?", tools=[WEATHER])

    response = events[-1].response
    void_item, item = (e.item for e in events if e.type == "response.output_item.done")
    assert (void_item.status, void_item.content[0].text) == ("incomplete", "I try.")
    assert (response.output, response.output_text) == ([item], "Sorry.")
    (restart_event,) = [event for event in events if event.type == "antiphon:turn.restarted"]
    assert restart_event.item_ids == [void_item.id]
    assert plain(await place.client.responses.retrieve(response.id)) == plain(response)
    async with place.client.responses.stream(response_id=response.id) as helper:
        assert (await helper.get_final_response()).output_text == "Sorry."
    await ask(place, [{"type": "item_reference", "id": item.id}, *HELLO])
    assert place.script.messages[0]["content"] == "Sorry."


async def test_two_questions_at_once_do_not_cancel_each_other(place: Place) -> None:
    place.script.call("weather", city="Oslo").reply("One.").reply("Two.")
    thread = await place.native_client.create_thread()
    conversation = "conv_" + thread.id.removeprefix("thread_")
    await ask(place, "Oslo?", conversation=conversation, tools=[WEATHER])

    answers = await asyncio.gather(
        *(ask(place, text, conversation=conversation) for text in ("First?", "Second?")),
        return_exceptions=True,
    )

    for answer in answers:
        if isinstance(answer, openai.BadRequestError):
            assert answer.code == "conversation_locked"
        else:
            assert answer.status == "completed"
    statuses = [run.status for run in (await place.native_client.list_runs()).data]
    assert statuses.count(Status.CANCELLED) == 1


@pytest.mark.slow
async def test_of_many_that_continue_one_response_at_once_the_others_do_it_in_forks(
    place: Place,
) -> None:
    place.script.reply("One.")
    first = await ask(place, "First?")
    for number in range(6):
        place.script.reply(f"Reply {number}.")

    answers = await asyncio.gather(
        *(ask(place, f"Question {n}?", previous_response_id=first.id) for n in range(6))
    )

    assert all(answer.status == "completed" for answer in answers)
    texts = [[m["content"] for m in r.decode_messages()] for r in place.script.requests[1:]]
    assert sorted(texts) == [["First?", "One.", f"Question {number}?"] for number in range(6)]
    assert len((await place.native_client.list_threads()).data) == 6


async def test_outputs_that_were_added_as_items_are_read_by_the_next_response(
    place: Place,
) -> None:
    place.script.call("weather", city="Oslo").reply("Rain.", reasoning="Hm.")
    conversation = await place.client.conversations.create()
    options: dict[str, Any] = {"conversation": conversation.id, "tools": [WEATHER]}
    first = await ask(place, "Oslo?", **options)
    sent_outputs: Any = [output(first.output[0].call_id, "rain")]
    await place.client.conversations.items.create(conversation.id, items=sent_outputs)

    final = await ask(place, [], **options)

    assert final.output_text == "Rain."
    items = [i async for i in place.client.conversations.items.list(conversation.id, order="asc")]
    returned_items = [plain(item) for item in (*first.output, *final.output)]
    assert [plain(item) for item in items if plain(item) in returned_items] == returned_items
    await place.client.conversations.delete(conversation.id)
    with pytest.raises(openai.NotFoundError):
        await place.client.responses.retrieve(final.id)
    with pytest.raises(openai.BadRequestError) as excinfo:
        await ask(place, "More?", previous_response_id=final.id)
    assert excinfo.value.code == "previous_response_not_found"


async def test_the_thread_and_the_run_of_a_response_are_told_and_say_the_same(
    place: Place,
) -> None:
    place.script.reply("Hello, you.", reasoning="A greeting.")
    raw_response = await place.client.responses.with_raw_response.create(
        model=place.script.model, input="Hello?"
    )

    answer = raw_response.parse()

    _, reply = (
        await place.native_client.list_messages(raw_response.headers["antiphon-thread"])
    ).data
    assert reply.run_id == raw_response.headers["antiphon-run"]
    assert (reply.reasoning, reply.text) == ("A greeting.", answer.output_text)
    assert reply.id == answer.output[1].id


async def test_a_model_that_fails_is_an_error_and_is_not_asked_again(place: Place) -> None:
    place.script.fail("provider_rate_limited", "Slower.").fail("provider_rate_limited", "Slower.")

    with pytest.raises(openai.RateLimitError) as excinfo:
        await ask(place, "Hello?")
    events = await stream(place, input="Hello?")

    assert excinfo.value.response.headers["x-should-retry"] == "false"
    assert [event.type for event in events[-2:]] == ["error", "response.failed"]
    assert events[-1].response.error.code == "rate_limit_exceeded"
    assert events[-1].response.status == "failed"
    await forget_events(place)
    retrieved = await place.client.responses.retrieve(events[-1].response.id)
    assert plain(retrieved) == plain(events[-1].response)


@pytest.mark.parametrize(
    ("code", "expected_code"),
    [("provider_unavailable", "server_error"), ("provider_rejected", "invalid_prompt")],
)
async def test_a_failed_response_has_a_code_of_the_originals_list(
    place: Place, code: str, expected_code: str
) -> None:
    place.script.fail(code, "It broke.")

    *_, error, failed = await stream(place, input="Hello?")

    assert (error.code, error.message) == (code, "It broke.")
    assert (failed.response.error.code, failed.response.error.message) == (
        expected_code,
        "It broke.",
    )
    retrieved = await place.client.responses.retrieve(failed.response.id)
    assert plain(retrieved) == plain(failed.response)


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
async def test_a_cut_answer_says_why(place: Place, finish: str, reason: str) -> None:
    place.script.reply("Hello, y", finish=finish)

    events = await stream(place, input="Hello?")

    last = events[-1]
    assert (last.type, last.response.incomplete_details.reason) == ("response.incomplete", reason)
    assert last.response.output[0].status == "incomplete"
    assert plain(await place.client.responses.retrieve(last.response.id)) == plain(last.response)


# Stored responses.


async def test_a_response_is_cancelled_once_and_stays_as_it_was(place: Place) -> None:
    async with open_place(Script(), demo_delay=0.2) as slow_place:
        fields = {"model": "demo", "input": "600 words", "background": True}
        answer = await slow_place.client.responses.create(**fields)
        first = await slow_place.client.responses.cancel(answer.id)
        second = await slow_place.client.responses.cancel(answer.id)

        assert first.status == "cancelled"
        assert plain(first) == plain(second)
    place.script.reply("Hello.")
    response = await ask(place, "Hello?")
    assert plain(await place.client.responses.cancel(response.id)) == plain(response)


async def test_readers_see_the_end_of_a_response_that_others_cancel_at_once() -> None:
    async with open_place(Script(), demo_delay=0.01) as place:
        responses = place.client.responses
        fields = {"model": "demo", "input": "600 words", "stream": True}
        events = await responses.create(**fields)
        received: list[Any] = []
        cancelled_responses: list[Any] = []
        async for event in events:
            received.append(event)
            if event.type == "response.output_text.delta" and not cancelled_responses:
                own_id = received[0].response.id
                cancelled_responses = await asyncio.gather(
                    *(responses.cancel(own_id) for _ in range(4))
                )

        last = received[-1]
        assert (last.type, last.response.status) == ("response.incomplete", "cancelled")
        assert {each.status for each in cancelled_responses} == {"cancelled"}
        assert plain(await responses.retrieve(last.response.id)) == plain(last.response)
        replay = await responses.retrieve(last.response.id, stream=True)
        assert [plain(event) async for event in replay] == [plain(event) for event in received]
        other_response = await responses.create(
            model="demo", input="Hello?", previous_response_id=last.response.id
        )
        assert other_response.status == "completed"


async def test_a_deleted_response_is_gone_and_cannot_be_continued(place: Place) -> None:
    place.script.reply("One.").reply("Two.")
    first = await ask(place, "First?")
    second = await ask(place, "Second?", previous_response_id=first.id)

    await place.client.responses.delete(first.id)

    with pytest.raises(openai.NotFoundError):
        await place.client.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError) as excinfo:
        await ask(place, "Third?", previous_response_id=first.id)
    assert excinfo.value.code == "previous_response_not_found"
    assert (await place.client.responses.retrieve(second.id)).output_text == "Two."
    await place.client.responses.delete(second.id)
    assert (await place.native_client.list_threads()).data == []


async def test_a_response_that_is_deleted_in_the_middle_ends_and_a_conversation_stays() -> None:
    async with open_place(Script(), demo_delay=0.2) as place:
        fields = {"model": "demo", "input": "600 words", "background": True}
        single_response = await place.client.responses.create(**fields)
        conversation = await place.client.conversations.create()
        conversation_response = await place.client.responses.create(
            **fields, conversation=conversation.id
        )

        for response in (single_response, conversation_response):
            await place.client.responses.delete(response.id)
            with pytest.raises(openai.NotFoundError):
                await place.client.responses.retrieve(response.id)

        (run,) = (await place.native_client.list_runs()).data
        assert run.status is Status.CANCELLED
        items = await place.client.conversations.items.list(conversation.id)
        assert items.data[-1].role == "user"


async def test_of_the_same_requests_at_once_one_is_carried_out(place: Place) -> None:
    place.script.reply("One.")
    options = {"extra_headers": {"Idempotency-Key": "one"}}

    answers = await asyncio.gather(*(ask(place, "First?", **options) for _ in range(8)))

    assert len({json.dumps(plain(answer)) for answer in answers}) == 1
    assert len((await place.native_client.list_runs()).data) == 1


async def test_the_items_of_a_request_are_listed_in_pages(place: Place) -> None:
    place.script.reply("Yes.")
    items: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Oslo?"},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        output("c1", "rain"),
        {"role": "user", "content": "Rome?"},
    ]
    answer = await ask(place, items)

    listed_items = [
        item async for item in place.client.responses.input_items.list(answer.id, limit=2)
    ]

    assert [item.type for item in reversed(listed_items)] == [
        "message",
        "message",
        "function_call",
        "function_call_output",
        "message",
    ]
    assert listed_items[-1].role == "developer"


async def test_an_item_is_named_instead_of_sent_again(place: Place) -> None:
    place.script.reply("One.", reasoning="Hm.").reply("Two.")
    first = await ask(place, "First?")
    references = [{"type": "item_reference", "id": item.id} for item in first.output]

    await ask(
        place,
        [{"role": "user", "content": "First?"}, *references, {"role": "user", "content": "More?"}],
        store=False,
    )

    assert [m["content"] for m in place.script.messages] == ["First?", "One.", "More?"]
    with pytest.raises(openai.NotFoundError, match="not found"):
        await ask(place, [{"type": "item_reference", "id": "msg_none"}])


async def test_reasoning_comes_back_to_its_model_where_nothing_is_stored(place: Place) -> None:
    place.script.reply("One.", reasoning="Hm.").reply("Two.")
    include: Any = ["reasoning.encrypted_content"]
    first = await ask(place, "First?", store=False, include=include)

    question = {"role": "user", "content": "First?"}
    input_items = [plain(item) for item in first.output]
    await ask(place, [question, *input_items, {"role": "user", "content": "More?"}], store=False)

    assert first.output[0].encrypted_content
    assert "Hm." in str(place.script.messages)


async def test_the_same_key_gives_the_same_response(place: Place) -> None:
    place.script.call("weather", city="Oslo").reply("Rain.")
    tools: Any = [WEATHER]
    first_options = {"extra_headers": {"Idempotency-Key": "one"}, "tools": tools}
    first = [await ask(place, "Oslo?", **first_options) for _ in range(2)]
    answer = [output(first[0].output[0].call_id, "rain")]
    second_options = {**first_options, "extra_headers": {"Idempotency-Key": "two"}}
    second = [
        await ask(place, answer, previous_response_id=first[0].id, **second_options)
        for _ in range(2)
    ]

    assert first[0].id == first[1].id
    assert plain(second[0]) == plain(second[1])
    assert place.script.remaining == 0
    with pytest.raises(openai.BadRequestError):
        await ask(place, "Rome?", **first_options)


async def test_structured_output_is_parsed(place: Place) -> None:
    place.script.reply('{"city": "Oslo"}')

    class City(pydantic.BaseModel):
        city: str

    answer = await place.client.responses.parse(
        model=place.script.model, input="Where?", text_format=City
    )

    assert answer.output_parsed == City(city="Oslo")
    assert place.script.requests[0].sampling.response_format["type"] == "json_schema"


# Conversations.


async def test_a_conversation_is_a_thread_that_is_locked_while_it_is_busy() -> None:
    async with open_place(Script(), demo_delay=0.2) as place:
        thread = await place.native_client.create_thread()
        conversation = "conv_" + thread.id.removeprefix("thread_")
        fields = {"model": "demo", "conversation": conversation}
        first = await place.client.responses.create(**fields, input="600 words", background=True)

        with pytest.raises(openai.BadRequestError) as excinfo:
            await place.client.responses.create(**fields, input="More?")

        assert excinfo.value.code == "conversation_locked"
        assert first.conversation.id == conversation
        await place.client.responses.cancel(first.id)


async def test_outputs_find_their_call_in_a_conversation_and_only_once(place: Place) -> None:
    place.script.call("weather", city="Oslo").reply("Rain.")
    thread = await place.native_client.create_thread()
    options: dict[str, Any] = {
        "conversation": "conv_" + thread.id.removeprefix("thread_"),
        "tools": [WEATHER],
    }
    first = await ask(place, "Oslo?", **options)
    answer = [output(first.output[0].call_id, "rain")]

    final = await ask(place, answer, **options)

    assert final.output_text == "Rain."
    assert await place.texts(thread.id) == [
        "user: Oslo?",
        "assistant: ",
        "tool: rain",
        "assistant: Rain.",
    ]
    with pytest.raises(openai.BadRequestError, match="No tool call found"):
        await ask(place, answer, **options)


async def test_two_writers_of_one_conversation_cannot_both_answer_a_call(place: Place) -> None:
    place.script.call("weather", city="Oslo").reply("Rain.")
    thread = await place.native_client.create_thread()
    options: dict[str, Any] = {
        "conversation": "conv_" + thread.id.removeprefix("thread_"),
        "tools": [WEATHER],
    }
    first = await ask(place, "Oslo?", **options)
    call_id = first.output[0].call_id

    answers = await asyncio.gather(
        *(ask(place, [output(call_id, text)], **options) for text in ("rain", "rain", "snow")),
        return_exceptions=True,
    )

    responses = [each for each in answers if not isinstance(each, BaseException)]
    assert len(responses) == 1
    assert all(isinstance(e, openai.BadRequestError) for e in answers if e not in responses)
    assert len(await place.texts(thread.id)) == 4


# Bad input.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": 5}, "input"),
        ({"input": [{"type": "nothing"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": 7}]}, "input[0].content"),
        ({"input": "?", "previous_response_id": "resp_1", "conversation": "conv_1"}, None),
        ({"input": "?", "background": True, "store": False}, "background"),
        ({"input": "?", "tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"input": "?", "tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
        ({"input": "?", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": "?", "top_logprobs": 3}, "top_logprobs"),
        ({"input": "?", "text": {"format": {"type": "xml"}}}, "text.format"),
        ({"input": [{"role": "user", "content": "?"}] * 10_001}, "input"),
        ({}, None),
    ],
)
async def test_what_cannot_be_answered_is_refused_by_name(
    place: Place, fields: dict[str, Any], param: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as excinfo:
        await place.client.responses.create(model=place.script.model, **fields)

    assert excinfo.value.body["type"] == "invalid_request_error"
    if param is not None:
        assert excinfo.value.param == param
    assert (await place.native_client.list_runs()).data == []


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"input": 5}, "invalid_type", "input"),
        ({"input": "?", "temperature": "hot"}, "invalid_type", "temperature"),
        ({"input": "?", "temperature": 3}, "invalid_value", "temperature"),
        ({"input": [{"role": "queen", "content": "?"}]}, "invalid_value", "input[0].role"),
        ({"input": "?", "truncation": "some"}, "invalid_value", "truncation"),
        ({"input": [{"type": "function_call"}]}, "missing_required_parameter", "input[0]"),
        ({}, "missing_required_parameter", "input"),
        ({"input": []}, "missing_required_parameter", "input"),
        ({"input": "?", "top_logprobs": 3}, "unsupported_parameter", "top_logprobs"),
        ({"input": "?", "tools": [{"type": "web_search"}]}, "unsupported_value", "tools[0]"),
        (
            {"input": "?", "text": {"format": {"type": "json_schema", "name": "", "schema": {}}}},
            "invalid_request",
            "text.format",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_data": "?"}]}]},
            "invalid_request",
            "input[0].content[0].file_data",
        ),
    ],
)
async def test_a_wrong_field_has_the_code_of_the_original(
    place: Place, fields: dict[str, Any], code: str, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as excinfo:
        await place.client.responses.create(model=place.script.model, **fields)

    assert (excinfo.value.code, excinfo.value.param) == (code, param)


async def test_a_value_that_is_not_in_the_list_is_told_the_list(place: Place) -> None:
    with pytest.raises(openai.BadRequestError, match=r"wanted one of .*assistant.*user"):
        await ask(place, [{"role": "queen", "content": "?"}])


async def test_an_id_is_written_in_one_way(place: Place) -> None:
    place.script.call("weather", city="Oslo")
    response = await ask(place, "Oslo?", tools=[WEATHER])
    head, _, _ = response.output[0].id.rpartition("_")

    with pytest.raises(openai.NotFoundError):
        await place.client.responses.retrieve(response.id + "0")
    with pytest.raises(openai.NotFoundError):
        await ask(place, [{"type": "item_reference", "id": f"{head}_00"}])


@pytest.mark.parametrize(("value", "streams"), [("True", True), ("1", True), ("False", False)])
async def test_a_stream_is_asked_for_as_http_clients_write_true(
    place: Place, value: str, streams: bool
) -> None:
    place.script.reply("Hello.")
    response = await ask(place, "Hello?")
    client = await place.server.client()
    url = f"/openai/v1/responses/{response.id}"

    answer = await client.get(url, params={"stream": value})
    bad_answer = await client.get(url, params={"stream": "perhaps"})

    assert answer.headers["content-type"].startswith("text/event-stream") is streams
    assert (bad_answer.status_code, bad_answer.json()["error"]["param"]) == (400, "stream")


@pytest.mark.parametrize("id", ["resp_", "resp_1", "resp_" + "0" * 35 + "0", "run_x", "resp_é"])
async def test_ids_that_name_nothing_are_not_found(place: Place, id: str) -> None:
    responses = place.client.responses
    for method in (responses.retrieve, responses.cancel, responses.delete):
        with pytest.raises(openai.NotFoundError):
            await method(id)
    with pytest.raises(openai.NotFoundError):
        await responses.input_items.list(id)


# Tools that run on the server.


@asynccontextmanager
async def open_with_server(tmp_path: Path, script: Script) -> AsyncIterator[Place]:
    pytest.importorskip("mcp")
    far = {"command": sys.executable, "args": ["-I", str(TOOL_SERVER), str(tmp_path / "calls")]}
    config = tmp_path / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"far": {**far, "backend": True}}}))
    async with open_place(script, backend_mcp="configured", config=str(config)) as place:
        yield place


@pytest.mark.slow
async def test_calls_that_run_on_the_server_are_items_of_one_response(tmp_path: Path) -> None:
    script = Script()
    async with open_with_server(tmp_path, script) as place:
        await place.native_client.create_assistant(
            name="helper",
            model=script.model,
            mcp_servers=(McpServer("far", require_approval="never"),),
        )
        far = {"type": "mcp", "server_label": "far", "require_approval": "never"}
        for options, kinds in (
            ({"model": "helper"}, ["function_call", "function_call_output"]),
            ({"tools": [far]}, ["mcp_call"]),
            (
                {"model": "helper", "extra_headers": {"antiphon-server-tools": "mcp_call"}},
                ["mcp_call"],
            ),
        ):
            script.calls(("far__look", {}), text="I look.").reply("I have looked.")

            events = await stream(place, input="Look!", **options)

            response = events[-1].response
            list_types = ["mcp_list_tools"] if "tools" in options else []
            types = [item.type for item in response.output]
            assert types == [*list_types, "message", *kinds, "message"]
            assert response.output_text == "I look.I have looked."
            assert plain(await place.client.responses.retrieve(response.id)) == plain(response)
            items = [e.item for e in events if e.type == "response.output_item.done"]
            assert [plain(item) for item in items] == [plain(item) for item in response.output]
            (call,) = [item for item in response.output if item.type == kinds[0]]
            if call.type == "mcp_call":
                assert (call.server_label, call.name, call.status) == ("far", "look", "completed")
                assert call.output


@pytest.mark.parametrize("approve", [True, False])
async def test_a_person_approves_or_refuses_a_call(tmp_path: Path, approve: bool) -> None:
    script = Script()
    async with open_with_server(tmp_path, script) as place:
        far: Any = {"type": "mcp", "server_label": "far", "require_approval": "always"}
        script.calls(("far__look", {}), text="I look.").reply("Well.")
        first_events = await stream(place, input="Look!", tools=[far])
        first = first_events[-1].response
        _, _, request = first.output
        answer: Any = {
            "type": "mcp_approval_response",
            "approval_request_id": request.id,
            "approve": approve,
        }

        with pytest.raises(openai.BadRequestError) as unknown:
            await ask(place, "Look!", tools=[{**far, "server_label": "nowhere"}])
        assert unknown.value.param == "tools"
        input_items = [answer, {"role": "user", "content": "And?"}]
        with pytest.raises(openai.BadRequestError, match="alone"):
            await ask(place, input_items, previous_response_id=first.id, tools=[far])
        events = await stream(place, input=[answer], previous_response_id=first.id, tools=[far])

        assert (request.type, request.name, request.server_label) == (
            "mcp_approval_request",
            "look",
            "far",
        )
        second_response = events[-1].response
        assert [item.type for item in second_response.output] == ["mcp_call", "message"]
        assert second_response.output[0].status == ("completed" if approve else "failed")
        assert (tmp_path / "calls").exists() == approve
        for response in (first, second_response):
            assert plain(await place.client.responses.retrieve(response.id)) == plain(response)
        input_page = (await place.client.responses.input_items.list(second_response.id)).data
        assert [item.type for item in input_page] == ["mcp_approval_response"]


async def test_calls_of_the_client_and_of_the_server_in_one_reply(tmp_path: Path) -> None:
    script = Script()
    async with open_with_server(tmp_path, script) as place:
        far: Any = {"type": "mcp", "server_label": "far", "require_approval": "never"}
        script.calls(("far__look", {}), ("weather", {"city": "Oslo"})).reply("Well.")
        options: dict[str, Any] = {"tools": [far, WEATHER]}
        first = (await stream(place, input="Look!", **options))[-1].response
        _, call = first.output
        sent_outputs = [output(call.call_id, "rain")]

        events = await stream(place, input=sent_outputs, previous_response_id=first.id, **options)

        response = events[-1].response
        assert call.name == "weather"
        assert [item.type for item in response.output] == ["mcp_call", "message"]
        assert plain(await place.client.responses.retrieve(response.id)) == plain(response)
        assert plain(await place.client.responses.retrieve(first.id)) == plain(first)


@pytest.mark.slow
async def test_the_tools_of_a_server_are_listed_once_and_alike_everywhere(tmp_path: Path) -> None:
    script = Script()
    async with open_with_server(tmp_path, script) as place:
        far: Any = {"type": "mcp", "server_label": "far", "require_approval": "never"}
        far["allowed_tools"] = ["look"]
        script.reply("First.").reply("Second.").reply("Third.")
        conversation = await place.client.conversations.create()

        events = await stream(place, input="Hello?", tools=[far], conversation=conversation.id)
        first = events[-1].response
        second = await ask(place, "And?", tools=[far], conversation=conversation.id)
        third = await ask(place, "And?", tools=[far], previous_response_id=second.id)

        listing = first.output[0]
        assert (listing.type, listing.server_label) == ("mcp_list_tools", "far")
        assert [tool.name for tool in listing.tools] == ["look"]
        assert listing.tools[0].input_schema["type"] == "object"
        types = [event.type for event in events if getattr(event, "output_index", 1) == 0]
        assert types == [
            "response.output_item.added",
            "response.mcp_list_tools.in_progress",
            "response.mcp_list_tools.completed",
            "response.output_item.done",
        ]
        assert [item.type for item in (*second.output, *third.output)] == ["message"] * 2
        assert plain(await place.client.responses.retrieve(first.id)) == plain(first)
        items = (await place.client.conversations.items.list(conversation.id, order="asc")).data
        assert [item.type for item in items[:3]] == ["message", "mcp_list_tools", "message"]
        assert plain(items[1]) == plain(listing)
        single_item = await place.client.conversations.items.retrieve(
            listing.id, conversation_id=conversation.id
        )
        assert plain(single_item) == plain(listing)
        await forget_events(place)
        assert plain(await place.client.responses.retrieve(first.id)) == plain(first)

        full_input: list[Any] = [*first.output, {"role": "user", "content": "And?"}]
        script.reply("Fourth.")
        repeated = await ask(place, full_input, tools=[far], store=False)
        assert [item.type for item in repeated.output] == ["message"]


async def test_a_server_that_is_not_there_is_listed_with_an_error(tmp_path: Path) -> None:
    script = Script()
    async with open_with_server(tmp_path, script) as place:
        far: Any = {"type": "mcp", "server_label": "far", "allowed_tools": ["nothing"]}
        script.reply("Hello.")

        events = await stream(place, input="Hello?", tools=[far])

        assert "response.mcp_list_tools.failed" in [event.type for event in events]
        assert events[-1].response.output[0].error


# Contexts.


async def test_the_tokens_of_an_input_are_counted_with_what_it_continues(place: Place) -> None:
    place.script.reply("word " * 400)
    first = await ask(place, "Hello?")
    count = place.client.responses.input_tokens.count

    short_tokens = (await count(input="Hello?")).input_tokens
    long_tokens = (await count(input="And?", previous_response_id=first.id)).input_tokens
    more_tokens = (
        await count(input="Hello?", instructions="word " * 400, tools=[WEATHER])
    ).input_tokens
    arguments = json.dumps({"city": "word " * 400})
    call: Any = {"type": "function_call", "call_id": "c", "name": "look", "arguments": arguments}
    call_tokens = (await count(input=[call, output("c", "")])).input_tokens

    assert 0 < short_tokens < 50
    assert 400 < call_tokens < 1000
    assert 400 < long_tokens < 1000
    assert 400 < more_tokens < 1000


async def test_a_conversation_is_compacted_and_goes_on_from_its_summary(place: Place) -> None:
    place.script.reply("One.").reply("They counted.", tokens=(7, 2)).reply("Two.")
    first = await ask(place, "First?")

    compaction = await place.client.responses.compact(
        model=place.script.model, previous_response_id=first.id, input="Second?"
    )
    remaining: Any = [
        item.model_dump(mode="json", exclude_unset=True, warnings=False)
        for item in compaction.output
    ]
    await ask(place, [*remaining, {"role": "user", "content": "Third?"}])

    assert [item.type for item in compaction.output] == ["message", "message", "compaction"]
    assert compaction.usage.total_tokens == 9
    assert [m["content"] for m in place.script.messages] == [
        "First?",
        "Second?",
        "They counted.",
        "Third?",
    ]
    await place.wait_for_deletion()
    with pytest.raises(openai.BadRequestError, match="model"):
        await place.client.post("/responses/compact", cast_to=object, body={"input": "?"})


@pytest.mark.parametrize("cause", ["its key is revoked", "its client leaves"])
async def test_compacting_ends_when(cause: str, quick_timeouts: StreamTimeouts) -> None:
    """A model that is silent is not waited for, and gets no request about the next part."""
    settings = replace(SETTINGS, demo_delay=100.0)
    async with serve(settings, timeouts=quick_timeouts) as server:
        key = await server.key("ann")
        client = await server.client(key)
        watcher = await server.client(await server.key("ann"))
        body = {"model": "demo", "input": "What was said?"}
        compact_task = asyncio.create_task(client.post("/openai/v1/responses/compact", json=body))

        async def count_temporary() -> int:
            page = await watcher.get("/v1/threads", params={"temporary": "true"})
            return len(page.json()["data"])

        async def has_begun() -> bool:
            return await count_temporary() == 1

        async def has_ended() -> bool:
            return await count_temporary() == 0

        await eventually(has_begun)
        async with asyncio.timeout(20):  # before the model is given up
            if cause == "its key is revoked":
                await server.runtime.store.revoke_key(server.keys[key])
                assert (await compact_task).status_code == 401
            else:
                compact_task.cancel()
            await eventually(has_ended)


# Lifetime and owners.


async def test_a_response_outlives_its_events(place: Place) -> None:
    place.script.calls(("weather", {"city": "Oslo"}), text="So.").reply("Rain.", reasoning="Hm.")
    first = await ask(place, "Oslo?", tools=[WEATHER])
    answer = [output(first.output[1].call_id, "rain")]
    second = await ask(place, answer, previous_response_id=first.id, tools=[WEATHER])
    third = {}
    for response in (first, second):
        third[response.id] = plain(await place.client.responses.retrieve(response.id))
    await forget_events(place)

    for response in (first, second):
        retrieved = plain(await place.client.responses.retrieve(response.id))
        assert retrieved["output"] == third[response.id]["output"]
        assert {**retrieved, "usage": 0} == {**third[response.id], "usage": 0}
        with pytest.raises(openai.BadRequestError, match="past retention"):
            await place.client.responses.retrieve(response.id, stream=True)


async def test_another_owner_finds_nothing_of_a_response(place: Place) -> None:
    keys = [await place.server.key(owner) for owner in ("ann", "ben")]
    ann, ben = (place.client.with_options(api_key=key) for key in keys)
    place.script.reply("One.", reasoning="Hm.")
    first = await ann.responses.create(model=place.script.model, input="First?")
    fields: dict[str, Any] = {"model": place.script.model, "input": "And?"}

    for method in (ben.responses.retrieve, ben.responses.delete, ben.responses.cancel):
        with pytest.raises(openai.NotFoundError):
            await method(first.id)
    with pytest.raises(openai.NotFoundError):
        await ben.responses.input_items.list(first.id)
    with pytest.raises(openai.BadRequestError) as excinfo:
        await ben.responses.create(**fields, previous_response_id=first.id)
    assert excinfo.value.code == "previous_response_not_found"
    for item in first.output:
        reference: Any = {"type": "item_reference", "id": item.id}
        with pytest.raises(openai.NotFoundError):
            await ben.responses.create(model=place.script.model, input=[reference])
    assert (await ann.responses.retrieve(first.id)).output_text == "One."


async def test_files_and_pictures_travel_in_the_input(place: Place) -> None:
    place.script.reply("One.").reply("Two.")
    data = "data:text/plain;base64," + base64.b64encode(b"sent along").decode()
    content: Any = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": PIXEL},
        {"type": "input_file", "filename": "a.txt", "file_data": data},
    ]
    options = {"extra_headers": {"Idempotency-Key": "one"}}

    first = await ask(place, [{"role": "user", "content": content}], **options)
    repeated = await ask(place, [{"role": "user", "content": content}], **options)
    await ask(place, "And?", previous_response_id=first.id)

    assert first.id == repeated.id
    for request in place.script.requests:
        assert "sent along" in str(request.decode_messages())
        assert PIXEL in str(request.decode_messages())
    assert len((await place.native_client.list_files()).data) == 1


async def test_a_picture_in_an_output_is_shown_after_it(place: Place) -> None:
    place.script.call("weather", city="Oslo").reply("Snow.").reply("Snow.")
    options: dict[str, Any] = {"tools": [WEATHER]}
    first = await ask(place, "Oslo?", **options)
    call = plain(first.output[0])
    content = [
        {"type": "input_text", "text": "A picture."},
        {"type": "input_image", "image_url": PIXEL},
    ]
    call_output: Any = {**output(call["call_id"], ""), "output": content}

    await ask(place, [call_output], previous_response_id=first.id, **options)
    await ask(place, [*HELLO, call, call_output], store=False, **options)

    for request in place.script.requests[1:]:
        *_, answer, after = request.decode_messages()
        assert (answer["role"], answer["content"]) == (
            "tool",
            "A picture.[shown in the next message]",
        )
        assert after["role"] == "user"
        assert after["content"][1]["image_url"]["url"] == PIXEL


async def test_more_of_an_item_can_be_asked_for_later(place: Place) -> None:
    place.script.reply("One.", reasoning="Hm.")
    first = await ask(place, "First?")
    include: Any = ["reasoning.encrypted_content"]

    retrieved = await place.client.responses.retrieve(first.id, include=include)

    assert first.output[0].encrypted_content is None
    assert retrieved.output[0].encrypted_content


async def test_responses_move_with_their_owner(place: Place) -> None:
    admin = place.client.with_options(api_key=await place.server.key("root", "admin"))
    ann = place.client.with_options(api_key=await place.server.key("ann"))
    place.script.call("weather", city="Oslo").reply("Rain.").reply("More.")
    model = place.script.model
    tools: Any = [WEATHER]
    first = await ann.responses.create(model=model, input="Oslo?", tools=tools)
    sent_outputs: Any = [output(first.output[0].call_id, "rain")]
    second = await ann.responses.create(
        model=model, input=sent_outputs, previous_response_id=first.id, tools=tools
    )
    async with httpx2.AsyncClient(
        base_url=place.server.url, headers={"authorization": f"Bearer {admin.api_key}"}
    ) as client:
        archive = (await client.get("/v1/owners/ann/export")).content
        params = {"owner": "ben", "new_ids": "true"}
        headers = {"content-type": "application/zip"}
        import_answer = await client.post(
            "/v1/imports", content=archive, params=params, headers=headers
        )
    assert import_answer.status_code == 200, import_answer.text
    ben = place.client.with_options(api_key=await place.server.key("ben"))
    async with AsyncClient(place.server.url, api_key=str(ben.api_key)) as ben_client:
        (run,) = (await ben_client.list_runs()).data

    moved_ids = [f"resp_{run.id.removeprefix('run_')}{number}" for number in range(2)]
    answers = [await ben.responses.retrieve(each) for each in moved_ids]

    assert answers[0].output[0].call_id == first.output[0].call_id
    assert answers[1].output_text == second.output_text == "Rain."
    assert answers[1].previous_response_id == moved_ids[0]
    (item,) = (await ben.responses.input_items.list(moved_ids[1])).data
    assert item.type == "function_call_output"
    more = await ben.responses.create(model=model, input="More?", previous_response_id=moved_ids[1])
    assert more.output_text == "More."


async def test_a_body_that_is_too_large_is_refused() -> None:
    async with open_place(Script(), max_body=100_000) as place:
        picture = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 200_000}
        with pytest.raises(openai.APIStatusError) as excinfo:
            await ask(place, [{"role": "user", "content": [picture]}])
        assert excinfo.value.status_code == 413
