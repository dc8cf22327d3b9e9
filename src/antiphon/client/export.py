"""Export a thread as Markdown, as a web page, or as complete JSON.

Only one message at a time is held in memory, so threads may be of any length:

    with open("talk.md", "w") as file:
        for piece in exported(thread, client.paginate(ListMessages(thread.id)), "md"):
            file.write(piece)
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath
from typing import Literal, Protocol, get_args

import msgspec

from antiphon.api.operations import ListMessages, ListRuns
from antiphon.client.async_client import AsyncClient
from antiphon.client.export_html import HtmlExport
from antiphon.client.export_markdown import MarkdownExport
from antiphon.types.errors import NotFound
from antiphon.types.messages import Message
from antiphon.types.runs import Thread
from antiphon.types.terminal_safe import json_text
from antiphon.types.thread_view import RunSummary, ThreadReader, file_ids, summarize_run

Form = Literal["md", "json", "html"]
FORMS: tuple[Form, ...] = get_args(Form)
SUFFIXES: Mapping[str, Form] = {
    ".md": "md",
    ".markdown": "md",
    ".json": "json",
    ".html": "html",
    ".htm": "html",
}
NAME_LETTERS = 60
"""Most letters of a file's name, without its suffix: a title may be much longer."""


class Export(Protocol):
    """An export in progress: call `begin`, `message` for each message in order, then `end`."""

    def begin(self) -> str:
        """Return the text before the first message."""
        ...

    def message(self, message: Message) -> str:
        """Return the text of the next message; "" for a message that is left out."""
        ...

    def end(self) -> str:
        """Return the text after the last message."""
        ...


def export(
    thread: Thread,
    form: Form,
    *,
    names: Mapping[str, str] | None = None,
    runs: Mapping[str, RunSummary] | None = None,
    render: Callable[[str], str] | None = None,
) -> Export:
    """Return an export to feed message by message.

    `names` are file names by id, `runs` results of `summarize_run` by id; both may be filled
    meanwhile. `render` turns a model's Markdown into safe HTML; without it a page shows Markdown
    as it was written.
    """
    reader = ThreadReader(names, runs)
    match form:
        case "md":
            return MarkdownExport(thread, reader)
        case "html":
            return HtmlExport(thread, reader, render)
        case "json":
            return JsonExport(thread)


def exported(
    thread: Thread,
    messages: Iterable[Message],
    form: Form,
    *,
    names: Mapping[str, str] | None = None,
    runs: Mapping[str, RunSummary] | None = None,
    render: Callable[[str], str] | None = None,
) -> Iterator[str]:
    """Yield the export in pieces; see `export`."""
    file = export(thread, form, names=names, runs=runs, render=render)
    yield file.begin()
    for message in messages:
        if piece := file.message(message):
            yield piece
    yield file.end()


def guess_form(file_name: str) -> Form | None:
    """Return the form for the suffix of a file name; None for an unknown suffix."""
    return SUFFIXES.get(PurePath(file_name).suffix.lower())


def file_name(thread: Thread, form: Form) -> str:
    """Return a name for the thread's file: the letters and digits of its title, with hyphens.

    It begins with a letter or digit, so that it is not a hidden file, a path or a flag.
    """
    words = re.findall(r"[^\W_]+", thread.title)
    name = ""
    for word in words:
        longer = f"{name}-{word}" if name else word[:NAME_LETTERS]
        if len(longer) > NAME_LETTERS:
            break
        name = longer
    return f"{name or thread.id}.{form}"


class JsonExport:
    """JSON export: `{"thread": ..., "messages": [...]}`, both as the API returns them.

    Control characters and those that change the direction of text are escaped, which does not
    change the meaning of JSON.
    """

    def __init__(self, thread: Thread) -> None:
        self._thread = thread
        self._between = ""

    def begin(self) -> str:
        """Return the thread and the beginning of the list."""
        return f'{{"thread":{_json(self._thread)},"messages":['

    def message(self, message: Message) -> str:
        """Return the next message."""
        piece = f"{self._between}{_json(message)}"
        self._between = ",\n"
        return piece

    def end(self) -> str:
        """Return the end of the list."""
        return "]}\n"


def _json(value: Thread | Message) -> str:
    return json_text(msgspec.json.encode(value))


# Export on an event loop, with the runs and files of the thread.

PAGE = 100
_RENDERING_THREAD = ThreadPoolExecutor(1, "antiphon export")
"""One thread, because rendering computes: more would keep the loop waiting for the GIL."""


async def export_thread(
    client: AsyncClient,
    thread: Thread,
    form: Form,
    *,
    render: Callable[[str], str] | None = None,
) -> AsyncIterator[str]:
    """Yield the export of a thread in pieces; see `export` for `render`."""
    names: dict[str, str] = {}
    runs: dict[str, RunSummary] = {}
    file = export(thread, form, names=names, runs=runs, render=render)
    # JSON holds the messages alone.
    messages = (
        client.paginate(ListMessages(thread.id, limit=PAGE))
        if form == "json"
        else load_messages(client, thread.id, names, runs)
    )
    yield file.begin()
    async for message in messages:
        # Rendering a long answer takes a while and must not block the loop.
        yield await asyncio.get_running_loop().run_in_executor(
            _RENDERING_THREAD, file.message, message
        )
    yield file.end()


async def load_messages(
    client: AsyncClient, thread_id: str, names: dict[str, str], runs: dict[str, RunSummary]
) -> AsyncIterator[Message]:
    """Yield all messages of a thread in order.

    `runs` gets the facts of its runs first, `names` the file names of each message before it.
    """
    async for run in client.paginate(ListRuns(thread_id, limit=PAGE)):
        runs[run.id] = summarize_run(run)
    async for message in client.paginate(ListMessages(thread_id, limit=PAGE)):
        for file_id in file_ids(message):
            if file_id not in names:
                try:
                    names[file_id] = (await client.get_file(file_id)).name
                except NotFound:  # deleted meanwhile
                    names[file_id] = file_id
        yield message
