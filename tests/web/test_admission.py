"""The number of streams is limited, and a stream ends once its reader has lost access."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.web.visiting import HERE, Browser, Chat, open_chat

SECONDS_TO_END = 60.0
LONG = {"content": "Tell me a long story."}


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    async with open_chat(
        login="proxy", trusted_proxies=(HERE,), demo_delay=0.5, shutdown_timeout=0.1
    ) as chat:
        yield chat


async def person(chat: Chat, name: str) -> Browser:
    return await chat.browser(headers={"X-Forwarded-User": name}).arrive()


async def test_at_the_limit_of_streams_no_run_is_started_and_pages_are_answered() -> None:
    async with open_chat(web_streams=2, demo_delay=0.5, shutdown_timeout=0.1) as chat:
        browser = await chat.browser().arrive()
        streams = [await browser.post("/api/messages/process", LONG) for _ in range(2)]

        refusal = await browser.post("/api/messages/process", LONG)
        assert [answer.status_code for answer in (*streams, refusal)] == [200, 200, 503]
        assert int(refusal.headers["Retry-After"]) > 0
        assert refusal.json["code"] == "overloaded"
        thread_list = await browser.get("/api/threads")
        assert len(thread_list.json["data"]) == 2
        for stream in streams:
            stream.close()
        async with asyncio.timeout(SECONDS_TO_END):
            while chat.site.limits.streams.open:
                await asyncio.sleep(0.05)


async def test_a_message_that_is_refused_does_not_count_as_a_stream(chat: Chat) -> None:
    ann = await person(chat, "ann")

    for body in ({"content": 7}, {"content": "hi", "thread_id": "thread_1"}, {}):
        refusal = await ann.post("/api/messages/process", body)
        assert refusal.status_code in (404, 422)
        refusal.close()
    assert chat.site.limits.streams.open == 0


async def test_a_stream_ends_soon_after_its_reader_is_disabled(chat: Chat) -> None:
    ann, bob = await person(chat, "ann"), await person(chat, "bob")
    people = {each.name: each.id for each in (await chat.site.client.list_people()).data}
    anns_stream, bobs_stream = [
        await each.post("/api/messages/process", LONG) for each in (ann, bob)
    ]

    await chat.site.client.update_person(people["ann"], disabled=True)
    async with asyncio.timeout(2 * SECONDS_TO_END):
        body = await asyncio.to_thread(anns_stream.get_data)
    assert b"[DONE]" not in body
    assert chat.site.limits.streams.open == 1
    bobs_stream.close()
