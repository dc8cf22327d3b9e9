"""Commands that attach files to the next message or write the thread to a file."""

from __future__ import annotations

import asyncio
import itertools
import os
import shlex
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from antiphon.client import mentions
from antiphon.client.export import FORMS, Form, export_thread, file_name, guess_form
from antiphon.client.formatting import count_noun
from antiphon.client.mentions import AttachedFile
from antiphon.settings.private_files import create_private_file
from antiphon.terminal import chat_state
from antiphon.terminal.commands.clipboard_image import read_clipboard_image
from antiphon.terminal.commands.command import CommandContext, SlashCommand, split_words
from antiphon.terminal.markdown import html
from antiphon.types.errors import InvalidRequest

# Complete paths of files.


MOST = 200
"""Paths proposed from one folder."""
MAX_NAMES = 5_000
"""Names of a folder that are examined: a larger folder is not worth the pause."""


class PathEntry(msgspec.Struct, frozen=True):
    """File, or folder, whose path ends in a slash."""

    path: str
    folder: bool

    @property
    def what(self) -> str:
        """Kind in a word."""
        return "folder" if self.folder else ""


def complete_path(begun: str, base: Path | None = None) -> list[PathEntry]:
    """Return paths that begin with `begun`: folders, then files; hidden ones only after a dot.

    Names with control characters are left out: they could not be typed either.
    """
    head, slash, name = begun.rpartition("/")
    folder = Path(head + slash)
    with suppress(RuntimeError):  # ~user, and there is no such user
        folder = folder.expanduser()
    folder = (base or Path()) / folder
    found = [
        PathEntry(head + slash + each.name + ("/" if _is_folder(each) else ""), _is_folder(each))
        for each in _scan(folder)
        if each.name.startswith(name)
        and (name.startswith(".") or not each.name.startswith("."))
        and each.name.isprintable()
    ]
    return sorted(found, key=lambda place: (not place.folder, place.path.casefold()))[:MOST]


def _scan(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as names:
            for _, each in zip(range(MAX_NAMES), names, strict=False):
                yield each
    except (OSError, ValueError):  # not a folder, or not readable
        return


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


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
        _add_files(chat, [await read_clipboard_image(chat.environ)])
        return
    found = [each for name in names for each in await _read_files(chat, name)]
    for each in found:
        if each.kind != "image":
            raise InvalidRequest(
                f"{each.name} is no picture",
                expected="png, jpeg, gif or webp",
                hint="/attach takes texts and documents too.",
            )
    _add_files(chat, found)


def _add_files(chat: CommandContext, found: Sequence[AttachedFile]) -> None:
    known = {(each.name, each.content) for each in chat.state.attached}
    chat.state.attached += [each for each in found if (each.name, each.content) not in known]
    if not chat.state.attached:
        chat.ui.say("Nothing goes along yet: /attach PATH, or @PATH in a message.", "faint")
        return
    summary = chat_state.describe_files(chat.state.attached)
    chat.ui.say(f"Goes along with the next message: {summary}. /attach clear drops it.", "faint")


def _parse_paths(words: str) -> list[str]:
    """Split paths as a shell does; the at sign of a mention is optional."""
    return [name.removeprefix("@") for name in split_words(words, '"two words"')]


async def _read_files(chat: CommandContext, name: str) -> Sequence[AttachedFile]:
    servers = {state.server for state in chat.state.servers.states()}
    if (found := mentions.parse_resource(name)) and found.server in servers:
        return await chat_state.read_resource(chat.state.servers, found.server, found.uri)
    return (await asyncio.to_thread(mentions.read_file, name),)


async def _complete_paths(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    before, blank, last = begun.rpartition(" ")
    for each in await asyncio.to_thread(complete_path, last.removeprefix("@")):
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
        arguments="[PATH]",
        meaning="send a picture, or that of the clipboard, along with the next message",
        run=_image,
        proposals=_complete_paths,
    ),
)


# Commands that write the thread to a file.


QUOTES = ('"', "'")


async def _export(chat: CommandContext, words: str) -> None:
    form, name = _parse_export(words)
    if chat.state.thread_id is None:
        raise InvalidRequest(
            "This thread has no messages yet", hint="/threads lists what there is."
        )
    thread = await chat.client.get_thread(chat.state.thread_id)
    place = await asyncio.to_thread(_resolve_path, name, file_name(thread, form))
    if name and not place.suffix:
        # Such as `/export pdf`, an unknown format.
        raise InvalidRequest(
            f"{name} is neither a form nor a file's whole name",
            expected="md, json or html, a folder, or a name with an ending, such as notes.md",
        )
    with create_private_file(place) as file:
        async for piece in export_thread(chat.client, thread, form, render=html.render_html):
            file.write(piece)
    count = count_noun(thread.messages, "message is", "messages are")
    chat.ui.say(f"{count} in {place.absolute()}", "faint")


async def _save(chat: CommandContext, words: str) -> None:
    if not words:
        raise InvalidRequest("A file is missing", expected="/save FILE")
    await _export(chat, words)


def _parse_export(words: str) -> tuple[Form, str]:
    """Return the format and the file's name, if any; without a format, the name decides."""
    first, _, rest = words.partition(" ")
    for form in FORMS:
        if first == form:
            return form, _unquote(rest.strip())
    return guess_form(_unquote(words)) or "md", _unquote(words)


def _unquote(name: str) -> str:
    quoted = len(name) > 1 and name[0] in QUOTES and name[0] == name[-1]
    return name[1:-1] if quoted else name


def _resolve_path(name: str, title: str) -> Path:
    """Return the path to write; in a folder, one named by the title, with a free number."""
    try:
        place = Path(name).expanduser()
    except RuntimeError as error:  # ~user, and there is no such user
        raise InvalidRequest(f"{name} cannot be written: {error}") from error
    if not place.is_dir():
        return place
    path = place / title
    for number in itertools.count(2):
        if not os.path.lexists(path):
            break
        path = (place / title).with_stem(f"{Path(title).stem}-{number}")
    return path


async def _complete_export(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    form, blank, name = begun.rpartition(" ")
    if not blank:
        for each in FORMS:
            if each.startswith(begun):
                yield each, "form"
    for place in await asyncio.to_thread(complete_path, name):
        if place.folder:
            yield form + blank + place.path, place.what


EXPORT: tuple[SlashCommand, ...] = (
    SlashCommand(
        name="export",
        arguments="[md|json|html] [FILE]",
        meaning="write this thread to a file: to be read, or with everything as JSON",
        run=_export,
        proposals=_complete_export,
    ),
    SlashCommand(
        name="save",
        arguments="FILE",
        meaning="the same; the file's name says how: .md, .json or .html",
        run=_save,
        proposals=_complete_export,
    ),
)
