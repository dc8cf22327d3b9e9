"""Tools of commands without a dialog: consent by rules and stored grants, and MCP servers."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase

from antiphon.cli.mcp_discovery import note_unapproved
from antiphon.cli.output import note
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.startup import start_servers
from antiphon.settings.paths import data_folder
from antiphon.settings.settings import Settings
from antiphon.tools.consent import Consent
from antiphon.tools.permissions import NAME, GrantsFile, Rules
from antiphon.tools.tool_events import ConsentRefused, ToolEvent


def make_consent(settings: Settings, *, yes: bool) -> Consent:
    """Return the consent of settings and stored grants; `yes` allows all that is not denied."""
    rules = Rules(allow=settings.allow, ask=settings.ask, deny=settings.deny)
    return Consent(
        Rules(allow=("*",), deny=settings.deny) if yes else rules,
        grants=GrantsFile(data_folder(os.environ) / NAME, _warn),
        warn=_warn,
    )


class RefusalNotes:
    """Notes refused calls and what would allow them; `any` if a call lacked consent."""

    def __init__(self, settings: Settings) -> None:
        self.any = False
        self._asked = [each.replace(":", "__", 1) for each in settings.ask]

    def note(self, happening: ToolEvent) -> None:
        """Note the event if it is a refusal."""
        match happening:
            case ConsentRefused(call=call, by="nobody"):
                self.any = True
                why = f"nobody could be asked; {self._remedy(call.name)}"
            case ConsentRefused(call=call):
                why = "the settings deny it"
            case _:
                return
        note(f"antiphon: {call.name} was refused: {why}")

    def _remedy(self, name: str) -> str:
        if any(fnmatchcase(name, pattern) for pattern in self._asked):
            return "the setting `ask` names it, which only --yes overrules"
        return f"--allow {name} allows it"


def _warn(text: str) -> None:
    note(f"antiphon: {text}")


# The MCP servers of a command that lets a model call their tools.


SECONDS = 30.0
"""For all servers, side by side: a first start may have to fetch its program."""


@asynccontextmanager
async def run_servers(settings: Settings) -> AsyncGenerator[AsyncMcpServerPool | None]:
    """Yield the configured servers while they start, and note which do not; None if none does."""
    async with start_servers(settings) as (servers, usable):
        note_unapproved(usable.unapproved)
        for problem in usable.problems:
            note(f"antiphon: the MCP server {problem.server} cannot be used: {problem.why}")
        yield servers if usable.enabled else None


async def wait_for_servers(servers: AsyncMcpServerPool, seconds: float = SECONDS) -> None:
    """Wait for the servers, and note which did not start, and why."""
    for state in await servers.ready(seconds):
        why = state.why or f"it did not answer within {seconds:g} s"
        note(f"antiphon: the MCP server {state.server} is not there: {why}")
        for line in state.stderr[-5:]:
            note(f"    {line}")


def note_missing_servers(required: Sequence[str], servers: AsyncMcpServerPool | None) -> list[str]:
    """Return the required servers that are not ready, and note each."""
    states = servers.states() if servers is not None else ()
    there = {state.server for state in states if state.status == "ready"}
    missing = [name for name in required if name not in there]
    known = {state.server for state in states}
    for name in missing:
        why = "which is not there" if name in known else "and no such server is switched on"
        note(f"antiphon: nothing was asked, for --require names {name}, {why}")
    return missing
