"""Commands about tools: list them, stop running calls, allow a tool or revoke a grant."""

from __future__ import annotations

import json
import shlex
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Literal

import msgspec

from antiphon.client.formatting import count_noun
from antiphon.engine import context_window
from antiphon.terminal.commands.command import CommandContext, SlashCommand
from antiphon.terminal.resume import load_messages
from antiphon.terminal.rows import todo_lines
from antiphon.terminal.spans import Line, StyledText
from antiphon.tools import builtin
from antiphon.tools.consent import Consent
from antiphon.tools.deadlines import run_in_daemon_thread
from antiphon.tools.hooks import find_hook_program
from antiphon.tools.permission_modes import MODES, find_mode
from antiphon.tools.questions import ModelServer, ToolGrant, ToolIdentity, tool_identity
from antiphon.tools.todos import count_done, find_todos
from antiphon.tools.tool_sources import gather_tools
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.messages import Tool
from antiphon.types.terminal_safe import clean, one_line

NONE = "There are no tools here; --tools FILE and `antiphon mcp add` bring some."
_CONSENT = {"allow": "runs", "ask": "asks first", "deny": "denied"}


def available_tools(chat: CommandContext) -> Sequence[Tool]:
    """Return all tools that the model is offered now."""
    return gather_tools(chat.functions, chat.state.servers.toolbox).toolbox.tools()


async def _list_tools(chat: CommandContext, words: str) -> None:
    tools, by = available_tools(chat), await chat.find_model_server()
    for tool in tools:
        if words and words in (tool.spec.name, tool.own_name):
            _show_tool(chat, tool, by)
            return
    wanted = words.casefold()
    found = [tool for tool in tools if wanted in f"{tool.spec.name} {_summary(tool)}".casefold()]
    if not found:
        text = f"No tool has {words!r} in it." if words else NONE
        chat.ui.say(text, "faint")
        return
    for server, group in groupby(found, key=lambda tool: tool.server):
        _show_group(chat, server, list(group), by)
    chat.ui.say("/tools NAME shows what one takes.", "faint")


def _show_group(
    chat: CommandContext, server: str | None, tools: Sequence[Tool], by: ModelServer | None
) -> None:
    title = (
        f"{server or 'Python functions'}: {count_noun(len(tools), 'tool')}, {describe_cost(tools)}"
    )
    width = min(40, max(len(tool.spec.name) for tool in tools))
    chat.ui.show([(StyledText(clean(title), "strong"),)])
    chat.ui.show_rows(
        (
            StyledText(f"  {clean(tool.spec.name):<{width}}  ", "mark"),
            StyledText(f"{_CONSENT[chat.consent.verdict(tool, by)]:<10}  ", "faint"),
            StyledText(_summary(tool)),
        )
        for tool in tools
    )


def _summary(tool: Tool) -> str:
    """Return the first line of the tool's description, or its title."""
    words = tool.spec.description.strip() or tool.hints.title or ""
    return clean(words.split("\n", 1)[0])


def _show_tool(chat: CommandContext, tool: Tool, by: ModelServer | None) -> None:
    ui = chat.ui
    ui.show([(StyledText(clean(tool.spec.name), "strong"),)])
    if tool.server:
        ui.say(f"{tool.own_name} of {tool.server}, in its own words:", "faint")
    ui.say(tool.spec.description or "(no description)")
    ui.say(f"A call of it {_describe_consent(chat, tool, by)}{_describe_claims(tool)}.", "faint")
    ui.say(json.dumps(tool.spec.parameters, indent=2, ensure_ascii=False), place="code")


def _describe_consent(chat: CommandContext, tool: Tool, by: ModelServer | None) -> str:
    match chat.consent.verdict(tool, by):
        case "allow":
            return "runs without a question"
        case "ask":
            return "is asked about first"
        case "deny":
            return "is denied by the settings"


def _describe_claims(tool: Tool) -> str:
    hints = tool.hints
    claims = (
        (hints.read_only, "only reads"),
        (hints.destructive, "may destroy"),
        (hints.open_world, "reaches beyond this machine"),
    )
    claimed = ", ".join(words for so, words in claims if so)
    return f"; its server claims that it {claimed}" if claimed else ""


