"""What the proofs through real processes share."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

# The fault upstream lives beside the tests of the provider that it was written for.
sys.path.append(str(Path(__file__).parents[1] / "providers"))

from harness.servers import Server, started
from upstream import Upstream


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Starts servers on one database of this test; stops them at its end."""
    running: list[Server] = []

    async def serve(*flags: str, **settings: str) -> Server:
        where = {"ANTIPHON_DATABASE": f"sqlite:///{tmp_path}/antiphon.db", **settings}
        server = await started(where, *flags)
        running.append(server)
        return server

    yield serve
    for server in running:
        await server.gone()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream
