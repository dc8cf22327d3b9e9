"""The table of all slash commands: help about them, the parser of a line, completion."""

from __future__ import annotations

import asyncio
import difflib
import re
import textwrap
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing

import msgspec
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from antiphon.client import mentions
from antiphon.terminal.commands import (
    answers,
    files,
    folders,
    personal,
    search,
    servers,
    settings,
    skills,
    threads,
    tools,
)
from antiphon.terminal.commands.command import CommandContext, Group, SlashCommand
from antiphon.terminal.input.editor import Editor
from antiphon.terminal.spans import Line, StyledText
from antiphon.types.errors import AntiphonError, InvalidRequest
from antiphon.types.terminal_safe import clean, one_line

# Help, and the way out.


_WIDEST = 26
"""Columns of a command with its arguments; a longer one gets its own row."""
_NARROWEST = 24
"""Least columns for the meaning beside it."""

_Rows = Iterable[tuple[str, str]]

_KEYS = (
    ("Enter", "send; while an answer comes, the message waits its turn"),
    ("Ctrl+J", "a new line; so do Alt+Enter, Shift+Enter, and a backslash before Enter"),
    ("Tab", "complete a command, a file behind @, a name"),
    ("Up, Down", "earlier messages; in an empty line first the one that waits; move in a list"),
    ("Ctrl+R", "search in earlier messages"),
    ("Ctrl+C", "stop what runs; else clear the line; twice in an empty one leaves"),
    ("Esc", "stop what runs"),
    ("Ctrl+O", "see the last reasoning or result whole"),
    ("Ctrl+T", "give the reply more time"),
    ("Shift+Tab", "plan mode, in which no tool with effects runs; and back"),
    ("Ctrl+G", "write the message in your $EDITOR"),
    ("Ctrl+Z", "put the chat aside; fg comes back"),
    ("Ctrl+D", "leave"),
)
_STARTS = (
    ("/", "a command of this list; // begins a message"),
    ("!", "a command for your shell, whose output goes with your next message"),
    ("@", "a file, or a resource of a server as @server:uri"),
    ("?", "this list"),
)
_LINES = (
    ("Enter", "send the line"),
    ("\\ at the end", "continue in the next line"),
    ("Ctrl+C", "stop what runs, or answer No; twice at the prompt leaves"),
    ("Ctrl+D", "leave"),
)
"""In line mode the terminal handles all other keys."""


async def _show_help(chat: CommandContext, words: str) -> None:
    if words:
        _explain(chat, words.removeprefix("/"))
        return
    shown: list[Line] = []
    for group in chat.command_groups:
        if group.commands:
            rows = [(command.usage, command.meaning) for command in group.commands]
            shown += _section(chat, group.title, rows)
    shown += _section(chat, "First characters", _STARTS)
    shown += _section(chat, "Keys", _LINES if chat.ui.keyboard.by_lines else _KEYS)
    chat.ui.show([*shown, (), (StyledText("/help COMMAND explains one command.", "faint"),)])


def _explain(chat: CommandContext, name: str) -> None:
    for group in chat.command_groups:
        for command in group.commands:
            if command.name == name:
                chat.ui.show(_section(chat, group.title, [(command.usage, command.meaning)]))
                when = "at once" if command.at_once else "when what runs has ended"
                chat.ui.say(f"It is carried out {when}.", "faint")
                return
    raise InvalidRequest(f"There is no command /{name}", hint="/help lists them.")


def _section(chat: CommandContext, title: str, rows: _Rows) -> Iterator[Line]:
    yield ()
    yield (StyledText(title, "heading"),)
    if chat.ui.keyboard.by_lines:
        yield from ((StyledText(f"{clean(name)}: {clean(meaning)}"),) for name, meaning in rows)
        return
    columns, _ = chat.ui.size()
    for name, meaning in rows:
        yield from _two_columns(clean(name), clean(meaning), columns - 1)


def _two_columns(name: str, meaning: str, columns: int) -> Iterator[Line]:
    """Yield the name with its meaning beside it, or below if there is no room."""
    room = columns - _WIDEST - 4
    indent = " " * (_WIDEST + 4 if room >= _NARROWEST else 4)
    first, *more = textwrap.wrap(meaning, max(8, columns - len(indent))) or [""]
    if room >= _NARROWEST and len(name) <= _WIDEST:
        yield (StyledText(f"  {name:<{_WIDEST}}  ", "mark"), StyledText(first))
    else:
        yield (StyledText(f"  {name}", "mark"),)
        yield (StyledText(f"{indent}{first}"),)
    yield from ((StyledText(f"{indent}{each}"),) for each in more)


