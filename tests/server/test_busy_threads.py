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

    first_client: httpx2.AsyncClient
    second_client: httpx2.AsyncClient
    upstream: Upstream
    servers: Sequence[Served]

    async def begin(self, model: str, **fields: Any) -> dict[str, Any]:
        """Start a run in the background on the first server."""
        body = {"message": {"content": "go"}, "model": f"quirk:{model}", "background": True}
        answer = await self.first_client.post("/v1/process", json=body | fields)
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def until(self, run_id: str, *statuses: str) -> dict[str, Any]:
        """Wait until the second server shows the run in one of these statuses; return the run."""

        async def has_status() -> bool:
            return (await self.second_client.get(f"/v1/runs/{run_id}")).json()["status"] in statuses

        await eventually(has_status)
        return (await self.second_client.get(f"/v1/runs/{run_id}")).json()

    async def list_texts(self, thread_id: str) -> list[tuple[str, str]]:
        """Return role and text of each message of the thread."""
        messages = await self.second_client.get("/v1/messages", params={"thread_id": thread_id})
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
            first_client, second_client = [await server.client() for server in servers]
            yield ServerPair(first_client, second_client, upstream, servers)


async def test_a_waiting_request_goes_on_though_no_wake_up_reaches_it(pair: ServerPair) -> None:
    first = await pair.begin("t_normal", tools=TOOLS)
    await pair.until(first["id"], "action_required")
    body = {"thread_id": first["thread_id"], "if_busy": "wait"}
    waiting_request = asyncio.create_task(pair.second_client.post("/v1/runs", json=body))
    done, _ = await asyncio.wait([waiting_request], timeout=0.2)
    assert not done

    await pair.first_client.post(f"/v1/runs/{first['id']}/cancel")
    answer = await waiting_request  # or it is refused in the end

    assert answer.status_code == 201, answer.text
    assert answer.json()["thread_id"] == first["thread_id"]


async def test_nobody_waits_for_ever(database: str) -> None:
    settings = replace(SETTINGS, busy_timeout=0.3)
    async with run_isolated_servers(1, database, settings) as (server,):
        client = await server.client()
        thread = (await client.post("/v1/threads")).json()["id"]
        busy_run = (await client.post("/v1/runs", json={"thread_id": thread})).json()["id"]

        answer = await client.post("/v1/runs", json={"thread_id": thread, "if_busy": "wait"})

        assert (answer.status_code, answer.json()["code"]) == (409, "run_active")
        assert answer.json()["run_id"] == busy_run
        assert "0.3 seconds" in answer.json()["detail"]


async def test_waiting_requests_hold_nothing_that_others_need(pair: ServerPair) -> None:
    first = await pair.begin("t_normal", tools=TOOLS)
    await pair.until(first["id"], "action_required")
    body = {"thread_id": first["thread_id"], "if_busy": "wait"}
    waiting_requests = [
        asyncio.create_task(pair.second_client.post("/v1/runs", json=body)) for _ in range(40)
    ]
    done, _ = await asyncio.wait(waiting_requests, timeout=0.5)
    assert not done

    thread_answer = await pair.second_client.post("/v1/threads")

    assert thread_answer.status_code == 201
    assert not any(each.done() for each in waiting_requests)
    for each in waiting_requests:
        each.cancel()
    await asyncio.wait(waiting_requests)


async def test_waiting_requests_are_answered_one_after_another(pair: ServerPair) -> None:
    first = await pair.begin("ok")
    thread_id = first["thread_id"]
    body = {"thread_id": thread_id, "if_busy": "wait", "message": {"content": "go"}}

    answers = await asyncio.gather(
        *(
            client.post("/v1/process", json=body)
            for client in (pair.first_client, pair.second_client) * 4
        )
    )

    assert [answer.status_code for answer in answers] == [200] * 8
    assert all('"status":"completed"}' in answer.text for answer in answers)
    roles = [role for role, _ in await pair.list_texts(thread_id)]
    assert roles == ["user", "assistant"] * 9
    assert not pair.upstream.rejected


async def test_an_interrupted_run_ends_wherever_it_is_driven(pair: ServerPair) -> None:
    first = await pair.begin("endless")
    request = await pair.upstream.wait_for_request(1)
    driver = next(server for server in pair.servers if server.runtime.worker.active_runs)
    other_client = pair.second_client if driver is pair.servers[0] else pair.first_client
    body = {
        "thread_id": first["thread_id"],
        "if_busy": "interrupt",
        "message": {"content": "rather this"},
        "model": "quirk:ok",
    }

    start = time.monotonic()
    answer = await other_client.post("/v1/process", json=body)
    ended_run = await pair.until(first["id"], "cancelled")
    async with asyncio.timeout(CANCELLED_WITHIN):
        await request.done.wait()

    assert '"status":"completed"}' in answer.text
    assert (request.closed is not None, time.monotonic() - start < CANCELLED_WITHIN) == (True, True)
    assert ended_run["ended_at"] is not None
    roles = [role for role, _ in await pair.list_texts(first["thread_id"])]
    assert roles in (["user", "user", "assistant"], ["user", "assistant", "user", "assistant"])


async def test_messages_that_are_rolled_back_leave_no_trace(pair: ServerPair) -> None:
    before = await pair.begin("ok")
    thread_id = before["thread_id"]
    await pair.until(before["id"], "completed")
    messages_before = await pair.list_texts(thread_id)
    wrong_run = await pair.begin(
        "t_normal", thread_id=thread_id, message={"content": "a slip"}, tools=TOOLS
    )
    await pair.until(wrong_run["id"], "action_required")
    (action,) = (
        await pair.first_client.get("/v1/actions", params={"run_id": wrong_run["id"]})
    ).json()["data"]
    body = {
        "thread_id": thread_id,
        "if_busy": "rollback",
        "message": {"content": "what was meant"},
        "model": "quirk:ok",
    }

    answer = await pair.second_client.post("/v1/process", json=body)

    assert '"status":"completed"}' in answer.text
    messages = await pair.list_texts(thread_id)
    assert messages[: len(messages_before)] == messages_before
    assert [text for role, text in messages[len(messages_before) :] if role == "user"] == [
        "what was meant"
    ]
    assert "a slip" not in str(pair.upstream.requests[-1].body)
    assert (await pair.until(wrong_run["id"], "cancelled"))["id"] == wrong_run["id"]
    closed_action = (await pair.first_client.get(f"/v1/actions/{action['id']}")).json()
    assert closed_action["status"] == "cancelled"
    assert not pair.upstream.rejected


@pytest.mark.parametrize("mode", ["in the background", "by one who leaves"])
async def test_a_run_that_nobody_listens_to_is_finished_and_kept(
    pair: ServerPair, mode: str
) -> None:
    if mode == "in the background":
        run_id = (await pair.begin("ok"))["id"]
    else:
        body = {"message": {"content": "go"}}
        async with pair.first_client.stream("POST", "/v1/process", json=body) as stream:
            line = await anext(stream.aiter_lines())
            assert line == "id: 1"
        run_id = (await pair.second_client.get("/v1/runs")).json()["data"][0]["id"]

    run = await pair.until(run_id, "completed")

    (_, reply) = await pair.list_texts(run["thread_id"])
    assert reply[0] == "assistant"
    assert reply[1]
