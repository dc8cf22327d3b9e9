"""Keys in PostgreSQL and what each has used, as functions of a connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from asyncpg.connection import Connection

from antiphon.people import PERIODS, Act, Counted, Counter, Person, Project
from antiphon.ports import AmendKey, Key
from antiphon.stores import rules
from antiphon.stores.postgres import acts
from antiphon.stores.postgres.connections import execute, row, rows, value
from antiphon.stores.postgres.statements import SQL


async def keep(connection: Connection[Any], key: Key, digest: bytes, act: Act | None) -> None:
    """See `Store.keep_key`."""
    async with connection.transaction():
        project = await value(connection, "project_for_update", id=key.owner)
        people = await rows(connection, "people_for_share", ids=[key.owner, key.person_id])
        rules.refuse_disabled(
            None if project is None else _PROJECT.decode(project),
            *(_PERSON.decode(doc) for (doc,) in people),
        )
        await execute(connection, "add_key", prefix=key.prefix, digest=digest, **_columns(key))
        await acts.note(connection, act)


async def find(connection: Connection[Any], prefix: str) -> tuple[Key, bytes] | None:
    """See `Store.find_key`."""
    found = await row(connection, SQL["find_key"], prefix=prefix)
    return (_KEY.decode(found[0]), found[1]) if found else None


async def every(connection: Connection[Any]) -> Sequence[Key]:
    """See `Store.keys`."""
    return [_KEY.decode(doc) for (doc,) in await rows(connection, "keys")]


async def change(connection: Connection[Any], key_id: str, amend: AmendKey, act: Act | None) -> Key:
    """See `Store.change_key`."""
    async with connection.transaction():
        doc = await value(connection, "key_for_update", id=key_id)
        if doc is None:
            raise rules.missing(Key, key_id)
        key = _KEY.decode(doc)
        changed = amend(key)
        if changed != key:
            await execute(connection, "save_key", **_columns(changed))
            await acts.note(connection, act)
    return changed


async def revoke(connection: Connection[Any], key_id: str, act: Act | None, now: int | None) -> Key:
    """See `Store.revoke_key`."""
    amend = rules.revoked(await value(connection, "now", now=now))
    return await change(connection, key_id, amend, act)


async def revoke_those_of(connection: Connection[Any], owner: str, now: int | None) -> None:
    """From now on no key opens what is this owner's; within a transaction."""
    await change_of(connection, owner, rules.revoked(await value(connection, "now", now=now)))


async def change_of(connection: Connection[Any], owner: str, amend: AmendKey) -> int:
    """Change all that open what is this owner's; how many became different."""
    theirs = [
        _KEY.decode(doc) for (doc,) in await rows(connection, "keys_of_for_update", owner=owner)
    ]
    changed = [new for key in theirs if (new := amend(key)) != key]
    for key in changed:
        await execute(connection, "save_key", **_columns(key))
    return len(changed)


async def count(
    connection: Connection[Any], counter: Counter, amount: int, now: int | None
) -> Counted:
    """See `Store.count`."""
    total, counted_at = await row(
        connection,
        SQL["count"],
        key_id=counter.key_id,
        what=counter.what,
        period_ms=PERIODS[counter.what],
        amount=amount,
        now=now,
    )
    return Counted(total, counted_at)


def _columns(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "owner": key.owner,
        "counts_tokens": key.limits.tokens_per_day is not None,
        "doc": msgspec.json.encode(key),
    }


_KEY = msgspec.json.Decoder(Key)
_PERSON = msgspec.json.Decoder(Person)
_PROJECT = msgspec.json.Decoder(Project)
