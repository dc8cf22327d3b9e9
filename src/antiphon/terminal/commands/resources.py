"""/resources: list and print resources of MCP servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from antiphon.mcp.client.server_listing import ResourceTemplate, ServerResource
from antiphon.terminal import attachments
from antiphon.terminal.commands.command import CommandContext, SlashCommand
from antiphon.terminal.spans import StyledText
from antiphon.types.errors import AntiphonError
from antiphon.types.terminal_safe import clean, one_line

SEEN = 40
"""Lines of a resource that are shown."""
LISTED = 100
"""Resources of one server that are listed."""
LISTING_SECONDS = 10.0
"""Timeout for listing a server's resources."""
COMPLETION_SECONDS = 2.0
"""Timeout for completing an address."""


async def _run(chat: CommandContext, words: str) -> None:
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
    for each in await attachments.read_resource(chat.state.servers, server, uri):
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


COMMANDS: tuple[SlashCommand, ...] = (
    SlashCommand(
        name="resources",
        arguments="[SERVER [URI]]",
        meaning="what servers give to read; @SERVER:URI in a message sends it along",
        run=_run,
        at_once=True,
        proposals=_complete_resources,
    ),
)
