"""A thread read to be written down, on a loop: message by message, with what else is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from antiphon.calls import ListMessages, ListRuns
from antiphon.client.aio import AsyncClient
from antiphon.client.exports import Form, export
from antiphon.client.sections import answered, file_ids
from antiphon.errors import NotFound
from antiphon.messages import Message
from antiphon.runs import Thread

PAGE = 100


async def told(
    client: AsyncClient,
    thread: Thread,
    form: Form,
    *,
    render: Callable[[str], str] | None = None,
) -> AsyncIterator[str]:
    """The thread in this form, piece by piece; see `export` for `render`."""
    listed = client.every(ListRuns(thread.id, limit=PAGE))
    runs = {run.id: answered(run) async for run in listed}
    names: dict[str, str] = {}
    file = export(thread, form, names=names, runs=runs, render=render)
    yield file.begin()
    async for message in client.every(ListMessages(thread.id, limit=PAGE)):
        await _note_names(client, message, names)
        # A long answer takes a while to be set, and the loop has other things to do meanwhile.
        yield await asyncio.to_thread(file.message, message)
    yield file.end()


async def _note_names(client: AsyncClient, message: Message, names: dict[str, str]) -> None:
    for file_id in file_ids(message):
        if file_id not in names:
            try:
                names[file_id] = (await client.get_file(file_id)).name
            except NotFound:  # it was deleted since
                names[file_id] = file_id
