"""The threads of a person as a page lists them, one row for each family of branches."""

from __future__ import annotations

from collections.abc import Sequence, Set

import msgspec

from antiphon.client import thread_list
from antiphon.client.async_client import AsyncClient
from antiphon.types.runs import Run, Thread
from antiphon.types.terminal_safe import one_line
from antiphon.web.relays import Relays

PAGE = 100
FAMILIES_LOOKED_AT = 20
"""Threads with a run that are not listed, of which it is known what other threads they stand for.
"""
RUNS_LOOKED_AT = 100
"""The newest runs of a person, among which those are that have not ended."""


class ThreadRow(msgspec.Struct, frozen=True, kw_only=True):
    """A thread in a list; `running` where a run of it, or of a thread it stands for, is open.

    `waiting` says that such a run goes on only when a person has answered.
    """

    id: str
    title: str
    messages: int
    created_at: int
    updated_at: int
    running: bool
    waiting: bool = False
    replaces: str | None


class ThreadRowPage(msgspec.Struct, frozen=True):
    """A page of rows; `next` is what to ask for after it."""

    data: Sequence[ThreadRow]
    has_more: bool
    next: str | None


def thread_row(thread: Thread, *, running: bool, waiting: bool = False) -> ThreadRow:
    """The thread as a row."""
    return ThreadRow(
        id=thread.id,
        title=one_line(thread.title),
        messages=thread.messages,
        created_at=thread.created_at,
        updated_at=thread.updated_at,
        running=running,
        waiting=waiting,
        replaces=thread_list.replaced_thread_id(thread),
    )


async def list_thread_rows(
    client: AsyncClient, relays: Relays, words: str, after: str | None, limit: int
) -> ThreadRowPage:
    """Threads that hold these words, the last changed first. Raises `NotFound`."""
    page = await client.transport.send(thread_list.latest_threads(words, limit=limit, after=after))
    waits = await _waits_by_thread(client, relays, {thread.id for thread in page.data})
    shown = [
        thread_row(thread, running=thread.id in waits, waiting=waits.get(thread.id, False))
        for thread in page.data
    ]
    return ThreadRowPage(shown, page.has_more, page.next)


async def _waits_by_thread(
    client: AsyncClient, relays: Relays, listed: Set[str]
) -> dict[str, bool]:
    """The threads with an open run, and their families: whether it waits for a person.

    A thread that is listed is the only one of its family that is, so its family is not asked for.
    """
    newest = (await client.list_runs(limit=RUNS_LOOKED_AT)).data
    waits = {run.thread_id: _waits(relays, run) for run in newest if not run.status.ended}
    elsewhere = sorted(each for each in waits.items() if each[0] not in listed)
    for thread_id, is_waiting in elsewhere[:FAMILIES_LOOKED_AT]:
        kin = await client.list_threads(family=thread_id, limit=PAGE)
        for thread in kin.data:
            waits[thread.id] = waits.get(thread.id, False) or is_waiting
    return waits


def _waits(relays: Relays, run: Run) -> bool:
    relay = relays.find(run.id)
    return relay is not None and relay.is_waiting_for_user
