"""The order of threads by their last activity, and the cursor of a list in that order."""

from __future__ import annotations

from typing import NamedTuple

from antiphon.types.errors import NotFound
from antiphon.types.runs import Thread

REPLACES = "replaces"
"""The key, in the metadata of a branch, of the thread in whose place it stands."""

_LATEST = 2**63 - 1  # the largest time that a database holds


class Position(NamedTuple):
    """A place in the list: when the thread there was changed (ms), and its id.

    It stays where it is when that thread moves to the front or is deleted, so that the page behind
    it neither repeats nor skips a thread that stayed.
    """

    updated_at: int
    id: str

    def cursor(self) -> str:
        """Return the position as `after` takes it."""
        return f"{self.updated_at}.{self.id}"


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


def list_start(after: str | None, order: str | None) -> Position | str | None:
    """Read `after` of a list in that order: a cursor by activity, else the id of a thing.

    Raises `NotFound`.
    """
    return position_from(after) if after is not None and order == "activity" else after
