"""Use Chat Completions as the OpenAI Agents SDK does: streams, hand-offs, outputs, sessions.

python use_agents_chat.py http://127.0.0.1:8000/openai/v1
"""

import asyncio
import sys

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    Runner,
    SQLiteSession,
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
    model = OpenAIChatCompletionsModel(model="demo", openai_client=client)
    weather = Agent(name="Weather", model=model, tools=[get_weather])

    streamed_result = Runner.run_streamed(weather, BOTH)
    kinds = [event.type async for event in streamed_result.stream_events()]
    assert "Oslo: rain" in streamed_result.final_output, streamed_result.final_output
    assert "Paris: rain" in streamed_result.final_output
    assert "raw_response_event" in kinds

    desk = Agent(name="Desk", model=model, handoffs=[weather])
    handoff_result = await Runner.run(desk, "Please transfer_to_weather, for the weather in Oslo")
    assert handoff_result.last_agent is weather, handoff_result.last_agent
    assert handoff_result.final_output

    typed_result = await Runner.run(
        Agent(name="Place", model=model, output_type=Place), "A place in Oslo"
    )
    assert typed_result.final_output == Place(city="Oslo")

    session = SQLiteSession("one")
    await Runner.run(weather, BOTH, session=session)
    second_result = await Runner.run(weather, "5 words", session=session)
    assert len(second_result.final_output.split()) == 5
    assert second_result.context_wrapper.usage.total_tokens > 0
    print("used")


asyncio.run(main(*sys.argv[1:]))
