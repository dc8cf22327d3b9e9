"""Administration in SQLite, as functions of a connection inside its transaction.

The audit log, keys, projects, provider keys, owners, people, and usage.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import msgspec
from msgspec.structs import asdict

from antiphon.engine.accounts import normalize_name
from antiphon.ports import AmendAccount, AmendKey, AmendProject, Key, RecordPage
from antiphon.stores import admin_rules, invariants
from antiphon.stores.rows import decoder, take_page
from antiphon.stores.sqlite import reads
from antiphon.stores.sqlite.reads import SQL
from antiphon.types.accounts import (
    Account,
    AuditEntry,
    Counter,
    CounterValue,
    OwnerTotals,
    Person,
    Project,
    ProviderKey,
    UsageRow,
    period,
)
from antiphon.types.runs import Run

# Audit log.


def append_audit_entry(connection: sqlite3.Connection, entry: AuditEntry | None) -> None:
    """Append the entry, if any, in the transaction of the change that it describes."""
    if entry is not None:
        connection.execute(SQL["add_act"], (entry.id, entry.owner, msgspec.json.encode(entry)))


def audit_entries(
    connection: sqlite3.Connection, limit: int, after: str | None, owner: str | None
) -> RecordPage:
    """See `AdminStore.audit_entries`."""
    place = _NEWEST
    if after is not None:
        row = reads.fetch_one(connection, "place_of_act", after)
        if row is None:
            raise invariants.not_found(AuditEntry, after)
        place = row[0]
    values = {"place": place, "limit": limit + 1, "owner": owner}
    rows = connection.execute(SQL["acts_of" if owner else "acts"], values).fetchall()
    return RecordPage([_decode_entry(doc) for (doc,) in rows[:limit]], len(rows) > limit)


_decode_entry = decoder(AuditEntry)
_NEWEST = 2**63 - 1


# Keys, and what each has used.


def add_key(
    connection: sqlite3.Connection, key: Key, digest: bytes, entry: AuditEntry | None
) -> None:
    """See `AdminStore.add_key`."""
    project = reads.fetch_one(connection, "project", key.owner)
    people = (reads.fetch_one(connection, "person", whose) for whose in (key.owner, key.person_id))
    admin_rules.require_enabled(
        _decode_project(project[0]) if project else None,
        *(_decode_person(row[0]) for row in people if row),
    )
    doc = msgspec.json.encode(key)
    connection.execute(SQL["add_key"], (key.id, key.prefix, digest, doc))
    append_audit_entry(connection, entry)


def find_key(connection: sqlite3.Connection, prefix: str) -> tuple[Key, bytes] | None:
    """See `AdminStore.find_key`."""
    row = reads.fetch_one(connection, "find_key", prefix)
    return (_decode_key(row[0]), row[1]) if row else None


def list_keys(connection: sqlite3.Connection) -> Sequence[Key]:
    """See `AdminStore.keys`."""
    return [_decode_key(doc) for (doc,) in reads.fetch_all(connection, "keys")]


def change_key(
    connection: sqlite3.Connection, key_id: str, amend: AmendKey, entry: AuditEntry | None
) -> Key:
    """See `AdminStore.change_key`."""
    row = reads.fetch_one(connection, "key", key_id)
    if row is None:
        raise invariants.not_found(Key, key_id)
    key = _decode_key(row[0])
    changed = amend(key)
    if changed != key:
        _save_key(connection, changed)
        append_audit_entry(connection, entry)
    return changed


def change_keys_of(connection: sqlite3.Connection, owner: str, amend: AmendKey) -> int:
    """Change the keys that act for this owner or belong to this person; return how many changed."""
    keys = (_decode_key(doc) for (doc,) in reads.fetch_all(connection, "keys_of", owner))
    changed = admin_rules.amend_keys(keys, amend)
    for key in changed:
        _save_key(connection, key)
    return len(changed)


def count_usage(
    connection: sqlite3.Connection, counter: Counter, amount: int, now: int
) -> CounterValue:
    """See `AdminStore.count_usage`."""
    values = {
        "key_id": counter.key_id,
        "what": counter.what,
        "period": period(counter, now),
        "amount": amount,
    }
    (total,) = connection.execute(SQL["count"], values).fetchone()
    return CounterValue(total, now)


def count_tokens(connection: sqlite3.Connection, key_id: str | None, amount: int, now: int) -> None:
    """Count tokens that a run has used, if its key has a token limit."""
    if not amount or key_id is None:
        return
    (limited,) = connection.execute(SQL["has_tokens_limit"], (key_id,)).fetchone()
    if limited:
        count_usage(connection, Counter(key_id, "tokens"), amount, now)


def _save_key(connection: sqlite3.Connection, key: Key) -> None:
    connection.execute(SQL["save_key"], (msgspec.json.encode(key), key.id))


_decode_key = decoder(Key)
_decode_person = decoder(Person)
_decode_project = decoder(Project)


# Projects and provider keys.


def add_project(connection: sqlite3.Connection, project: Project, entry: AuditEntry) -> None:
    """See `AdminStore.add_project`."""
    _write_project(connection, "add_project", project)
    append_audit_entry(connection, entry)


def list_projects(connection: sqlite3.Connection) -> Sequence[Project]:
    """See `AdminStore.projects`."""
    return [_decode_project(doc) for (doc,) in reads.fetch_all(connection, "projects")]


def change_project(
    connection: sqlite3.Connection, id: str, amend: AmendProject, entry: AuditEntry, now: int
) -> Project | None:
    """See `AdminStore.change_project`."""
    row = reads.fetch_one(connection, "project", id)
    if row is None:
        raise invariants.not_found(Project, id)
    project = _decode_project(row[0])
    amended = admin_rules.amend_project(project, amend)
    if amended.is_change:
        if amended.after is None:
            connection.execute(SQL["remove_project"], (id,))
        else:
            _write_project(connection, "save_project", amended.after)
        if amended.revokes_keys:
            change_keys_of(connection, id, admin_rules.revoke_at(now))
        append_audit_entry(connection, entry)
    return amended.after


def save_provider_key(
    connection: sqlite3.Connection, key: ProviderKey, encrypted: bytes, entry: AuditEntry
) -> None:
    """See `AdminStore.save_provider_key`."""
    values = (key.owner, key.provider, encrypted, msgspec.json.encode(key))
    connection.execute(SQL["keep_provider_key"], values)
    append_audit_entry(connection, entry)


def provider_keys(connection: sqlite3.Connection, owner: str | None) -> Sequence[ProviderKey]:
    """See `AdminStore.provider_keys`."""
    if owner is None:
        rows = reads.fetch_all(connection, "provider_keys")
    else:
        rows = reads.fetch_all(connection, "provider_keys_of", owner)
    return [_decode_provider_key(doc) for (doc,) in rows]


def find_encrypted_key(connection: sqlite3.Connection, owner: str, provider: str) -> bytes | None:
    """See `AdminStore.find_encrypted_key`."""
    row = reads.fetch_one(connection, "sealed_key", owner, provider)
    return bytes(row[0]) if row else None


def replace_encrypted_key(
    connection: sqlite3.Connection,
    owner: str,
    provider: str,
    before: bytes,
    encrypted: bytes,
    entry: AuditEntry,
) -> bool:
    """See `AdminStore.replace_encrypted_key`."""
    values = (encrypted, owner, provider, before)
    if connection.execute(SQL["reseal_provider_key"], values).rowcount == 0:
        return False
    append_audit_entry(connection, entry)
    return True


def delete_provider_key(
    connection: sqlite3.Connection, owner: str, provider: str, entry: AuditEntry
) -> None:
    """See `AdminStore.delete_provider_key`."""
    if connection.execute(SQL["drop_provider_key"], (owner, provider)).rowcount == 0:
        raise admin_rules.provider_key_not_found(owner, provider)
    append_audit_entry(connection, entry)


def owners(
    connection: sqlite3.Connection, limit: int, after: str | None, only: str | None
) -> RecordPage:
    """See `AdminStore.owners`."""
    totals: list[OwnerTotals] = []
    owner = _next_owner(connection, after or "", only)
    while owner is not None and len(totals) < limit:
        totals.append(_count_things(connection, owner))
        owner = _next_owner(connection, owner, only)
    return RecordPage(totals, owner is not None)


def delete_owned(connection: sqlite3.Connection, owner: str, limit: int, now: int) -> int:
    """See `AdminStore.delete_owned`; deletes rows of the first kind that the owner has."""
    values = {"owner": owner, "limit": limit}
    for statement in _DELETIONS:
        if deleted := connection.execute(SQL[statement], values).rowcount:
            return deleted
    deleted = connection.execute(SQL["erase_counters"], (owner,)).rowcount
    return deleted + change_keys_of(connection, owner, admin_rules.anonymize_at(now))


def _next_owner(connection: sqlite3.Connection, after: str, only: str | None) -> str | None:
    values = {"after": after, "from": only or "", "only": only}
    row: tuple[str | None] = connection.execute(SQL["next_owner"], values).fetchone()
    return row[0]


def _count_things(connection: sqlite3.Connection, owner: str) -> OwnerTotals:
    row = connection.execute(SQL["holding"], {"owner": owner}).fetchone()
    threads, runs, files, assistants = row
    return OwnerTotals(owner=owner, threads=threads, runs=runs, files=files, assistants=assistants)


def _write_project(connection: sqlite3.Connection, statement: str, project: Project) -> None:
    try:
        connection.execute(SQL[statement], admin_rules.project_columns(project))
    except sqlite3.IntegrityError as fault:
        raise admin_rules.project_conflict(project) from fault


_DELETIONS = (
    "erase_events",
    "erase_actions",
    "erase_runs",
    "erase_segments",
    "erase_messages",
    "erase_threads",
    "erase_uploads",
    "erase_assistants",
    "erase_answers",
    "erase_spent",
    "erase_provider_keys",
)
"""Rows of many are deleted before the rows that they belong to, so that no step is large."""

_decode_provider_key = decoder(ProviderKey)


# People, their runs and their usage.


def add_person(connection: sqlite3.Connection, account: Account, entry: AuditEntry | None) -> None:
    """See `AdminStore.add_person`."""
    _write_person(connection, "add_person", account)
    append_audit_entry(connection, entry)


def find_person(
    connection: sqlite3.Connection,
    *,
    id: str | None = None,
    name: str | None = None,
    subject: str | None = None,
) -> Account | None:
    """See `AdminStore.find_person`."""
    if id is not None:
        return _decode_account(reads.fetch_one(connection, "person", id))
    if name is not None:
        return _decode_account(reads.fetch_one(connection, "person_by_name", normalize_name(name)))
    return _decode_account(reads.fetch_one(connection, "person_by_subject", subject))


def list_people(connection: sqlite3.Connection) -> Sequence[Person]:
    """See `AdminStore.people`."""
    return [_decode_person(doc) for (doc,) in reads.fetch_all(connection, "people")]


def change_person(
    connection: sqlite3.Connection,
    person_id: str,
    amend: AmendAccount,
    entry: AuditEntry | None,
    now: int,
) -> Account | None:
    """See `AdminStore.change_person`."""
    account = find_person(connection, id=person_id)
    if account is None:
        raise invariants.not_found(Person, person_id)
    (others,) = connection.execute(SQL["others_govern"], (person_id,)).fetchone()
    amended = admin_rules.amend_account(account, amend, has_other_admin=bool(others))
    if amended.is_change:
        if amended.after is None:
            connection.execute(SQL["remove_person"], (person_id,))
        else:
            _write_person(connection, "save_person", amended.after)
        if amended.revokes_keys:
            change_keys_of(connection, person_id, admin_rules.revoke_at(now))
        append_audit_entry(connection, entry)
    return amended.after


def live_runs(connection: sqlite3.Connection, limit: int, after: str | None) -> RecordPage:
    """See `AdminStore.live_runs`."""
    if after is not None and reads.find_run(connection, after) is None:
        raise invariants.not_found(Run, after)
    values = {"limit": limit + 1, "after": after}
    with closing(connection.execute(SQL["live_runs"], values)) as found:
        rows, more = take_page(found, limit, lambda row: len(row[1]))
    return RecordPage([(owner, decoder(Run)(doc)) for owner, doc in rows], more)


def add_usage(connection: sqlite3.Connection, spent: UsageRow) -> None:
    """Add the usage of a run that has ended to its day."""
    connection.execute(SQL["add_spent"], asdict(spent))


def read_usage(
    connection: sqlite3.Connection, since: str, limit: int, owner: str | None
) -> Sequence[UsageRow]:
    """See `AdminStore.usage`."""
    values = {"since": since, "limit": limit, "owner": owner}
    rows = connection.execute(SQL["spent"], values).fetchall()
    return [admin_rules.decode_usage(row) for row in rows]


def _write_person(connection: sqlite3.Connection, statement: str, account: Account) -> None:
    try:
        connection.execute(SQL[statement], admin_rules.account_columns(account))
    except sqlite3.IntegrityError as fault:
        raise admin_rules.person_conflict(account.person) from fault


def _decode_account(row: tuple[Any, ...] | None) -> Account | None:
    return Account(_decode_person(row[0]), row[1]) if row else None
