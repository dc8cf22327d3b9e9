"""Tools and the servers they come from."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from antiphon.clean import clean
from antiphon.client.converse import box
from antiphon.engine import window
from antiphon.errors import InvalidRequest, NotFound
from antiphon.messages import Tool
from antiphon.terminal import spans
from antiphon.terminal.slash import resources
from antiphon.terminal.slash.command import Command
from antiphon.terminal.spans import Line, Span
from antiphon.tools.mcp.offers import State

if TYPE_CHECKING:
    from antiphon.terminal.chat import Chat

RESTART = "restart"
_CONSENT = {"allow": "runs", "ask": "asks first", "deny": "denied"}


def offered(chat: Chat) -> Sequence[Tool]:
    """All tools that a model is told of just now."""
    return box(chat.functions, chat.servers).tools()


# Tools.


async def _tools(chat: Chat, words: str) -> None:
    tools = offered(chat)
    for tool in tools:
        if words and words in (tool.spec.name, tool.own_name):
            _show_tool(chat, tool)
            return
    wanted = words.casefold()
    found = [tool for tool in tools if wanted in f"{tool.spec.name} {_about(tool)}".casefold()]
    if not found:
        said = f"No tool has {words!r} in it." if words else "A model is told of no tool here."
        chat.surface.say(said, "faint")
        return
    for server, group in groupby(found, key=lambda tool: tool.server):
        _show_group(chat, server, list(group))
    chat.surface.say("/tools NAME shows what one takes.", "faint")


def _show_group(chat: Chat, server: str | None, tools: Sequence[Tool]) -> None:
    title = f"{server or 'Python functions'}: {_count(tools, 'tool')}, {_cost(tools)}"
    columns, _ = chat.surface.size()
    width = min(40, max(len(tool.spec.name) for tool in tools))
    rows: list[Line] = [(Span(clean(title), "strong"),)]
    for tool in tools:
        consent = _CONSENT[chat.consent.verdict(tool)]
        said = f"  {clean(tool.spec.name):<{width}}  "
        row = (Span(said, "mark"), Span(f"{consent:<10}  ", "faint"), Span(_about(tool)))
        rows.append(spans.clipped(row, columns - 1, chat.surface.theme.glyphs.more))
    chat.surface.show(rows)


def _about(tool: Tool) -> str:
    """The first line of what it says of itself, or its title."""
    words = tool.spec.description.strip() or tool.hints.title or ""
    return clean(words.split("\n", 1)[0])


def _show_tool(chat: Chat, tool: Tool) -> None:
    surface = chat.surface
    surface.show([(Span(clean(tool.spec.name), "strong"),)])
    if tool.server:
        surface.say(f"{tool.own_name} of {tool.server}, in its own words:", "faint")
    surface.say(tool.spec.description or "(no description)")
    surface.say(f"A call of it {_consent_in_words(chat, tool)}{_claims(tool)}.", "faint")
    surface.say(json.dumps(tool.spec.parameters, indent=2, ensure_ascii=False), place="code")


def _consent_in_words(chat: Chat, tool: Tool) -> str:
    match chat.consent.verdict(tool):
        case "allow":
            return "runs without a question"
        case "ask":
            return "is asked about first"
        case "deny":
            return "is denied by the settings"


def _claims(tool: Tool) -> str:
    hints = tool.hints
    claims = (
        (hints.read_only, "only reads"),
        (hints.destructive, "may destroy"),
        (hints.open_world, "reaches beyond this machine"),
    )
    said = ", ".join(words for so, words in claims if so)
    return f"; its server claims that it {said}" if said else ""


async def _tool_names(chat: Chat, begun: str) -> AsyncIterator[tuple[str, str]]:
    for tool in offered(chat):
        if tool.spec.name.startswith(begun):
            yield tool.spec.name, _about(tool)


# Servers.


async def _servers(chat: Chat, words: str) -> None:
    first, _, rest = words.partition(" ")
    states = chat.states()
    if first == RESTART and rest:
        _restart(chat, rest.strip())
    elif words:
        _show_server(chat, _state(states, words))
    elif states:
        _show_states(chat, states)
    else:
        chat.surface.say(
            "No MCP server is written down here; `antiphon mcp add --help` says how.", "faint"
        )


def _state(states: Iterable[State], name: str) -> State:
    for state in states:
        if state.server == name:
            return state
    names = ", ".join(state.server for state in states)
    raise NotFound(f"There is no MCP server {name}", expected=f"one of: {names}" if names else None)


def _restart(chat: Chat, name: str) -> None:
    state = _state(chat.states(), name)
    if chat.servers is None or state in chat.unusable:
        raise InvalidRequest(f"{name} cannot be started: {state.why}")
    if state.status != "failed":
        chat.surface.say(f"{name} is {state.status}: only what has failed is tried again.", "faint")
        return
    chat.servers.restart(name)


def _show_states(chat: Chat, states: Sequence[State]) -> None:
    width = max(len(state.server) for state in states)
    columns, _ = chat.surface.size()
    rows: list[Line] = []
    for state in states:
        style = "warning" if state.status == "failed" else "faint"
        row = (
            Span(f"  {clean(state.server):<{width}}  ", "mark"),
            Span(f"{state.status:<10}  ", style),
            Span(_in_short(chat, state)),
        )
        rows.append(spans.clipped(row, columns - 1, chat.surface.theme.glyphs.more))
    chat.surface.show(rows)
    chat.surface.say("/servers NAME tells more, /servers restart NAME tries it again.", "faint")


def _in_short(chat: Chat, state: State) -> str:
    if state.status != "ready":
        return clean(state.why)
    tools = _of(chat, state.server)
    return clean(f"{_count(tools, 'tool')}, {_cost(tools)}, protocol {state.protocol}")


def _show_server(chat: Chat, state: State) -> None:
    chat.surface.show([(Span(clean(state.server), "strong"), Span(f" {state.status}"))])
    for name, said in _facts(chat, state):
        for line in said.split("\n"):
            chat.surface.say(f"  {name + ':':<13} {line}")
            name = ""  # noqa: PLW2901


def _facts(chat: Chat, state: State) -> Iterator[tuple[str, str]]:
    if state.why:
        yield "why", state.why
    if state.http_status == 401:
        yield "login", f"antiphon mcp login {state.server}"
    if state.protocol:
        version = f"{state.title} {state.version}".strip()
        yield "program", f"{version}, protocol {state.protocol}, over {state.transport}"
        tools = _of(chat, state.server)
        yield "tools", f"{_count(tools, 'tool')}, {_cost(tools)}"
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


def _of(chat: Chat, server: str) -> Sequence[Tool]:
    tools = chat.servers.tools() if chat.servers is not None else ()
    return [tool for tool in tools if tool.server == server]


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _cost(tools: Iterable[Tool]) -> str:
    """What it takes of a model's window to be told of these, each time."""
    tokens = sum(window.tokens(len(msgspec.json.encode(tool.spec))) for tool in tools)
    return f"about {tokens:,} tokens"


