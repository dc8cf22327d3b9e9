"""Search the web as the OpenAI Agents SDK does, by the hosted tool that an MCP server stands for.

python use_agents_search.py http://127.0.0.1:8000/openai/v1
"""

import asyncio
import sys

from agents import Agent, OpenAIResponsesModel, Runner, WebSearchTool, set_tracing_disabled
from openai import AsyncOpenAI


async def main(base_url):
    set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0)
    model = OpenAIResponsesModel(model="demo", openai_client=client)
    agent = Agent(name="Bees", model=model, tools=[WebSearchTool()])

    result = await Runner.run(agent, "Use far__look")

    assert "https://bees.example/a" in result.final_output
    item_types = [item.raw_item.type for item in result.new_items]
    assert "web_search_call" in item_types, item_types
    print("used")


asyncio.run(main(*sys.argv[1:]))
