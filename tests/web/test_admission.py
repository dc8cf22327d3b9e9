"""Streams have their places, and end when their reader may not read any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.web.visiting import HERE, Browser, Chat, open_chat

DIES_WITHIN = 60.0
LONG = {"content": "Tell me a long story."}


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    async with open_chat(
        login="proxy", trusted_proxies=(HERE,), demo_delay=0.5, shutdown_timeout=0.1
    ) as chat:
        yield chat


async def person(chat: Chat, name: str) -> Browser:
    return await chat.browser(headers={"X-Forwarded-User": name}).arrive()


async def test_where_all_places_are_taken_nothing_is_begun_and_pages_are_answered() -> None:
    async with open_chat(web_streams=2, demo_delay=0.5, shutdown_timeout=0.1) as chat:
        browser = await chat.browser().arrive()
        streams = [await browser.post("/api/messages/process", LONG) for _ in range(2)]

        refused = await browser.post("/api/messages/process", LONG)
        assert [answer.status_code for answer in (*streams, refused)] == [200, 200, 503]
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.json["code"] == "overloaded"
        listed = await browser.get("/api/threads")
        assert len(listed.json["data"]) == 2
        for stream in streams:
            stream.close()
        async with asyncio.timeout(DIES_WITHIN):
            while chat.site.limits.streams.open:
                await asyncio.sleep(0.05)


async def test_a_message_that_is_refused_takes_no_place(chat: Chat) -> None:
    ann = await person(chat, "ann")

    for body in ({"content": 7}, {"content": "hi", "thread_id": "thread_1"}, {}):
        refused = await ann.post("/api/messages/process", body)
        assert refused.status_code in (404, 422)
        refused.close()
    assert chat.site.limits.streams.open == 0


async def test_a_stream_ends_soon_after_its_reader_is_let_out(chat: Chat) -> None:
    ann, bob = await person(chat, "ann"), await person(chat, "bob")
    people = {each.name: each.id for each in (await chat.site.client.list_people()).data}
    anns, bobs = [await each.post("/api/messages/process", LONG) for each in (ann, bob)]

    await chat.site.client.update_person(people["ann"], disabled=True)
    async with asyncio.timeout(2 * DIES_WITHIN):
        told = await asyncio.to_thread(anns.get_data)
    assert b"[DONE]" not in told
    assert chat.site.limits.streams.open == 1
    bobs.close()