async def _complete_tools(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    for tool in available_tools(chat):
        if tool.spec.name.startswith(begun):
            yield tool.spec.name, _summary(tool)


def describe_cost(tools: Iterable[Tool]) -> str:
    """Return the tokens that describing these tools takes in each request."""
    tokens = sum(context_window.tokens(len(msgspec.json.encode(tool.spec))) for tool in tools)
    return f"about {tokens:,} tokens"


# Hooks.


async def _list_hooks(chat: CommandContext, words: str) -> None:
    hooks = chat.settings.hooks
    if not hooks:
        chat.ui.say("There are no hooks: [[hooks]] in your antiphon.toml name some.", "faint")
    for hook in hooks:
        tools = one_line(", ".join(hook.tools))
        line = (StyledText(f"{hook.when:<6} ", "mark"), StyledText(f"{tools}  "))
        is_there = find_hook_program(hook, chat.environ) is not None
        missing = () if is_there else (StyledText("  not found", "error"),)
        command = StyledText(one_line(shlex.join(hook.command)), "faint")
        chat.ui.show([(*line, command, *missing)])


# Running calls.


async def _stop(chat: CommandContext, words: str) -> None:
    if not words:
        if chat.ui.display.is_streaming:
            chat.interrupt()
        else:
            chat.ui.say("Nothing runs.", "faint")
        return
    if not words.isdecimal() or not chat.cancel_tool(int(words)):
        raise InvalidRequest(
            "No such call runs",
            expected="the number of a running tool call, counted from 1 as the calls are shown",
            received=words,
            hint="/stop without a number stops everything.",
        )


# /approve: list rules and grants, allow a tool, revoke a grant.


REVOKE = "revoke"


class ActiveGrant(msgspec.Struct, frozen=True):
    """Tool that the user allowed, and for how long."""

    grant: ToolGrant
    until: Literal["this session", "always"]

    @property
    def name(self) -> str:
        """Name with its server, as in rules."""
        own_name = self.grant.own_name
        return f"{self.grant.server}:{own_name}" if self.grant.server else own_name


async def _approve(chat: CommandContext, words: str) -> None:
    first, _, rest = words.partition(" ")
    if not words:
        await _list(chat)
    elif first == REVOKE:
        await _revoke(chat, rest.strip())
    else:
        await _allow(chat, words)


async def _list(chat: CommandContext) -> None:
    granted = await _load_granted(chat.consent)
    chat.ui.show(_rule_lines(chat.consent))
    if not granted:
        chat.ui.say("Nothing was allowed for longer than one call: each is asked about.", "faint")
        return
    current = {
        _sort_key(tool_identity(tool)): tool_identity(tool) for tool in available_tools(chat)
    }
    chat.ui.show(
        _row(number, each, current.get(_sort_key(each.grant)))
        for number, each in enumerate(granted, 1)
    )
    chat.ui.say("/approve revoke NUMBER asks again; so does a name, or * for all.", "faint")


async def _revoke(chat: CommandContext, words: str) -> None:
    """Revoke one grant of the list, or all with this name."""
    if not words:
        raise InvalidRequest("Which one is to be asked about again?", hint="/approve lists them.")
    granted = await _load_granted(chat.consent)
    found = list(_match_granted(granted, words))
    if not found:
        raise NotFound(
            f"Nothing that you allowed is number {words}, or called so.", hint="/approve lists it."
        )
    for each in found:
        where = chat.consent.session if each.until == "this session" else chat.consent.grants
        await run_in_daemon_thread(where.revoke, each.grant.server, each.grant.own_name)
        chat.ui.say(f"{each.name} asks again: it was allowed {each.until}.", "faint")


async def _allow(chat: CommandContext, words: str) -> None:
    tools = [
        tool
        for tool in available_tools(chat)
        if any(
            name and fnmatchcase(name, words)
            for name in (tool.spec.name, tool.own_name, f"{tool.server}:{tool.own_name}")
        )
    ]
    if not tools:
        raise NotFound(f"No tool here is called {words}.", hint="/tools lists them.")
    for tool in tools:
        if chat.consent.rules.verdict(tool) == "deny":
            raise InvalidRequest(f"The settings deny {tool.spec.name}: that stands above all else.")
    by = await chat.find_model_server()
    if by is None:
        raise InvalidRequest("Which model answers is not known yet.", hint="/model NAME says it.")
    chat.consent.session.add([tool_identity(tool) for tool in tools], by)
    names = ", ".join(tool.spec.name for tool in tools)
    chat.ui.say(f"Runs without a question this session, where {by} asks: {names}")


async def _load_granted(consent: Consent) -> Sequence[ActiveGrant]:
    """Return the grants, sorted by server and tool; lasting ones are read from a file."""
    kept = await run_in_daemon_thread(consent.grants.all)
    session = consent.session.all()
    return [
        *(ActiveGrant(each, "always") for each in sorted(kept, key=_sort_key)),
        *(ActiveGrant(each, "this session") for each in sorted(session, key=_sort_key)),
    ]


def _match_granted(granted: Sequence[ActiveGrant], words: str) -> Iterator[ActiveGrant]:
    if words.isdecimal() and 0 < int(words) <= len(granted):
        yield granted[int(words) - 1]
        return
    for each in granted:
        names = (each.name, each.grant.own_name, each.grant.server)
        if any(name and fnmatchcase(name, words) for name in names):
            yield each


def _sort_key(shape: ToolIdentity) -> tuple[str, str]:
    return shape.server, shape.own_name


def _rule_lines(consent: Consent) -> Iterator[Line]:
    for verdict, patterns in (
        ("denied", consent.rules.deny),
        ("asks", consent.rules.ask),
        ("runs", consent.rules.allow),
    ):
        if patterns:
            listed = clean(", ".join(patterns))
            yield (StyledText(f"{verdict} by the settings: ", "faint"), StyledText(listed))


def _row(number: int, granted: ActiveGrant, now: ToolIdentity | None) -> Line:
    name = clean(granted.name, "approval").replace("\n", " ")
    note, by = StyledText(""), granted.grant.asked_by
    if now is not None and now.fingerprint != granted.grant.fingerprint:
        note = StyledText("  asks again: it has changed", "warning")
    elif by is None:
        note = StyledText("  asks again: allowed for no model server of its own", "warning")
    until = granted.until if by is None else f"{granted.until}, where {clean(str(by))} asks"
    return (
        StyledText(f"{number:>3} ", "mark"),
        StyledText(name),
        StyledText(f"  {until}", "faint"),
        note,
    )


async def _complete(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    if begun.startswith(f"{REVOKE} "):
        for each in await _load_granted(chat.consent):
            if f"{REVOKE} {each.name}".startswith(begun):
                yield f"{REVOKE} {each.name}", each.until
        return
    if REVOKE.startswith(begun):
        yield REVOKE, "ask again"
    for tool in available_tools(chat):
        if tool.spec.name.startswith(begun):
            yield tool.spec.name, "runs without a question this session"


# Permission modes.


async def _set_mode(chat: CommandContext, words: str) -> None:
    mode = find_mode(words)
    if words and mode is None:
        raise InvalidRequest("There is no such mode", expected=", ".join(MODES), received=words)
    if mode is not None:
        chat.set_mode(mode)
    current = chat.state.mode
    style = "warning" if current == "allow" else "faint"
    chat.ui.say(f"{current} mode: {MODES[current]}. /mode ask, plan or allow changes it.", style)


async def _complete_modes(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    for mode, meaning in MODES.items():
        if mode.startswith(begun):
            yield mode, meaning


# The model's to-do list.


async def _show_todos(chat: CommandContext, words: str) -> None:
    todos = find_todos(await load_messages(chat.client, chat.state))
    if not todos:
        hint = f"--tools {builtin.__name__} lets the model write one."
        chat.ui.say(f"There is no to-do list in this thread. {hint}", "faint")
        return
    chat.ui.show([(StyledText(f"To do: {count_done(todos)}", "strong"),)])
    chat.ui.show(todo_lines(todos, chat.ui.theme.glyphs))


COMMANDS: tuple[SlashCommand, ...] = (
    SlashCommand(
        name="mode",
        arguments="[ask|plan|allow]",
        meaning="ask before tools run, plan only (Shift+Tab), or allow them in this chat",
        run=_set_mode,
        at_once=True,
        proposals=_complete_modes,
    ),
    SlashCommand(
        name="tools",
        arguments="[NAME|WORDS]",
        meaning="what a model may call here, what each takes, and whether you are asked",
        run=_list_tools,
        at_once=True,
        proposals=_complete_tools,
    ),
    SlashCommand(
        name="hooks",
        meaning="your programs that run before and after tool calls",
        run=_list_hooks,
        at_once=True,
    ),
    SlashCommand(
        name="todos",
        meaning="the to-do list that the model wrote last in this thread",
        run=_show_todos,
        at_once=True,
    ),
    SlashCommand(
        name="stop",
        arguments="[N]",
        meaning="stop the answer, or only the Nth tool call that runs",
        run=_stop,
        at_once=True,
    ),
    SlashCommand(
        name="approve",
        arguments="[TOOL | revoke NUMBER]",
        meaning="what may run without a question; allow a tool this session, or take it back",
        run=_approve,
        at_once=True,
        proposals=_complete,
    ),
)
