"""Deleted data is gone from every response, table and cache of every process.

Guarantee G24.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx2
import msgspec
import pytest
from msgspec.structs import replace
from redis.asyncio import Redis as RedisClient

from antiphon.runtime.wiring import open_dump
from antiphon.stores.dump import TABLES
from tests.support.server.served import SETTINGS, eventually, serve
from tests.support.services.redis import Redis

CANARY = "canary-9b1f"
TOOLS = [{"name": "get_flight_times", "parameters": {"type": "object", "properties": {}}}]
ASK = {"content": f"When does the next LAX-JFK flight leave? {CANARY}"}
WITHIN = 60.0


@pytest.fixture
async def clients(
    database: str, redis: Redis, patient_cache: None
) -> AsyncIterator[tuple[httpx2.AsyncClient, ...]]:
    """Run two servers on one database and one Redis; return a client of each."""
    async with AsyncExitStack() as stack:
        settings = replace(SETTINGS, database=database, redis=redis.address)
        servers = [await stack.enter_async_context(serve(settings)) for _ in range(2)]
        yield tuple([await server.client() for server in servers])


async def test_a_deleted_thread_is_nowhere_any_more(
    clients: tuple[httpx2.AsyncClient, ...], database: str, redis: Redis
) -> None:
    first, second = clients
    thread_id, paths = await _fill_thread(first)
    for client in clients:  # each has read it, and so has what they share
        turn = {"thread_id": thread_id, "message": ASK, "metadata": {"m": CANARY}}
        assert '"completed"' in (await client.post("/v1/process", json=turn)).text
        for path in paths:
            assert CANARY in (await client.get(path)).text, path
    assert CANARY.encode() in await _rows(database)
    async with RedisClient.from_url(redis.address) as shared:

        async def is_shared() -> bool:
            return bool(await shared.keys("*"))

        await eventually(is_shared)

    assert (await first.delete(f"/v1/threads/{thread_id}")).status_code == 200
    async with asyncio.timeout(WITHIN):
        answers = [await client.get(path) for client in clients for path in paths]

    for answer in answers:
        assert CANARY not in answer.text, answer.url
        assert thread_id not in answer.text or answer.status_code == 404, answer.url
    assert CANARY.encode() not in await _rows(database)
    async with RedisClient.from_url(redis.address) as shared:

        async def is_gone() -> bool:
            keys = await shared.keys("*")
            cached = b"".join([await shared.dump(key) or b"" for key in keys])
            return CANARY.encode() not in cached and thread_id.encode() not in b" ".join(keys)

        await eventually(is_gone)  # what was being shared meanwhile is dropped after it
    headers = {"idempotency-key": "once"}
    repeated = await second.post("/v1/threads", json={"title": CANARY}, headers=headers)
    assert repeated.status_code == 404


async def _fill_thread(client: httpx2.AsyncClient) -> tuple[str, list[str]]:
    """Fill a thread with the canary in every field that takes words; return its id and paths."""
    headers = {"idempotency-key": "once"}
    thread_fields = {"title": CANARY, "metadata": {"m": CANARY}}
    answer = await client.post("/v1/threads", json={"title": CANARY}, headers=headers)
    thread_id = answer.json()["id"]
    await client.patch(f"/v1/threads/{thread_id}", json=thread_fields)
    body = {"thread_id": thread_id, "message": ASK, "tools": TOOLS, "instructions": CANARY}
    turn = await client.post("/v1/process", json=body, headers={"idempotency-key": "turn"})
    assert "event: action.required" in turn.text
    run_id = (await client.get("/v1/runs", params={"thread_id": thread_id})).json()["data"][0]["id"]
    action = (await client.get("/v1/actions", params={"run_id": run_id})).json()["data"][0]
    output = {"run_id": run_id, "tool_call_id": action["tool_call_id"], "output": CANARY}
    assert (await client.post("/v1/submit_tool_output", json=output)).status_code == 200
    await client.post("/v1/process", json={"run_id": run_id})
    messages = (await client.get("/v1/messages", params={"thread_id": thread_id})).json()["data"]
    return thread_id, [
        f"/v1/threads/{thread_id}",
        "/v1/threads?limit=100",
        f"/v1/threads?q={CANARY}",
        f"/v1/messages?thread_id={thread_id}",
        f"/v1/messages/{messages[0]['id']}",
        f"/v1/runs/{run_id}",
        f"/v1/runs/{run_id}/events",
        f"/v1/actions/{action['id']}",
        f"/v1/actions?run_id={run_id}",
    ]


async def _rows(database: str) -> bytes:
    """Return all rows of the database, as bytes in which words are readable."""
    async with open_dump(database) as dump:
        assert dump is not None
        pieces = []
        for table in TABLES:
            place = table.start
            while rows := await dump.read(table, place):
                place = table.place(rows[-1])
                pieces.append(msgspec.msgpack.encode(rows))
        return b"".join(pieces)