async def _server_names(chat: Chat, begun: str) -> AsyncIterator[tuple[str, str]]:
    first, blank, rest = begun.partition(" ")
    if first == RESTART and blank:
        for state in chat.states():
            if state.server.startswith(rest):
                yield f"{RESTART} {state.server}", state.status
        return
    for state in chat.states():
        if state.server.startswith(begun):
            yield state.server, state.status
    if RESTART.startswith(begun):
        yield RESTART, "try one again that has failed"


# Prompts, and what runs.


async def _prompts(chat: Chat, words: str) -> None:
    commands = [each for name, each in chat.extra_commands.items() if name.startswith(words)]
    if not commands:
        said = f"{words} has no prompts here." if words else "No server here has prompts."
        chat.surface.say(said, "faint")
        return
    columns, _ = chat.surface.size()
    for each in commands:
        usage = f"  /{each.name} {each.arguments}".rstrip()
        row = (Span(f"{clean(usage)}  ", "mark"), Span(each.meaning, "faint"))
        chat.surface.show([spans.clipped(row, columns - 1, chat.surface.theme.glyphs.more)])
    chat.surface.say("What is required and missing is asked for.", "faint")


async def _stop(chat: Chat, words: str) -> None:
    if not words:
        if chat.surface.display.is_streaming:
            chat.processor.interrupt()
        else:
            chat.surface.say("Nothing runs.", "faint")
        return
    if not words.isdecimal() or not chat.processor.cancel_tool(int(words)):
        raise InvalidRequest(
            "No such call runs",
            expected="the number of a tool call as it is shown, from 1",
            received=words,
            hint="/stop without a number stops everything.",
        )


COMMANDS: tuple[Command, ...] = (
    Command(
        name="tools",
        arguments="[NAME|WORDS]",
        meaning="what a model may call here, what each takes, and whether you are asked",
        carry_out=_tools,
        at_once=True,
        proposals=_tool_names,
    ),
    Command(
        name="servers",
        arguments="[[restart] NAME]",
        meaning="MCP servers: how they are, what they offer, why one is not there",
        carry_out=_servers,
        at_once=True,
        proposals=_server_names,
    ),
    *resources.COMMANDS,
    Command(
        name="prompts",
        arguments="[SERVER]",
        meaning="messages that servers have ready, each a command of its own",
        carry_out=_prompts,
        at_once=True,
    ),
    Command(
        name="stop",
        arguments="[N]",
        meaning="stop the answer, or only the Nth tool call that runs",
        carry_out=_stop,
        at_once=True,
    ),
)
