"""The thread as a file of one's own."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from antiphon.calls import ListMessages, ListRuns
from antiphon.client.exports import FORMS, Form, export, file_name, form_of
from antiphon.client.sections import Answered, answered
from antiphon.errors import InvalidRequest
from antiphon.runs import Thread
from antiphon.terminal import threads
from antiphon.terminal.slash.command import Command

if TYPE_CHECKING:
    from antiphon.terminal.chat import Chat

PRIVATE = 0o600


async def _export(chat: Chat, words: str) -> None:
    form, name = _asked(words)
    if chat.thread_id is None:
        raise InvalidRequest("Nothing was said here yet", hint="/threads lists what there is.")
    thread = await chat.client.get_thread(chat.thread_id)
    text = await _exported(chat, thread, form)
    wanted = [name] if name else _numbered(file_name(thread, form))
    written = await asyncio.to_thread(_written, wanted, text)
    chat.surface.say(f"{thread.messages} messages are in {written}", "faint")


async def _save(chat: Chat, words: str) -> None:
    if not words:
        raise InvalidRequest("A file is missing", expected="/save FILE")
    await _export(chat, words)


def _asked(words: str) -> tuple[Form, str]:
    """The form, and the file's name or nothing; the name tells the form where nothing else does."""
    first, _, rest = words.partition(" ")
    for form in FORMS:
        if first == form:
            return form, rest.strip()
    return form_of(words) or "md", words


async def _exported(chat: Chat, thread: Thread, form: Form) -> str:
    runs: dict[str, Answered] = {}
    async for run in chat.client.every(ListRuns(thread.id, limit=threads.PAGE)):
        runs[run.id] = answered(run)
    file = export(thread, form, runs=runs)
    messages = chat.client.every(ListMessages(thread.id, limit=threads.PAGE))
    told = [file.message(message) async for message in messages]
    return "".join([file.begin(), *told, file.end()])


def _numbered(name: str) -> Iterator[str]:
    """This name, and then the same with numbers."""
    path = Path(name)
    yield name
    for number in itertools.count(2):
        yield path.with_stem(f"{path.stem}-{number}").name


def _written(wanted: Iterable[str], text: str) -> Path:
    """The first of these files that was not there; it is now, and nobody else can read it.

    Raises `InvalidRequest` where all are there, or nothing can be written.
    """
    taken = Path()
    for name in wanted:
        path = Path(name).expanduser()
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
        except FileExistsError:
            taken = path
            continue
        except OSError as error:
            raise InvalidRequest(f"{path} cannot be written: {error.strerror}") from error
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        return path.absolute()
    raise InvalidRequest(f"{taken} is there already", hint="Name another file.")


COMMANDS: tuple[Command, ...] = (
    Command(
        name="export",
        arguments="[md|json|html] [FILE]",
        meaning="write this thread to a file: to be read, or with everything as JSON",
        carry_out=_export,
    ),
    Command(
        name="save",
        arguments="FILE",
        meaning="the same; the file's name says how: .md, .json or .html",
        carry_out=_save,
    ),
)
