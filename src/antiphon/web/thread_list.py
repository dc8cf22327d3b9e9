"""The threads of a person as a page lists them, one row for each family of branches."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from antiphon.clean import one_line
from antiphon.client import branches
from antiphon.client.aio import AsyncClient
from antiphon.errors import InvalidRequest
from antiphon.runs import Thread

RUNS_LOOKED_AT = 100
"""The newest runs of a person, among which those are that have not ended."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A thread in a list. `stands_for` are the other threads of its family."""

    id: str
    title: str
    messages: int
    created_at: int
    updated_at: int
    running: bool
    replaces: str | None
    stands_for: tuple[str, ...] = ()


class Rows(msgspec.Struct, frozen=True):
    """A page of rows; `next` is what to ask for after it."""

    data: Sequence[Row]
    has_more: bool
    next: str | None


def row(thread: Thread, *, running: bool, stands_for: tuple[str, ...] = ()) -> Row:
    """The thread as a row."""
    return Row(
        id=thread.id,
        title=one_line(thread.title),
        messages=thread.messages,
        created_at=thread.created_at,
        updated_at=thread.updated_at,
        running=running,
        replaces=branches.replaced(thread),
        stands_for=stands_for,
    )


async def rows(client: AsyncClient, words: str, after: str | None, limit: int) -> Rows:
    """Threads that hold these words, the last changed first. Raises `InvalidRequest`."""
    behind = _place(after) if after else None
    running = {
        run.thread_id
        for run in (await client.list_runs(limit=RUNS_LOOKED_AT)).data
        if not run.status.ended
    }
    found = [
        row(
            family[0],
            running=any(each.id in running for each in family),
            stands_for=tuple(each.id for each in family[1:]),
        )
        for family in branches.families(await branches.listed(client, words, hidden=True))
        if behind is None or (family[0].updated_at, family[0].id) < behind
    ]
    shown, more = found[:limit], len(found) > limit
    return Rows(shown, more, _name(shown[-1]) if more else None)


def _name(last: Row) -> str:
    """The place of a row, which stays where it is when rows before it change."""
    return f"{last.updated_at}.{last.id}"


def _place(name: str) -> tuple[int, str]:
    moment, _, thread_id = name.partition(".")
    if not (moment.isascii() and moment.isdecimal() and thread_id):
        raise InvalidRequest(
            "This is no place in the list.",
            expected="`next` of the page before",
            received=ascii(name[:64]),
            where="after",
        )
    return int(moment), thread_id
