"""Connections to servers at addresses: they go to allowed places only."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.mcp.hosted import ServerPool
from antiphon.tools.egress_policy import INTERNET, EgressPolicy, parse_exemptions
from antiphon.types.runs import McpServer
from tests.support.tools.far_server import serve_far

pytest.importorskip("mcp")

SECONDS = 60


async def test_a_redirect_to_another_origin_is_not_followed_even_if_that_origin_is_allowed() -> (
    None
):
    async with serve_far() as far, serve_far() as other, asyncio.timeout(SECONDS):
        far.redirect("/mcp", other.url("/mcp"), "307 Temporary Redirect")
        other.say("/mcp", "{}", "application/json")
        servers = ServerPool(
            "urls", reach=EgressPolicy(parse_exemptions(["127.0.0.1"])), list_seconds=SECONDS
        )
        async with servers.hold("ann", [McpServer("new", far.url("/mcp"))]) as toolbox:
            assert not toolbox.tools()
        await servers.close()

        assert far.requests
        assert not other.requests


async def test_a_connection_is_checked_when_it_is_made_whatever_address_was_named() -> None:
    """The text of an address is checked when it is named, and the connection when it is made."""
    async with serve_far() as far, asyncio.timeout(SECONDS):
        config = ServerConfig(name="new", transport="http", url=far.url("/mcp"))
        async with AsyncMcpServerPool([config], reach=INTERNET) as servers:
            (state,) = await servers.ready(SECONDS)

        assert state.status == "failed"
        assert "not a public address" in state.why
        assert not far.requests


async def test_the_operators_login_is_used_at_their_own_servers_and_at_no_address_of_a_caller() -> (
    None
):
    logged_in: list[str] = []

    def auth(config: ServerConfig) -> None:
        logged_in.append(config.name)

    async with serve_far() as far, asyncio.timeout(SECONDS):
        far.answers["/mcp"] = "403 Forbidden", {}, b""
        own_config = ServerConfig(name="own", transport="http", url=far.url("/mcp"), backend=True)
        reach = EgressPolicy(parse_exemptions(["127.0.0.1"]))
        servers = ServerPool("urls", [own_config], reach, auth=auth, list_seconds=SECONDS)
        async with servers.hold("ann", [McpServer("own"), McpServer("new", far.url("/mcp"))]):
            pass
        await servers.close()

        assert logged_in == ["own"]
        assert len(far.requests) >= 2
