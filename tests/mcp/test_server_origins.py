"""MCP servers of the operator that a run needs on its worker, listed without secrets."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from antiphon.mcp.config.server_config import ServerConfig
from antiphon.mcp.hosted import ServerPool
from antiphon.runtime.backend_servers import NoServers
from antiphon.types.runs import McpServer

FILES = ServerConfig(name="files", command="files-server", args=("/srv",), env={"TOKEN": "canary"})
NOTES = ServerConfig(name="notes", transport="http", url="https://notes.example/mcp")
SERVERS_OF_RUN = (McpServer("files"),)


async def test_the_same_servers_serve_a_run_and_others_do_not() -> None:
    origins = ServerPool("configured", [FILES, NOTES]).origins(SERVERS_OF_RUN)

    assert ServerPool("configured", [NOTES, FILES]).has(origins)
    assert ServerPool("urls", [replace(FILES, env={"TOKEN": "another"})]).has(origins)
    assert not ServerPool("configured", [NOTES]).has(origins)
    assert not ServerPool("configured", [replace(FILES, args=("/etc",))]).has(origins)
    assert not NoServers().has(origins)
    assert "canary" not in str(origins)


@pytest.mark.parametrize("url", ["https://far.example/mcp", "https://far.example/token-canary"])
async def test_a_server_that_the_run_names_by_its_address_needs_only_the_permission(
    url: str,
) -> None:
    origins = ServerPool("urls").origins((McpServer("files", url=url),))

    assert ServerPool("urls", [FILES]).has(origins)
    assert not ServerPool("configured", [FILES]).has(origins)
    assert "canary" not in str(origins)


async def test_a_run_without_servers_is_served_anywhere() -> None:
    origins = ServerPool("urls", [FILES]).origins(())

    assert NoServers().has(origins)
