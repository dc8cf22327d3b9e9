"""People, runs of everybody and what they spent in SQLite, as functions of a connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import msgspec
from msgspec.structs import asdict

from antiphon.engine.accounts import folded
from antiphon.people import Account, Act, Person, Spent
from antiphon.ports import Amend, Listing
from antiphon.runs import DOLLAR_DIGITS, Run
from antiphon.stores import rules
from antiphon.stores.rows import decoder, take_page
from antiphon.stores.sqlite import acts, keys, reads
from antiphon.stores.sqlite.reads import SQL


def add(connection: sqlite3.Connection, account: Account, act: Act | None) -> None:
    """See `Store.add_person`."""
    _write(connection, "add_person", account)
    acts.note(connection, act)


def find(
    connection: sqlite3.Connection,
    *,
    id: str | None = None,
    name: str | None = None,
    subject: str | None = None,
) -> Account | None:
    """See `Store.find_person`."""
    if id is not None:
        return _account(reads.one(connection, "person", id))
    if name is not None:
        return _account(reads.one(connection, "person_by_name", folded(name)))
    return _account(reads.one(connection, "person_by_subject", subject))


def everybody(connection: sqlite3.Connection) -> Sequence[Person]:
    """See `Store.people`."""
    return [_PERSON.decode(doc) for (doc,) in reads.every(connection, "people")]


def change(
    connection: sqlite3.Connection, person_id: str, amend: Amend, act: Act | None, now: int
) -> Account | None:
    """See `Store.change_person`."""
    account = find(connection, id=person_id)
    if account is None:
        raise rules.missing(Person, person_id)
    (others,) = connection.execute(SQL["others_govern"], (person_id,)).fetchone()
    changed = amend(account, bool(others))
    if changed == account:
        return changed
    if changed is None:
        connection.execute(SQL["remove_person"], (person_id,))
    else:
        _write(connection, "save_person", changed)
    if changed is None or changed.person.disabled:
        keys.change_of(connection, person_id, rules.revoked(now))
    acts.note(connection, act)
    return changed


def live_runs(connection: sqlite3.Connection, limit: int, after: str | None) -> Listing:
    """See `Store.live_runs`."""
    if after is not None and reads.run(connection, after) is None:
        raise rules.missing(Run, after)
    values = {"limit": limit + 1, "after": after}
    with closing(connection.execute(SQL["live_runs"], values)) as found:
        rows, more = take_page(found, limit, lambda row: len(row[1]))
    return Listing([(owner, decoder(Run)(doc)) for owner, doc in rows], more)


def spend(connection: sqlite3.Connection, spent: Spent) -> None:
    """Add what a run that has ended used to its day."""
    connection.execute(SQL["add_spent"], asdict(spent))


def spent(connection: sqlite3.Connection, since: str, limit: int) -> Sequence[Spent]:
    """See `Store.spent`."""
    rows = reads.every(connection, "spent", since, limit)
    names = Spent.__struct_fields__
    return [_rounded(dict(zip(names, row, strict=True))) for row in rows]


def _rounded(fields: Mapping[str, Any]) -> Spent:
    return Spent(**{**fields, "cost": round(fields["cost"], DOLLAR_DIGITS)})


def _write(connection: sqlite3.Connection, statement: str, account: Account) -> None:
    person = account.person
    values = {
        "id": person.id,
        "folded": folded(person.name),
        "subject": person.subject,
        "governs": person.governs,
        "password": account.password,
        "doc": msgspec.json.encode(person),
    }
    try:
        connection.execute(SQL[statement], values)
    except sqlite3.IntegrityError as fault:
        raise rules.name_taken(person) from fault


def _account(row: tuple[Any, ...] | None) -> Account | None:
    return Account(_PERSON.decode(row[0]), row[1]) if row else None


_PERSON = msgspec.json.Decoder(Person)
