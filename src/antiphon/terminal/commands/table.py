"""The table of all slash commands, the parser of a line, and the completion of what is typed."""

from __future__ import annotations

import asyncio
import difflib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing

import msgspec
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from antiphon.client import mentions
from antiphon.terminal.commands import answers, files, general, models, servers, threads, tools
from antiphon.terminal.commands.command import CommandContext, Group, SlashCommand
from antiphon.terminal.input.editor import Editor
from antiphon.types.errors import AntiphonError, InvalidRequest
from antiphon.types.terminal_safe import one_line

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
    """Give the line editor the completion and the history of this chat."""
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
