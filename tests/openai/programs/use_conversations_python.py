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
    """Use a sync or an async client; `value` and `items` await the results of the latter."""
    files = client.files
    uploaded_file = await value(files.create(file=("haiku.txt", HAIKU), purpose="user_data"))
    assert (uploaded_file.filename, uploaded_file.bytes, uploaded_file.purpose) == (
        "haiku.txt",
        len(HAIKU),
        "user_data",
    )
    assert (await value(files.content(uploaded_file.id))).content == HAIKU
    listed_files = await items(files.list(purpose="user_data", order="asc", limit=1))
    assert uploaded_file.id in [file.id for file in listed_files], listed_files
    content = [
        {"type": "input_text", "text": "Read this"},
        {"type": "input_file", "file_id": uploaded_file.id},
    ]
    question = [{"role": "user", "content": content}]
    answer = await value(client.responses.create(model="demo", input=question))
    assert "Read this" in answer.output_text
    assert (await value(files.delete(uploaded_file.id))).deleted
    await fail_with(openai.NotFoundError, files.retrieve, uploaded_file.id)
    if hasattr(client, "conversations"):
        await use_conversations(client.conversations)


async def use_conversations(conversations):
    """Use every call of conversations."""
    conversation = await value(
        conversations.create(items=[{"role": "user", "content": "Hello, you"}])
    )
    updated_conversation = await value(
        conversations.update(conversation.id, metadata={"topic": "bees"})
    )
    assert (await value(conversations.retrieve(conversation.id))) == updated_conversation
    added_items = await value(
        conversations.items.create(
            conversation.id,
            items=[
                {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "found"},
                {"role": "assistant", "content": "Here."},
            ],
        )
    )
    listed_items = await items(conversations.items.list(conversation.id, order="asc", limit=2))
    assert listed_items[1:] == added_items.data, listed_items
    last = listed_items[-1]
    parent = {"conversation_id": conversation.id}
    assert (await value(conversations.items.retrieve(last.id, **parent))) == last
    await value(conversations.items.delete(last.id, **parent))
    await fail_with(openai.NotFoundError, conversations.items.retrieve, last.id, **parent)
    assert (await value(conversations.delete(conversation.id))).deleted


async def main(base_url):
    await use(OpenAI(base_url=base_url, api_key="none", max_retries=0))
    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        await use(client)
    print(f"used {openai.__version__}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
