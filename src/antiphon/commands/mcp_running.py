"""The MCP servers of a command that lets a model call their tools."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from antiphon.commands.mcp_found import found
from antiphon.commands.notes import note
from antiphon.settings import Settings
from antiphon.tools.mcp import places
from antiphon.tools.mcp.authorizing import authorizing
from antiphon.tools.mcp.generations import generations
from antiphon.tools.mcp.toolbox import McpServers

SECONDS = 30.0
"""For all servers, side by side: a first start may have to fetch its program."""


@asynccontextmanager
async def running(settings: Settings) -> AsyncGenerator[McpServers | None]:
    """The servers that are written down, which start meanwhile; None where there are none."""
    usable = places.usable(found(settings).servers, os.environ)
    for problem in usable.problems:
        note(f"antiphon: the MCP server {problem.server} cannot be used: {problem.why}")
    if not any(config.enabled for config in usable.configs):
        yield None
        return
    auth = authorizing(settings, os.environ)
    async with McpServers(
        usable.configs, auth=auth, generations=generations(os.environ)
    ) as servers:
        yield servers


async def come(servers: McpServers, seconds: float = SECONDS) -> None:
    """Wait for the servers, and say which did not come, and why."""
    for state in await servers.ready(seconds):
        why = state.why or f"it did not answer within {seconds:g} s"
        note(f"antiphon: the MCP server {state.server} is not there: {why}")
        for line in state.stderr[-5:]:
            note(f"    {line}")


def report_missing(required: Sequence[str], servers: McpServers | None) -> list[str]:
    """Those of the required servers that are not there; each is told once more."""
    states = servers.states() if servers is not None else ()
    there = {state.server for state in states if state.status == "ready"}
    missing = [name for name in required if name not in there]
    known = {state.server for state in states}
    for name in missing:
        why = "which is not there" if name in known else "and no such server is switched on"
        note(f"antiphon: nothing was asked, for --require names {name}, {why}")
    return missing
