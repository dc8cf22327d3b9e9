"""A thread as a page opens it: a piece of it from the end, and what there is to know beside."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from antiphon.calls import ListActions, ListMessages, ListRuns
from antiphon.client import branches
from antiphon.client.aio import AsyncClient
from antiphon.client.branches import Fork
from antiphon.errors import NotFound
from antiphon.messages import Message, Upload
from antiphon.runs import Action, Run
from antiphon.web.relays import VIA
from antiphon.web.thread_list import Row, row
from antiphon.wires.ui_history import Entry, UIMessage, arranged, file_ids, told

PAGE = 100


class ActiveRun(msgspec.Struct, frozen=True):
    """The run that has not ended; `via` is the face that carries it on."""

    id: str
    status: str
    via: str


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What a page shows of a thread. The active run's answer is not among the messages.

    `system`, `model` and `assistant_id` are those of the run before.
    """

    thread: Row
    messages: Sequence[UIMessage]
    has_earlier: bool
    active_run: ActiveRun | None
    branches: Sequence[Fork]
    system: str | None
    model: str | None
    assistant_id: str | None


async def opened(client: AsyncClient, thread_id: str, before: int | None, limit: int) -> Opened:
    """The last messages of the thread, or the last before that number.

    At least `limit` of those that are stored, as far as there are so many: a page begins with what
    a person said. Raises `NotFound`.
    """
    thread, newest, messages = await asyncio.gather(
        client.get_thread(thread_id),
        client.list_runs(thread_id, limit=1),
        _messages(client, thread_id),
    )
    end = min(before or thread.messages + 1, thread.messages + 1)
    begin = _beginning(messages, end, limit)
    runs, relatives = await asyncio.gather(
        _runs(client, thread_id, begin), branches.family(client, thread)
    )
    entries = [each for each in arranged(messages, runs) if begin <= each.number < end]
    last = newest.data[0] if newest.data else None
    active = None if last is None or last.status.ended else last
    return Opened(
        thread=row(thread, running=active is not None),
        messages=await _told(client, entries),
        has_earlier=begin > 1,
        active_run=active and _active(active),
        branches=branches.forks(thread, relatives),
        system=last.instructions if last and last.assistant_id is None else None,
        model=last.model if last else None,
        assistant_id=last.assistant_id if last else None,
    )


async def _messages(client: AsyncClient, thread_id: str) -> list[Message]:
    return [each async for each in client.every(ListMessages(thread_id, limit=PAGE))]


def _beginning(messages: Sequence[Message], end: int, limit: int) -> int:
    """The number that the page begins with; 0 for all, with what was begun before any message."""
    begin = end
    for message in reversed(messages):
        if message.number < end:
            begin = message.number
            if message.role == "user" and end - begin >= limit:
                return begin if begin > 1 else 0
    return 0


async def _runs(client: AsyncClient, thread_id: str, begin: int) -> list[Run]:
    """Those that may have a part in what follows that number, the newest first."""
    runs: list[Run] = []
    async for run in client.every(ListRuns(thread_id, limit=PAGE)):
        runs.append(run)
        if run.messages_before + 1 < begin:
            break
    return runs


def _active(run: Run) -> ActiveRun:
    return ActiveRun(run.id, run.status.value, run.metadata.get(VIA, "other"))


async def _told(client: AsyncClient, entries: Sequence[Entry]) -> list[UIMessage]:
    files, actions = await asyncio.gather(
        _files(client, file_ids(entries)),
        asyncio.gather(*(_actions(client, entry.run) for entry in entries)),
    )
    return [
        told(entry, actions=done, files=files) for entry, done in zip(entries, actions, strict=True)
    ]


async def _files(client: AsyncClient, ids: set[str]) -> dict[str, Upload]:
    files: dict[str, Upload] = {}
    for file_id in ids:
        with suppress(NotFound):  # it was deleted since
            files[file_id] = await client.get_file(file_id)
    return files


async def _actions(client: AsyncClient, run: Run | None) -> list[Action]:
    """Those of a run that may have had calls to be approved: what its servers' tools did."""
    if run is None or not run.mcp_servers:
        return []
    return [each async for each in client.every(ListActions(run.id))]
