"""States of the operator's MCP servers: before, while and after runs name them."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.api.operations import BackendServer
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.mcp.hosted import ServerPool
from antiphon.runtime.backend_servers import NoServers
from antiphon.types.runs import McpServer
from tests.support.mcp.serving import raw

pytest.importorskip("mcp")


async def test_a_server_is_idle_until_a_run_names_it_and_then_ready() -> None:
    pool = ServerPool("configured", [raw(name="far")], unusable={"odd": "TOKEN is not set"})
    try:
        async with asyncio.timeout(60):
            assert list(pool.states()) == [
                BackendServer("far", "idle", "stdio"),
                BackendServer("odd", "unusable", problem="TOKEN is not set"),
            ]
            async with pool.hold("ann", [McpServer("far")]):
                far, _ = pool.states()
                assert (far.status, far.transport, far.problem) == ("ready", "stdio", "")
                assert far.tools > 0
    finally:
        await pool.close()


async def test_a_server_that_does_not_start_says_why() -> None:
    missing = ServerConfig(name="gone", transport="stdio", command="no-such-program-here")
    pool = ServerPool("configured", [missing])
    try:
        async with asyncio.timeout(60), pool.hold("ann", [McpServer("gone")]):
            (state,) = pool.states()
    finally:
        await pool.close()

    assert state.status == "failed"
    assert "no-such-program-here" in state.problem


def test_without_servers_that_may_be_named_there_are_no_states() -> None:
    assert list(NoServers().states()) == []
