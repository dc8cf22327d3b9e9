"""Prompts of MCP servers as commands: `/server.prompt name=value`."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress

from antiphon.mcp.client.server_listing import FilledPrompt, Prompt, PromptArgument
from antiphon.terminal import chat_state, resume
from antiphon.terminal.commands.command import CommandContext, SlashCommand, split_words
from antiphon.terminal.input.keyboard import Field
from antiphon.terminal.spans import Line, StyledText
from antiphon.types.errors import AntiphonError, InvalidRequest
from antiphon.types.messages import Text
from antiphon.types.terminal_safe import clean, one_line

SEEN = 12
"""Lines of a filled-in prompt that are shown; the thread has all of it."""
COMPLETION_SECONDS = 2.0
"""Timeout for a server's completion of an argument."""
LISTED = 100
"""Prompts of one server that become commands."""


def prompt_commands(server: str, prompts: Iterable[Prompt]) -> Iterator[SlashCommand]:
    """Yield a command for each prompt of the server; of equal names, the first wins."""
    seen: set[str] = set()
    for prompt in prompts:
        name = command_name(server, prompt)
        if name not in seen and len(seen) < LISTED:
            seen.add(name)
            yield _make_command(name, server, prompt)


def command_name(server: str, prompt: Prompt) -> str:
    """Return the command's name: the prompt's name without characters that end a word."""
    return f"{server}.{re.sub(r'[^A-Za-z0-9_.-]+', '_', prompt.name).strip('_') or 'prompt'}"


def _make_command(name: str, server: str, prompt: Prompt) -> SlashCommand:
    async def carry_out(chat: CommandContext, words: str) -> None:
        given = _parse_arguments(prompt, words)
        values = await _ask_missing(chat, server, prompt, given)
        if values is None:
            chat.ui.say("Nothing was sent.", "faint")
            return
        filled = await chat.state.servers.require().get_prompt(server, prompt.name, values)
        await _send(chat, filled)

    async def proposals(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
        async for each in _complete_arguments(chat, server, prompt, begun):
            yield each

    meaning = one_line(prompt.title or prompt.description or f"a prompt of {server}")
    notation = (
        clean(f"{each.name}=..." if each.required else f"[{each.name}=...]")
        for each in prompt.arguments
    )
    return SlashCommand(
        name=name,
        arguments=" ".join(notation),
        meaning=meaning[:80],
        run=carry_out,
        proposals=proposals,
    )


# Arguments.


def _parse_arguments(prompt: Prompt, words: str) -> dict[str, str]:
    """Return the typed arguments. Raises `InvalidRequest` for an unknown one."""
    names = [argument.name for argument in prompt.arguments]
    parts = split_words(words, 'name="two words"')
    if len(names) == 1 and words and not any(part.startswith(f"{names[0]}=") for part in parts):
        return {names[0]: words}
    given: dict[str, str] = {}
    for part in parts:
        name, sign, value = part.partition("=")
        if not sign or name not in names:
            wanted = ", ".join(f"{clean(each)}=..." for each in names)
            raise InvalidRequest(
                "The prompt has no such argument",
                expected=wanted or "nothing behind its name",
                received=part,
            )
        given[name] = value
    return given


async def _ask_missing(
    chat: CommandContext, server: str, prompt: Prompt, given: Mapping[str, str]
) -> dict[str, str] | None:
    """Ask for missing arguments; return None if the user declines."""
    values = dict(given)
    for argument in prompt.arguments:
        if argument.required and not values.get(argument.name):
            value = await chat.ui.keyboard.write(_field(server, argument))
            if value is None:
                return None
            values[argument.name] = value
    return values


def _field(server: str, argument: PromptArgument) -> Field:
    description = argument.description or "its prompt wants this"
    row: Line = (StyledText(f"{server}: {one_line(description)}", "faint"),)

    def wrong(text: str) -> str | None:
        return None if text.strip() else "It cannot be empty; Esc sends nothing."

    return Field(label=f"{clean(argument.name)}:", rows=lambda columns: (row,), wrong=wrong)


async def _complete_arguments(
    chat: CommandContext, server: str, prompt: Prompt, begun: str
) -> AsyncIterator[tuple[str, str]]:
    """Yield missing arguments, or values that the server proposes for one."""
    *typed, last = begun.split(" ")
    before = begun.removesuffix(last)
    known = dict(part.split("=", 1) for part in typed if "=" in part)
    name, sign, value = last.partition("=")
    if not sign:
        for argument in prompt.arguments:
            if argument.name not in known and argument.name.startswith(last):
                yield f"{before}{argument.name}=", one_line(argument.description)
        return
    with suppress(AntiphonError, TimeoutError):
        async with asyncio.timeout(COMPLETION_SECONDS):
            found = await chat.state.servers.require().complete(
                server, name, value, prompt=prompt.name, known=known
            )
        for each in found.values:
            yield f"{before}{name}={shlex.quote(each)}", each


# Sending.


async def _send(chat: CommandContext, filled: FilledPrompt) -> None:
    content = await chat_state.prompt_content(chat.client, filled)
    text = "".join(part.text for part in content if isinstance(part, Text))
    lines = resume.user_lines(text, chat.ui.theme)
    left = len(lines) - SEEN
    if left > 1:
        lines = [*lines[:SEEN], (StyledText(f"  ({left} more lines)", "faint"),)]
    chat.ui.show(lines)
    await chat.send(content)


# Listing.


async def _list_prompts(chat: CommandContext, words: str) -> None:
    known = [each for name, each in chat.prompt_commands.items() if name.startswith(words)]
    if not known:
        text = f"{words} has no prompts here." if words else "No server here has prompts."
        chat.ui.say(text, "faint")
        return
    chat.ui.show_rows(
        (StyledText(f"  {clean(each.usage)}  ", "mark"), StyledText(each.meaning, "faint"))
        for each in known
    )
    chat.ui.say("What is required and missing is asked for.", "faint")


COMMANDS: tuple[SlashCommand, ...] = (
    SlashCommand(
        name="prompts",
        arguments="[SERVER]",
        meaning="messages that servers have ready, each a command of its own",
        run=_list_prompts,
        at_once=True,
    ),
)
