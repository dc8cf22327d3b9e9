"""Use Responses as openai-python does, oldest or newest, sync and async.

python use_responses_python.py http://127.0.0.1:8000/openai/v1
"""

import asyncio
import inspect
import json
import sys

import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

HELLO = "Hello, you"
BOTH = "The weather in Oslo and Paris, both at once"
LONG = "3000 words"


class Weather(BaseModel):
    """Weather of a city."""

    city: str
    degrees: int


TOOL = {
    "type": "function",
    "name": "weather",
    "description": "Weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


async def use(client):
    """Use a sync or an async client; `value` and `items` await the results of the latter."""
    responses = client.responses

    response = await value(responses.create(model="demo", input=HELLO, metadata={"a": "b"}))
    assert response.status == "completed"
    assert HELLO in response.output_text
    assert response.usage.total_tokens > 0
    assert response.metadata == {"a": "b"}
    stored_response = await value(responses.retrieve(response.id))
    assert stored_response.output == response.output, (stored_response.output, response.output)
    input_items = await items(await value(responses.input_items.list(response.id)))
    assert input_items[0].content[0].text == HELLO, input_items

    events = await stream_text(responses)
    await call_tools(responses)
    await parse(responses)
    await keep_nothing(responses)
    if hasattr(responses, "cancel"):  # all that came with it, in version 1.80
        await replay(responses, events)
        await run_in_background(responses)
    if hasattr(client, "conversations"):  # version 1.101
        await converse(client)

    followup = await value(
        responses.create(model="demo", input="5 words", previous_response_id=response.id)
    )
    assert len(followup.output_text.split()) == 5
    assert followup.previous_response_id == response.id
    await value(responses.delete(followup.id))
    await fail_with(openai.NotFoundError, responses.retrieve, followup.id)
    await fail_with(openai.NotFoundError, responses.create, model="nothing:here", input=HELLO)
    error = await fail_with(openai.BadRequestError, responses.create, model="demo", input=[{}])
    assert error.body["message"]


async def stream_text(responses):
    """Stream by hand and through the helper; return the events of the first."""
    events = await items(await value(responses.create(model="demo", input=HELLO, stream=True)))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    final = events[-1].response
    assert deltas == final.output_text

    kinds, helper_response = await read_through_helper(responses.stream(model="demo", input=HELLO))
    assert "response.output_text.delta" in kinds
    assert helper_response.output_text == final.output_text
    return events


async def replay(responses, events):
    """Read a stored stream again, whole and from numbers within, by hand and through the helper."""
    final = events[-1].response
    replayed_events = await items(await value(responses.retrieve(final.id, stream=True)))
    assert [event.type for event in replayed_events] == [event.type for event in events]
    assert replayed_events[-1].response.output == final.output
    for after in (0, len(events) // 2, len(events) - 2):
        rest = await items(
            await value(responses.retrieve(final.id, stream=True, starting_after=after))
        )
        assert [event.sequence_number for event in rest] == list(range(after + 1, len(events)))

    _, resumed_response = await read_through_helper(
        responses.stream(response_id=final.id, starting_after=2)
    )
    assert resumed_response.id == final.id
    assert resumed_response.output_text == final.output_text


async def call_tools(responses):
    """Run two calls and hand their outputs in, by the previous response and by whole items."""
    call_response = await value(responses.create(model="demo", input=BOTH, tools=[TOOL]))
    calls = [item for item in call_response.output if item.type == "function_call"]
    assert [json.loads(call.arguments)["city"] for call in calls] == ["Oslo", "Paris"]
    outputs = [
        {"type": "function_call_output", "call_id": call.call_id, "output": f"rain {number}"}
        for number, call in enumerate(calls)
    ]

    answer_by_id = await value(
        responses.create(
            model="demo", input=outputs, previous_response_id=call_response.id, tools=[TOOL]
        )
    )
    question = {"role": "user", "content": BOTH}
    sent_items = [question, *call_response.output, *outputs]
    answer_by_items = await value(
        responses.create(model="demo", input=sent_items, store=False, tools=[TOOL])
    )

    for answer in (answer_by_id, answer_by_items):
        assert "rain 0" in answer.output_text
        assert "rain 1" in answer.output_text

    kinds, final = await read_through_helper(
        responses.stream(model="demo", input=BOTH, tools=[TOOL])
    )
    assert {
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
    } <= kinds
    assert len([item for item in final.output if item.type == "function_call"]) == 2


async def parse(responses):
    """Get an answer, and the arguments of a call, as values of a type."""
    typed_response = await value(
        responses.parse(model="demo", input="A place in Oslo", text_format=Weather)
    )
    assert typed_response.output_parsed.city == "Oslo", typed_response.output_parsed
    tool = openai.pydantic_function_tool(Weather, name="weather")
    calls = await value(
        responses.parse(
            model="demo",
            input=BOTH,
            tools=[{"type": "function", **tool["function"]}],
        )
    )
    arguments = [item.parsed_arguments for item in calls.output if item.type == "function_call"]
    assert [each["city"] for each in arguments] == ["Oslo", "Paris"], arguments


async def run_in_background(responses):
    """Start in the background, leave the stream, resume it; cancel another."""
    background_response = await value(responses.create(model="demo", input=HELLO, background=True))
    assert background_response.background
    while background_response.status in ("queued", "in_progress"):
        background_response = await value(responses.retrieve(background_response.id))
    assert background_response.status == "completed"
    assert HELLO in background_response.output_text

    stream = await value(responses.create(model="demo", input=LONG, background=True, stream=True))
    first_events = []
    async for event in iterate(stream):
        first_events.append(event)
        if event.type == "response.output_text.delta":
            break
    await value(stream.close())
    rest = await items(
        await value(
            responses.retrieve(
                first_events[0].response.id,
                stream=True,
                starting_after=first_events[-1].sequence_number,
            )
        )
    )
    all_events = [*first_events, *rest]
    assert [event.sequence_number for event in all_events] == list(range(len(all_events)))
    text = "".join(
        event.delta for event in all_events if event.type == "response.output_text.delta"
    )
    assert text == all_events[-1].response.output_text
    assert len(text.split()) == 3000

    cancelled_response = await value(responses.cancel(background_response.id))
    assert cancelled_response.status in ("completed", "cancelled")


async def converse(client):
    """Answer in a conversation that the server keeps."""
    question = {"role": "user", "content": "First."}
    conversation = await value(client.conversations.create(items=[question], metadata={"a": "b"}))
    options = {"model": "demo", "conversation": conversation.id}
    call_response = await value(client.responses.create(**options, input=BOTH, tools=[TOOL]))
    calls = [item for item in call_response.output if item.type == "function_call"]
    outputs = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
        for call in calls
    ]
    answer = await value(client.responses.create(**options, input=outputs, tools=[TOOL]))
    assert answer.conversation.id == conversation.id

    listed_items = await items(
        await value(client.conversations.items.list(conversation.id, order="asc", limit=2))
    )
    kinds = [item.type for item in listed_items if item.type != "reasoning"]
    assert kinds == [
        *("message", "message", "function_call", "function_call"),
        *("function_call_output", "function_call_output", "message"),
    ], kinds
    options_of_both = {**options, "previous_response_id": answer.id}
    await fail_with(openai.BadRequestError, client.responses.create, **options_of_both, input=HELLO)


async def keep_nothing(responses):
    """A response with `store: false` cannot be read again."""
    unstored_response = await value(responses.create(model="demo", input=HELLO, store=False))
    await fail_with(openai.NotFoundError, responses.retrieve, unstored_response.id)
    request = {"model": "demo", "input": HELLO, "store": False, "extra_body": {"background": True}}
    await fail_with(openai.BadRequestError, responses.create, **request)


async def read_through_helper(manager):
    """Return the types of the events that the helper of streams gives, and the final response."""
    if hasattr(manager, "__aenter__"):
        async with manager as stream:
            kinds = {event.type async for event in stream}
            return kinds, await stream.get_final_response()
    with manager as stream:
        kinds = {event.type for event in stream}
        return kinds, stream.get_final_response()


async def value(answer):
    """Return a result of a client of either kind."""
    return await answer if inspect.isawaitable(answer) else answer


async def iterate(stream):
    """Yield the items of a stream of either kind."""
    if hasattr(stream, "__aiter__"):
        async for item in stream:
            yield item
        return
    for item in stream:
        yield item


async def items(page):
    """Return all items of a stream or a page of either kind."""
    return [item async for item in iterate(page)]


async def fail_with(kind, method, *arguments, **options):
    """Return the error of a request that must fail."""
    try:
        await value(method(*arguments, **options))
    except kind as error:
        return error
    raise AssertionError(f"wanted {kind.__name__}")


async def main(base_url):
    await use(OpenAI(base_url=base_url, api_key="none", max_retries=0))
    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        await use(client)
    print(f"used {openai.__version__}")


asyncio.run(main(*sys.argv[1:]))
