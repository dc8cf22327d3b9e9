"""Use either API as LlamaIndex does: whole, in streams, typed, and by an agent.

python use_llama_index.py http://127.0.0.1:8000/openai/v1 chat
"""

import asyncio
import sys

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike, OpenAILikeResponses
from pydantic import BaseModel


class Place(BaseModel):
    """A place."""

    city: str


def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"{city}: rain"


MODELS = {"chat": OpenAILike, "responses": OpenAILikeResponses}


async def main(base_url, api):
    model = MODELS[api](
        model="demo",
        api_base=base_url,
        api_key="none",
        is_chat_model=True,
        is_function_calling_model=True,
        context_window=32_000,
        max_retries=0,
    )
    messages = [ChatMessage(role="user", content="5 words")]

    assert len((await model.achat(messages)).message.content.split()) == 5
    stream = await model.astream_chat(messages)
    text = "".join([piece.delta or "" async for piece in stream])
    assert len(text.split()) == 5

    typed_answer = await model.as_structured_llm(Place).acomplete("A place in Oslo")
    assert typed_answer.raw == Place(city="Oslo"), typed_answer.raw

    agent = FunctionAgent(llm=model, tools=[get_weather])
    answer = str(await agent.run("The weather in Oslo and Paris, both at once"))
    assert "Oslo: rain" in answer, answer
    assert "Paris: rain" in answer, answer
    print("used")


asyncio.run(main(*sys.argv[1:]))
