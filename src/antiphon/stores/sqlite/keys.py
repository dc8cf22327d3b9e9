"""Keys in SQLite and what each has used, as functions of a connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from antiphon.people import Act, Counted, Counter, Person, Project, period
from antiphon.ports import AmendKey, Key
from antiphon.stores import rules
from antiphon.stores.sqlite import acts, reads
from antiphon.stores.sqlite.reads import SQL


def keep(connection: sqlite3.Connection, key: Key, digest: bytes, act: Act | None) -> None:
    """See `Store.keep_key`."""
    project = reads.one(connection, "project", key.owner)
    people = (reads.one(connection, "person", whose) for whose in (key.owner, key.person_id))
    rules.refuse_disabled(
        _PROJECT.decode(project[0]) if project else None,
        *(_PERSON.decode(row[0]) for row in people if row),
    )
    doc = msgspec.json.encode(key)
    connection.execute(SQL["add_key"], (key.id, key.prefix, digest, doc))
    acts.note(connection, act)


def find(connection: sqlite3.Connection, prefix: str) -> tuple[Key, bytes] | None:
    """See `Store.find_key`."""
    row = reads.one(connection, "find_key", prefix)
    return (_KEY.decode(row[0]), row[1]) if row else None


def every(connection: sqlite3.Connection) -> Sequence[Key]:
    """See `Store.keys`."""
    return [_KEY.decode(doc) for (doc,) in reads.every(connection, "keys")]


def change(connection: sqlite3.Connection, key_id: str, amend: AmendKey, act: Act | None) -> Key:
    """See `Store.change_key`."""
    row = reads.one(connection, "key", key_id)
    if row is None:
        raise rules.missing(Key, key_id)
    key = _KEY.decode(row[0])
    changed = amend(key)
    if changed != key:
        _save(connection, changed)
        acts.note(connection, act)
    return changed


def change_of(connection: sqlite3.Connection, owner: str, amend: AmendKey) -> int:
    """Change all that open what is this owner's or that this person has; how many became others."""
    theirs = [_KEY.decode(doc) for (doc,) in reads.every(connection, "keys_of", owner)]
    changed = [new for key in theirs if (new := amend(key)) != key]
    for key in changed:
        _save(connection, key)
    return len(changed)


def count(connection: sqlite3.Connection, counter: Counter, amount: int, now: int) -> Counted:
    """See `Store.count`."""
    values = {
        "key_id": counter.key_id,
        "what": counter.what,
        "period": period(counter, now),
        "amount": amount,
    }
    (total,) = connection.execute(SQL["count"], values).fetchone()
    return Counted(total, now)


def count_tokens(connection: sqlite3.Connection, key_id: str | None, amount: int, now: int) -> None:
    """Count what a run has used, if its key has a limit of that."""
    if not amount or key_id is None:
        return
    (limited,) = connection.execute(SQL["has_tokens_limit"], (key_id,)).fetchone()
    if limited:
        count(connection, Counter(key_id, "tokens"), amount, now)


def _save(connection: sqlite3.Connection, key: Key) -> None:
    connection.execute(SQL["save_key"], (msgspec.json.encode(key), key.id))


_KEY = msgspec.json.Decoder(Key)
_PERSON = msgspec.json.Decoder(Person)
_PROJECT = msgspec.json.Decoder(Project)
