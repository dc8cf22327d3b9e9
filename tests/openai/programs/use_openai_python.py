"""Use Chat Completions as openai-python does, oldest or newest, sync and async.

python use_openai_python.py http://127.0.0.1:8000/openai/v1
"""

import asyncio
import inspect
import json
import sys

import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

HELLO = [{"role": "user", "content": "Hello, you"}]
BOTH = [{"role": "user", "content": "The weather in Oslo and Paris, both at once"}]
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGA"
    "hKmMIQAAAABJRU5ErkJggg=="
)


class Weather(BaseModel):
    """Weather of a city."""

    city: str
    degrees: int


TOOL = openai.pydantic_function_tool(Weather, name="weather")


async def use(client, threads):
    """Use a sync or an async client; `value` and `items` await the results of the latter."""
    chat = client.chat.completions
    typed_chat = chat if hasattr(chat, "parse") else client.beta.chat.completions

    names = [model.id for model in await items(client.models.list())]
    assert "demo" in names, names
    assert (await value(client.models.retrieve("demo"))).object == "model"

    completion = await value(chat.create(model="demo", messages=HELLO, temperature=0.5, seed=1))
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.total_tokens > 0
    chunks = await items(
        await value(
            chat.create(
                model="demo", messages=HELLO, stream=True, stream_options={"include_usage": True}
            )
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == completion.choices[0].message.content
    assert chunks[-1].usage == completion.usage, (chunks[-1].usage, completion.usage)

    call_completion = await value(chat.create(model="demo", messages=BOTH, tools=[TOOL]))
    message = call_completion.choices[0].message
    assert call_completion.choices[0].finish_reason == "tool_calls"
    cities = [json.loads(call.function.arguments)["city"] for call in message.tool_calls]
    assert cities == ["Oslo", "Paris"], cities
    outputs = [
        {"role": "tool", "tool_call_id": call.id, "content": f"rain {number}"}
        for number, call in enumerate(message.tool_calls)
    ]
    answer = await value(chat.create(model="demo", messages=[*BOTH, message, *outputs]))
    assert "rain 0" in answer.choices[0].message.content
    assert "rain 1" in answer.choices[0].message.content

    parsed_completion = await value(
        typed_chat.parse(model="demo", messages=HELLO, response_format=Weather, max_tokens=99)
    )
    assert isinstance(parsed_completion.choices[0].message.parsed, Weather)
    calls = (
        (await value(typed_chat.parse(model="demo", messages=BOTH, tools=[TOOL])))
        .choices[0]
        .message
    )
    assert [call.function.parsed_arguments.city for call in calls.tool_calls] == ["Oslo", "Paris"]
    await stream_calls(typed_chat)

    content = [
        {"type": "text", "text": "Read this"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
        {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,aGk="}},
    ]
    picture_completion = await value(
        chat.create(model="demo", messages=[{"role": "user", "content": content}])
    )
    assert "Read this" in picture_completion.choices[0].message.content

    await fail_with(openai.NotFoundError, chat.create, model="nothing:here", messages=HELLO)
    error = await fail_with(openai.BadRequestError, chat.create, model="demo", messages=HELLO, n=2)
    assert (error.param, error.code) == ("n", "unsupported_parameter"), error.body
    await fail_with(openai.NotFoundError, client.models.retrieve, "nothing")

    thread_id = (await value(client.post(threads, cast_to=object, body={})))["id"]
    headers = {"Antiphon-Thread": thread_id}
    raw_response = await value(
        chat.with_raw_response.create(model="demo", messages=HELLO, extra_headers=headers)
    )
    assert raw_response.headers["antiphon-thread"] == thread_id
    history = [
        *HELLO,
        raw_response.parse().choices[0].message,
        {"role": "user", "content": "5 words"},
    ]
    second_response = await value(
        chat.with_raw_response.create(model="demo", messages=history, extra_headers=headers)
    )
    assert second_response.headers["antiphon-thread"] == thread_id
    assert len(second_response.parse().choices[0].message.content.split()) == 5


async def stream_calls(typed_chat):
    """Stream a reply with calls through the helper that joins and checks chunks."""
    manager = typed_chat.stream(model="demo", messages=BOTH, tools=[TOOL])
    if hasattr(manager, "__aenter__"):
        async with manager as stream:
            kinds = {event.type async for event in stream}
            final = await stream.get_final_completion()
    else:
        with manager as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_completion()
    assert {"chunk", "tool_calls.function.arguments.done"} <= kinds, kinds
    calls = final.choices[0].message.tool_calls
    assert [call.function.parsed_arguments.city for call in calls] == ["Oslo", "Paris"]


async def value(answer):
    """Return a result of a client of either kind."""
    return await answer if inspect.isawaitable(answer) else answer


async def items(page):
    """Return all items of a stream or a page of either kind."""
    if hasattr(page, "__aiter__"):
        return [item async for item in page]
    return list(page)


async def fail_with(kind, method, *arguments, **options):
    """Return the error of a request that must fail."""
    try:
        await value(method(*arguments, **options))
    except kind as error:
        return error
    raise AssertionError(f"wanted {kind.__name__}")


async def main(base_url):
    threads = base_url.replace("/openai/v1", "/v1/threads")
    await use(OpenAI(base_url=base_url, api_key="none", max_retries=0), threads)
    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        await use(client, threads)
    print(f"used {openai.__version__}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
