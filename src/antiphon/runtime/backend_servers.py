"""The MCP servers of this backend that runs name: their port, and a backend that has none."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from typing import Protocol, cast

from antiphon.api.operations import BackendServer
from antiphon.ports import ProgressCallback, Toolbox, quiet
from antiphon.settings.settings import Settings
from antiphon.types.errors import Forbidden
from antiphon.types.messages import Tool, ToolCall, ToolResult
from antiphon.types.runs import McpServer

log = logging.getLogger(__name__)


class BackendServers(Protocol):
    """The MCP servers that runs name and whose tools are run here."""

    async def check_allowed(self, servers: Sequence[McpServer]) -> None:
        """Raise `Forbidden` or `InvalidRequest` for a server that may not be named."""
        ...

    def hold(
        self, owner: str, servers: Sequence[McpServer]
    ) -> AbstractAsyncContextManager[Toolbox]:
        """Open the servers' tools for the block, each under its server's name.

        Waits briefly for the servers; a server that is not available offers nothing. Never raises.
        """
        ...

    def states(self) -> Sequence[BackendServer]:
        """Return the operator's own servers and their states."""
        ...

    def origins(self, servers: Sequence[McpServer]) -> Sequence[str]:
        """Return where these servers are, without any secret."""
        ...

    def has(self, origins: Sequence[str]) -> bool:
        """Return whether all of these servers are configured here identically."""
        ...

    async def close(self) -> None:
        """End every connection."""
        ...


def create_servers(settings: Settings) -> BackendServers:
    """Return the MCP servers that runs may name; reads files, and perhaps the system's keyring.

    The client for them is imported only where the setting allows servers. Raises `BadSettings`.
    """
    if settings.backend_mcp == "off":
        return NoServers()
    hosted = import_module("antiphon.mcp.hosted")
    return cast("BackendServers", hosted.create_servers(settings))


class NoServers:
    """The servers of a backend where no run may name one."""

    async def check_allowed(self, servers: Sequence[McpServer]) -> None:
        """Raise `Forbidden` for any server."""
        if servers:
            raise Forbidden(
                "This server runs no tools of MCP servers.",
                expected="no mcp_servers",
                received=", ".join(server.name for server in servers),
                hint="An operator can allow it by the setting backend_mcp. Tools that the client "
                "runs itself need no permission.",
            )

    @asynccontextmanager
    async def hold(self, owner: str, servers: Sequence[McpServer]) -> AsyncGenerator[Toolbox]:
        """Yield no tools; servers that were allowed when the run began are not used."""
        for server in servers:
            log.warning("the MCP server %s is not used: backend_mcp is off", server.name)
        yield _NoTools()

    def states(self) -> Sequence[BackendServer]:
        """Return no states."""
        return ()

    def origins(self, servers: Sequence[McpServer]) -> Sequence[str]:
        """Return no identities."""
        return ()

    def has(self, origins: Sequence[str]) -> bool:
        """Return whether these are none."""
        return not origins

    async def close(self) -> None:
        """Do nothing."""


class _NoTools:
    """An empty toolbox."""

    def tools(self) -> Sequence[Tool]:
        return ()

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        return ToolResult(
            f"There is no tool {call.name} just now.", is_error=True, fault="unavailable"
        )
