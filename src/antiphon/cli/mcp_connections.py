"""Connect to MCP servers from the command line: check what they offer, and log in.

Servers get the same client features as from the terminal chat, so that they offer the same tools:
some offer more to a client that can ask a person or a model.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import webbrowser
from argparse import Namespace
from collections.abc import Awaitable, Callable, Iterator, Sequence
from threading import Thread
from typing import Any

import msgspec
from msgspec.structs import replace

from antiphon.cli.console import note, print_json
from antiphon.cli.exit_codes import FAILED
from antiphon.cli.flags import run_interruptibly
from antiphon.mcp import startup
from antiphon.mcp.client.authorization import PERSON_SECONDS, open_logins
from antiphon.mcp.client.client_features import NoClientFeatures
from antiphon.mcp.client.server_listing import ServerState
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.config.discovery import DiscoveredServers
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.mcp.metadata import clean_line
from antiphon.mcp.startup import UsableServers, resolve_servers, start_servers
from antiphon.settings.settings import Settings
from antiphon.types.errors import AntiphonError, InvalidRequest
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


def find_and_report(settings: Settings) -> DiscoveredServers:
    """Return the configured servers, and note the files that are not approved."""
    found = startup.find_servers(settings)
    for each in found.unapproved:
        note(f"antiphon: {each.explanation}")
    return found


def run_test(args: Namespace, settings: Settings) -> int:
    """Start one server or all, and print the results; return the exit code."""
    found = find_and_report(settings)
    if args.name:
        found = replace(found, servers=(found.get(args.name),))
    if not found.servers:
        note("antiphon: no MCP server is configured; antiphon mcp add --help says how.")
    results: list[ServerProbe] = []
    code = run_interruptibly(lambda: probe_servers(found, settings, results))
    if args.json:
        print_json(results)
    elif results:
        print(clean("\n".join(line for each in results for line in _describe_probe(each))))
    return code


def _describe_probe(tried: ServerProbe) -> Iterator[str]:
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

    def on_change(state: ServerState) -> None:
        news.set()
        now = time.monotonic()
        began.setdefault(state.server, now)
        if state.status == "ready":
            ready_after.setdefault(state.server, now - began[state.server])

    async with start_servers(
        settings, DecliningFeatures(), found=found, changed=on_change, delays=()
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
        return  # its announcements do not end; what it has offered so far is shown


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
        resources=await _list_names(running.resources, state.server) if ready else (),
        prompts=await _list_names(running.prompts, state.server) if ready else (),
        notes=(*state.notes, *(f"leaves out {each.tool}: {each.why}" for each in state.left_out)),
    )


async def _list_names(
    listing: Callable[[str], Awaitable[Sequence[Any]]], server: str
) -> tuple[str, ...]:
    try:
        return tuple(clean_line(each.name) for each in await listing(server))
    except AntiphonError:  # it offers none, or does not say which
        return ()


# Log in at an MCP server from a terminal: a page to go to, and the way back from there.


def log_in(args: Namespace, settings: Settings) -> int:
    """Log in at a server; return the exit code."""
    found = _find_over_http(args.name, settings)
    person = AtTerminal(opens=not args.no_browser)
    return run_interruptibly(lambda: _log_in_interactively(found, settings, person))


async def _log_in_interactively(
    found: DiscoveredServers, settings: Settings, person: AtTerminal
) -> int:
    async with start_servers(settings, found=found, person=person, delays=()) as (pool, usable):
        config = _require_usable(usable)
        await pool.ready(PERSON_SECONDS + 60)
        (state,) = pool.states()
    if state.why:
        note(f"antiphon: {config.name} is not logged in: {state.why}")
        return FAILED
    done = "you are logged in" if person.asked else "no login was needed"
    note(f"antiphon: {config.name} answers; {done}.")
    return 0


def log_out(args: Namespace, settings: Settings) -> int:
    """Forget a login; return the exit code."""
    name: str = args.name
    config = _require_usable(resolve_servers(settings, _find_over_http(name, settings)))
    known = open_logins(os.environ).forget(config.login_key)
    note(f"antiphon: the login at {name} is forgotten." if known else f"antiphon: {name} has none.")
    return 0


def _find_over_http(name: str, settings: Settings) -> DiscoveredServers:
    """Return the server of this name, enabled, and with time for a person to log in."""
    server = find_and_report(settings).get(name)
    if server.config.transport == "stdio":
        raise InvalidRequest(f"the server {name} is a program, at which nobody logs in")
    patient = replace(server.config, enabled=True, connect_timeout=PERSON_SECONDS + 30)
    return DiscoveredServers(servers=(replace(server, config=patient),))


def _require_usable(usable: UsableServers) -> ServerConfig:
    for problem in usable.problems:
        raise InvalidRequest(f"the server {problem.server} cannot be used: {problem.why}")
    return usable.configs[0]


class AtTerminal:
    """Shows a login page to the person at the terminal.

    The URL was checked. It is always printed, and opened if there is a screen. Python passes it to
    the browser as an argument or by a system call, never to a shell.
    """

    def __init__(self, *, opens: bool) -> None:
        self.asked = False
        self._opens = opens
        self._lines: asyncio.Queue[str] = asyncio.Queue()

    async def go(self, url: str) -> None:
        """Show the page, and open it."""
        self.asked = True
        note(f"antiphon: log in at this page:\n\n{url}\n")
        if sys.stdin is not None and sys.stdin.isatty():
            note("antiphon: if your browser is elsewhere, paste the address that it ends at here.")
            loop = asyncio.get_running_loop()
            # A daemon, for a read of a terminal cannot be ended.
            Thread(target=_read_lines, args=(loop, self._lines), daemon=True).start()
        if self._opens and _has_screen():
            await asyncio.to_thread(webbrowser.open, url)

    async def read_pasted_url(self) -> str:
        """Return the next typed line."""
        return await self._lines.get()


def _has_screen() -> bool:
    """Return whether a graphical browser can be shown."""
    if sys.platform in {"win32", "darwin"}:
        return "SSH_CONNECTION" not in os.environ
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def _read_lines(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[str]) -> None:
    for line in sys.stdin:
        try:
            loop.call_soon_threadsafe(lines.put_nowait, line.strip())
        except RuntimeError:  # the login is over
            return
