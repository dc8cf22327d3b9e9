"""The thread as a file of one's own."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from antiphon.client.amounts import counted
from antiphon.client.exports import FORMS, Form, file_name, form_of
from antiphon.client.new_file import new_file
from antiphon.client.thread_export import told
from antiphon.errors import InvalidRequest
from antiphon.terminal import hypertext, places
from antiphon.terminal.slash.command import Command

if TYPE_CHECKING:
    from antiphon.terminal.chat import Chat

QUOTES = ('"', "'")


async def _export(chat: Chat, words: str) -> None:
    form, name = _asked(words)
    if chat.thread_id is None:
        raise InvalidRequest("Nothing was said here yet", hint="/threads lists what there is.")
    thread = await chat.client.get_thread(chat.thread_id)
    place = await asyncio.to_thread(_place, name, file_name(thread, form))
    if name and not place.suffix:
        # Such as `/export pdf`, which asks for a form that there is not.
        raise InvalidRequest(
            f"{name} is neither a form nor a file's whole name",
            expected="md, json or html, a folder, or a name with an ending, such as notes.md",
        )
    with new_file(place) as file:
        async for piece in told(chat.client, thread, form, render=hypertext.rendered):
            file.write(piece)
    count = counted(thread.messages, "message is", "messages are")
    chat.surface.say(f"{count} in {place.absolute()}", "faint")


async def _save(chat: Chat, words: str) -> None:
    if not words:
        raise InvalidRequest("A file is missing", expected="/save FILE")
    await _export(chat, words)


def _asked(words: str) -> tuple[Form, str]:
    """The form, and the file's name or nothing; the name tells the form where nothing else does."""
    first, _, rest = words.partition(" ")
    for form in FORMS:
        if first == form:
            return form, _unquoted(rest.strip())
    return form_of(_unquoted(words)) or "md", _unquoted(words)


def _unquoted(name: str) -> str:
    quoted = len(name) > 1 and name[0] in QUOTES and name[0] == name[-1]
    return name[1:-1] if quoted else name


def _place(name: str, title: str) -> Path:
    """The file that is meant; in a folder one that is called by the title, and by a free number."""
    try:
        place = Path(name).expanduser()
    except RuntimeError as error:  # ~somebody, whom this machine does not know
        raise InvalidRequest(f"{name} cannot be written: {error}") from error
    if not place.is_dir():
        return place
    return next(each for each in _numbered(place / title) if not os.path.lexists(each))


def _numbered(path: Path) -> Iterator[Path]:
    """This name, and then the same with numbers."""
    yield path
    for number in itertools.count(2):
        yield path.with_stem(f"{path.stem}-{number}")


async def _files(chat: Chat, begun: str) -> AsyncIterator[tuple[str, str]]:
    form, blank, name = begun.rpartition(" ")
    if not blank:
        for each in FORMS:
            if each.startswith(begun):
                yield each, "form"
    for place in await asyncio.to_thread(places.beginning, name):
        if place.folder:
            yield form + blank + place.path, place.what


COMMANDS: tuple[Command, ...] = (
    Command(
        name="export",
        arguments="[md|json|html] [FILE]",
        meaning="write this thread to a file: to be read, or with everything as JSON",
        carry_out=_export,
        proposals=_files,
    ),
    Command(
        name="save",
        arguments="FILE",
        meaning="the same; the file's name says how: .md, .json or .html",
        carry_out=_save,
        proposals=_files,
    ),
)
