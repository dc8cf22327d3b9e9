"""Use Responses as the OpenAI Agents SDK does: tools, streams, memory at the server.

python use_agents_responses.py http://127.0.0.1:8000/openai/v1
"""

import asyncio
import sys

from agents import (
    Agent,
    OpenAIConversationsSession,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from pydantic import BaseModel

BOTH = "The weather in Oslo and Paris, both at once"


class Place(BaseModel):
    """A place."""

    city: str


@function_tool
def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"{city}: rain"


async def main(base_url):
    set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0)
    model = OpenAIResponsesModel(model="demo", openai_client=client)
    weather = Agent(name="Weather", model=model, tools=[get_weather])

    streamed_result = Runner.run_streamed(weather, BOTH)
    kinds = {event.type async for event in streamed_result.stream_events()}
    assert kinds >= {"raw_response_event", "run_item_stream_event"}, kinds
    assert "Oslo: rain" in streamed_result.final_output, streamed_result.final_output
    assert "Paris: rain" in streamed_result.final_output

    followup = await Runner.run(
        weather, "5 words", previous_response_id=streamed_result.last_response_id
    )
    assert len(followup.final_output.split()) == 5

    typed_result = await Runner.run(
        Agent(name="Place", model=model, output_type=Place), "A place in Oslo"
    )
    assert typed_result.final_output == Place(city="Oslo")

    conversation = await client.conversations.create()
    await Runner.run(weather, BOTH, conversation_id=conversation.id)
    second_result = await Runner.run(weather, "5 words", conversation_id=conversation.id)
    assert len(second_result.final_output.split()) == 5
    listed_items = [item async for item in await client.conversations.items.list(conversation.id)]
    assert len([item for item in listed_items if item.type == "function_call"]) == 2, listed_items
    assert len([item for item in listed_items if item.type == "function_call_output"]) == 2

    session = OpenAIConversationsSession(openai_client=client)
    await Runner.run(weather, BOTH, session=session)
    await Runner.run(weather, "5 words", session=session)
    stored_items = await session.get_items()
    assert [item["role"] for item in stored_items if item.get("role") == "user"] == [
        "user",
        "user",
    ], stored_items
    last = await session.pop_item()
    assert last == stored_items[-1], (last, stored_items[-1])
    assert [item.get("id") for item in await session.get_items()] == [
        item.get("id") for item in stored_items[:-2]
    ], "a reply's reasoning goes with it"
    await session.clear_session()
    print("used")


asyncio.run(main(*sys.argv[1:]))
