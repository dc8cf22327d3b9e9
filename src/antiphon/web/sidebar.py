"""Rows of the thread list: one for each family of branches."""

from __future__ import annotations

from collections.abc import Sequence, Set

import msgspec

from antiphon.client.async_client import AsyncClient
from antiphon.client.thread_families import latest_threads, replaced_thread_id
from antiphon.types.runs import Thread
from antiphon.types.terminal_safe import one_line
from antiphon.web.relays import Relays

PAGE = 100
FAMILIES_LOOKED_AT = 20
"""Most threads with an open run, not on the page, whose families are read."""
RUNS_LOOKED_AT = 100
"""Number of the user's newest runs that are searched for open ones."""


class ThreadRow(msgspec.Struct, frozen=True, kw_only=True):
    """Thread in the list; `running` is true if it, or a thread it stands for, has an open run.

    `waiting` is true if that run waits for an answer of the user.
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
    """Page of rows; `next` is the cursor of the page after it."""

    data: Sequence[ThreadRow]
    has_more: bool
    next: str | None


def thread_row(thread: Thread, *, running: bool, waiting: bool = False) -> ThreadRow:
    """Return the thread as a row."""
    return ThreadRow(
        id=thread.id,
        title=one_line(thread.title),
        messages=thread.messages,
        created_at=thread.created_at,
        updated_at=thread.updated_at,
        running=running,
        waiting=waiting,
        replaces=replaced_thread_id(thread),
    )


async def list_thread_rows(
    client: AsyncClient, relays: Relays, words: str, after: str | None, limit: int
) -> ThreadRowPage:
    """Return threads that contain these words, last changed first. Raises `NotFound`."""
    page = await client.transport.send(latest_threads(words, limit=limit, after=after))
    waits = await _waits_by_thread(client, relays, {thread.id for thread in page.data})
    shown = [
        thread_row(thread, running=thread.id in waits, waiting=waits.get(thread.id, False))
        for thread in page.data
    ]
    return ThreadRowPage(shown, page.has_more, page.next)


async def _waits_by_thread(
    client: AsyncClient, relays: Relays, listed: Set[str]
) -> dict[str, bool]:
    """Return the threads that have an open run, and their families; true if it waits for the user.

    A listed thread is the only listed one of its family, so its family is not read.
    """
    newest = (await client.list_runs(limit=RUNS_LOOKED_AT)).data
    waits: dict[str, bool] = {}
    for run in newest:
        if not run.status.ended:
            relay = relays.find(run.id)
            waits[run.thread_id] = relay is not None and relay.is_waiting_for_user
    elsewhere = sorted(each for each in waits.items() if each[0] not in listed)
    for thread_id, is_waiting in elsewhere[:FAMILIES_LOOKED_AT]:
        kin = await client.list_threads(family=thread_id, limit=PAGE)
        for thread in kin.data:
            waits[thread.id] = waits.get(thread.id, False) or is_waiting
    return waits
