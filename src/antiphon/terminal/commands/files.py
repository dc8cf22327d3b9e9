"""Commands that attach files to the next message."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Sequence

from antiphon.client import mentions
from antiphon.client.mentions import AttachedFile
from antiphon.terminal import attachments
from antiphon.terminal.commands.command import CommandContext, SlashCommand, split_words
from antiphon.terminal.input import path_completion
from antiphon.types.errors import InvalidRequest

CLEAR = "clear"


async def _attach(chat: CommandContext, words: str) -> None:
    if words == CLEAR:
        chat.state.attached.clear()
        chat.ui.say("Nothing goes along with the next message.", "faint")
        return
    found = [each for name in _parse_paths(words) for each in await _read_files(chat, name)]
    _add_files(chat, found)


async def _image(chat: CommandContext, words: str) -> None:
    names = _parse_paths(words)
    if not names:
        raise InvalidRequest("A picture is missing", expected="/image PATH")
    found = [each for name in names for each in await _read_files(chat, name)]
    for each in found:
        if each.kind != "image":
            raise InvalidRequest(
                f"{each.name} is no picture",
                expected="png, jpeg, gif or webp",
                hint="/attach takes text and PDFs too.",
            )
    _add_files(chat, found)


def _add_files(chat: CommandContext, found: Sequence[AttachedFile]) -> None:
    known = {(each.name, each.content) for each in chat.state.attached}
    chat.state.attached += [each for each in found if (each.name, each.content) not in known]
    if not chat.state.attached:
        chat.ui.say("Nothing goes along yet: /attach PATH, or @PATH in a message.", "faint")
        return
    said = attachments.describe_files(chat.state.attached).removeprefix("with ")
    chat.ui.say(f"Goes along with the next message: {said}. /attach clear drops it.", "faint")


def _parse_paths(words: str) -> list[str]:
    """Split paths as a shell does; the at sign of a mention is optional."""
    return [name.removeprefix("@") for name in split_words(words, '"two words"')]


async def _read_files(chat: CommandContext, name: str) -> Sequence[AttachedFile]:
    servers = {state.server for state in chat.state.servers.states()}
    if (found := mentions.parse_resource(name)) and found.server in servers:
        return await attachments.read_resource(chat.state.servers, found.server, found.uri)
    return (await asyncio.to_thread(mentions.read_file, name),)


async def _complete_paths(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    before, blank, last = begun.rpartition(" ")
    for each in await asyncio.to_thread(path_completion.beginning, last.removeprefix("@")):
        yield before + blank + (shlex.quote(each.path) if not each.folder else each.path), each.what


COMMANDS: tuple[SlashCommand, ...] = (
    SlashCommand(
        name="attach",
        arguments="[PATH...|clear]",
        meaning="send files along with the next message; without a path, what goes along",
        run=_attach,
        proposals=_complete_paths,
    ),
    SlashCommand(
        name="image",
        arguments="PATH",
        meaning="send a picture along with the next message",
        run=_image,
        proposals=_complete_paths,
    ),
)
