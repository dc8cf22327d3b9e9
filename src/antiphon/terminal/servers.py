"""Announce changes of MCP servers in the chat, one line each, and make their prompts commands."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from antiphon.client.formatting import count_noun
from antiphon.mcp.client.server_listing import ServerState
from antiphon.terminal.chat_state import ChatServers
from antiphon.terminal.commands import prompts
from antiphon.terminal.commands.command import SlashCommand
from antiphon.terminal.ui_manager import Ui
from antiphon.types.errors import AntiphonError
from antiphon.types.messages import Tool

LAST_WORDS = 3
"""Lines of a failed server's stderr that are printed; /servers NAME prints all."""
NAMED = 5
"""Tools named when a server's tools change; more are counted."""
PROMPT_SECONDS = 10.0
"""Timeout for listing a server's prompts."""


class ServerAnnouncer:
    """Prints what becomes of a chat's servers; `AsyncMcpServerPool` calls `on_change`.

    `commands` gets the prompts.
    """

    def __init__(self, ui: Ui, servers: ChatServers, commands: dict[str, SlashCommand]) -> None:
        self._ui = ui
        self._servers = servers
        self._commands = commands
        self._states: dict[str, ServerState] = {}
        self._tools: dict[str, Sequence[Tool]] = {}
        self._listing: set[asyncio.Task[None]] = set()

    def announce_unusable(self, states: Sequence[ServerState]) -> None:
        """Print why these servers cannot be started at all, and list them beside the others."""
        self._servers.unusable = states
        for state in states:
            said = f"The MCP server {state.server} cannot be used: {state.why}"
            self._ui.say(said, "warning")

    def on_change(self, state: ServerState) -> None:
        """Print a change of a server's state or tools."""
        before = self._states.get(state.server)
        self._states[state.server] = state
        match state.status:
            case "ready" if before is not None and before.status == "ready":
                self._announce_tools(state)
            case "ready":
                self._announce_ready(state)
            case "restarting" | "failed" if before is None or before.status != state.status:
                self._announce_gone(state, before)
            case _:
                pass

    # Announcements.

    def _announce_ready(self, state: ServerState) -> None:
        tools = self._tools[state.server] = self._servers.tools_of(state.server)
        again = "there again" if state.restarts else "there"
        said = f"{state.server} is {again}: {count_noun(len(tools), 'tool')}"
        if "prompts" not in state.capabilities:
            self._ui.say(said, "faint")
            return
        task = asyncio.create_task(self._announce_with_prompts(state.server, said))
        self._listing.add(task)
        task.add_done_callback(self._listing.discard)

    def _announce_tools(self, state: ServerState) -> None:
        before = {tool.spec.name: tool for tool in self._tools.get(state.server, ())}
        tools = self._tools[state.server] = self._servers.tools_of(state.server)
        now = {tool.spec.name: tool for tool in tools}
        changed = [name for name in now if name in before and now[name] != before[name]]
        news = (
            ("new", [name for name in now if name not in before]),
            ("gone", [name for name in before if name not in now]),
            ("changed", changed),
        )
        said = "; ".join(f"{what}: {_join_some(names)}" for what, names in news if names)
        if said:
            self._ui.say(f"{state.server} has other tools now; {said}", "faint")

    def _announce_gone(self, state: ServerState, before: ServerState | None) -> None:
        self._forget_prompts(state.server)
        was_there = before is not None and before.status == "ready"
        if state.status == "restarting" and not was_there:
            self._ui.say(f"{state.server} is tried again.", "faint")
            return
        for line, style in _describe_failure(state, was_there=was_there):
            self._ui.say(line, style)

    # Prompts.

    async def _announce_with_prompts(self, server: str, said: str) -> None:
        """Announce the server once its prompts are commands, so that they can be typed."""
        try:
            async with asyncio.timeout(PROMPT_SECONDS):
                listed = await self._servers.require().prompts(server)
        except (AntiphonError, TimeoutError) as problem:
            self._ui.say(f"{said}; its prompts are not known: {problem}", "faint")
            return
        self._forget_prompts(server)
        learnt = list(prompts.prompt_commands(server, listed))
        for command in learnt:
            self._commands.setdefault(command.name, command)
        more = f", {count_noun(len(learnt), 'prompt')}" if learnt else ""
        self._ui.say(f"{said}{more}", "faint")

    def _forget_prompts(self, server: str) -> None:
        for name in [name for name in self._commands if name.partition(".")[0] == server]:
            del self._commands[name]


def _describe_failure(state: ServerState, *, was_there: bool) -> Iterator[tuple[str, str]]:
    became = "has died" if was_there else "is not there"
    why = state.why.rstrip(".") or "it did not say why"
    yield f"The MCP server {state.server} {became}: {why}{_describe_remedy(state)}", "warning"
    for line in state.stderr[-LAST_WORDS:]:
        yield f"    {line}", "faint"


def _describe_remedy(state: ServerState) -> str:
    if state.http_status == 401 and "antiphon mcp login" not in state.why:
        return f"; it wants a login: antiphon mcp login {state.server}"
    return "; it is started again" if state.status == "restarting" else ""


def _join_some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
