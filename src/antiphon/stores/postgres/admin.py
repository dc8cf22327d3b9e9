"""Administration in PostgreSQL, as functions of a connection.

The audit log, keys, projects, provider keys, owners, people, and usage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec
from asyncpg.connection import Connection

from antiphon.engine.accounts import normalize_name
from antiphon.ports import AmendAccount, AmendKey, AmendProject, Key, RecordPage
from antiphon.stores import admin_rules, invariants
from antiphon.stores.postgres.connections import SQL, execute, fetch_row, fetch_rows, fetch_value
from antiphon.stores.postgres.records import delete_thread_contents
from antiphon.stores.rows import LIST_PAGE_BYTES, decoder
from antiphon.types.accounts import (
    PERIODS,
    Account,
    AuditEntry,
    Counter,
    CounterValue,
    OwnerTotals,
    Person,
    Project,
    ProviderKey,
    UsageRow,
)
from antiphon.types.runs import Run

# Audit log.


async def append_audit_entry(connection: Connection[Any], entry: AuditEntry | None) -> None:
    """Append the entry, if any, in the transaction of the change that it describes."""
    if entry is not None:
        doc = msgspec.json.encode(entry)
        await execute(connection, "add_act", id=entry.id, owner=entry.owner, doc=doc)


async def audit_entries(
    connection: Connection[Any], limit: int, after: str | None, owner: str | None
) -> RecordPage:
    """See `AdminStore.audit_entries`."""
    place = _NEWEST
    if after is not None:
        place = await fetch_value(connection, "place_of_act", id=after)
        if place is None:
            raise invariants.not_found(AuditEntry, after)
    if owner is None:
        found = await fetch_rows(connection, "acts", place=place, limit=limit + 1)
    else:
        found = await fetch_rows(connection, "acts_of", place=place, limit=limit + 1, owner=owner)
    return RecordPage([_decode_entry(doc) for (doc,) in found[:limit]], len(found) > limit)


_decode_entry = decoder(AuditEntry)
_NEWEST = 2**63 - 1


# Keys, and what each has used.


async def add_key(
    connection: Connection[Any], key: Key, digest: bytes, entry: AuditEntry | None
) -> None:
    """See `AdminStore.add_key`."""
    async with connection.transaction():
        project = await fetch_value(connection, "project_for_update", id=key.owner)
        people = await fetch_rows(connection, "people_for_share", ids=[key.owner, key.person_id])
        admin_rules.require_enabled(
            None if project is None else _decode_project(project),
            *(_decode_person(doc) for (doc,) in people),
        )
        await execute(connection, "add_key", prefix=key.prefix, digest=digest, **_key_columns(key))
        await append_audit_entry(connection, entry)


async def find_key(connection: Connection[Any], prefix: str) -> tuple[Key, bytes] | None:
    """See `AdminStore.find_key`."""
    found = await fetch_row(connection, SQL["find_key"], prefix=prefix)
    return (_decode_key(found[0]), found[1]) if found else None


async def list_keys(connection: Connection[Any]) -> Sequence[Key]:
    """See `AdminStore.keys`."""
    return [_decode_key(doc) for (doc,) in await fetch_rows(connection, "keys")]


async def change_key(
    connection: Connection[Any], key_id: str, amend: AmendKey, entry: AuditEntry | None
) -> Key:
    """See `AdminStore.change_key`."""
    async with connection.transaction():
        doc = await fetch_value(connection, "key_for_update", id=key_id)
        if doc is None:
            raise invariants.not_found(Key, key_id)
        key = _decode_key(doc)
        changed = amend(key)
        if changed != key:
            await execute(connection, "save_key", **_key_columns(changed))
            await append_audit_entry(connection, entry)
    return changed


async def revoke_key(
    connection: Connection[Any], key_id: str, entry: AuditEntry | None, now: int | None
) -> Key:
    """See `AdminStore.revoke_key`."""
    amend = admin_rules.revoke_at(await fetch_value(connection, "now", now=now))
    return await change_key(connection, key_id, amend, entry)


async def revoke_keys_of(connection: Connection[Any], owner: str, now: int | None) -> None:
    """Revoke the keys that act for this owner or belong to this person."""
    await change_keys_of(
        connection, owner, admin_rules.revoke_at(await fetch_value(connection, "now", now=now))
    )


async def change_keys_of(connection: Connection[Any], owner: str, amend: AmendKey) -> int:
    """Change the keys that act for this owner or belong to this person; return how many changed."""
    found = await fetch_rows(connection, "keys_of_for_update", owner=owner)
    changed = admin_rules.amend_keys((_decode_key(doc) for (doc,) in found), amend)
    for key in changed:
        await execute(connection, "save_key", **_key_columns(key))
    return len(changed)


async def count_usage(
    connection: Connection[Any], counter: Counter, amount: int, now: int | None
) -> CounterValue:
    """See `AdminStore.count_usage`."""
    total, counted_at = await fetch_row(
        connection,
        SQL["count"],
        key_id=counter.key_id,
        what=counter.what,
        period_ms=PERIODS[counter.what],
        amount=amount,
        now=now,
    )
    return CounterValue(total, counted_at)


def _key_columns(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "owner": key.owner,
        "counts_tokens": key.limits.tokens_per_day is not None,
        "doc": msgspec.json.encode(key),
    }


_decode_key = decoder(Key)
_decode_person = decoder(Person)
_decode_project = decoder(Project)


# Projects, provider keys and owners.


MAX_DELETED_RUNS = 200  # in one transaction, with all their events


async def add_project(connection: Connection[Any], project: Project, entry: AuditEntry) -> None:
    """See `AdminStore.add_project`."""
    async with connection.transaction():
        await _write_project(connection, "add_project", project)
        await append_audit_entry(connection, entry)


async def list_projects(connection: Connection[Any]) -> Sequence[Project]:
    """See `AdminStore.projects`."""
    return [_decode_project(doc) for (doc,) in await fetch_rows(connection, "projects")]


async def change_project(
    connection: Connection[Any], id: str, amend: AmendProject, entry: AuditEntry, now: int | None
) -> Project | None:
    """See `AdminStore.change_project`."""
    async with connection.transaction():
        doc = await fetch_value(connection, "project_for_update", id=id)
        if doc is None:
            raise invariants.not_found(Project, id)
        project = _decode_project(doc)
        amended = admin_rules.amend_project(project, amend)
        if amended.is_change:
            if amended.after is None:
                await execute(connection, "remove_project", id=id)
            else:
                await _write_project(connection, "save_project", amended.after)
            if amended.revokes_keys:
                await revoke_keys_of(connection, id, now)
            await append_audit_entry(connection, entry)
    return amended.after


async def save_provider_key(
    connection: Connection[Any], key: ProviderKey, encrypted: bytes, entry: AuditEntry
) -> None:
    """See `AdminStore.save_provider_key`."""
    values = {"owner": key.owner, "provider": key.provider, "doc": msgspec.json.encode(key)}
    async with connection.transaction():
        await execute(connection, "keep_provider_key", sealed=encrypted, **values)
        await append_audit_entry(connection, entry)


async def provider_keys(connection: Connection[Any], owner: str | None) -> Sequence[ProviderKey]:
    """See `AdminStore.provider_keys`."""
    found = await fetch_rows(connection, "provider_keys", owner=owner)
    return [_decode_provider_key(doc) for (doc,) in found]


async def find_encrypted_key(
    connection: Connection[Any], owner: str, provider: str
) -> bytes | None:
    """See `AdminStore.find_encrypted_key`."""
    encrypted: bytes | None = await fetch_value(
        connection, "sealed_key", owner=owner, provider=provider
    )
    return encrypted


async def replace_encrypted_key(
    connection: Connection[Any],
    owner: str,
    provider: str,
    before: bytes,
    encrypted: bytes,
    entry: AuditEntry,
) -> bool:
    """See `AdminStore.replace_encrypted_key`."""
    values = {"owner": owner, "provider": provider, "before": before, "sealed": encrypted}
    async with connection.transaction():
        if not await fetch_value(connection, "reseal_provider_key", **values):
            return False
        await append_audit_entry(connection, entry)
    return True


async def delete_provider_key(
    connection: Connection[Any], owner: str, provider: str, entry: AuditEntry
) -> None:
    """See `AdminStore.delete_provider_key`."""
    async with connection.transaction():
        if not await fetch_value(connection, "drop_provider_key", owner=owner, provider=provider):
            raise admin_rules.provider_key_not_found(owner, provider)
        await append_audit_entry(connection, entry)


async def owners(
    connection: Connection[Any], limit: int, after: str | None, only: str | None
) -> RecordPage:
    """See `AdminStore.owners`."""
    values = {"after": after or "", "from": only or "", "only": only, "limit": limit + 1}
    found = [
        OwnerTotals(owner=owner, threads=threads, runs=runs, files=files, assistants=assistants)
        for owner, threads, runs, files, assistants in await fetch_rows(
            connection, "owners", **values
        )
    ]
    return RecordPage(found[:limit], len(found) > limit)


async def delete_owned(connection: Connection[Any], owner: str, limit: int, now: int | None) -> int:
    """See `AdminStore.delete_owned`; deletes rows of the first kind that the owner has."""
    async with connection.transaction():
        if deleted := await _delete_runs(connection, owner, min(limit, MAX_DELETED_RUNS)):
            return deleted
        if deleted := await _delete_threads(connection, owner, limit):
            return deleted
        for name in _DELETIONS:
            if deleted := await fetch_value(connection, name, owner=owner, limit=limit):
                return int(deleted)
        deleted = await fetch_value(connection, "erase_counters", owner=owner)
        anonymize = admin_rules.anonymize_at(await fetch_value(connection, "now", now=now))
        return int(deleted) + await change_keys_of(connection, owner, anonymize)


async def _delete_runs(connection: Connection[Any], owner: str, limit: int) -> int:
    """Delete runs with all their rows; leases first, so that no event is added meanwhile."""
    numbers = await fetch_value(connection, "runs_to_erase", owner=owner, limit=limit)
    if numbers:
        for name in ("drop_drives", "drop_events", "drop_actions", "drop_runs"):
            await execute(connection, name, runs=numbers)
    return len(numbers)


async def _delete_threads(connection: Connection[Any], owner: str, limit: int) -> int:
    """Delete messages of some threads, and these threads once they have none."""
    threads = await fetch_value(connection, "threads_to_erase", owner=owner)
    if not threads:
        return 0
    if deleted := await fetch_value(connection, "erase_messages", threads=threads, limit=limit):
        return int(deleted)
    for thread_id in threads[:limit]:
        await fetch_value(connection, "remove_thread", id=thread_id, owner=owner)
        await delete_thread_contents(connection, thread_id)
    return len(threads[:limit])


async def _write_project(connection: Connection[Any], name: str, project: Project) -> None:
    try:
        await execute(connection, name, **admin_rules.project_columns(project))
    except asyncpg.UniqueViolationError as fault:
        raise admin_rules.project_conflict(project) from fault


_DELETIONS = (
    *("erase_uploads", "erase_assistants", "erase_answers"),
    *("erase_spent", "erase_provider_keys"),
)

_decode_provider_key = decoder(ProviderKey)


# People, their runs and their usage.


async def add_person(
    connection: Connection[Any], account: Account, entry: AuditEntry | None
) -> None:
    """See `AdminStore.add_person`."""
    async with connection.transaction():
        await _write_person(connection, "add_person", account)
        await append_audit_entry(connection, entry)


async def find_person(
    connection: Connection[Any],
    *,
    id: str | None = None,
    name: str | None = None,
    subject: str | None = None,
) -> Account | None:
    """See `AdminStore.find_person`."""
    if id is not None:
        return _decode_account(await fetch_row(connection, SQL["person"], id=id))
    if name is not None:
        return _decode_account(
            await fetch_row(connection, SQL["person_by_name"], folded=normalize_name(name))
        )
    return _decode_account(await fetch_row(connection, SQL["person_by_subject"], subject=subject))


async def list_people(connection: Connection[Any]) -> Sequence[Person]:
    """See `AdminStore.people`."""
    return [_decode_person(doc) for (doc,) in await fetch_rows(connection, "people")]


async def change_person(
    connection: Connection[Any],
    person_id: str,
    amend: AmendAccount,
    entry: AuditEntry | None,
    now: int | None,
) -> Account | None:
    """See `AdminStore.change_person`."""
    async with connection.transaction():
        await execute(connection, "lock_people")
        account = await find_person(connection, id=person_id)
        if account is None:
            raise invariants.not_found(Person, person_id)
        others = await fetch_value(connection, "others_govern", id=person_id)
        amended = admin_rules.amend_account(account, amend, has_other_admin=others)
        if amended.is_change:
            if amended.after is None:
                await execute(connection, "remove_person", id=person_id)
            else:
                await _write_person(connection, "save_person", amended.after)
            if amended.revokes_keys:
                await revoke_keys_of(connection, person_id, now)
            await append_audit_entry(connection, entry)
    return amended.after


async def live_runs(connection: Connection[Any], limit: int, after: str | None) -> RecordPage:
    """See `AdminStore.live_runs`."""
    if after is not None and await fetch_value(connection, "run_number", run_id=after) is None:
        raise invariants.not_found(Run, after)
    found = await fetch_rows(
        connection, "live_runs", limit=limit + 1, after=after, cap=LIST_PAGE_BYTES
    )
    live = [(owner, decoder(Run)(doc)) for owner, doc, _ in found[:limit]]
    return RecordPage(live, bool(found) and found[0][2] > len(live))


async def read_usage(
    connection: Connection[Any], since: str, limit: int, owner: str | None
) -> Sequence[UsageRow]:
    """See `AdminStore.usage`."""
    found = await fetch_rows(connection, "spent", since=since, limit=limit, owner=owner)
    return [admin_rules.decode_usage(each) for each in found]


async def _write_person(connection: Connection[Any], name: str, account: Account) -> None:
    try:
        await execute(connection, name, **admin_rules.account_columns(account))
    except asyncpg.UniqueViolationError as fault:
        raise admin_rules.person_conflict(account.person) from fault


def _decode_account(found: Any) -> Account | None:
    return Account(_decode_person(found[0]), found[1]) if found else None
