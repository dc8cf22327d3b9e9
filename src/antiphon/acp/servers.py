"""The MCP servers of a session: those that the editor passes on, and the user's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from acp.schema import HttpMcpServer, McpServerStdio, SseMcpServer

from antiphon.acp.session import SessionSetup
from antiphon.mcp import startup
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.config.server_config import ServerConfig, legal_names
from antiphon.types.errors import InvalidRequest

AnyServer = HttpMcpServer | SseMcpServer | McpServerStdio | Any


@asynccontextmanager
async def run_servers(
    setup: SessionSetup, folders: Sequence[Path], given: Sequence[AnyServer]
) -> AsyncGenerator[AsyncMcpServerPool | None]:
    """Start the editor's servers and the user's own; of two with one name, the editor's.

    References such as `${VARIABLE}` in the editor's servers are not resolved: a folder's
    settings may have written them.
    """
    if not setup.with_servers:
        yield None
        return
    if not startup.has_extra():
        if given:
            setup.warn("MCP servers need the extra `mcp`: pip install 'antiphon[mcp]'")
        yield None
        return
    usable = await asyncio.to_thread(startup.resolve_servers, setup.settings)
    for problem in usable.problems:
        setup.warn(f"the MCP server {problem.server} cannot be used: {problem.why}")
    for each in usable.unapproved:
        setup.warn(each.explanation)
    own = {each.name for each in usable.configs} | {each.server for each in usable.problems}
    passed = [
        msgspec.structs.replace(config, replaces_own=config.name in own)
        for config in _server_configs(given, folders[0])
    ]
    names = {config.name for config in passed}
    configs = [*passed, *(each for each in usable.enabled if each.name not in names)]
    if not configs:
        yield None
        return
    async with AsyncMcpServerPool(
        configs,
        roots=folders,
        auth=usable.auth,
        guard=usable.guard,
        protocol_cache=usable.protocol_cache,
    ) as pool:
        yield pool


def _server_configs(given: Sequence[AnyServer], folder: Path) -> list[ServerConfig]:
    """Return the editor's servers, with legal names. Raises `InvalidRequest`."""
    names = legal_names(server.name for server in given)
    configs: dict[str, ServerConfig] = {}
    for server in given:
        name = names[server.name]
        match server:
            case McpServerStdio():
                env = {each.name: each.value for each in server.env}
                configs[name] = ServerConfig(
                    name=name,
                    command=server.command,
                    args=tuple(server.args),
                    env=env,
                    cwd=str(folder),
                )
            case HttpMcpServer() | SseMcpServer():
                headers = {each.name: each.value for each in server.headers}
                configs[name] = ServerConfig(
                    name=name, transport=server.type, url=server.url, headers=headers
                )
            case _:
                raise InvalidRequest(
                    "This MCP server cannot be used here.",
                    expected="one over stdio, http or sse",
                    received=name,
                )
    return list(configs.values())
