"""Commands that write the thread to a file."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from antiphon.client.export import FORMS, Form, export_thread, file_name, guess_form
from antiphon.client.formatting import count_noun
from antiphon.settings.private_files import create_private_file
from antiphon.terminal.commands.command import CommandContext, SlashCommand
from antiphon.terminal.input import path_completion
from antiphon.terminal.markdown import html
from antiphon.types.errors import InvalidRequest

QUOTES = ('"', "'")


async def _export(chat: CommandContext, words: str) -> None:
    form, name = _parse_export(words)
    if chat.state.thread_id is None:
        raise InvalidRequest("Nothing was said here yet", hint="/threads lists what there is.")
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
    return next(each for each in _candidate_paths(place / title) if not os.path.lexists(each))


def _candidate_paths(path: Path) -> Iterator[Path]:
    """Yield this path, then the same with numbers."""
    yield path
    for number in itertools.count(2):
        yield path.with_stem(f"{path.stem}-{number}")


async def _complete_export(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    form, blank, name = begun.rpartition(" ")
    if not blank:
        for each in FORMS:
            if each.startswith(begun):
                yield each, "form"
    for place in await asyncio.to_thread(path_completion.beginning, name):
        if place.folder:
            yield form + blank + place.path, place.what


COMMANDS: tuple[SlashCommand, ...] = (
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
