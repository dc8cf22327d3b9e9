"""Use Chat Completions as Pydantic AI does: outputs of each mode, streams, parallel tools.

python use_pydantic_ai.py http://127.0.0.1:8000/openai/v1
"""

import asyncio
import sys

from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


class Place(BaseModel):
    """A place."""

    city: str


def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"{city}: rain"


MODELS = {"chat": OpenAIChatModel, "responses": OpenAIResponsesModel}


async def main(base_url, api):
    provider = OpenAIProvider(base_url=base_url, api_key="none")
    model = MODELS[api]("demo", provider=provider)

    for mode in (ToolOutput, NativeOutput):
        typed_result = await Agent(model, output_type=mode(Place)).run("A place in Oslo")
        assert typed_result.output == Place(city="Oslo"), typed_result.output
    prompted_agent = Agent(model, output_type=PromptedOutput(Place, template="{schema}"))
    assert (await prompted_agent.run("In JSON, 'city'")).output.city

    agent = Agent(model, tools=[get_weather], instructions="Answer briefly.")
    async with agent.run_stream("The weather in Oslo and Paris, both at once") as stream:
        text = "".join([delta async for delta in stream.stream_text(delta=True)])
        assert "Oslo: rain" in text, text
        assert "Paris: rain" in text, text
        assert stream.usage.requests == 2
        assert stream.usage.output_tokens > 0
        history = stream.all_messages()
    followup = await agent.run("5 words", message_history=history)
    assert len(followup.output.split()) == 5

    picture = BinaryContent(b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", media_type="image/gif")
    assert "Look at this" in (await agent.run(["Look at this", picture])).output
    print("used")


asyncio.run(main(*sys.argv[1:]))
