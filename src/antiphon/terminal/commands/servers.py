"""MCP servers in the chat: commands about them and their resources, news of them as lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from antiphon.client.formatting import count_noun
from antiphon.mcp.client.server_listing import ResourceTemplate, ServerResource, ServerState
from antiphon.terminal import chat_state
from antiphon.terminal.chat_state import ChatServers
from antiphon.terminal.commands import prompts
from antiphon.terminal.commands.command import CommandContext, SlashCommand
from antiphon.terminal.commands.tools import describe_cost
from antiphon.terminal.spans import Line, StyledText
from antiphon.terminal.ui_manager import Ui
from antiphon.types.errors import AntiphonError, InvalidRequest, NotFound
from antiphon.types.messages import Tool
from antiphon.types.terminal_safe import clean, one_line

# /resources: list and print resources of MCP servers.


SEEN = 40
"""Lines of a resource that are shown."""
LISTED = 100
"""Resources of one server that are listed."""
LISTING_SECONDS = 10.0
"""Timeout for listing a server's resources."""
COMPLETION_SECONDS = 2.0
"""Timeout for completing an address."""


async def _run_resources(chat: CommandContext, words: str) -> None:
    server, _, uri = words.partition(" ")
    if uri:
        await _show_resource(chat, server, uri.strip())
        return
    names = [server] if server else servers_with_resources(chat)
    if not names:
        chat.ui.say("No server that is there has resources.", "faint")
        return
    for name in names:
        await _list_resources(chat, name)
    chat.ui.say("/resources SERVER URI shows one; @SERVER:URI in a message sends it.", "faint")


def servers_with_resources(chat: CommandContext) -> Sequence[str]:
    """Return the names of running servers that have resources."""
    states = chat.state.servers.states()
    return [
        each.server
        for each in states
        if each.status == "ready" and "resources" in each.capabilities
    ]


async def _list_resources(chat: CommandContext, server: str) -> None:
    servers = chat.state.servers.require()
    try:
        async with asyncio.timeout(LISTING_SECONDS):
            listed = await servers.resources(server)
            templates = await servers.resource_templates(server)
    except TimeoutError:
        text = f"{server} did not list its resources within {LISTING_SECONDS:g} s."
        chat.ui.say(text, "warning")
        return
    except AntiphonError as problem:
        chat.ui.say(f"{server}: {problem.full_message}", "warning")
        return
    chat.ui.show([(StyledText(clean(f"{server}: {len(listed)} to read"), "strong"),)])
    shown = [
        *((each.uri, _title(each)) for each in listed[:LISTED]),
        *((each.uri_template, _title(each)) for each in templates[:LISTED]),
    ]
    chat.ui.show_rows(
        (StyledText(f"  {clean(address)}  ", "mark"), StyledText(title, "faint"))
        for address, title in shown
    )
    if len(listed) > LISTED:
        chat.ui.say(f"  and {len(listed) - LISTED} more", "faint")


def _title(each: ServerResource | ResourceTemplate) -> str:
    size = f" ({each.size:,} bytes)" if isinstance(each, ServerResource) and each.size else ""
    return one_line(each.title or each.description or each.name) + size


async def _show_resource(chat: CommandContext, server: str, uri: str) -> None:
    for each in await chat_state.read_resource(chat.state.servers, server, uri):
        chat.ui.say(f"{each.name}, {each.media_type}, {len(each.content):,} bytes", "strong")
        if each.kind != "text":
            continue
        lines = each.content.decode().split("\n")
        chat.ui.say("\n".join(lines[:SEEN]), place="code")
        if len(lines) > SEEN:
            chat.ui.say(f"({len(lines) - SEEN} more lines)", "faint")
    chat.ui.say(f"@{server}:{uri} in a message sends it along.", "faint")


