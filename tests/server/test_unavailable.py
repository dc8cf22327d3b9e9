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
BACK = 30.0
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
            began = time.monotonic()
            refused = await _at_once(client, WRITES)
            ready, alive = await client.get("/readyz"), await client.get("/healthz")
            read = await client.get("/v1/threads")
            assert time.monotonic() - began < 2 * SOON
            other.execute("ROLLBACK")

        async def goes_on() -> bool:
            return (await client.post("/v1/threads")).status_code == 201

        await eventually(goes_on)

    _check_refusals(refused)
    assert ready.status_code == 503
    assert "database" in ready.json()["detail"]
    assert alive.status_code == 200
    assert read.status_code == 200


@pytest.mark.parametrize("trouble", [FaultProxy.refuse, FaultProxy.stall], ids=["away", "stalled"])
async def test_a_database_that_is_away_is_told_soon_and_found_again(
    postgres: Postgres, trouble: Callable[[FaultProxy], None]
) -> None:
    address = await postgres.create()
    proxy = FaultProxy(postgres.port).start()
    there = address.replace(f":{postgres.port}/", f":{proxy.port}/")
    try:
        async with serve(replace(SETTINGS, database=there)) as server:
            client = await server.client()
            thread = (await client.post("/v1/threads")).json()["id"]
            run = (await client.post("/v1/runs", json={"thread_id": thread})).json()["id"]
            trouble(proxy)
            refused = await _at_once(client, (*WRITES, *_reads(thread, run), READY))
            ready, alive = await client.get("/readyz"), await client.get("/healthz")
            proxy.heal()
            began = time.monotonic()
            while (await client.post("/v1/threads")).status_code != 201:
                assert time.monotonic() - began < BACK
            while (await client.get("/readyz")).status_code != 200:
                assert time.monotonic() - began < BACK
            said = await client.post("/v1/process", json={"message": {"content": "Hello"}})
    finally:
        proxy.stop()

    _check_refusals(refused)
    assert "database" in ready.json()["detail"].lower()
    assert alive.status_code == 200
    assert "event: turn.ended" in said.text


@pytest.mark.parametrize("trouble", [FaultProxy.refuse, FaultProxy.stall], ids=["away", "stalled"])
async def test_a_redis_that_is_away_fails_nothing(
    tmp_path: Path, redis: Redis, trouble: Callable[[FaultProxy], None]
) -> None:
    proxy = FaultProxy(redis.port).start()
    there = redis.address.replace(f":{redis.port}/", f":{proxy.port}/")
    settings = replace(SETTINGS, database=f"sqlite:///{tmp_path / 'antiphon.db'}", redis=there)
    try:
        async with serve(settings) as server:
            client = await server.client()
            await client.post("/v1/process", json={"message": {"content": "Hello"}})
            trouble(proxy)
            ready = await client.get("/readyz")
            said = await client.post("/v1/process", json={"message": {"content": "Hello"}})
            kept = await client.get("/v1/threads")
    finally:
        proxy.stop()

    assert ready.status_code == 200
    assert "event: turn.ended" in said.text
    assert len(kept.json()["data"]) == 2


def _reads(thread: str, run: str) -> Sequence[tuple[str, str, object]]:
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


async def _at_once(
    client: httpx2.AsyncClient, asked: Sequence[tuple[str, str, object]]
) -> Sequence[tuple[httpx2.Response, float]]:
    return await asyncio.gather(*(_send_timed(client, *each) for each in asked))


async def _send_timed(
    client: httpx2.AsyncClient, method: str, path: str, body: object
) -> tuple[httpx2.Response, float]:
    began = time.monotonic()
    answer = await client.request(method, path, json=body or None)
    return answer, time.monotonic() - began


def _check_refusals(refused: Sequence[tuple[httpx2.Response, float]]) -> None:
    """Each was answered soon, that it shall come again."""
    for answer, seconds in refused:
        assert answer.status_code == 503
        assert answer.json()["code"] == "unavailable"
        assert int(answer.headers["retry-after"]) >= 1
        assert seconds < SOON
