"""Shares of threads, and published assistants, in a SQL database: for SQLite and PostgreSQL.

A share is deleted with its thread by the database itself, so also by a server of an earlier
version.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from antiphon.ports import AmendShare, RecordPage
from antiphon.stores import admin_rules, invariants
from antiphon.stores.rows import decoder
from antiphon.stores.sql_transaction import (
    Transaction,
    TransactionMethods,
    append_audit_entry,
    reading,
    writing,
)
from antiphon.types.accounts import AuditEntry
from antiphon.types.runs import Assistant, Thread
from antiphon.types.shares import Share

_encode = msgspec.json.encode


async def add_share(
    sql: Transaction,
    owner: str,
    share: Share,
    token_hash: bytes,
    snapshot: bytes,
    limit: int,
    entry: AuditEntry,
) -> None:
    """See `ShareStore.add_share`."""
    await sql.execute("lock_shares")
    await sql.execute("expire_shares_of", owner=owner, at=await sql.now())
    (count,) = await sql.fetch_row("count_shares", owner=owner)
    if count >= limit:
        raise admin_rules.share_limit_error(limit)
    if await sql.fetch_row("shared_thread", thread_id=share.thread_id, owner=owner) is None:
        raise invariants.not_found(Thread, share.thread_id)
    values = {"owner": owner, "thread_id": share.thread_id, "token_hash": token_hash}
    await sql.execute("add_share", **values, **_columns(share, snapshot))
    await append_audit_entry(sql, entry)


async def list_shares(
    sql: Transaction, owner: str, thread_id: str | None = None
) -> Sequence[Share]:
    """See `ShareStore.shares`."""
    rows = await sql.fetch("shares", owner=owner, thread_id=thread_id, at=await sql.now())
    return [decoder(Share)(bytes(doc)) for (doc,) in rows]


async def find_share(sql: Transaction, owner: str, share_id: str) -> Share:
    """See `ShareStore.find_share`."""
    return await _find(sql, "share", owner, share_id)


async def change_share(
    sql: Transaction,
    owner: str,
    share_id: str,
    amend: AmendShare,
    snapshot: bytes,
    entry: AuditEntry,
) -> Share:
    """See `ShareStore.change_share`."""
    share = amend(await _find(sql, "share_for_update", owner, share_id))
    await sql.execute("save_share", **_columns(share, snapshot))
    await append_audit_entry(sql, entry)
    return share


async def delete_share(sql: Transaction, owner: str, share_id: str, entry: AuditEntry) -> None:
    """See `ShareStore.delete_share`."""
    if not await sql.execute("remove_share", id=share_id, owner=owner):
        raise invariants.not_found(Share, share_id)
    await append_audit_entry(sql, entry)


async def open_share(sql: Transaction, token_hash: bytes) -> tuple[Share, bytes] | None:
    """See `ShareStore.open_share`."""
    row = await sql.fetch_row("open_share", token_hash=token_hash, at=await sql.now())
    return None if row is None else (decoder(Share)(bytes(row[0])), bytes(row[1]))


async def publish_assistant(
    sql: Transaction,
    owner: str,
    assistant_id: str,
    at: int | None,
    limit: int,
    entry: AuditEntry,
) -> Assistant:
    """See `ShareStore.publish_assistant`."""
    await sql.execute("lock_shares")
    row = await sql.fetch_row("assistant_to_publish", id=assistant_id, owner=owner)
    if row is None:
        raise invariants.not_found(Assistant, assistant_id)
    assistant = decoder(Assistant)(bytes(row[0]))
    if (assistant.published_at is None) == (at is None):
        return assistant
    if at is not None:
        (count,) = await sql.fetch_row("count_published", owner=owner)
        if count >= limit:
            raise admin_rules.publication_limit_error(limit)
    changed = replace(assistant, published_at=at)
    await sql.execute("save_published", id=assistant_id, doc=_encode(changed))
    await append_audit_entry(sql, entry)
    return changed


async def list_published_assistants(
    sql: Transaction, owner: str | None, limit: int, after: str | None = None
) -> RecordPage:
    """See `ShareStore.list_published_assistants`."""
    place = 2**63 - 1
    if after is not None:
        row = await sql.fetch_row("published_place", id=after)
        if row is None:
            raise invariants.not_found(Assistant, after)
        (place,) = row
    rows = await sql.fetch("published_assistants", owner=owner, place=place, limit=limit + 1)
    found = [(each, decoder(Assistant)(bytes(doc))) for each, doc in rows]
    return RecordPage(found[:limit], len(found) > limit)


async def delete_expired_shares(sql: Transaction, limit: int) -> int:
    """See `ShareStore.delete_expired_shares`."""
    return await sql.execute("expire_shares", at=await sql.now(), limit=limit)


async def _find(sql: Transaction, name: str, owner: str, share_id: str) -> Share:
    row = await sql.fetch_row(name, id=share_id, owner=owner, at=await sql.now())
    if row is None:
        raise invariants.not_found(Share, share_id)
    return decoder(Share)(bytes(row[0]))


def _columns(share: Share, snapshot: bytes) -> dict[str, Any]:
    return {
        "id": share.id,
        "expires_at": share.expires_at,
        "doc": _encode(share),
        "snapshot": snapshot,
    }


class ShareMethods(TransactionMethods):
    """`ShareStore`: each method is a function of this module."""

    add_share = writing("share", add_share)
    shares = reading(list_shares)
    find_share = reading(find_share)
    change_share = writing("share", change_share, slow=True)
    delete_share = writing("share", delete_share)
    open_share = reading(open_share)
    publish_assistant = writing("share", publish_assistant)
    list_published_assistants = reading(list_published_assistants)
    delete_expired_shares = writing("forget", delete_expired_shares)