async def _complete_resources(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    server, blank, uri = begun.partition(" ")
    if not blank:
        for name in servers_with_resources(chat):
            if name.startswith(begun):
                yield name, "its resources"
        return
    async for address, meaning in complete_uris(chat, server, uri):
        yield f"{server} {address}", meaning


async def complete_uris(
    chat: CommandContext, server: str, begun: str
) -> AsyncIterator[tuple[str, str]]:
    """Yield resources whose URI begins with this; none if the server does not answer in time."""
    if chat.state.servers.toolbox is None or server not in servers_with_resources(chat):
        return
    try:
        async with asyncio.timeout(COMPLETION_SECONDS):
            listed = await chat.state.servers.toolbox.resources(server)
    except (AntiphonError, TimeoutError):
        return
    for each in listed:
        if each.uri.startswith(begun):
            yield each.uri, _title(each)


RESTART = "restart"


async def _run_servers(chat: CommandContext, words: str) -> None:
    first, _, rest = words.partition(" ")
    states = chat.state.servers.states()
    if first == RESTART and rest:
        _restart(chat, rest.strip())
    elif words:
        _show_server(chat, _find_state(states, words))
    elif states:
        width = max(len(state.server) for state in states)
        rows: list[Line] = []
        for each in states:
            name = StyledText(f"  {clean(each.server):<{width}}  ", "mark")
            style = "warning" if each.status == "failed" else "faint"
            status = StyledText(f"{each.status:<10}  ", style)
            rows.append((name, status, StyledText(_summary(chat, each))))
        chat.ui.show_rows(rows)
        chat.ui.say("/servers NAME tells more, /servers restart NAME tries it again.", "faint")
    else:
        chat.ui.say(
            "No MCP server is configured here; `antiphon mcp add --help` says how.", "faint"
        )


def _find_state(states: Iterable[ServerState], name: str) -> ServerState:
    for state in states:
        if state.server == name:
            return state
    names = ", ".join(state.server for state in states)
    raise NotFound(f"There is no MCP server {name}", expected=f"one of: {names}" if names else None)


def _restart(chat: CommandContext, name: str) -> None:
    state = _find_state(chat.state.servers.states(), name)
    if chat.state.servers.toolbox is None or state in chat.state.servers.unusable:
        raise InvalidRequest(f"{name} cannot be started: {state.why}")
    if state.status != "failed":
        chat.ui.say(f"{name} is {state.status}: only what has failed is tried again.", "faint")
        return
    chat.state.servers.toolbox.restart(name)


def _summary(chat: CommandContext, state: ServerState) -> str:
    if state.status != "ready":
        return clean(state.why)
    tools = chat.state.servers.tools_of(state.server)
    return clean(
        f"{count_noun(len(tools), 'tool')}, {describe_cost(tools)}, protocol {state.protocol}"
    )


def _show_server(chat: CommandContext, state: ServerState) -> None:
    chat.ui.show([(StyledText(clean(state.server), "strong"), StyledText(f" {state.status}"))])
    for name, fact in _facts(chat, state):
        first, *more = fact.split("\n")
        chat.ui.say(f"  {name + ':':<13} {first}")
        for line in more:
            chat.ui.say(f"  {'':<13} {line}")


def _facts(chat: CommandContext, state: ServerState) -> Iterator[tuple[str, str]]:
    if state.why:
        yield "why", state.why
    if state.http_status == 401:
        yield "login", f"antiphon mcp login {state.server}"
    if state.protocol:
        version = f"{state.title} {state.version}".strip()
        yield "program", f"{version}, protocol {state.protocol}, over {state.transport}"
        tools = chat.state.servers.tools_of(state.server)
        yield "tools", f"{count_noun(len(tools), 'tool')}, {describe_cost(tools)}"
        offers = [each for each in state.capabilities if "." not in each and each != "tools"]
        yield "offers too", ", ".join(offers) or "nothing"
    if state.restarts:
        yield "restarts", str(state.restarts)
    if state.left_out:
        yield "left out", "\n".join(f"{each.tool}: {each.why}" for each in state.left_out)
    if state.notes:
        yield "notes", "\n".join(state.notes)
    if state.instructions:
        yield "it says", state.instructions
    if state.stderr:
        yield "stderr", "\n".join(state.stderr)


async def _complete_servers(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    first, blank, rest = begun.partition(" ")
    if first == RESTART and blank:
        for state in chat.state.servers.states():
            if state.server.startswith(rest):
                yield f"{RESTART} {state.server}", state.status
        return
    for state in chat.state.servers.states():
        if state.server.startswith(begun):
            yield state.server, state.status
    if RESTART.startswith(begun):
        yield RESTART, "try one again that has failed"


COMMANDS: tuple[SlashCommand, ...] = (
    SlashCommand(
        name="servers",
        arguments="[[restart] NAME]",
        meaning="MCP servers: how they are, what they offer, why one is not there",
        run=_run_servers,
        at_once=True,
        proposals=_complete_servers,
    ),
    SlashCommand(
        name="resources",
        arguments="[SERVER [URI]]",
        meaning="what servers give to read; @SERVER:URI in a message sends it along",
        run=_run_resources,
        at_once=True,
        proposals=_complete_resources,
    ),
    *prompts.COMMANDS,
)


# News of servers, one line each; their prompts become commands.


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
            text = f"The MCP server {state.server} cannot be used: {state.why}"
            self._ui.say(text, "warning")

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

    def _announce_ready(self, state: ServerState) -> None:
        tools = self._tools[state.server] = self._servers.tools_of(state.server)
        again = "there again" if state.restarts else "there"
        text = f"{state.server} is {again}: {count_noun(len(tools), 'tool')}"
        if "prompts" not in state.capabilities:
            self._ui.say(text, "faint")
            return
        task = asyncio.create_task(self._announce_with_prompts(state.server, text))
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
        text = "; ".join(
            f"{what}: {', '.join(names[:NAMED])}"
            f"{f' and {len(names) - NAMED} more' if len(names) > NAMED else ''}"
            for what, names in news
            if names
        )
        if text:
            self._ui.say(f"{state.server} has other tools now; {text}", "faint")

    def _announce_gone(self, state: ServerState, before: ServerState | None) -> None:
        self._forget_prompts(state.server)
        was_there = before is not None and before.status == "ready"
        if state.status == "restarting" and not was_there:
            self._ui.say(f"{state.server} is tried again.", "faint")
            return
        remedy = "; it is started again" if state.status == "restarting" else ""
        if state.http_status == 401 and "antiphon mcp login" not in state.why:
            remedy = f"; it wants a login: antiphon mcp login {state.server}"
        became = "has died" if was_there else "is not there"
        why = state.why.rstrip(".") or "it did not say why"
        self._ui.say(f"The MCP server {state.server} {became}: {why}{remedy}", "warning")
        for line in state.stderr[-LAST_WORDS:]:
            self._ui.say(f"    {line}", "faint")

    async def _announce_with_prompts(self, server: str, text: str) -> None:
        """Announce the server once its prompts are commands, so that they can be typed."""
        try:
            async with asyncio.timeout(PROMPT_SECONDS):
                listed = await self._servers.require().prompts(server)
        except (AntiphonError, TimeoutError) as problem:
            self._ui.say(f"{text}; its prompts are not known: {problem}", "faint")
            return
        self._forget_prompts(server)
        learnt = list(prompts.prompt_commands(server, listed))
        for command in learnt:
            self._commands.setdefault(command.name, command)
        more = f", {count_noun(len(learnt), 'prompt')}" if learnt else ""
        self._ui.say(f"{text}{more}", "faint")

    def _forget_prompts(self, server: str) -> None:
        for name in [name for name in self._commands if name.partition(".")[0] == server]:
            del self._commands[name]
