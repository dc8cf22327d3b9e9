"""Log in at an MCP server from a terminal: a page to go to, and the way back from there."""

from __future__ import annotations

import asyncio
import os
import sys
import webbrowser
from argparse import Namespace
from threading import Thread

from msgspec.structs import replace

from antiphon.cli.exit_codes import FAILED
from antiphon.cli.interrupt import run_interruptibly
from antiphon.cli.mcp_discovery import find_and_report
from antiphon.cli.output import note
from antiphon.mcp.client.authorization import PERSON_SECONDS, open_logins
from antiphon.mcp.config.discovery import DiscoveredServers
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.mcp.startup import UsableServers, resolve_servers, start_servers
from antiphon.settings.settings import Settings
from antiphon.types.errors import InvalidRequest


def log_in(asked: Namespace, settings: Settings) -> int:
    """Log in at a server; return the exit code."""
    found = _find_over_http(asked.name, settings)
    person = AtTerminal(opens=not asked.no_browser)
    return run_interruptibly(lambda: _log_in_interactively(found, settings, person))


async def _log_in_interactively(
    found: DiscoveredServers, settings: Settings, person: AtTerminal
) -> int:
    async with start_servers(settings, found=found, person=person, delays=()) as (pool, usable):
        config = _the_usable(usable)
        await pool.ready(PERSON_SECONDS + 60)
        (state,) = pool.states()
    if state.why:
        note(f"antiphon: {config.name} is not logged in: {state.why}")
        return FAILED
    done = "you are logged in" if person.asked else "no login was needed"
    note(f"antiphon: {config.name} answers; {done}.")
    return 0


def log_out(asked: Namespace, settings: Settings) -> int:
    """Forget a login; return the exit code."""
    name: str = asked.name
    config = _the_usable(resolve_servers(settings, _find_over_http(name, settings)))
    known = open_logins(os.environ).forget(config.url)
    note(f"antiphon: the login at {name} is forgotten." if known else f"antiphon: {name} has none.")
    return 0


def _find_over_http(name: str, settings: Settings) -> DiscoveredServers:
    """Return the server of this name, enabled, and with time for a person to log in."""
    server = find_and_report(settings).get(name)
    if server.config.transport == "stdio":
        raise InvalidRequest(f"the server {name} is a program, at which nobody logs in")
    patient = replace(server.config, enabled=True, connect_timeout=PERSON_SECONDS + 30)
    return DiscoveredServers(servers=(replace(server, config=patient),))


def _the_usable(usable: UsableServers) -> ServerConfig:
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
            Thread(target=_read, args=(loop, self._lines), daemon=True).start()
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


def _read(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[str]) -> None:
    for line in sys.stdin:
        try:
            loop.call_soon_threadsafe(lines.put_nowait, line.strip())
        except RuntimeError:  # the login is over
            return
