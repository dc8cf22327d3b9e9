"""The audit log in PostgreSQL, as functions of a connection."""

from __future__ import annotations

from typing import Any

import msgspec
from asyncpg.connection import Connection

from antiphon.people import Act
from antiphon.ports import Listing
from antiphon.stores import rules
from antiphon.stores.postgres.connections import execute, rows, value


async def note(connection: Connection[Any], act: Act | None) -> None:
    """See `Store.note`; part of the transaction that does what the act tells of."""
    if act is not None:
        doc = msgspec.json.encode(act)
        await execute(connection, "add_act", id=act.id, owner=act.owner, doc=doc)


async def page(
    connection: Connection[Any], limit: int, after: str | None, owner: str | None
) -> Listing:
    """See `Store.acts`."""
    place = _NEWEST
    if after is not None:
        place = await value(connection, "place_of_act", id=after)
        if place is None:
            raise rules.missing(Act, after)
    if owner is None:
        found = await rows(connection, "acts", place=place, limit=limit + 1)
    else:
        found = await rows(connection, "acts_of", place=place, limit=limit + 1, owner=owner)
    return Listing([_ACT.decode(doc) for (doc,) in found[:limit]], len(found) > limit)


_ACT = msgspec.json.Decoder(Act)
_NEWEST = 2**63 - 1