async def _complete_names(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    for command in _commands(chat):
        if command.name.startswith(begun.removeprefix("/")):
            yield command.name, command.meaning


async def _quit(chat: CommandContext, words: str) -> None:
    chat.ui.leave()


_HELP = (
    SlashCommand(
        name="help",
        arguments="[COMMAND]",
        meaning="this list, and the keys",
        run=_show_help,
        at_once=True,
        proposals=_complete_names,
    ),
    SlashCommand(name="quit", meaning="leave; the thread stays", run=_quit, at_once=True),
)


# The table.


GROUPS: tuple[Group, ...] = (
    Group("Threads", (*threads.COMMANDS, *folders.COMMANDS, *search.COMMANDS, *files.EXPORT)),
    Group("Answers", answers.COMMANDS),
    Group("Models", settings.MODELS),
    Group("About you", personal.COMMANDS),
    Group("Tools and servers", (*tools.COMMANDS, *servers.COMMANDS, *skills.COMMANDS)),
    Group("Files", files.COMMANDS),
    Group("Looks and settings", settings.APPEARANCE),
    Group("Help, and the way out", _HELP),
)
TABLE: tuple[SlashCommand, ...] = tuple(command for group in GROUPS for command in group.commands)
COMMANDS = {command.name: command for command in TABLE}


class ParsedCommand(msgspec.Struct, frozen=True):
    """A typed command: its name without the slash, and the text that follows."""

    name: str
    words: str


class ShellLine(msgspec.Struct, frozen=True):
    """A command for the user's shell, without the exclamation mark."""

    line: str


def parse(text: str) -> ParsedCommand | ShellLine | str:
    """Return the command, or the message.

    `/word` is a command, known or not, so that a mistyped one is never sent. A path, which has a
    second slash, is a message; `//` begins a message that begins with a slash. `?` is for help.
    `!` begins a command for the shell, and `!!` a message that begins with an exclamation mark.
    """
    if text.strip() == "?":
        return ParsedCommand("help", "")
    if text.startswith(("//", "!!")):
        return text[1:]
    if text.startswith("!"):
        return ShellLine(text[1:].strip())
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


# Completion: commands and their arguments, `@path`, `@server:uri`. Proposals come from file names
# and servers too: those with control characters are left out, and slow servers time out.


MOST = 200
"""Proposals for one text."""
_MENTION = re.compile(
    mentions.MENTION_START + r"""@(?:"(?P<quoted>[^"\n]*)|(?P<bare>[^\s"'@`|<>]*))$"""
)
_COMMAND = re.compile(r"/[^\s/]*")

Proposal = tuple[str, str, str]
"""Text to insert, text to show, meaning."""


def attach_completion(chat: CommandContext) -> None:
    """Connect the line editor with the completion and the history of this chat."""
    keyboard = chat.ui.keyboard
    if isinstance(keyboard, Editor):
        keyboard.completer = ChatCompleter(chat)
        keyboard.memorable = lambda text: is_memorable(chat, text)


def is_memorable(chat: CommandContext, text: str) -> bool:
    """Return True if the text may enter the history: a mistyped command could be anything."""
    read = parse(text)
    return not isinstance(read, ParsedCommand) or any(
        read.name == each.name for each in _commands(chat)
    )


def _commands(chat: CommandContext) -> Iterator[SlashCommand]:
    for group in chat.command_groups:
        yield from group.commands


class ChatCompleter(Completer):
    """Completes for one chat; always asynchronously, so that no key waits."""

    def __init__(self, chat: CommandContext) -> None:
        self._chat = chat

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """Return nothing: prompt_toolkit uses the asynchronous method."""
        return ()

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion]:
        """Yield texts that may replace the text begun before the cursor."""
        begun, proposals = self._propose(document.text_before_cursor)
        count = 0
        try:
            async with aclosing(proposals):
                async for text, seen, meaning in proposals:
                    if text.isprintable() and text != begun and count < MOST:
                        count += 1
                        yield Completion(
                            text,
                            start_position=-len(begun),
                            display=one_line(seen),
                            display_meta=one_line(meaning),
                        )
        except AntiphonError:  # the source is not available now
            return

    def _propose(self, text: str) -> tuple[str, AsyncGenerator[Proposal]]:
        """Return the text that was begun, and proposals for it."""
        parsed = parse(text) if "\n" not in text else text
        if _COMMAND.fullmatch(text):
            return text, self._complete_command(text[1:], None)
        if isinstance(parsed, ParsedCommand):
            begun = text[len(parsed.name) + 1 :].lstrip()
            sends = any(
                each.name == parsed.name and each.sends_words for each in _commands(self._chat)
            )
            if sends and (mention := _MENTION.search(begun)):
                return mention[0], self._complete_mention(mention)
            return begun, self._complete_command(parsed.name, begun)
        mention = _MENTION.search(text)
        return mention[0] if mention else "", self._complete_mention(mention)

    async def _complete_command(self, name: str, words: str | None) -> AsyncGenerator[Proposal]:
        """Yield commands whose name begins so, or the arguments of this command."""
        for command in _commands(self._chat):
            if words is None and command.name.startswith(name):
                end = " " if command.arguments else ""
                yield f"/{command.name}{end}", command.usage, command.meaning
            elif words is not None and command.name == name:
                async for text, meaning in command.proposals(self._chat, words):
                    yield text, text, meaning

    async def _complete_mention(self, mention: re.Match[str] | None) -> AsyncGenerator[Proposal]:
        if mention is None:
            return
        bare, quoted = mention["bare"], mention["quoted"]
        if bare is not None:
            async for each in self._complete_resource(bare):
                yield each
        for place in await asyncio.to_thread(files.complete_path, bare or quoted or ""):
            written = mentions.format_mention(place.path)
            if quoted is not None and not written.startswith('@"'):
                written = f'@"{place.path}"'
            # Quotes around a folder stay open for a file in it.
            written = written.removesuffix('"') if place.folder else written
            yield written, place.path, place.what

    async def _complete_resource(self, begun: str) -> AsyncIterator[Proposal]:
        server, colon, uri = begun.partition(":")
        if colon:
            async for address, meaning in servers.complete_uris(self._chat, server, uri):
                yield f"@{server}:{address}", address, meaning
            return
        for name in servers.servers_with_resources(self._chat):
            if name.startswith(begun):
                yield f"@{name}:", f"{name}:", "resources of this server"
