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
    """Use a client of either kind: what it returns is awaited where it must be."""
    responses = client.responses

    whole = await value(responses.create(model="demo", input=HELLO, metadata={"a": "b"}))
    assert whole.status == "completed"
    assert HELLO in whole.output_text
    assert whole.usage.total_tokens > 0
    assert whole.metadata == {"a": "b"}
    again = await value(responses.retrieve(whole.id))
    assert again.output == whole.output, (again.output, whole.output)
    listed = await items(await value(responses.input_items.list(whole.id)))
    assert listed[0].content[0].text == HELLO, listed

    streamed = await stream_text(responses)
    await call_tools(responses)
    await parse(responses)
    await keep_nothing(responses)
    if hasattr(responses, "cancel"):  # all that came with it, in version 1.80
        await replay(responses, streamed)
        await run_in_background(responses)
    if hasattr(client, "conversations"):  # version 1.101
        await converse(client)

    more = await value(
        responses.create(model="demo", input="5 words", previous_response_id=whole.id)
    )
    assert len(more.output_text.split()) == 5
    assert more.previous_response_id == whole.id
    await value(responses.delete(more.id))
    await fail_with(openai.NotFoundError, responses.retrieve, more.id)
    await fail_with(openai.NotFoundError, responses.create, model="nothing:here", input=HELLO)
    refused = await fail_with(openai.BadRequestError, responses.create, model="demo", input=[{}])
    assert refused.body["message"]


async def stream_text(responses):
    """Stream by hand and through the helper; return the events of the first."""
    raw = await items(await value(responses.create(model="demo", input=HELLO, stream=True)))
    assert [event.sequence_number for event in raw] == list(range(len(raw)))
    assert raw[0].type == "response.created"
    assert raw[-1].type == "response.completed"
    deltas = "".join(event.delta for event in raw if event.type == "response.output_text.delta")
    final = raw[-1].response
    assert deltas == final.output_text

    kinds, helped = await through_helper(responses.stream(model="demo", input=HELLO))
    assert "response.output_text.delta" in kinds
    assert helped.output_text == final.output_text
    return raw


async def replay(responses, raw):
    """Read a stored stream again, whole and from numbers within, by hand and through the helper."""
    final = raw[-1].response
    replayed = await items(await value(responses.retrieve(final.id, stream=True)))
    assert [event.type for event in replayed] == [event.type for event in raw]
    assert replayed[-1].response.output == final.output
    for after in (0, len(raw) // 2, len(raw) - 2):
        rest = await items(
            await value(responses.retrieve(final.id, stream=True, starting_after=after))
        )
        assert [event.sequence_number for event in rest] == list(range(after + 1, len(raw)))

    _, resumed = await through_helper(responses.stream(response_id=final.id, starting_after=2))
    assert resumed.id == final.id
    assert resumed.output_text == final.output_text


async def call_tools(responses):
    """Run two calls and hand their outputs in, by the previous response and by whole items."""
    called = await value(responses.create(model="demo", input=BOTH, tools=[TOOL]))
    calls = [item for item in called.output if item.type == "function_call"]
    assert [json.loads(call.arguments)["city"] for call in calls] == ["Oslo", "Paris"]
    outputs = [
        {"type": "function_call_output", "call_id": call.call_id, "output": f"rain {number}"}
        for number, call in enumerate(calls)
    ]

    stored = await value(
        responses.create(model="demo", input=outputs, previous_response_id=called.id, tools=[TOOL])
    )
    asked = {"role": "user", "content": BOTH}
    sent = [asked, *called.output, *outputs]
    whole = await value(responses.create(model="demo", input=sent, store=False, tools=[TOOL]))

    for answer in (stored, whole):
        assert "rain 0" in answer.output_text
        assert "rain 1" in answer.output_text

    kinds, final = await through_helper(responses.stream(model="demo", input=BOTH, tools=[TOOL]))
    assert {
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
    } <= kinds
    assert len([item for item in final.output if item.type == "function_call"]) == 2


async def parse(responses):
    """Get an answer, and the arguments of a call, as values of a type."""
    typed = await value(responses.parse(model="demo", input="A place in Oslo", text_format=Weather))
    assert typed.output_parsed.city == "Oslo", typed.output_parsed
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
    queued = await value(responses.create(model="demo", input=HELLO, background=True))
    assert queued.background
    while queued.status in ("queued", "in_progress"):
        queued = await value(responses.retrieve(queued.id))
    assert queued.status == "completed"
    assert HELLO in queued.output_text

    stream = await value(responses.create(model="demo", input=LONG, background=True, stream=True))
    seen = []
    async for event in every(stream):
        seen.append(event)
        if event.type == "response.output_text.delta":
            break
    await value(stream.close())
    rest = await items(
        await value(
            responses.retrieve(
                seen[0].response.id, stream=True, starting_after=seen[-1].sequence_number
            )
        )
    )
    joined = [*seen, *rest]
    assert [event.sequence_number for event in joined] == list(range(len(joined)))
    text = "".join(event.delta for event in joined if event.type == "response.output_text.delta")
    assert text == joined[-1].response.output_text
    assert len(text.split()) == 3000

    over = await value(responses.cancel(queued.id))
    assert over.status in ("completed", "cancelled")


async def converse(client):
    """Answer in a conversation that the server keeps."""
    asked = {"role": "user", "content": "First."}
    conversation = await value(client.conversations.create(items=[asked], metadata={"a": "b"}))
    where = {"model": "demo", "conversation": conversation.id}
    called = await value(client.responses.create(**where, input=BOTH, tools=[TOOL]))
    calls = [item for item in called.output if item.type == "function_call"]
    outputs = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
        for call in calls
    ]
    answer = await value(client.responses.create(**where, input=outputs, tools=[TOOL]))
    assert answer.conversation.id == conversation.id

    listed = await items(
        await value(client.conversations.items.list(conversation.id, order="asc", limit=2))
    )
    kinds = [item.type for item in listed if item.type != "reasoning"]
    assert kinds == [
        *("message", "message", "function_call", "function_call"),
        *("function_call_output", "function_call_output", "message"),
    ], kinds
    both = {**where, "previous_response_id": answer.id}
    await fail_with(openai.BadRequestError, client.responses.create, **both, input=HELLO)


async def keep_nothing(responses):
    """A response with `store: false` cannot be read again."""
    lost = await value(responses.create(model="demo", input=HELLO, store=False))
    await fail_with(openai.NotFoundError, responses.retrieve, lost.id)
    asked = {"model": "demo", "input": HELLO, "store": False, "extra_body": {"background": True}}
    await fail_with(openai.BadRequestError, responses.create, **asked)


async def through_helper(manager):
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


async def every(stream):
    """Yield the items of a stream of either kind."""
    if hasattr(stream, "__aiter__"):
        async for item in stream:
            yield item
        return
    for item in stream:
        yield item


async def items(listed):
    """Return all items of a stream or a page of either kind."""
    return [item async for item in every(listed)]


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
