"""Servers on real loopback sockets, over a runtime that forgets everything at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from antiphon.server.streaming import StreamTimeouts
from tests.support.server.served import Served, serve
from tests.support.services.postgres import Postgres


@pytest.fixture(params=["postgresql", pytest.param("sqlite", marks=pytest.mark.soak)])
async def database(request: pytest.FixtureRequest, tmp_path: Path, patient_postgres: None) -> str:
    """Return the address of an empty database, of each kind that several servers can share."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/antiphon.db"
    postgres: Postgres = request.getfixturevalue("postgres")
    return await postgres.create()


@pytest.fixture
def quick_timeouts() -> StreamTimeouts:
    """Return timeouts with one second of silence, and one second between two checks of a key."""
    return StreamTimeouts(silence=1.0, recheck=1.0)


@pytest.fixture
def quick_send_timeouts() -> StreamTimeouts:
    """Return timeouts with one second of patience for clients that do not read."""
    return StreamTimeouts(patience=1.0)


@pytest.fixture
async def server() -> AsyncIterator[Served]:
    async with serve() as server:
        yield server


@pytest.fixture
async def client(server: Served) -> httpx2.AsyncClient:
    return await server.client()
