"""Commands about tools and running calls."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import groupby

import msgspec

from antiphon.client.conversation import combine_toolboxes
from antiphon.client.formatting import count_noun
from antiphon.engine import context_window
from antiphon.terminal.commands.command import CommandContext, SlashCommand
from antiphon.terminal.spans import StyledText
from antiphon.tools.questions import ModelServer
from antiphon.types.errors import InvalidRequest
from antiphon.types.messages import Tool
from antiphon.types.terminal_safe import clean

NONE = "There are no tools here; --tools FILE and `antiphon mcp add` bring some."
_CONSENT = {"allow": "runs", "ask": "asks first", "deny": "denied"}


def available_tools(chat: CommandContext) -> Sequence[Tool]:
    """Return all tools that the model is offered now."""
    return combine_toolboxes(chat.functions, chat.state.servers.toolbox).tools()


async def _list_tools(chat: CommandContext, words: str) -> None:
    tools, by = available_tools(chat), await chat.find_model_server()
    for tool in tools:
        if words and words in (tool.spec.name, tool.own_name):
            _show_tool(chat, tool, by)
            return
    wanted = words.casefold()
    found = [tool for tool in tools if wanted in f"{tool.spec.name} {_summary(tool)}".casefold()]
    if not found:
        said = f"No tool has {words!r} in it." if words else NONE
        chat.ui.say(said, "faint")
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
    said = ", ".join(words for so, words in claims if so)
    return f"; its server claims that it {said}" if said else ""


async def _complete_tools(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    for tool in available_tools(chat):
        if tool.spec.name.startswith(begun):
            yield tool.spec.name, _summary(tool)


def describe_cost(tools: Iterable[Tool]) -> str:
    """Return the tokens that describing these tools takes in each request."""
    tokens = sum(context_window.tokens(len(msgspec.json.encode(tool.spec))) for tool in tools)
    return f"about {tokens:,} tokens"


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
            expected="the number of a tool call as it is shown, from 1",
            received=words,
            hint="/stop without a number stops everything.",
        )


COMMANDS: tuple[SlashCommand, ...] = (
    SlashCommand(
        name="tools",
        arguments="[NAME|WORDS]",
        meaning="what a model may call here, what each takes, and whether you are asked",
        run=_list_tools,
        at_once=True,
        proposals=_complete_tools,
    ),
    SlashCommand(
        name="stop",
        arguments="[N]",
        meaning="stop the answer, or only the Nth tool call that runs",
        run=_stop,
        at_once=True,
    ),
)
