"""The table of all slash commands, and the parser of a line."""

from __future__ import annotations

import difflib

import msgspec

from antiphon.terminal.commands import answers, files, general, models, servers, threads, tools
from antiphon.terminal.commands.command import Group, SlashCommand
from antiphon.types.errors import InvalidRequest

GROUPS: tuple[Group, ...] = (
    Group("Threads", (*threads.COMMANDS, *files.EXPORT)),
    Group("Answers", answers.COMMANDS),
    Group("Models", models.COMMANDS),
    Group("Tools and servers", (*tools.COMMANDS, *servers.COMMANDS)),
    Group("Files", files.COMMANDS),
    Group("Looks and settings", general.APPEARANCE),
    Group("Help, and the way out", general.COMMANDS),
)
TABLE: tuple[SlashCommand, ...] = tuple(command for group in GROUPS for command in group.commands)
COMMANDS = {command.name: command for command in TABLE}


class ParsedCommand(msgspec.Struct, frozen=True):
    """A typed command: its name without the slash, and the text that follows."""

    name: str
    words: str


def parse(text: str) -> ParsedCommand | str:
    """Return the command, or the message.

    `/word` is a command, known or not, so that a mistyped one is never sent. A path, which has a
    second slash, is a message; `//` begins a message that begins with a slash.
    """
    if text.startswith("//"):
        return text[1:]
    first, _, rest = text.partition("\n") if "\n" in text.split(" ", 1)[0] else text.partition(" ")
    if not first.startswith("/") or "/" in first[1:] or not first[1:]:
        return text
    return ParsedCommand(first[1:], rest.strip())


def unknown_command(name: str, others: list[str]) -> InvalidRequest:
    """Return the error for an unknown command, with a similar name as hint."""
    near = difflib.get_close_matches(name, [*COMMANDS, *others], n=1)
    return InvalidRequest(
        f"There is no command /{name}",
        hint=f"did you mean /{near[0]}?" if near else "/help lists them; // sends a slash.",
    )
