"""People, runs of everybody and what they spent in PostgreSQL, as functions of a connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec
from asyncpg.connection import Connection

from antiphon.engine.accounts import folded
from antiphon.people import Account, Act, Person, Spent
from antiphon.ports import Amend, Listing
from antiphon.runs import DOLLAR_DIGITS, Run
from antiphon.stores import rules
from antiphon.stores.postgres import acts, keys
from antiphon.stores.postgres.connections import execute, row, rows, value
from antiphon.stores.postgres.statements import SQL
from antiphon.stores.rows import LIST_BYTES, decoder


async def add(connection: Connection[Any], account: Account, act: Act | None) -> None:
    """See `Store.add_person`."""
    async with connection.transaction():
        await _write(connection, "add_person", account)
        await acts.note(connection, act)


async def find(
    connection: Connection[Any],
    *,
    id: str | None = None,
    name: str | None = None,
    subject: str | None = None,
) -> Account | None:
    """See `Store.find_person`."""
    if id is not None:
        return _account(await row(connection, SQL["person"], id=id))
    if name is not None:
        return _account(await row(connection, SQL["person_by_name"], folded=folded(name)))
    return _account(await row(connection, SQL["person_by_subject"], subject=subject))


async def everybody(connection: Connection[Any]) -> Sequence[Person]:
    """See `Store.people`."""
    return [_PERSON.decode(doc) for (doc,) in await rows(connection, "people")]


async def change(
    connection: Connection[Any], person_id: str, amend: Amend, act: Act | None, now: int | None
) -> Account | None:
    """See `Store.change_person`."""
    async with connection.transaction():
        await execute(connection, "lock_people")
        account = await find(connection, id=person_id)
        if account is None:
            raise rules.missing(Person, person_id)
        changed = amend(account, await value(connection, "others_govern", id=person_id))
        if changed == account:
            return changed
        if changed is None:
            await execute(connection, "remove_person", id=person_id)
        else:
            await _write(connection, "save_person", changed)
        if changed is None or changed.person.disabled:
            await keys.revoke_those_of(connection, person_id, now)
        await acts.note(connection, act)
    return changed


async def live_runs(connection: Connection[Any], limit: int, after: str | None) -> Listing:
    """See `Store.live_runs`."""
    if after is not None and await value(connection, "run_number", run_id=after) is None:
        raise rules.missing(Run, after)
    found = await rows(connection, "live_runs", limit=limit + 1, after=after, cap=LIST_BYTES)
    live = [(owner, decoder(Run)(doc)) for owner, doc, _ in found[:limit]]
    return Listing(live, bool(found) and found[0][2] > len(live))


async def spent(connection: Connection[Any], since: str, limit: int) -> Sequence[Spent]:
    """See `Store.spent`."""
    names = Spent.__struct_fields__
    found = await rows(connection, "spent", since=since, limit=limit)
    return [_rounded(dict(zip(names, each, strict=True))) for each in found]


def _rounded(fields: dict[str, Any]) -> Spent:
    return Spent(**{**fields, "cost": round(fields["cost"], DOLLAR_DIGITS)})


async def _write(connection: Connection[Any], name: str, account: Account) -> None:
    person = account.person
    try:
        await execute(
            connection,
            name,
            id=person.id,
            folded=folded(person.name),
            subject=person.subject,
            governs=person.governs,
            password=account.password,
            doc=msgspec.json.encode(person),
        )
    except asyncpg.UniqueViolationError as fault:
        raise rules.name_taken(person) from fault


def _account(found: Any) -> Account | None:
    return Account(_PERSON.decode(found[0]), found[1]) if found else None


_PERSON = msgspec.json.Decoder(Person)
