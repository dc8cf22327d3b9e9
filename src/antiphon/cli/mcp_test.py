"""Start MCP servers to check them and list what they offer.

Servers get the same client features as from the terminal chat, so that they offer the same tools:
some offer more to a client that can ask a person or a model.
"""

from __future__ import annotations

import asyncio
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from antiphon.cli.exit_codes import FAILED
from antiphon.cli.interrupt import run_interruptibly
from antiphon.cli.mcp_discovery import find_and_report
from antiphon.cli.output import note, print_json
from antiphon.mcp.client.client_features import NoClientFeatures
from antiphon.mcp.client.server_listing import ServerState
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.config.discovery import DiscoveredServers
from antiphon.mcp.metadata import clean_line
from antiphon.mcp.startup import start_servers
from antiphon.settings.settings import Settings
from antiphon.types.errors import AntiphonError
from antiphon.types.terminal_safe import clean

QUIET_SECONDS = 0.3
"""Without news from any server, after which its list of tools is taken to be whole."""
SETTLE_SECONDS = 3.0
"""The longest wait for that."""


class DecliningFeatures(NoClientFeatures):
    """Client features of the terminal chat that decline every request."""

    asks = True
    samples = True


class ServerProbe(msgspec.Struct, frozen=True, kw_only=True):
    """Result of starting a server."""

    server: str
    status: str
    seconds: float
    why: str = ""
    stderr: tuple[str, ...] = ()
    protocol: str = ""
    title: str = ""
    version: str = ""
    tools: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def run_test(asked: Namespace, settings: Settings) -> int:
    """Start one server or all, and print the results; return the exit code."""
    found = find_and_report(settings)
    if asked.name:
        found = replace(found, servers=(found.get(asked.name),))
    if not found.servers:
        note("antiphon: no MCP server is written down; antiphon mcp add --help says how.")
    results: list[ServerProbe] = []
    code = run_interruptibly(lambda: probe_servers(found, settings, results))
    if asked.json:
        print_json(results)
    elif results:
        print(clean("\n".join(line for each in results for line in _describe(each))))
    return code


def _describe(tried: ServerProbe) -> Iterator[str]:
    yield f"{tried.server}: {tried.status}{': ' if tried.why else ''}{tried.why}"
    if tried.status == "ready":
        who = " ".join(part for part in (tried.title, tried.version) if part)
        yield f"  {who or 'a server without a name'}, protocol {tried.protocol}"
        yield f"  ready after {tried.seconds:.2f} s"
    for what in ("tools", "resources", "prompts"):
        names: tuple[str, ...] = getattr(tried, what)
        if tried.status == "ready":
            yield f"  {what}: {', '.join(names) or 'none'}" + (f" ({len(names)})" if names else "")
    yield from (f"  it {oddity}" for oddity in tried.notes)
    if tried.stderr:
        yield "  its stderr:"
        yield from (f"    {line}" for line in tried.stderr)


async def probe_servers(
    found: DiscoveredServers, settings: Settings, results: list[ServerProbe]
) -> int:
    """Start the servers and add their results; return the exit code."""
    began: dict[str, float] = {}
    ready_after: dict[str, float] = {}
    news = asyncio.Event()

    def changed(state: ServerState) -> None:
        news.set()
        now = time.monotonic()
        began.setdefault(state.server, now)
        if state.status == "ready":
            ready_after.setdefault(state.server, now - began[state.server])

    async with start_servers(
        settings, DecliningFeatures(), found=found, changed=changed, delays=()
    ) as (pool, usable):
        results += [
            ServerProbe(server=problem.server, status="failed", seconds=0, why=problem.why)
            for problem in usable.problems
        ]
        await pool.ready(max((each.connect_timeout for each in usable.configs), default=0) + 5)
        await _wait_until_quiet(news)
        for state in pool.states():
            results.append(await _probe_result(pool, state, ready_after.get(state.server, 0)))
    order = [each.config.name for each in found.servers]
    results.sort(key=lambda tried: order.index(tried.server))
    return 0 if all(each.status in {"ready", "disabled"} for each in results) else FAILED


async def _wait_until_quiet(news: asyncio.Event) -> None:
    """Wait until servers have announced the tools that they add for this client."""
    try:
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                news.clear()
                try:
                    await asyncio.wait_for(news.wait(), QUIET_SECONDS)
                except TimeoutError:
                    return
    except TimeoutError:
        return  # it tells without end; what it has offered so far is shown


async def _probe_result(
    running: AsyncMcpServerPool, state: ServerState, seconds: float
) -> ServerProbe:
    ready = state.status == "ready"
    return ServerProbe(
        server=state.server,
        status=state.status,
        seconds=round(seconds, 3),
        why=state.why,
        stderr=state.stderr,
        protocol=state.protocol,
        title=state.title,
        version=state.version,
        tools=tuple(tool.own_name for tool in running.tools() if tool.server == state.server),
        resources=await _names(running.resources, state.server) if ready else (),
        prompts=await _names(running.prompts, state.server) if ready else (),
        notes=(*state.notes, *(f"leaves out {each.tool}: {each.why}" for each in state.left_out)),
    )


async def _names(
    listing: Callable[[str], Awaitable[Sequence[Any]]], server: str
) -> tuple[str, ...]:
    try:
        return tuple(clean_line(each.name) for each in await listing(server))
    except AntiphonError:  # it offers none, or does not say which
        return ()
