"""Fixtures of the tests with real processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness.servers import Server, start_server
from tests.support.providers.upstream import Upstream


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Return a function that starts servers on one database of this test; stop them at its end."""
    servers: list[Server] = []

    async def serve(*flags: str, **settings: str) -> Server:
        environ = {"ANTIPHON_DATABASE": f"sqlite:///{tmp_path}/antiphon.db", **settings}
        server = await start_server(environ, *flags)
        servers.append(server)
        return server

    yield serve
    for server in servers:
        await server.stop_cleanly()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream
