"""The audit log in SQLite, as functions of a connection."""

from __future__ import annotations

import sqlite3

import msgspec

from antiphon.people import Act
from antiphon.ports import Listing
from antiphon.stores import rules
from antiphon.stores.sqlite import reads
from antiphon.stores.sqlite.reads import SQL


def note(connection: sqlite3.Connection, act: Act | None) -> None:
    """See `Store.note`; part of the transaction that does what the act tells of."""
    if act is not None:
        connection.execute(SQL["add_act"], (act.id, act.owner, msgspec.json.encode(act)))


def page(
    connection: sqlite3.Connection, limit: int, after: str | None, owner: str | None
) -> Listing:
    """See `Store.acts`."""
    place = _NEWEST
    if after is not None:
        row = reads.one(connection, "place_of_act", after)
        if row is None:
            raise rules.missing(Act, after)
        place = row[0]
    values = {"place": place, "limit": limit + 1, "owner": owner}
    rows = connection.execute(SQL["acts_of" if owner else "acts"], values).fetchall()
    return Listing([_ACT.decode(doc) for (doc,) in rows[:limit]], len(rows) > limit)


_ACT = msgspec.json.Decoder(Act)
_NEWEST = 2**63 - 1
