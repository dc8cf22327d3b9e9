"""Order of threads by their last activity, and the cursor of a list in that order."""

from __future__ import annotations

from typing import NamedTuple

from antiphon.types.errors import NotFound
from antiphon.types.runs import Thread

REPLACES = "replaces"
"""Metadata key of a branch that holds the id of the thread it replaces in lists."""
BRANCH_BEGINS = "branch_begins"
"""Metadata key: number of the first message that is the branch's own."""

_LATEST = 2**63 - 1  # the largest time that a database holds


class Position(NamedTuple):
    """A place in the list: what orders it, such as the time of the last change (ms), and the id.

    Databases order by the columns of these names, the greatest first. A place stays valid when that
    thread moves to the front or is deleted: the next page neither repeats nor skips a thread that
    stayed.
    """

    updated_at: int
    id: str

    def cursor(self) -> str:
        """Return the position as `after` takes it."""
        return ".".join(map(str, self))


def position_of(thread: Thread) -> Position:
    """Return the place of a thread."""
    return Position(thread.updated_at, thread.id)


def position_from(cursor: str) -> Position:
    """Read what `Position.cursor` made. Raises `NotFound`."""
    moment, _, thread_id = cursor.partition(".")
    digits = moment.isascii() and moment.isdecimal() and len(moment) <= len(str(_LATEST))
    if not (digits and int(moment) <= _LATEST and thread_id):
        raise NotFound(
            "This is no place in a list that is ordered by activity.",
            expected="`next` of the page before, asked in the same order",
            received=ascii(cursor[:64]),
            where="after",
        )
    return Position(int(moment), thread_id)


def list_start(after: str | None, order: object) -> Position | str | None:
    """Parse `after`: a cursor in the order `activity`, else an id. Raises `NotFound`."""
    return position_from(after) if after is not None and order == "activity" else after
