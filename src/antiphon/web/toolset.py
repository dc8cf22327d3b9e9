"""The tools of the app: Python functions, the samples for a first minute, and MCP servers."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Protocol

from antiphon.mcp.client.server_listing import ServerState
from antiphon.ports import Toolbox
from antiphon.settings.settings import Settings
from antiphon.tools import builtin
from antiphon.tools.functions import Function, Functions, load
from antiphon.tools.tool_manager import ToolManager
from antiphon.types.messages import Tool, ToolSpec

log = logging.getLogger(__name__)

START_SECONDS = 10.0
"""How long a message waits for MCP servers that are starting; then it goes on without them."""

ALWAYS: tuple[Function, ...] = (builtin.current_time, builtin.calculate)


class McpServersBox(Toolbox, Protocol):
    """MCP servers, each of which may come, fail and go."""

    def states(self) -> Sequence[ServerState]:
        """How each of them is."""
        ...

    async def ready(self, seconds: float) -> Sequence[ServerState]:
        """Wait for those that are starting, at most so long; returns those that are not ready."""
        ...


class Toolset:
    """The tools that runs of this installation may use, and the MCP servers among them."""

    def __init__(self, functions: Iterable[Function], servers: McpServersBox | None = None) -> None:
        own = Functions(functions)
        self._servers = servers
        self.toolbox: Toolbox = own if servers is None else ToolManager(own, servers)

    def tools(self) -> Sequence[Tool]:
        """What can be called just now."""
        return self.toolbox.tools()

    def servers(self) -> Sequence[ServerState]:
        """How the MCP servers are."""
        return self._servers.states() if self._servers else ()

    async def wait_for_servers(self, names: Collection[str] | None = None) -> None:
        """Wait for servers that have not been ready since the start, at most `START_SECONDS`.

        Where tools are named, only until these are there.
        """
        known = {tool.spec.name for tool in self.tools()}
        if self._servers is None or (names is not None and known.issuperset(names)):
            return
        if any(state.status == "starting" for state in self._servers.states()):
            await self._servers.ready(START_SECONDS)

    def specs(self, names: Collection[str] | None = None) -> tuple[ToolSpec, ...]:
        """What a run is offered: the tools of these names, or all."""
        tools = self.toolbox.tools()
        return tuple(tool.spec for tool in tools if names is None or tool.spec.name in names)


@asynccontextmanager
async def open_toolset(
    settings: Settings, tools: Sequence[str | Function] = (), *, servers: bool = True
) -> AsyncGenerator[Toolset]:
    """Functions, given or named as `--tools` names them, and MCP servers that are written down.

    Without `tools` there are samples to try. Raises `BadSettings` for what cannot be loaded.
    """
    named = [function for each in tools for function in _functions(each, settings)]
    functions = _distinct([*ALWAYS, *(named or load("antiphon.tools.samples"))])
    async with _run_servers(settings, start=servers) as running:
        yield Toolset(functions, running)


def _functions(named: str | Function, settings: Settings) -> Sequence[Function]:
    return load(named, settings) if isinstance(named, str) else [named]


def _distinct(functions: Iterable[Function]) -> list[Function]:
    return list(dict.fromkeys(functions))


@asynccontextmanager
async def _run_servers(settings: Settings, *, start: bool) -> AsyncGenerator[McpServersBox | None]:
    """The servers of this user, or those of `config` and no others; they start meanwhile."""
    if not start:
        yield None
        return
    # By name: the library behind them takes a second to load, which nobody without a server waits.
    places = import_module("antiphon.mcp.config.discovery")
    usable = places.resolve(
        places.find_servers(settings, os.environ, Path.cwd()).servers, os.environ
    )
    for problem in usable.problems:
        log.warning("the MCP server %s cannot be used: %s", problem.server, problem.why)
    if not any(config.enabled for config in usable.configs):
        yield None
        return
    toolbox = import_module("antiphon.mcp.client.toolbox")
    authorizer = import_module("antiphon.mcp.client.authorization").authorizer
    open_protocol_cache = import_module("antiphon.mcp.client.protocol_versions").open_protocol_cache
    async with toolbox.McpServers(
        usable.configs,
        auth=authorizer(settings, os.environ),
        protocol_cache=open_protocol_cache(os.environ),
    ) as servers:
        yield servers
