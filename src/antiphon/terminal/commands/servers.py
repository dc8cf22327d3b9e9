"""/servers: the state of MCP servers, what they offer, and errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from antiphon.client.formatting import count_noun
from antiphon.mcp.client.server_listing import ServerState
from antiphon.terminal.commands import prompts, resources
from antiphon.terminal.commands.command import CommandContext, SlashCommand
from antiphon.terminal.commands.tools import describe_cost
from antiphon.terminal.spans import Line, StyledText
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.terminal_safe import clean

RESTART = "restart"


async def _run(chat: CommandContext, words: str) -> None:
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
        run=_run,
        at_once=True,
        proposals=_complete_servers,
    ),
    *resources.COMMANDS,
    *prompts.COMMANDS,
)
