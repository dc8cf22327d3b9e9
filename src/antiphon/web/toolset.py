"""Tools of the web chat: Python functions, samples for a first try, and MCP servers."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager

from antiphon.mcp.client.server_listing import ServerState
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.startup import start_servers
from antiphon.ports import Toolbox
from antiphon.settings.settings import Settings
from antiphon.tools import builtin
from antiphon.tools.functions import Function, Functions, load
from antiphon.tools.tool_manager import ToolManager
from antiphon.types.messages import Tool, ToolSpec

log = logging.getLogger(__name__)

START_SECONDS = 10.0
"""Seconds for which a message waits for MCP servers that are starting."""

ALWAYS: tuple[Function, ...] = (builtin.current_time, builtin.calculate)


class Toolset:
    """Tools that runs of this installation may use, and the MCP servers among them."""

    def __init__(
        self, functions: Iterable[Function], servers: AsyncMcpServerPool | None = None
    ) -> None:
        own = Functions(functions)
        self._servers = servers
        self.toolbox: Toolbox = own if servers is None else ToolManager(own, servers)

    def tools(self) -> Sequence[Tool]:
        """Return the tools that can be called now."""
        return self.toolbox.tools()

    def servers(self) -> Sequence[ServerState]:
        """Return the state of each MCP server."""
        return self._servers.states() if self._servers else ()

    async def wait_for_servers(self, names: Collection[str] | None = None) -> None:
        """Wait for servers that have not been ready since the start, at most `START_SECONDS`.

        If `names` are given, wait only until these tools are there.
        """
        known = {tool.spec.name for tool in self.tools()}
        if self._servers is None or (names is not None and known.issuperset(names)):
            return
        if any(state.status == "starting" for state in self._servers.states()):
            await self._servers.ready(START_SECONDS)

    def specs(self, names: Collection[str] | None = None) -> tuple[ToolSpec, ...]:
        """Return the specifications of the tools of these names, or of all."""
        tools = self.toolbox.tools()
        return tuple(tool.spec for tool in tools if names is None or tool.spec.name in names)


@asynccontextmanager
async def open_toolset(
    settings: Settings, tools: Sequence[str | Function] = (), *, servers: bool = True
) -> AsyncGenerator[Toolset]:
    """Open the toolset: functions, given or named as in `--tools`, and the configured MCP servers.

    Without `tools` it has samples to try. Raises `BadSettings` if a tool cannot be loaded.
    """
    named: list[Function] = []
    for each in tools:
        named += load(each, settings) if isinstance(each, str) else [each]
    functions = dict.fromkeys([*ALWAYS, *(named or load("antiphon.tools.samples"))])
    if not servers:
        yield Toolset(functions)
        return
    async with start_servers(settings) as (running, usable):
        for problem in usable.problems:
            log.warning("the MCP server %s cannot be used: %s", problem.server, problem.why)
        yield Toolset(functions, running if usable.enabled else None)
