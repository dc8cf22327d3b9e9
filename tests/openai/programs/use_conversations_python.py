"""Use files, conversations and their items as openai-python does, oldest or newest.

python use_conversations_python.py http://127.0.0.1:8000/openai/v1

The oldest has no conversations.
"""

import asyncio
import sys

import openai
from openai import AsyncOpenAI, OpenAI
from use_openai_python import fail_with, items, value

HAIKU = b"old pond"


async def use(client):
    """Use a client of either kind: what it returns is awaited where it must be."""
    files = client.files
    made = await value(files.create(file=("haiku.txt", HAIKU), purpose="user_data"))
    assert (made.filename, made.bytes, made.purpose) == ("haiku.txt", len(HAIKU), "user_data")
    assert (await value(files.content(made.id))).content == HAIKU
    listed = await items(files.list(purpose="user_data", order="asc", limit=1))
    assert made.id in [file.id for file in listed], listed
    content = [
        {"type": "input_text", "text": "Read this"},
        {"type": "input_file", "file_id": made.id},
    ]
    asked = [{"role": "user", "content": content}]
    answer = await value(client.responses.create(model="demo", input=asked))
    assert "Read this" in answer.output_text
    assert (await value(files.delete(made.id))).deleted
    await fail_with(openai.NotFoundError, files.retrieve, made.id)
    if hasattr(client, "conversations"):
        await use_conversations(client.conversations)


async def use_conversations(conversations):
    """Use every call of conversations."""
    made = await value(conversations.create(items=[{"role": "user", "content": "Hello, you"}]))
    changed = await value(conversations.update(made.id, metadata={"topic": "bees"}))
    assert (await value(conversations.retrieve(made.id))) == changed
    added = await value(
        conversations.items.create(
            made.id,
            items=[
                {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "found"},
                {"role": "assistant", "content": "Here."},
            ],
        )
    )
    listed = await items(conversations.items.list(made.id, order="asc", limit=2))
    assert listed[1:] == added.data, listed
    last = listed[-1]
    place = {"conversation_id": made.id}
    assert (await value(conversations.items.retrieve(last.id, **place))) == last
    await value(conversations.items.delete(last.id, **place))
    await fail_with(openai.NotFoundError, conversations.items.retrieve, last.id, **place)
    assert (await value(conversations.delete(made.id))).deleted


async def main(base_url):
    await use(OpenAI(base_url=base_url, api_key="none", max_retries=0))
    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        await use(client)
    print(f"used {openai.__version__}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
