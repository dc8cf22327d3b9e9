"""A second run in a busy thread, with several servers on one database.

Guarantees G7, G9, G12 and G17, with every wake-up from one server to another lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace

from tests.support.providers.upstream import Upstream
from tests.support.server.isolated_servers import run_isolated_servers
from tests.support.server.served import SETTINGS, Served, eventually

CANCELLED_WITHIN = 30.0
CLOSED_WITHIN = 20.0
TOOLS = [{"name": "f", "parameters": {"type": "object"}}]


@dataclass
class ServerPair:
    """Two servers on one database whose buses are not connected, and the model of both."""

    here: httpx2.AsyncClient
    there: httpx2.AsyncClient
    upstream: Upstream
    servers: Sequence[Served]

    async def begin(self, model: str, **fields: Any) -> dict[str, Any]:
        """A run in the background, asked of the first."""
        body = {"message": {"content": "go"}, "model": f"quirk:{model}", "background": True}
        answer = await self.here.post("/v1/process", json=body | fields)
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def until(self, run_id: str, *statuses: str) -> dict[str, Any]:
        """The run, as the second server tells it, once it is in one of these statuses."""

        async def there() -> bool:
            return (await self.there.get(f"/v1/runs/{run_id}")).json()["status"] in statuses

        await eventually(there)
        return (await self.there.get(f"/v1/runs/{run_id}")).json()

    async def list_texts(self, thread_id: str) -> list[tuple[str, str]]:
        """Role and text of each message of the thread."""
        messages = await self.there.get("/v1/messages", params={"thread_id": thread_id})
        return [
            (each["role"], "".join(part["text"] for part in each["content"]))
            for each in messages.json()["data"]
        ]


@pytest.fixture
async def pair(database: str) -> AsyncIterator[ServerPair]:
    async with Upstream() as upstream:
        settings = replace(
            SETTINGS,
            base_url=upstream.url,
            model="quirk:ok",
            heartbeat_interval=0.3,
            expiry_interval=0.3,
            busy_timeout=20,
        )
        async with run_isolated_servers(2, database, settings) as servers:
            here, there = [await server.client() for server in servers]
            yield ServerPair(here, there, upstream, servers)


async def test_who_waits_is_woken_by_nobody_and_goes_on_all_the_same(pair: ServerPair) -> None:
    first = await pair.begin("t_normal", tools=TOOLS)
    await pair.until(first["id"], "action_required")
    body = {"thread_id": first["thread_id"], "if_busy": "wait"}
    waiting = asyncio.create_task(pair.there.post("/v1/runs", json=body))
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done

    await pair.here.post(f"/v1/runs/{first['id']}/cancel")
    answer = await waiting  # or it is refused in the end

    assert answer.status_code == 201, answer.text
    assert answer.json()["thread_id"] == first["thread_id"]


async def test_nobody_waits_for_ever(database: str) -> None:
    settings = replace(SETTINGS, busy_timeout=0.3)
    async with run_isolated_servers(1, database, settings) as (server,):
        client = await server.client()
        thread = (await client.post("/v1/threads")).json()["id"]
        busy = (await client.post("/v1/runs", json={"thread_id": thread})).json()["id"]

        answer = await client.post("/v1/runs", json={"thread_id": thread, "if_busy": "wait"})

        assert (answer.status_code, answer.json()["code"]) == (409, "run_active")
        assert answer.json()["run_id"] == busy
        assert "0.3 seconds" in answer.json()["detail"]


async def test_those_who_wait_hold_nothing_that_others_need(pair: ServerPair) -> None:
    first = await pair.begin("t_normal", tools=TOOLS)
    await pair.until(first["id"], "action_required")
    body = {"thread_id": first["thread_id"], "if_busy": "wait"}
    waiting = [asyncio.create_task(pair.there.post("/v1/runs", json=body)) for _ in range(40)]
    done, _ = await asyncio.wait(waiting, timeout=0.5)
    assert not done

    other = await pair.there.post("/v1/threads")

    assert other.status_code == 201
    assert not any(each.done() for each in waiting)
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)


async def test_those_who_wait_go_one_after_another(pair: ServerPair) -> None:
    first = await pair.begin("ok")
    thread_id = first["thread_id"]
    body = {"thread_id": thread_id, "if_busy": "wait", "message": {"content": "go"}}

    answers = await asyncio.gather(
        *(client.post("/v1/process", json=body) for client in (pair.here, pair.there) * 4)
    )

    assert [answer.status_code for answer in answers] == [200] * 8
    assert all('"status":"completed"}' in answer.text for answer in answers)
    said = [role for role, _ in await pair.list_texts(thread_id)]
    assert said == ["user", "assistant"] * 9
    assert not pair.upstream.rejected


async def test_an_interrupted_run_ends_wherever_it_is_driven(pair: ServerPair) -> None:
    first = await pair.begin("endless")
    asked = await pair.upstream.wait_for_request(1)
    driver = next(server for server in pair.servers if server.runtime.worker.active_runs)
    other = pair.there if driver is pair.servers[0] else pair.here
    body = {
        "thread_id": first["thread_id"],
        "if_busy": "interrupt",
        "message": {"content": "rather this"},
        "model": "quirk:ok",
    }

    began = time.monotonic()
    answer = await other.post("/v1/process", json=body)
    ended = await pair.until(first["id"], "cancelled")
    async with asyncio.timeout(CANCELLED_WITHIN):
        await asked.done.wait()

    assert '"status":"completed"}' in answer.text
    assert (asked.closed is not None, time.monotonic() - began < CANCELLED_WITHIN) == (True, True)
    assert ended["ended_at"] is not None
    roles = [role for role, _ in await pair.list_texts(first["thread_id"])]
    assert roles in (["user", "user", "assistant"], ["user", "assistant", "user", "assistant"])


async def test_what_is_rolled_back_was_never_said(pair: ServerPair) -> None:
    before = await pair.begin("ok")
    thread_id = before["thread_id"]
    await pair.until(before["id"], "completed")
    kept = await pair.list_texts(thread_id)
    wrong = await pair.begin(
        "t_normal", thread_id=thread_id, message={"content": "a slip"}, tools=TOOLS
    )
    await pair.until(wrong["id"], "action_required")
    (action,) = (await pair.here.get("/v1/actions", params={"run_id": wrong["id"]})).json()["data"]
    body = {
        "thread_id": thread_id,
        "if_busy": "rollback",
        "message": {"content": "what was meant"},
        "model": "quirk:ok",
    }

    answer = await pair.there.post("/v1/process", json=body)

    assert '"status":"completed"}' in answer.text
    said = await pair.list_texts(thread_id)
    assert said[: len(kept)] == kept
    assert [text for role, text in said[len(kept) :] if role == "user"] == ["what was meant"]
    assert "a slip" not in str(pair.upstream.requests[-1].body)
    assert (await pair.until(wrong["id"], "cancelled"))["id"] == wrong["id"]
    closed = (await pair.here.get(f"/v1/actions/{action['id']}")).json()
    assert closed["status"] == "cancelled"
    assert not pair.upstream.rejected


@pytest.mark.parametrize("how", ["in the background", "by one who leaves"])
async def test_a_run_that_nobody_listens_to_is_finished_and_kept(
    pair: ServerPair, how: str
) -> None:
    if how == "in the background":
        run_id = (await pair.begin("ok"))["id"]
    else:
        body = {"message": {"content": "go"}}
        async with pair.here.stream("POST", "/v1/process", json=body) as stream:
            line = await anext(stream.aiter_lines())
            assert line == "id: 1"
        run_id = (await pair.there.get("/v1/runs")).json()["data"][0]["id"]

    run = await pair.until(run_id, "completed")

    (_, reply) = await pair.list_texts(run["thread_id"])
    assert reply[0] == "assistant"
    assert reply[1]
