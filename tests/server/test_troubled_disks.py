"""A disk that is full and a database file that is gone are noticed, and reported."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from tests.support.server.bystander import ASK_SECONDS, MeasuredServer, run_measured_server

if sys.platform != "linux":
    pytest.skip("a process is limited by prlimit", allow_module_level=True)

import resource


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[MeasuredServer]:
    async with run_measured_server(ANTIPHON_DATABASE=f"sqlite:///{tmp_path}/antiphon.db") as server:
        yield server


@pytest.fixture
async def client(server: MeasuredServer) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(
        base_url=server.url, timeout=ASK_SECONDS, trust_env=False
    ) as client:
        yield client


async def wait_for_words(server: MeasuredServer, words: str) -> None:
    """Wait until the server has said this."""
    async with asyncio.timeout(ASK_SECONDS):
        while not any(words in line for line in server.process.said):
            await asyncio.sleep(0.05)


async def test_a_server_whose_disk_is_full_is_not_ready(
    server: MeasuredServer, client: httpx2.AsyncClient
) -> None:
    ready = await client.get("/readyz")
    limits = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (2_000_000, limits[1]))
    full_answer = await client.get("/readyz")
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)
    last_answer = await client.get("/readyz")

    assert (ready.status_code, full_answer.status_code, last_answer.status_code) == (200, 503, 200)
    assert full_answer.json()["code"] == "unavailable"
    assert "room" in full_answer.json()["hint"]


@pytest.mark.parametrize("trouble", ["deleted", "replaced"])
async def test_a_database_file_that_is_gone_is_told_and_nothing_is_acknowledged(
    server: MeasuredServer, client: httpx2.AsyncClient, tmp_path: Path, trouble: str
) -> None:
    database, moved_file = tmp_path / "antiphon.db", tmp_path / "aside.db"
    thread = (await client.post("/v1/threads", json={})).json()["id"]
    os.rename(database, moved_file)
    if trouble == "replaced":
        database.write_bytes(moved_file.read_bytes())
    await wait_for_words(server, f"was {trouble}")  # before any request
    answers = [
        await client.post("/v1/threads", json={}),
        await client.get(f"/v1/threads/{thread}"),
        await client.get("/readyz"),
    ]
    health = await client.get("/healthz")
    os.rename(moved_file, database)
    read_answer = await client.get(f"/v1/threads/{thread}")
    write_answer = await client.post("/v1/threads", json={})

    assert [answer.status_code for answer in answers] == [503] * 3
    assert all(f"was {trouble}" in answer.json()["detail"] for answer in answers)
    assert health.status_code == 200
    assert (read_answer.status_code, write_answer.status_code) == (200, 201)
