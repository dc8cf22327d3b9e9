"""Administration in a SQL database, the same for SQLite and PostgreSQL.

People, projects, keys, usage, the audit log, and imports: functions of a `Transaction`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec.structs import asdict

from antiphon.engine.accounts import normalize_name
from antiphon.ports import AmendAccount, AmendKey, AmendProject, RecordPage
from antiphon.stores import admin_rules, invariants
from antiphon.stores.record_query import records_sql
from antiphon.stores.rows import decoder
from antiphon.stores.sql_transaction import (
    Transaction,
    TransactionMethods,
    UniqueViolation,
    append_audit_entry,
    entry_columns,
    finding,
    reading,
    writing,
)
from antiphon.types.accounts import (
    PERIODS,
    Account,
    AuditEntry,
    Counter,
    CounterValue,
    Key,
    OwnerTotals,
    Person,
    Project,
    ProviderKey,
    UsageRow,
)
from antiphon.types.imports import ImportBatch, ImportedRun

T = TypeVar("T")

_encode = msgspec.json.encode


# Audit log.


async def audit_entries(
    sql: Transaction, limit: int, after: str | None = None, owner: str | None = None
) -> RecordPage:
    """See `AdminStore.audit_entries`."""
    place = 2**63 - 1
    if after is not None:
        row = await sql.fetch_row("audit_entry_place", id=after)
        if row is None:
            raise invariants.not_found(AuditEntry, after)
        (place,) = row
    name = "audit_entries" if owner is None else "audit_entries_of_owner"
    rows = await sql.fetch(name, place=place, limit=limit + 1, owner=owner)
    return RecordPage([*_decode(AuditEntry, rows[:limit])], len(rows) > limit)


# Keys, and what each has used.


async def add_key(
    sql: Transaction, key: Key, digest: bytes, entry: AuditEntry | None = None
) -> None:
    """See `AdminStore.add_key`."""
    projects = await sql.fetch("project_for_update", id=key.owner)
    people = await sql.fetch("people_for_share", ids=sql.array([key.owner, key.person_id or ""]))
    admin_rules.require_enabled(*_decode(Project, projects), *_decode(Person, people))
    await sql.execute("add_key", prefix=key.prefix, digest=digest, **_key_columns(key))
    await append_audit_entry(sql, entry)


async def find_key(sql: Transaction, prefix: str) -> tuple[Key, bytes] | None:
    """See `AdminStore.find_key`."""
    row = await sql.fetch_row("find_key", prefix=prefix)
    return (decoder(Key)(row[0]), row[1]) if row else None


async def list_keys(sql: Transaction) -> Sequence[Key]:
    """See `AdminStore.keys`."""
    return [*_decode(Key, await sql.fetch("keys"))]


async def change_key(
    sql: Transaction, key_id: str, amend: AmendKey, entry: AuditEntry | None = None
) -> Key:
    """See `AdminStore.change_key`."""
    row = await sql.fetch_row("key_for_update", id=key_id)
    if row is None:
        raise invariants.not_found(Key, key_id)
    key = decoder(Key)(row[0])
    changed = amend(key)
    if changed != key:
        await sql.execute("save_key", **_key_columns(changed))
        await append_audit_entry(sql, entry)
    return changed


async def revoke_key(sql: Transaction, key_id: str, entry: AuditEntry | None = None) -> Key:
    """See `AdminStore.revoke_key`; revoking twice changes nothing."""
    return await change_key(sql, key_id, admin_rules.revoke_at(await sql.now()), entry)


async def change_keys_of(sql: Transaction, owner: str, amend: AmendKey) -> int:
    """Change the keys that act for this owner or belong to this person; return how many changed."""
    keys = _decode(Key, await sql.fetch("keys_of_for_update", owner=owner))
    changed = admin_rules.amend_keys(keys, amend)
    for key in changed:
        await sql.execute("save_key", **_key_columns(key))
    return len(changed)


async def count_usage(sql: Transaction, counter: Counter, amount: int) -> CounterValue:
    """See `AdminStore.count_usage`."""
    row = await sql.fetch_row(
        "count_usage",
        key_id=counter.key_id,
        what=counter.what,
        period_ms=PERIODS[counter.what],
        amount=amount,
    )
    return CounterValue(*row)


def _key_columns(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "owner": key.owner,
        "counts_tokens": key.limits.tokens_per_day is not None,
        "doc": _encode(key),
    }


# Projects, provider keys and owners.


async def add_project(sql: Transaction, project: Project, entry: AuditEntry) -> None:
    """See `AdminStore.add_project`."""
    await _write_project(sql, "add_project", project)
    await append_audit_entry(sql, entry)


async def list_projects(sql: Transaction) -> Sequence[Project]:
    """See `AdminStore.projects`."""
    return [*_decode(Project, await sql.fetch("projects"))]


async def change_project(
    sql: Transaction, id: str, amend: AmendProject, entry: AuditEntry
) -> Project | None:
    """See `AdminStore.change_project`."""
    row = await sql.fetch_row("project_for_update", id=id)
    if row is None:
        raise invariants.not_found(Project, id)
    amended = admin_rules.amend_project(decoder(Project)(row[0]), amend)
    if amended.is_change:
        if amended.after is None:
            await sql.execute("remove_project", id=id)
        else:
            await _write_project(sql, "save_project", amended.after)
        if amended.revokes_keys:
            await change_keys_of(sql, id, admin_rules.revoke_at(await sql.now()))
        await append_audit_entry(sql, entry)
    return amended.after


async def _write_project(sql: Transaction, name: str, project: Project) -> None:
    try:
        await sql.execute(name, **admin_rules.project_columns(project))
    except UniqueViolation as fault:
        raise admin_rules.project_conflict(project) from fault


async def save_provider_key(
    sql: Transaction, key: ProviderKey, encrypted: bytes, entry: AuditEntry
) -> None:
    """See `AdminStore.save_provider_key`."""
    values = {"owner": key.owner, "provider": key.provider, "doc": _encode(key)}
    await sql.execute("save_provider_key", encrypted=encrypted, **values)
    await append_audit_entry(sql, entry)


async def provider_keys(sql: Transaction, owner: str | None) -> Sequence[ProviderKey]:
    """See `AdminStore.provider_keys`."""
    return [*_decode(ProviderKey, await sql.fetch("provider_keys", owner=owner))]


async def find_encrypted_key(sql: Transaction, owner: str, provider: str) -> bytes | None:
    """See `AdminStore.find_encrypted_key`."""
    row = await sql.fetch_row("encrypted_key", owner=owner, provider=provider)
    return bytes(row[0]) if row else None


async def replace_encrypted_key(
    sql: Transaction, owner: str, provider: str, before: bytes, encrypted: bytes, entry: AuditEntry
) -> bool:
    """See `AdminStore.replace_encrypted_key`."""
    values = {"owner": owner, "provider": provider, "before": before, "encrypted": encrypted}
    if not await sql.execute("replace_encrypted_key", **values):
        return False
    await append_audit_entry(sql, entry)
    return True


async def delete_provider_key(
    sql: Transaction, owner: str, provider: str, entry: AuditEntry
) -> None:
    """See `AdminStore.delete_provider_key`."""
    if not await sql.execute("delete_provider_key", owner=owner, provider=provider):
        raise admin_rules.provider_key_not_found(owner, provider)
    await append_audit_entry(sql, entry)


async def owners(
    sql: Transaction, limit: int, after: str | None = None, owner: str | None = None
) -> RecordPage:
    """See `AdminStore.owners`."""
    values = {"after": after or "", "from": owner or "", "only": owner, "limit": limit + 1}
    totals = [
        OwnerTotals(owner=each, threads=threads, runs=runs, files=files, assistants=assistants)
        for each, threads, runs, files, assistants in await sql.fetch("owners", **values)
    ]
    return RecordPage(totals[:limit], len(totals) > limit)


# People and usage.


async def add_person(sql: Transaction, account: Account, entry: AuditEntry | None = None) -> None:
    """See `AdminStore.add_person`."""
    await _write_person(sql, "add_person", account)
    await append_audit_entry(sql, entry)


async def find_person(
    sql: Transaction,
    *,
    id: str | None = None,
    name: str | None = None,
    subject: str | None = None,
) -> Account | None:
    """See `AdminStore.find_person`."""
    if id is not None:
        row = await sql.fetch_row("person", id=id)
    elif name is not None:
        row = await sql.fetch_row("person_by_name", folded=normalize_name(name))
    else:
        row = await sql.fetch_row("person_by_subject", subject=subject)
    return Account(decoder(Person)(row[0]), row[1]) if row else None


async def list_people(sql: Transaction) -> Sequence[Person]:
    """See `AdminStore.people`."""
    return [*_decode(Person, await sql.fetch("people"))]


async def change_person(
    sql: Transaction, person_id: str, amend: AmendAccount, entry: AuditEntry | None = None
) -> Account | None:
    """See `AdminStore.change_person`."""
    await sql.execute("lock_people")
    account = await find_person(sql, id=person_id)
    if account is None:
        raise invariants.not_found(Person, person_id)
    (others,) = await sql.fetch_row("has_other_admin", id=person_id)
    amended = admin_rules.amend_account(account, amend, has_other_admin=bool(others))
    if amended.is_change:
        if amended.after is None:
            await sql.execute("remove_person", id=person_id)
        else:
            await _write_person(sql, "save_person", amended.after)
        if amended.revokes_keys:
            await change_keys_of(sql, person_id, admin_rules.revoke_at(await sql.now()))
        await append_audit_entry(sql, entry)
    return amended.after


async def _write_person(sql: Transaction, name: str, account: Account) -> None:
    try:
        await sql.execute(name, **admin_rules.account_columns(account))
    except UniqueViolation as fault:
        raise admin_rules.person_conflict(account.person) from fault


async def read_usage(
    sql: Transaction, since: str, limit: int, owner: str | None = None
) -> Sequence[UsageRow]:
    """See `AdminStore.usage`."""
    rows = await sql.fetch("usage", since=since, limit=limit, owner=owner)
    return [admin_rules.decode_usage(row) for row in rows]


# Imports.


async def find_records(
    sql: Transaction, kind: type[T], ids: Sequence[str]
) -> Mapping[str, tuple[str, T]]:
    """See `AdminStore.find_records`."""
    found = await sql.fetch(records_sql(kind, sql.among), ids=sql.array(ids))
    return {each: (owner, decoder(kind)(doc)) for each, owner, doc in found}


async def thread_families(sql: Transaction, thread_ids: Sequence[str]) -> Mapping[str, str]:
    """See `AdminStore.thread_families`."""
    return dict(await sql.fetch("families", ids=sql.array(thread_ids)))


async def import_records(sql: Transaction, owner: str, batch: ImportBatch) -> None:
    """Write the records of an import but for the joined segments of messages."""
    now = await sql.now()
    try:
        await sql.execute_many(
            "add_assistant",
            ({"id": each.id, "owner": owner, "doc": _encode(each)} for each in batch.assistants),
        )
        await sql.execute_many(
            "add_folder",
            ({"id": each.id, "owner": owner, "doc": _encode(each)} for each in batch.folders),
        )
        for upload, content in batch.uploads:
            await sql.add_upload(owner, upload, content)
        await sql.execute_many(
            "import_thread",
            (
                {
                    "id": thread.id,
                    "owner": owner,
                    "version": thread.version,
                    "parent_id": thread.parent_id,
                    "doc": _encode(thread),
                    "family": family,
                    **sql.title_columns(owner, thread.title),
                }
                for thread, family in batch.threads
            ),
        )
        await sql.add_messages(owner, batch.messages)
        await sql.execute_many(
            "add_run",
            (_run_columns(owner, each, now) for each in batch.runs),
        )
        await sql.execute_many(
            "import_events",
            (
                {"run_id": each.run_id, "first": each.first, "last": each.last}
                | {"lines": b"\n".join(each.lines)}
                for each in batch.events
            ),
        )
        await sql.execute_many(
            "import_action",
            (
                {name: getattr(each, name) for name in _ACTION} | {"doc": _encode(each)}
                for each in batch.actions
            ),
        )
    except UniqueViolation as fault:
        raise invariants.import_conflict(f"record ({fault})") from fault


_ACTION = ("id", "run_id", "turn", "tool_call_id", "status")


def _run_columns(owner: str, imported: ImportedRun, now: int) -> dict[str, Any]:
    run = imported.run
    return {
        **asdict(invariants.lease_of_imported(imported)),
        "now": now,
        "id": run.id,
        "owner": owner,
        "thread_id": run.thread_id,
        "status": run.status.value,
        "wanted_at": run.created_at,
        "ended_at": run.ended_at,
        "doc": _encode(run),
    }


async def finish_import(
    sql: Transaction,
    usage: Sequence[UsageRow],
    entries: Sequence[AuditEntry],
    entry: AuditEntry | None,
) -> None:
    """See `AdminStore.finish_import`."""
    await sql.execute_many("import_usage", map(asdict, usage))
    await sql.execute_many("import_audit_entry", map(entry_columns, entries))
    await append_audit_entry(sql, entry)


def _decode(kind: type[T], rows: Iterable[Any]) -> Iterable[T]:
    return (decoder(kind)(row[0]) for row in rows)


class AdminMethods(TransactionMethods):
    """`AdminStore` as far as databases do not differ: each method is a function of this module.

    Functions that amend a record are called where the transaction runs.
    """

    add_person = writing("person", add_person)
    find_person = finding(find_person)
    people = reading(list_people)
    change_person = writing("person", change_person)
    usage = reading(read_usage)

    add_key = writing("key", add_key)
    find_key = finding(find_key)
    keys = reading(list_keys)
    change_key = writing("key", change_key)
    revoke_key = writing("key", revoke_key)
    count_usage = writing("count", count_usage, single=True)

    add_project = writing("project", add_project)
    projects = reading(list_projects)
    change_project = writing("project", change_project)
    save_provider_key = writing("provider_key", save_provider_key)
    provider_keys = reading(provider_keys)
    find_encrypted_key = finding(find_encrypted_key)
    replace_encrypted_key = writing("provider_key", replace_encrypted_key)
    delete_provider_key = writing("provider_key", delete_provider_key)
    owners = reading(owners, slow=True)

    append_audit_entry = writing("act", append_audit_entry, single=True)
    audit_entries = reading(audit_entries)
    thread_families = reading(thread_families)
    finish_import = writing("finish_import", finish_import, slow=True)

    async def find_records(self, kind: type[T], ids: Sequence[str]) -> Mapping[str, tuple[str, T]]:
        """See `AdminStore.find_records`."""
        return await self.read_administration(lambda sql: find_records(sql, kind, ids), slow=False)
