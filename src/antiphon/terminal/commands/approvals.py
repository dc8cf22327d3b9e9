"""/approve: list rules and grants, allow a tool, revoke a grant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from antiphon.terminal.commands.command import CommandContext, SlashCommand
from antiphon.terminal.commands.tools import available_tools
from antiphon.terminal.spans import Line, StyledText
from antiphon.tools.blocking import run_in_daemon_thread
from antiphon.tools.consent import Consent
from antiphon.tools.questions import ToolGrant, ToolIdentity, tool_identity
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.messages import Tool
from antiphon.types.terminal_safe import clean

REVOKE = "revoke"


class ActiveGrant(msgspec.Struct, frozen=True):
    """Tool that the user allowed, and for how long."""

    shape: ToolGrant
    until: Literal["this session", "always"]

    @property
    def name(self) -> str:
        """Name with its server, as in rules."""
        own_name = self.shape.own_name
        return f"{self.shape.server}:{own_name}" if self.shape.server else own_name


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
        _row(number, each, current.get(_sort_key(each.shape)))
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
        await run_in_daemon_thread(where.revoke, each.shape.server, each.shape.own_name)
        chat.ui.say(f"{each.name} asks again: it was allowed {each.until}.", "faint")


async def _allow(chat: CommandContext, words: str) -> None:
    tools = [tool for tool in available_tools(chat) if _matches(tool, words)]
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
        names = (each.name, each.shape.own_name, each.shape.server)
        if any(name and fnmatchcase(name, words) for name in names):
            yield each


def _matches(tool: Tool, words: str) -> bool:
    names = [tool.spec.name, tool.own_name, f"{tool.server}:{tool.own_name}"]
    return any(name and fnmatchcase(name, words) for name in names)


def _sort_key(shape: ToolIdentity) -> tuple[str, str]:
    return shape.server, shape.own_name


def _rule_lines(consent: Consent) -> Iterator[Line]:
    for verdict, patterns in (
        ("denied", consent.rules.deny),
        ("asks", consent.rules.ask),
        ("runs", consent.rules.allow),
    ):
        if patterns:
            said = clean(", ".join(patterns))
            yield (StyledText(f"{verdict} by the settings: ", "faint"), StyledText(said))


def _row(number: int, granted: ActiveGrant, now: ToolIdentity | None) -> Line:
    name = clean(granted.name, "approval").replace("\n", " ")
    note, by = StyledText(""), granted.shape.asked_by
    if now is not None and now.fingerprint != granted.shape.fingerprint:
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


COMMANDS = (
    SlashCommand(
        name="approve",
        arguments="[TOOL | revoke NUMBER]",
        meaning="what may run without a question; allow a tool this session, or take it back",
        run=_approve,
        at_once=True,
        proposals=_complete,
    ),
)
