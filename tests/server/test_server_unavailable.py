"""What a server says while what it needs is away, and that it goes on by itself.

Guarantee G28.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import httpx2
from conftest import SETTINGS, eventually, served
from msgspec.structs import replace

SOON = 2.0
WRITES = (
    ("POST", "/v1/threads", {}),
    ("POST", "/v1/assistants", {"name": "a"}),
    ("POST", "/v1/process", {"message": {"content": "Hello"}}),
)


async def test_a_locked_file_is_told_soon_and_waited_for_no_longer(tmp_path: Path) -> None:
    file = tmp_path / "antiphon.db"
    async with served(replace(SETTINGS, database=f"sqlite:///{file}")) as server:
        client = await server.client()
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            refused = [await _timed(client, *write) for write in WRITES]
            ready, alive = await client.get("/readyz"), await client.get("/healthz")
            read = await client.get("/v1/threads")
            assert time.monotonic() - began < SOON * (len(WRITES) + 1)
            other.execute("ROLLBACK")

        async def goes_on() -> bool:
            return (await client.post("/v1/threads")).status_code == 201

        await eventually(goes_on)

    _told(refused)
    assert ready.status_code == 503
    assert "database" in ready.json()["detail"]
    assert alive.status_code == 200
    assert read.status_code == 200


async def _timed(
    client: httpx2.AsyncClient, method: str, path: str, body: object
) -> tuple[httpx2.Response, float]:
    began = time.monotonic()
    answer = await client.request(method, path, json=body or None)
    return answer, time.monotonic() - began


def _told(refused: Sequence[tuple[httpx2.Response, float]]) -> None:
    """Each was answered soon, that it shall come again."""
    for answer, seconds in refused:
        assert answer.status_code == 503
        assert answer.json()["code"] == "unavailable"
        assert int(answer.headers["retry-after"]) >= 1
        assert seconds < SOON
