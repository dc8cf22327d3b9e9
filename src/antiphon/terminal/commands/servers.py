"""Commands about MCP servers: their state and errors, what they offer, and their resources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from antiphon.client.formatting import count_noun
from antiphon.mcp.client.server_listing import ResourceTemplate, ServerResource, ServerState
from antiphon.terminal import chat_state
from antiphon.terminal.commands import prompts
from antiphon.terminal.commands.command import CommandContext, SlashCommand
from antiphon.terminal.commands.tools import describe_cost
from antiphon.terminal.spans import Line, StyledText
from antiphon.types.errors import AntiphonError, InvalidRequest, NotFound
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
        said = f"{server} did not list its resources within {LISTING_SECONDS:g} s."
        chat.ui.say(said, "warning")
        return
    except AntiphonError as problem:
        chat.ui.say(f"{server}: {problem.told}", "warning")
        return
    chat.ui.show([(StyledText(clean(f"{server}: {len(listed)} to read"), "strong"),)])
    shown: list[ServerResource | ResourceTemplate] = [*listed[:LISTED], *templates[:LISTED]]
    chat.ui.show_rows(
        (StyledText(f"  {clean(_address(each))}  ", "mark"), StyledText(_title(each), "faint"))
        for each in shown
    )
    if len(listed) > LISTED:
        chat.ui.say(f"  and {len(listed) - LISTED} more", "faint")


def _address(each: ServerResource | ResourceTemplate) -> str:
    return each.uri if isinstance(each, ServerResource) else each.uri_template


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
        _show_states(chat, states)
    else:
        chat.ui.say(
            "No MCP server is written down here; `antiphon mcp add --help` says how.", "faint"
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


def _show_states(chat: CommandContext, states: Sequence[ServerState]) -> None:
    width = max(len(state.server) for state in states)
    chat.ui.show_rows(_row(chat, state, width) for state in states)
    chat.ui.say("/servers NAME tells more, /servers restart NAME tries it again.", "faint")


def _row(chat: CommandContext, state: ServerState, width: int) -> Line:
    return (
        StyledText(f"  {clean(state.server):<{width}}  ", "mark"),
        StyledText(f"{state.status:<10}  ", "warning" if state.status == "failed" else "faint"),
        StyledText(_summary(chat, state)),
    )


def _summary(chat: CommandContext, state: ServerState) -> str:
    if state.status != "ready":
        return clean(state.why)
    tools = chat.state.servers.tools_of(state.server)
    return clean(
        f"{count_noun(len(tools), 'tool')}, {describe_cost(tools)}, protocol {state.protocol}"
    )


def _show_server(chat: CommandContext, state: ServerState) -> None:
    chat.ui.show([(StyledText(clean(state.server), "strong"), StyledText(f" {state.status}"))])
    for name, said in _facts(chat, state):
        first, *more = said.split("\n")
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
