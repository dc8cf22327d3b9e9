"""Responses of a server while a service that it needs is away, and its recovery.

Guarantee G28.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from msgspec.structs import replace

from tests.support.server.served import SETTINGS, eventually, serve
from tests.support.services.fault_proxy import FaultProxy
from tests.support.services.postgres import Postgres
from tests.support.services.redis import Redis

SOON = 10.0  # 2 seconds are promised, and the machine may be busy elsewhere
RECOVERY_SECONDS = 30.0
READY = ("GET", "/readyz", {})
WRITES = (
    ("POST", "/v1/threads", {}),
    ("POST", "/v1/assistants", {"name": "a"}),
    ("POST", "/v1/process", {"message": {"content": "Hello"}}),
)


async def test_a_locked_file_is_told_soon_and_waited_for_no_longer(tmp_path: Path) -> None:
    file = tmp_path / "antiphon.db"
    async with serve(replace(SETTINGS, database=f"sqlite:///{file}")) as server:
        client = await server.client()
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            start = time.monotonic()
            refusals = await _send_at_once(client, WRITES)
            readiness, health = await client.get("/readyz"), await client.get("/healthz")
            answer = await client.get("/v1/threads")
            assert time.monotonic() - start < 2 * SOON
            other.execute("ROLLBACK")

        async def is_available() -> bool:
            return (await client.post("/v1/threads")).status_code == 201

        await eventually(is_available)

    _check_refusals(refusals)
    assert readiness.status_code == 503
    assert "database" in readiness.json()["detail"]
    assert health.status_code == 200
    assert answer.status_code == 200


@pytest.mark.parametrize("trouble", [FaultProxy.refuse, FaultProxy.stall], ids=["away", "stalled"])
async def test_a_database_that_is_away_is_told_soon_and_found_again(
    postgres: Postgres, trouble: Callable[[FaultProxy], None]
) -> None:
    address = await postgres.create()
    proxy = FaultProxy(postgres.port).start()
    proxied_address = address.replace(f":{postgres.port}/", f":{proxy.port}/")
    try:
        async with serve(replace(SETTINGS, database=proxied_address)) as server:
            client = await server.client()
            thread = (await client.post("/v1/threads")).json()["id"]
            run = (await client.post("/v1/runs", json={"thread_id": thread})).json()["id"]
            trouble(proxy)
            refusals = await _send_at_once(client, (*WRITES, *_list_reads(thread, run), READY))
            readiness, health = await client.get("/readyz"), await client.get("/healthz")
            proxy.heal()
            start = time.monotonic()
            while (await client.post("/v1/threads")).status_code != 201:
                assert time.monotonic() - start < RECOVERY_SECONDS
            while (await client.get("/readyz")).status_code != 200:
                assert time.monotonic() - start < RECOVERY_SECONDS
            turn = await client.post("/v1/process", json={"message": {"content": "Hello"}})
    finally:
        proxy.stop()

    _check_refusals(refusals)
    assert "database" in readiness.json()["detail"].lower()
    assert health.status_code == 200
    assert "event: turn.ended" in turn.text


@pytest.mark.parametrize("trouble", [FaultProxy.refuse, FaultProxy.stall], ids=["away", "stalled"])
async def test_a_redis_that_is_away_fails_nothing(
    tmp_path: Path, redis: Redis, trouble: Callable[[FaultProxy], None]
) -> None:
    proxy = FaultProxy(redis.port).start()
    proxied_address = redis.address.replace(f":{redis.port}/", f":{proxy.port}/")
    settings = replace(
        SETTINGS, database=f"sqlite:///{tmp_path / 'antiphon.db'}", redis=proxied_address
    )
    try:
        async with serve(settings) as server:
            client = await server.client()
            await client.post("/v1/process", json={"message": {"content": "Hello"}})
            trouble(proxy)
            readiness = await client.get("/readyz")
            turn = await client.post("/v1/process", json={"message": {"content": "Hello"}})
            threads = await client.get("/v1/threads")
    finally:
        proxy.stop()

    assert readiness.status_code == 200
    assert "event: turn.ended" in turn.text
    assert len(threads.json()["data"]) == 2


def _list_reads(thread: str, run: str) -> Sequence[tuple[str, str, object]]:
    return [
        ("GET", path, {})
        for path in (
            "/v1/threads",
            f"/v1/threads/{thread}",
            f"/v1/messages?thread_id={thread}",
            f"/v1/runs/{run}",
            f"/v1/runs/{run}/events",
            "/v1/files",
            "/v1/live_runs",
        )
    ]


async def _send_at_once(
    client: httpx2.AsyncClient, requests: Sequence[tuple[str, str, object]]
) -> Sequence[tuple[httpx2.Response, float]]:
    return await asyncio.gather(*(_send_timed(client, *each) for each in requests))


async def _send_timed(
    client: httpx2.AsyncClient, method: str, path: str, body: object
) -> tuple[httpx2.Response, float]:
    start = time.monotonic()
    answer = await client.request(method, path, json=body or None)
    return answer, time.monotonic() - start


def _check_refusals(refusals: Sequence[tuple[httpx2.Response, float]]) -> None:
    """Check that each was refused soon, and is to be sent again."""
    for answer, seconds in refusals:
        assert answer.status_code == 503
        assert answer.json()["code"] == "unavailable"
        assert int(answer.headers["retry-after"]) >= 1
        assert seconds < SOON
