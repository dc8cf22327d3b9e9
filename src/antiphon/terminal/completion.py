"""Complete what is typed: commands and their arguments, `@path`, `@server:uri`.

Proposals come from file names and servers too: those with control characters are left out, and slow
servers time out.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from antiphon.client import mentions
from antiphon.terminal.commands import files, servers, table
from antiphon.terminal.commands.command import CommandContext, SlashCommand
from antiphon.terminal.commands.files import PathEntry
from antiphon.terminal.commands.table import ParsedCommand
from antiphon.terminal.input.editor import Editor
from antiphon.types.errors import AntiphonError
from antiphon.types.terminal_safe import one_line

MOST = 200
"""Proposals for one text."""
_MENTION = re.compile(
    mentions.MENTION_START + r"""@(?:"(?P<quoted>[^"\n]*)|(?P<bare>[^\s"'@`|<>]*))$"""
)
_COMMAND = re.compile(r"/[^\s/]*")

Proposal = tuple[str, str, str]
"""Text to insert, text to show, meaning."""


def attach(chat: CommandContext) -> None:
    """Give the line editor the completion and the history of this chat."""
    keyboard = chat.ui.keyboard
    if isinstance(keyboard, Editor):
        keyboard.completer = ChatCompleter(chat)
        keyboard.memorable = lambda text: is_memorable(chat, text)


def is_memorable(chat: CommandContext, text: str) -> bool:
    """Return True if the text may enter the history: a mistyped command could be anything."""
    read = table.parse(text)
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
        begun, proposals = self._parse(document.text_before_cursor)
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

    def _parse(self, text: str) -> tuple[str, AsyncGenerator[Proposal]]:
        """Return the text that was begun, and proposals for it."""
        if _COMMAND.fullmatch(text):
            return text, self._complete_command(text[1:])
        if isinstance(read := table.parse(text), ParsedCommand) and "\n" not in text:
            begun = text[len(read.name) + 1 :].lstrip()
            return begun, self._complete_arguments(read.name, begun)
        if found := _MENTION.search(text):
            return found[0], self._complete_mention(found["bare"], found["quoted"])
        return "", _no_proposals()

    async def _complete_command(self, begun: str) -> AsyncGenerator[Proposal]:
        for command in _commands(self._chat):
            if command.name.startswith(begun):
                end = " " if command.arguments else ""
                yield f"/{command.name}{end}", command.usage, command.meaning

    async def _complete_arguments(self, name: str, begun: str) -> AsyncGenerator[Proposal]:
        for command in _commands(self._chat):
            if command.name == name:
                async for text, meaning in command.proposals(self._chat, begun):
                    yield text, text, meaning

    async def _complete_mention(
        self, bare: str | None, quoted: str | None
    ) -> AsyncGenerator[Proposal]:
        if bare is not None:
            async for each in self._complete_resource(bare):
                yield each
        for place in await asyncio.to_thread(files.complete_path, bare or quoted or ""):
            yield _format_mention(place, quoted=quoted is not None), place.path, place.what

    async def _complete_resource(self, begun: str) -> AsyncIterator[Proposal]:
        server, colon, uri = begun.partition(":")
        if colon:
            async for address, meaning in servers.complete_uris(self._chat, server, uri):
                yield f"@{server}:{address}", address, meaning
            return
        for name in servers.servers_with_resources(self._chat):
            if name.startswith(begun):
                yield f"@{name}:", f"{name}:", "resources of this server"


async def _no_proposals() -> AsyncGenerator[Proposal]:
    return
    yield  # so that it is a generator


def _format_mention(place: PathEntry, *, quoted: bool) -> str:
    """Return the path as written in a message; quotes around a folder stay open for a file."""
    written = mentions.format_mention(place.path)
    if quoted and not written.startswith('@"'):
        written = f'@"{place.path}"'
    return written.removesuffix('"') if place.folder else written
